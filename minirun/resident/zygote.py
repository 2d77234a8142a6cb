"""The resident process: it has imported what starts a container, and is forked for each client that asks for one.

    client ── connect ──▶ accept, SO_PEERCRED: root ── a fork in the client's cgroup: spare.py ──▶ standin.py

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

from minirun.container import supervision
from minirun.errors import Unsupported
from minirun.kernel import likeness
from minirun.resident.spare import Spare
from minirun.resident.standin import StandIn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from minirun.kernel.inotify import Watch

_BACKLOG = 128
_QUIET_MS = 500  # without a change, for what is just being installed to be whole


class Zygote:
    """The process that is forked.

    Args:
        listener: descriptor of its socket.
        launcher: descriptor of the program whose commands it runs: who names another is of another installation.
        changed: tells of what changes in the directories of the package.
    """

    def __init__(self, listener: int, launcher: int, changed: Watch) -> None:
        for descriptor in (listener, launcher):
            os.set_inheritable(descriptor, False)
        self.program = launcher
        self.launcher = os.readlink(f"/proc/self/fd/{launcher}").removesuffix(" (deleted)")
        self.changed = changed
        self.listener = Socket(AF_UNIX, SOCK_SEQPACKET, 0, listener)
        self.listener.listen(_BACKLOG)  # once more: now it is ours to whoever asks by SO_PEERCRED
        self.oneself = likeness.Oneself()
        self.spare: Spare | None = None

    def run(self) -> NoReturn:
        """Serve until a signal ends it."""
        _signal.signal(_signal.SIGCHLD, _signal.SIG_IGN)  # nobody asks how forks ended
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
        poll = select.poll()
        poll.register(self.listener.fileno(), select.POLLIN)
        poll.register(self.changed.descriptor, select.POLLIN)
        while True:
            ready = dict(poll.poll())
            # where modules that were read are kept is no change to them
            if self.changed.descriptor in ready and any(name != "__pycache__" for name in self.changed.names()):
                self._renew()
            if self.listener.fileno() in ready:
                self._serve()

    def _renew(self) -> NoReturn:
        """Become what is installed, once that changes no more. Who comes meanwhile is turned away."""
        poll = select.poll()
        poll.register(self.changed.descriptor, select.POLLIN)
        poll.register(self.listener.fileno(), select.POLLIN)
        quiet = time.monotonic() + _QUIET_MS / 1000
        while (left_s := quiet - time.monotonic()) > 0:
            for descriptor, _ in poll.poll(left_s * 1000):
                if descriptor == self.changed.descriptor:
                    self.changed.names()
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
        """Have a fork serve one client; who cannot be served sees the end of the connection, and goes the cold way."""
        descriptor = self._accept()
        client = Socket(fileno=descriptor)
        try:
            pid, uid, _ = unpack("iII", client.getsockopt(SOL_SOCKET, SO_PEERCRED, 12))
            if uid == 0 and pid > 0:
                self._give(descriptor, pid, likeness.groups(str(pid))[1])
        except (OSError, Unsupported):
            pass  # he has ended meanwhile; his cgroup is nothing that we see
        finally:
            client.close()

    def _give(self, client: int, pid: int, group: str) -> None:
        """Give a client to a fork that was born in his cgroup, and have another one there for the next."""
        spare, self.spare = self.spare, None
        if spare and spare.group != group:
            spare.end()
            spare = None
        if spare is None or not spare.give(client, pid):
            Spare(group, self._become).give(client, pid)
        self.spare = Spare(group, self._become)

    def _become(self, client: Socket, pid: int) -> NoReturn:
        self.listener.close()
        os.close(self.program)
        os.close(self.changed.descriptor)
        StandIn(client, pid, self.oneself, self.launcher).run()
