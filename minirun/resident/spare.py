"""A fork of the resident process that is ready for the next client, in whose cgroup it was born.

    zygote ── socket pair: the client's connection, his pid ──▶ spare, which becomes his stand-in
           └─ the end of it ──▶ ends; so it does after IDLE_S

What a fork takes on the way is mostly its first touch of each page: a spare has touched them all, but for what a first
client waits for. It is not in the cgroup of somebody who starts nothing more for longer than that.
"""

from __future__ import annotations

import _signal
import os
import select
from _socket import AF_UNIX, SCM_RIGHTS, SOCK_CLOEXEC, SOCK_SEQPACKET, SOL_SOCKET, socketpair
from _socket import socket as Socket  # noqa: N812 - the class; the module of that name imports much
from array import array
from errno import EFAULT, EINVAL

from minirun.cgroup import hierarchy
from minirun.kernel.call import Call
from minirun.launch import machine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

IDLE_S = 5.0
_POPULATE_READ, _POPULATE_WRITE = 22, 23  # linux/mman.h: MADV_POPULATE_*, of Linux 5.14
_PID_BYTES = 32


class Spare:
    """One fork that waits for a client.

    Args:
        group: the cgroup in which it is born, as /proc/PID/cgroup has it.
        become: runs in the fork, with the client's connection and pid, and does not return.

    Raises:
        OSError: the group is gone, or no process can be made in it.
        Unsupported: there is no cgroup v2.
    """

    __slots__ = ("_channel", "group")

    def __init__(self, group: str, become: Callable[[Socket, int], object]) -> None:
        self.group = group
        self._channel, channel = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC)
        directory = os.open(f"{hierarchy.mount_point()}{group}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            child = machine.fork(directory)
        finally:
            os.close(directory)
        if child:
            channel.close()
            return
        try:
            self._channel.close()
            become(*_wait(channel))
        finally:
            os._exit(125)

    def give(self, client: int, pid: int) -> bool:
        """Have it serve a client; false if it has ended. Either way it is somebody else's, or nobody's, from now on."""
        try:
            self._channel.sendmsg([b"%d" % pid], [(SOL_SOCKET, SCM_RIGHTS, array("i", [client]))])
        except BrokenPipeError:
            return False
        finally:
            self._channel.close()
        return True

    def end(self) -> None:
        """Have it end. Idempotent."""
        self._channel.close()


def _wait(channel: Socket) -> tuple[Socket, int]:
    _signal.signal(_signal.SIGTERM, _signal.SIG_DFL)
    poll = select.poll()
    poll.register(channel, select.POLLIN)
    if not poll.poll(0):  # nobody waits for us
        _touch()
        if not poll.poll(IDLE_S * 1000):
            os._exit(0)
    data, control, _, _ = channel.recvmsg(_PID_BYTES, _PID_BYTES)
    channel.close()
    if not data:
        os._exit(0)
    client = array("i")
    client.frombytes(control[0][2][: client.itemsize])
    return Socket(fileno=client[0]), int(data)


def _touch() -> None:
    """Have every page that is ours alone be ours by now: see madvise(2)."""
    calls = []
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            place, rights, *_, last = line.split(None, 5)
            begin, _, end = place.partition("-")
            if rights[0] != "r" or last.startswith("[v"):
                continue
            start = int(begin, 16)
            how = _POPULATE_WRITE if rights[1] == "w" else _POPULATE_READ
            calls.append(Call("madvise", start, int(end, 16) - start, how, tolerate=(EINVAL, EFAULT)))
    machine.run(calls)
