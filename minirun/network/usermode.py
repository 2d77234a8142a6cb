"""A network namespace whose way out is a process: it reads what is sent there, and sends it on as its own.

    container's namespace ── tap interface ── pasta or slirp4netns ── sockets like everybody's ── the host's network

                       pasta.py                         slirp.py
    descriptor 0       the namespace, as the process finds it: /proc/self/fd/0
    descriptor 1       a line when it is ready          what it says
    descriptor 2       what it says                     what it says
    descriptor 3       -                                a byte when it is ready

No privileges are needed but those that the caller has in the namespace, or in the user namespace that this belongs to.
The process waits until somebody has noted who it is; it is a child of the caller, and ends when it is told to: see
container/usermode.py. What it says is kept in memory, its first 64 kB. See tun(4), pasta(1), slirp4netns(1).
"""

from __future__ import annotations

import os
import select
from errno import EPERM

from minirun.errors import MinirunError, Unsupported
from minirun.kernel.call import Call
from minirun.kernel.names import CLONE_NEWNS, MS_REC, MS_SLAVE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import NoReturn, Protocol

    from minirun.network.hold import Held

    class Kind(Protocol):
        """A program that does it: pasta.py, slirp.py."""

        PROGRAM: str
        PACKAGE: str
        READY: int  # the descriptor by which it says so
        ANY: tuple[str, ...]  # the addresses of every kind that it can publish

        def read(self, attempt: str, text: str) -> list[str]:
            """The options, as they are kept, of what was typed."""

        def check(self, attempt: str, protocol: str, address: str) -> None:
            """Refuse a port that cannot be published."""

        def words(self, options: Sequence[str], ports: Sequence[Held], user_namespace: str) -> list[str]:
            """The command that starts it."""

        def publish(self, directory: int, ports: Sequence[Held]) -> None:
            """Do what is to be done for ports once it is ready."""

        def resolver(self, options: Sequence[str]) -> list[str]:
            """The name servers that it has itself."""

        def host(self, options: Sequence[str], gateways: Sequence[str]) -> list[str]:
            """The addresses that stand for the host, where the namespace has these gateways."""


KINDS = ("pasta", "slirp4netns")
_PATIENCE_S = 10.0
_SAID_BYTES = 64 << 10
_SIG_SETMASK, _SIGPIPE = 2, 13
_DESCRIPTORS = 1 << 20


def kind(name: str) -> Kind:
    """The program of that name, one of KINDS."""
    if name == "pasta":
        from minirun.network import pasta

        return pasta
    from minirun.network import slirp

    return slirp


def start(
    name: str, options: Sequence[str], ports: Sequence[Held], namespace: int, directory: int,
    note: Callable[[int], None], run: Callable[[Sequence[Call]], object], user_namespace: str = "",
) -> int:  # fmt: skip
    """Give a network namespace a way out, and the host ports that lead into it; return when it is there.

    Args:
        name: one of KINDS.
        options: as its module has read them.
        ports: that lead into it; nobody holds them any more.
        namespace: descriptor of it.
        directory: descriptor of one that is the caller's own; what is made there is gone on return.
        note: is called with the pid before the process does anything.
        run: does system calls in this process: launch/machine.py.
        user_namespace: a path of the one that it belongs to, where that is not the caller's.

    Returns:
        The pid of the process.

    Raises:
        MinirunError: it ended, or said nothing; it does not run any more.
    """
    program = kind(name)
    attempt = f"connect a container by {name}"
    words = program.words(options, ports, user_namespace)
    said = os.memfd_create("said", os.MFD_CLOEXEC)
    pipes = [*os.pipe2(os.O_CLOEXEC), *os.pipe2(os.O_CLOEXEC)]
    go, gone, ready, told = pipes
    pid = 0
    try:
        pid = os.fork()
        if pid == 0:
            _become(words, {0: namespace, 1: said, 2: said, program.READY: told}, (go, gone), directory, run)
        os.close(pipes.pop())  # so that its end is seen
        note(pid)
        os.write(gone, b"g")
        _wait(attempt, program, ready, said)
        program.publish(directory, ports)
    except BaseException:
        if pid:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
        raise
    finally:
        for descriptor in (*pipes, said):
            os.close(descriptor)
    return pid


def _become(
    words: list[str], places: dict[int, int], gate: tuple[int, int], directory: int,
    run: Callable[[Sequence[Call]], object],
) -> NoReturn:  # fmt: skip
    """Be the program, once the caller says so; runs in the child."""
    import _signal
    import fcntl
    import resource

    try:
        os.close(gate[1])
        if os.read(gate[0], 1):  # or whoever was to note us was killed
            # none of them is at a place that another is to have
            high = {place: fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 16) for place, descriptor in places.items()}
            for place, descriptor in high.items():
                os.dup2(descriptor, place)
            os.fchdir(directory)
            os.closerange(max(places) + 1, _DESCRIPTORS)  # what the caller's caller has left open
            # what is beyond is not written: Python ignores SIGXFSZ, and so does what it executes
            resource.setrlimit(resource.RLIMIT_FSIZE, (_SAID_BYTES, _SAID_BYTES))
            _signal.pthread_sigmask(_SIG_SETMASK, ())
            _signal.signal(_SIGPIPE, _signal.SIG_DFL)  # pasta takes it for a failure if it is ignored
            _leave_the_mounts(run)
            os.execvp(words[0], words)
    except OSError as error:
        os.write(2, os.strerror(error.errno or 0).encode())
    finally:
        os._exit(125)


def _leave_the_mounts(run: Callable[[Sequence[Call]], object]) -> None:
    """Have what the program does to mounts be its own.

    slirp4netns 1.2.0 keeps its sandbox apart from the host's mounts at / alone, and what it unmounts in there below
    another one that is shared, as /dev/pts, is unmounted on the host: see mount_namespaces(7). What the host unmounts
    goes in there, too: nothing is kept busy.
    """
    try:
        run([Call("unshare", CLONE_NEWNS), Call("mount", 0, "/", 0, MS_REC | MS_SLAVE, 0)])
    except OSError as error:
        if error.errno != EPERM:  # who may not cannot change the host's either
            raise


def _wait(attempt: str, program: Kind, ready: int, said: int) -> None:
    poll = select.poll()
    poll.register(ready, select.POLLIN)
    told = poll.poll(_PATIENCE_S * 1000)
    if told and os.read(ready, 64):
        return
    text = os.pread(said, 4096, 0).decode(errors="replace")
    lines = [line for line in text.splitlines() if line.strip() and "syslog" not in line]
    reason = "it ended without a word" if told else f"it was not ready within {_PATIENCE_S:.0f} s"
    raise MinirunError(attempt, f"{program.PROGRAM} says: {lines[-1]}" if lines else reason)


def find(name: str) -> None:
    """See that the program of that name is there.

    Raises:
        Unsupported: it is not installed.
    """
    program = kind(name)
    if not any(os.access(f"{folder}/{program.PROGRAM}", os.X_OK) for folder in os.get_exec_path()):
        remedy = f"install it: `apt-get install {program.PACKAGE}`"
        raise Unsupported(f"connect a container by {name}", f"{program.PROGRAM} is not there", remedy)
