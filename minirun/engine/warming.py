"""The resident process of warm starts is there when somebody asked for it, until somebody ends it.

<runtime>/warm        its socket, 0600: root only. SO_PEERCRED of whoever connects names the process that listens
<runtime>/warm.lock   flock: one starts it, or ends it, at a time
"""

from __future__ import annotations

import _signal
import os
import time
from _socket import AF_UNIX, SO_PEERCRED, SOCK_CLOEXEC, SOCK_SEQPACKET, SOL_SOCKET
from _socket import socket as Socket  # noqa: N812 - the class; the module of that name imports much
from struct import unpack

from minirun.container import supervision
from minirun.engine import open_home
from minirun.errors import MinirunError, NotFound, Unsupported
from minirun.kernel import files, process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.home import Home

NAME, GROUP = "warm", "warm"
_BACKLOG = 128
_PATIENCE_S, _LOOK_S = 20.0, 0.01


def start(launcher: str) -> int:
    """Start the resident process, unless it is there.

    Args:
        launcher: the program whose commands it is to run, by its whole path.

    Returns:
        Its pid.

    Raises:
        Unsupported: an ordinary user asks.
        MinirunError: it cannot be started, or ends at once.
    """
    home = _home()
    lock = files.lock(f"{home.runtime}/{NAME}.lock", exclusive=True)
    try:
        if pid := _resident(home):
            return pid
        _begin(home, os.path.realpath(launcher))
        end = time.monotonic() + _PATIENCE_S
        while not (pid := _resident(home)):
            if time.monotonic() > end:
                raise MinirunError(
                    "keep a process for warm starts", "it ended at once", "see what `minirun doctor` says"
                )
            time.sleep(_LOOK_S)
        return pid
    finally:
        os.close(lock)


def stop() -> None:
    """End the resident process; what it has begun goes on.

    Raises:
        NotFound: there is none.
    """
    home = _home()
    lock = files.lock(f"{home.runtime}/{NAME}.lock", exclusive=True)
    try:
        pid = _resident(home)
        if pid:
            pidfd = os.pidfd_open(pid)
            _signal.pidfd_send_signal(pidfd, _signal.SIGTERM)
            process.wait([pidfd])
            os.close(pidfd)
        files.remove(f"{home.runtime}/{NAME}")
        supervision.tidy(home.runtime, GROUP)
        if not pid:
            raise NotFound("end warm starts", "nothing is resident", "`minirun system warm` makes it so")
    finally:
        os.close(lock)


def _home() -> Home:
    if os.geteuid() != 0:
        raise Unsupported(
            "keep a process for warm starts", "it would have to be root's, and you are not",
            "start containers without it: nothing depends on it",
        )  # fmt: skip
    return open_home()


def _resident(home: Home) -> int:
    """The pid of the process that listens; 0: none does."""
    with_it = Socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC)
    try:
        with_it.connect(f"{home.runtime}/{NAME}")
        pid, _, _ = unpack("iII", with_it.getsockopt(SOL_SOCKET, SO_PEERCRED, 12))
    except (FileNotFoundError, ConnectionRefusedError):
        return 0
    finally:
        with_it.close()
    return int(pid) if pid != os.getpid() else 0  # it is ours until it listens itself


def _begin(home: Home, launcher: str) -> None:
    path = f"{home.runtime}/{NAME}"
    files.remove(path)
    listener = Socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC)
    before = os.umask(0o177)
    try:
        listener.bind(path)
        listener.listen(_BACKLOG)
        program = os.open(launcher, os.O_PATH | os.O_CLOEXEC)
        supervision.begin(home.root, home.runtime, "warm.py", [listener.fileno(), program], GROUP)
        os.close(program)
    except OSError as error:
        raise MinirunError(
            f"listen at {path}", error, "set MINIRUN_RUNTIME to a directory with a shorter name that can be written"
        ) from None
    finally:
        os.umask(before)
        listener.close()
