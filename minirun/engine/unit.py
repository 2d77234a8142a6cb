"""The unit by which systemd has containers start with the host, and end with it: see boot.py, systemd.service(5).

multi-user.target ─wants─▶ minirun.service ─┬─ start ─▶ minirun system boot
                                            └─ stop ──▶ minirun system shutdown

It begins after what containers need, and so ends before that: file systems, networks, and D-Bus, by which scopes are
had. Scopes of containers are ordered before it (cgroup/systemd.py), or systemd would end them by itself meanwhile.
"""

from __future__ import annotations

import os
import subprocess
import sys

from minirun.cgroup.delegation import BOOTED
from minirun.cgroup.systemd import SERVICE as NAME
from minirun.engine import boot, open_home
from minirun.errors import MinirunError
from minirun.kernel import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from minirun.home import Home

PATH = f"/etc/systemd/system/{NAME}"
_NOT_RUNNING = f"systemd does not run here: where it does, `systemctl enable {NAME}` has it start with the host"


def text(home: Home, command: Sequence[str]) -> str:
    """The unit's file.

    Args:
        home: the store.
        command: what `minirun` is, by its whole path.
    """
    words = " ".join(_quoted(word).replace("$", "$$") for word in command)
    return f"""\
[Unit]
Description=Containers of minirun that start with the host, and end with it
After=local-fs.target remote-fs.target network.target dbus.service
RequiresMountsFor={_quoted(home.root)}

[Service]
Type=oneshot
RemainAfterExit=yes
Environment={_quoted(f"MINIRUN_ROOT={home.root}")} {_quoted(f"MINIRUN_RUNTIME={home.runtime}")}
ExecStart={words} system boot
ExecStop={words} system shutdown
# each container has its own time to end in
TimeoutSec=infinity
# containers are in groups of their own; should their keepers be in this one, they stay
KillMode=process

[Install]
WantedBy=multi-user.target
"""


def _quoted(word: str) -> str:
    """A word as units have it: systemd.syntax(7), "Quoting"; % stands for itself."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"' if escaped != word or any(character.isspace() for character in word) else word


def install() -> str:
    """Write the unit, and have systemd begin with it.

    Returns:
        What there is to say beside that; empty: nothing.

    Raises:
        MinirunError: it could not be written, or systemd refused it.
    """
    home = open_home()
    boot.install()
    try:
        os.makedirs(os.path.dirname(PATH), exist_ok=True)
        files.replace(PATH, text(home, _command()).encode(), mode=0o644)
    except OSError as error:
        raise MinirunError(f"write {PATH}", error, "it takes a host whose /etc can be written") from None
    if not os.path.isdir(BOOTED):
        return _NOT_RUNNING
    _systemctl("daemon-reload")
    # begun at once, for what was not begun is not stopped when the host goes down
    _systemctl("enable", "--now", NAME)
    return ""


def remove() -> str:
    """Remove the unit; the containers go on. Idempotent.

    Returns:
        As `install` does.

    Raises:
        MinirunError: systemd refused, or the unit could not be removed.
    """
    open_home()
    if not os.path.exists(PATH):
        return f"there is no {PATH}"
    running = os.path.isdir(BOOTED)
    try:
        if running:
            _systemctl("disable", NAME)
        files.remove(PATH)
    except OSError as error:
        raise MinirunError(f"remove {PATH}", error) from None
    if running:  # without its file there is no command by which it would stop them
        _systemctl("daemon-reload")
    return ""


def _command() -> list[str]:
    program = os.path.abspath(sys.argv[0])
    return [program] if os.access(program, os.X_OK) else [sys.executable, "-m", "minirun"]


def _systemctl(*words: str) -> None:
    attempt = f"have systemd {' '.join(words)}"
    try:
        done = subprocess.run(["systemctl", *words], capture_output=True, text=True, check=False)
    except OSError as error:
        raise MinirunError(attempt, error, f"`systemctl {' '.join(words)}`") from None
    if done.returncode:
        raise MinirunError(attempt, done.stderr.strip() or "it failed", f"`systemctl {' '.join(words)}`")
