"""The resident process: it has imported what starts a container, and is forked for each client that asks for one.

    client ── connect ──▶ accept, SO_PEERCRED: root ── clone3 into the client's cgroup ──▶ standin.py

It does nothing itself, knows nothing of containers, and keeps nothing: killed, it is not there, and what its forks do
goes on. When a file of the package changes, it goes on as what is installed then; until then who comes goes the cold
way.
"""

from __future__ import annotations

import _signal
import os
import select
import time
from _socket import AF_UNIX, SO_PEERCRED, SOCK_SEQPACKET, SOL_SOCKET
from _socket import socket as Socket  # noqa: N812 - the class; the module of that name imports much
from struct import unpack

from minirun.cgroup import hierarchy
from minirun.container import supervision
from minirun.errors import Unsupported
from minirun.kernel import likeness
from minirun.launch import machine
from minirun.resident.standin import StandIn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_BACKLOG = 128
_QUIET_MS = 500  # without a change, for what is just being installed to be whole
_READ_BYTES = 1 << 16


class Zygote:
    """The process that is forked.

    Args:
        listener: descriptor of its socket.
        launcher: descriptor of the program whose commands it runs: who names another is of another installation.
        changed: descriptor that tells that a file of the package was changed.
    """

    def __init__(self, listener: int, launcher: int, changed: int) -> None:
        for descriptor in (listener, launcher):
            os.set_inheritable(descriptor, False)
        self.program = launcher
        self.launcher = os.readlink(f"/proc/self/fd/{launcher}").removesuffix(" (deleted)")
        self.changed = changed
        self.listener = Socket(AF_UNIX, SOCK_SEQPACKET, 0, listener)
        self.listener.listen(_BACKLOG)  # once more: now it is ours to whoever asks by SO_PEERCRED
        self.oneself = likeness.Oneself()

    def run(self) -> NoReturn:
        """Serve until a signal ends it."""
        _signal.signal(_signal.SIGCHLD, _signal.SIG_IGN)  # nobody asks how forks ended
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
        poll = select.poll()
        poll.register(self.listener.fileno(), select.POLLIN)
        poll.register(self.changed, select.POLLIN)
        while True:
            ready = dict(poll.poll())
            if self.changed in ready:
                self._renew()
            self._serve()

    def _renew(self) -> NoReturn:
        """Become what is installed, once that changes no more. Who comes meanwhile is turned away."""
        poll = select.poll()
        poll.register(self.changed, select.POLLIN)
        poll.register(self.listener.fileno(), select.POLLIN)
        quiet = time.monotonic() + _QUIET_MS / 1000
        while (left_s := quiet - time.monotonic()) > 0:
            for descriptor, _ in poll.poll(left_s * 1000):
                if descriptor == self.changed:
                    os.read(self.changed, _READ_BYTES)
                    quiet = time.monotonic() + _QUIET_MS / 1000
                else:
                    os.close(self._accept())
        for descriptor in (self.listener.fileno(), self.program):
            os.set_inheritable(descriptor, True)  # at their places already
        words = supervision.command("warm.py")
        os.execv(words[0], words)

    def _accept(self) -> int:
        descriptor, _ = self.listener._accept()  # type: ignore[attr-defined]  # what socket.accept calls
        return int(descriptor)

    def _serve(self) -> None:
        """Fork for one client; who cannot be served sees the end of the connection, and goes the cold way."""
        client = Socket(fileno=self._accept())
        child, pid = -1, 0
        try:
            pid, uid, _ = unpack("iII", client.getsockopt(SOL_SOCKET, SO_PEERCRED, 12))
            if uid == 0 and pid > 0:
                child = _fork_beside(pid)
        except (OSError, Unsupported):
            pass  # he has ended meanwhile; his cgroup is nothing that we see
        if child:
            client.close()
            return
        try:
            self.listener.close()
            os.close(self.program)
            os.close(self.changed)
            StandIn(client, pid, self.oneself, self.launcher).run()
        finally:
            os._exit(125)


def _fork_beside(pid: int) -> int:
    """os.fork(), whose child is in the cgroup of process *pid*: moving there later would take milliseconds."""
    directory = f"{hierarchy.mount_point()}{likeness.groups(str(pid))[1]}"
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return machine.fork(descriptor)
    finally:
        os.close(descriptor)
