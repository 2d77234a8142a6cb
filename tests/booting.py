"""A host that boots, goes down and loses its power: a systemd that is process 1 of namespaces of its own.

    this process ── unshare ──▶ pid, mount, cgroup, network, IPC, host name
                                 └── sh: the mounts ──exec──▶ systemd ──▶ D-Bus, minirun.service, scopes

    /                           the host's, read-only          /run        empty at each boot
    the store                   as it was before the boot      boot_id     another at each boot
    /usr/lib/systemd/system     UNITS alone: nothing that this host has is started again in there
    /etc/systemd/system         empty at first, and kept

It boots in a second. What it is not: a kernel that boots. That one is in docs/vm.md.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from minirun.cgroup import group, hierarchy, systemd
from tests.command import PATIENCE, Minirun

SYSTEMD = Path("/usr/lib/systemd/systemd")
FOLDER = Path("/usr/lib/systemd/system")
# what a boot and a shutdown are made of, and what minirun asks for
UNITS = (
    "multi-user.target", "basic.target", "sysinit.target", "sockets.target", "timers.target", "paths.target",
    "slices.target", "local-fs.target", "remote-fs.target", "network.target", "machine.slice", "dbus.socket",
    "dbus.service", "shutdown.target", "umount.target", "final.target", "reboot.target", "systemd-reboot.service",
)  # fmt: skip
PATIENCE_S = 20.0 * PATIENCE

# $1: our directory, $2: the store. The last mount of all is made read-only, but not those that are on it.
BOOT = """
set -e
mount -t proc proc /proc
mount -t tmpfs -o mode=755 tmpfs /run
umount --lazy "$3"
umount --lazy /sys/fs/cgroup 2>/dev/null || :
mount -t cgroup2 cgroup2 /sys/fs/cgroup
echo 0 >/sys/fs/cgroup/cgroup.procs
mount --bind "$1/units" /etc/systemd/system
mount --bind "$1/vendor" /usr/lib/systemd/system
mount --bind "$1/generators" /usr/lib/systemd/system-generators
cat /proc/sys/kernel/random/uuid >/run/boot_id
mount --bind /run/boot_id /proc/sys/kernel/random/boot_id
mount --bind "$2" "$2"
mount -o remount,bind,ro /
ip link set lo up
exec env -i container=test PATH="$PATH" \\
    /usr/lib/systemd/systemd --log-target=null --show-status=no --unit=multi-user.target
"""


def _into(group: Path) -> list[str]:
    """The words before a command that is to be in a group."""
    return ["sh", "-c", 'echo 0 >"$0" && exec "$@"', str(group / "cgroup.procs")]


@dataclass(frozen=True, slots=True)
class Inside(Minirun):
    """minirun as somebody types it who has logged in to a host that has booted."""

    host: Host

    def command(self, arguments: Sequence[str | Path]) -> list[str]:
        """Return the words to execute."""
        return [*self.host.login(), *Minirun.command(self, arguments)]


class Host:
    """A host that is off at first.

    Args:
        folder: an empty directory for what it keeps while it is off.
        store: a store of minirun's, which is its /var/lib/minirun.

    Attributes:
        minirun: works in it, on that store.
    """

    def __init__(self, folder: Path, store: Path) -> None:
        self._folder = folder
        self._group = Path(hierarchy.mount_point(), f"booting-{os.getpid()}")
        self._process: subprocess.Popen[bytes] | None = None
        self._systemd = 0
        self.minirun = Inside(store, Path("/run/minirun"), self)
        for name in ("units", "vendor/sockets.target.wants", "generators"):
            (folder / name).mkdir(parents=True)
        for name in UNITS:
            shutil.copy(FOLDER / name, folder / "vendor")
        (folder / "vendor/sockets.target.wants/dbus.socket").symlink_to("../dbus.socket")

    def boot(self) -> None:
        """Start it, and wait until it has booted."""
        self._make_group()
        # The group is the root of its hierarchy: who waits for it is out of there, or systemd passes on no controllers.
        words = [*_into(self._group), "unshare", "--cgroup", *_into(self._group / "session")]
        words += ["unshare", "--pid", "--fork", "--kill-child", "--mount", "--net", "--ipc", "--uts"]
        command = ["sh", "-c", BOOT, "sh", str(self._folder), str(self.minirun.root), hierarchy.mount_point()]
        self._process = subprocess.Popen([*words, *command], stdin=subprocess.DEVNULL)
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        end = time.monotonic() + PATIENCE_S
        while not (running := self._booted(children)):
            assert self._process.poll() is None, "it does not boot"
            assert time.monotonic() < end, "it does not boot in time"
            time.sleep(0.02)
        assert running == "running", self.run("systemctl", "--failed").stdout

    def _make_group(self) -> None:
        (self._group / "session").mkdir(parents=True)
        root = self._group.parent
        if passed_on := [name for name in hierarchy.controllers(str(root)) if name in systemd.DELEGATES]:
            (root / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in passed_on))

    def _booted(self, children: Path) -> str:
        """What systemd says of itself when it has booted; empty before."""
        try:
            self._systemd = int(children.read_text())
            if Path(f"/proc/{self._systemd}/comm").read_text() != "systemd\n":
                return ""
        except (ValueError, FileNotFoundError):
            return ""
        told = self.run("systemctl", "is-system-running").stdout.strip()
        return told if told in ("running", "degraded") else ""

    def login(self) -> list[str]:
        """The words before a command that is to be executed in it, in a group as that of a session."""
        enter = ["nsenter", f"--target={self._systemd}", "--mount", "--pid", "--net", "--cgroup", "--ipc", "--uts"]
        return [*_into(self._group / "session"), *enter]

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in it."""
        return subprocess.run([*self.login(), *command], capture_output=True, text=True, check=False)

    def reboot(self) -> None:
        """Have it go down as everything there wants it to, and boot."""
        # as systemd-logind does it, which is not there
        told = self.run("systemctl", "start", "--job-mode=replace-irreversibly", "--no-block", "reboot.target")
        assert told.returncode == 0, told.stderr
        assert self._process
        self._process.wait(PATIENCE_S)
        self.off()
        self.boot()

    def off(self) -> None:
        """Cut its power, if it has any."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None
        group.remove(str(self._group))


@contextmanager
def host(folder: Path, store: Path) -> Iterator[Host]:
    """A host that has booted; at the end it is gone."""
    made = Host(folder, store)
    try:
        made.boot()
        yield made
    finally:
        made.off()
