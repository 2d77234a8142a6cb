"""A fork of the resident process becomes the `minirun` that a client would have been, and runs its command line.

What it runs is `answer`, as the launcher does: there is one way in which a container starts. The session alone is not
the client's, for that can be had by birth only: the client stays in it, and passes on what its terminal sends.
"""

from __future__ import annotations

import _signal
import fcntl
import os
import select
import sys
from _socket import MSG_CTRUNC, MSG_TRUNC, SCM_RIGHTS, SOL_SOCKET
from array import array

from minirun import __main__ as program
from minirun.cgroup import hierarchy
from minirun.engine import run as verbs
from minirun.kernel import likeness
from minirun.kernel.call import Call
from minirun.launch import machine
from minirun.resident import request
from minirun.rootfs.attach import TARGET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from typing import NoReturn

_F_SETSIG = 10  # linux/fcntl.h
_IOPRIO_WHO_PROCESS = 1  # linux/ioprio.h
_CONTROL_BYTES = 64


class StandIn:
    """The one process that does what one client asked for.

    Args:
        client: the connection.
        pid: of the client.
        oneself: what we are.
        launcher: the program whose commands we run.
    """

    def __init__(self, client: socket, pid: int, oneself: likeness.Oneself, launcher: str) -> None:
        self.client = client
        self.pid = pid
        self.oneself = oneself
        self.launcher = launcher

    def run(self) -> NoReturn:
        """Run it."""
        _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
        _signal.signal(_signal.SIGINT, _signal.default_int_handler)
        os.setpgid(0, 0)
        if not self._take():
            self.client.send(request.COLD)
            os._exit(0)
        verbs.reply = self._reply
        code = program.answer()
        if verbs.reply is not None:
            self._reply(code)
        os._exit(code)

    def _take(self) -> bool:
        """Become the client's; false, if that cannot be. Nothing was done then but to this process, which ends."""
        data, control, flags, _ = self.client.recvmsg(request.LONGEST_BYTES, _CONTROL_BYTES)
        given = array("i")
        for level, kind, content in control:
            if (level, kind) == (SOL_SOCKET, SCM_RIGHTS):
                given.frombytes(content[: len(content) - len(content) % given.itemsize])
        wanted = request.parse(data, os.fsencode(self.launcher))
        if wanted is None or len(given) != request.DESCRIPTORS or flags & (MSG_TRUNC | MSG_CTRUNC):
            return False
        try:
            self.oneself.become_like(self.pid)
            _take_priority(self.pid)
        except (likeness.Differs, OSError, ValueError):
            return False  # ValueError: a limit is higher than we may go
        self._take_place(wanted, given)
        self._end_with_client()
        return True

    def _take_place(self, wanted: request.Request, given: array[int]) -> None:
        for place in range(3):
            os.dup2(given[place], place)
        os.fchdir(given[3])
        for descriptor in given:
            os.close(descriptor)
        os.environ.clear()
        os.environb.update(wanted.environment)
        sys.argv = [self.launcher, *map(os.fsdecode, wanted.arguments[1:])]
        sys.stdout.reconfigure(line_buffering=os.isatty(1))  # type: ignore[union-attr]
        hierarchy.forget()  # it may be mounted elsewhere by now

    def _end_with_client(self) -> None:
        """Have the kernel kill us when the client is killed, as it would be the one in the foreground; say "taken"."""
        fcntl.fcntl(self.client, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(self.client, _F_SETSIG, _signal.SIGKILL)
        fcntl.fcntl(self.client, fcntl.F_SETFL, os.O_ASYNC)
        poll = select.poll()
        poll.register(self.client, 0)
        if poll.poll(0):
            os._exit(0)  # it was before
        ourselves = os.pidfd_open(os.getpid())
        self.client.sendmsg([request.TAKEN], [(SOL_SOCKET, SCM_RIGHTS, array("i", [ourselves]))])
        os.close(ourselves)

    def _reply(self, code: int) -> None:
        """Tell the client the exit code: its descriptors are no longer ours, nor has its end a meaning for us."""
        verbs.reply = None
        fcntl.fcntl(self.client, fcntl.F_SETFL, 0)
        null = os.open("/dev/null", os.O_RDWR)
        for place in range(3):
            os.dup2(null, place)
        os.close(null)
        try:
            self.client.send(request.ENDED + bytes([code & 255]))
        except OSError:
            pass  # it was just killed
        self.client.close()


def _take_priority(pid: int) -> None:
    """Do reads and writes with the priority of process *pid*: see ioprio_set(2)."""
    theirs, ours = (machine.run([Call("ioprio_get", _IOPRIO_WHO_PROCESS, who, save=TARGET)]) for who in (pid, 0))
    if theirs != ours:
        machine.run([Call("ioprio_set", _IOPRIO_WHO_PROCESS, 0, theirs)])
