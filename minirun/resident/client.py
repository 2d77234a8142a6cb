"""The client of warm starts where no compiler made one: what launch/client.c does, in the interpreter that started.

It finds out before anything else is imported; where nobody is resident, the launcher goes on in this process.
"""

from __future__ import annotations

import os
import sys

from minirun.resident.request import COMMANDS, ENDED, LONGEST_BYTES, SOCKET, TAKEN, VARIABLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket

_ANSWER_MS = 2000


def ask(launcher: str) -> None:
    """Have the resident process run this command line, and end as it ends; return where that cannot be.

    Args:
        launcher: the program that this is one with.
    """
    own = os.environ.get(VARIABLE, "")
    path = own if own.startswith("/") else f"{os.environ.get('MINIRUN_RUNTIME') or '/run/minirun'}/{SOCKET}"
    if own == "0" or sys.argv[1:2] not in ([name] for name in COMMANDS) or os.geteuid() or not os.path.exists(path):
        return
    from _socket import AF_UNIX, SOCK_CLOEXEC, SOCK_SEQPACKET
    from _socket import socket as make

    server = make(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC)
    server.settimeout(_ANSWER_MS / 1000)
    try:
        server.connect(path)
        pidfd = _hand_over(server, launcher)
    except OSError:
        return
    if pidfd >= 0:
        _stay(server, pidfd)


def _hand_over(server: socket, launcher: str) -> int:
    """Send it all; a pidfd of who takes it, or -1."""
    from _socket import SCM_RIGHTS, SHUT_RD, SOL_SOCKET
    from array import array

    try:
        if os.tcgetpgrp(0) != os.getpgrp():
            return -1  # in the background: it is to be stopped when it reads
    except OSError:
        pass  # no terminal
    words = [os.fsencode(word) for word in (launcher, str(len(sys.argv)), *sys.argv)]
    variables = [name + b"=" + value for name, value in os.environb.items()]
    data = b"\0".join([*words, *variables, b""])
    if len(data) > LONGEST_BYTES:
        return -1
    here = os.open(".", os.O_PATH | os.O_CLOEXEC)
    server.sendmsg([data], [(SOL_SOCKET, SCM_RIGHTS, array("i", [0, 1, 2, here]))])
    os.close(here)
    try:
        answer, control, _, _ = server.recvmsg(1, 64)
    except TimeoutError:
        server.shutdown(SHUT_RD)  # who has not answered by now cannot begin any more
        return -1
    if answer != TAKEN:
        return -1
    given = array("i")
    given.frombytes(control[0][2][: given.itemsize])
    os.set_inheritable(given[0], False)
    return given[0]


def _stay(server: socket, pidfd: int) -> None:
    """Pass signals on, and end as the other does."""
    import _signal
    import select

    last = [_signal.SIGKILL]

    def pass_on(number: int, _frame: object) -> None:
        last[0] = number
        try:
            _signal.pidfd_send_signal(pidfd, number)
        except ProcessLookupError:
            pass  # it has ended, and that is read next

    # as container/wait.py has them, which would import much
    for number in (1, 2, 3, 10, 12, 14, 15, 18, 20, 28, 29, 30, *range(34, 65)):
        _signal.signal(number, pass_on)
    poll = select.poll()
    poll.register(server, select.POLLIN)
    poll.poll()
    try:
        answer = server.recv(2)
    except OSError:
        answer = b""
    if answer[:1] != ENDED:
        # it was killed: as if we were, by the same signal where it was one of ours
        if last[0] != _signal.SIGKILL:
            _signal.signal(last[0], _signal.SIG_DFL)
        os.kill(os.getpid(), last[0])
        os.kill(os.getpid(), _signal.SIGKILL)
    os._exit(answer[1])
