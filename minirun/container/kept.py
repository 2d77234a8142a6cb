"""Containers that nobody waits for: each has a keeper, the tiny parent of its first process (launch/keeper.c).

    minirun run -d ─fork─▶ child ─plan─▶ container
         │                  └──exec──▶ keeper ── waits for the container, holds its FIFOs and its terminal
         ▼ prints the id, ends

    <runtime>/containers/<id>/      home.kept(id); gone at boot
    ├── stdin stdout stderr   FIFOs; with a terminal one, stdout, into which its output is taken from the pty's master
    ├── keeper                who it is, and the number of the master among its descriptors
    ├── exit                  the wait status and the time of its end, written by the keeper
    ├── lock                  flock of whoever takes the output: the supervisor, or a foreground `run`
    ├── by-hand               there: a person ended it, and it is not to be started again
    ├── usermode              who speaks for its network: see container/usermode.py
    └── *.spool               output on its way into the log: see log/

An exec keeps children, so the child that made the container is its parent still when it has become the keeper, and its
memory is some kilobytes. Whoever else is killed, the keeper knows how the container ended and holds what it wrote last;
it goes when `forget` ends it. The container has its output's FIFOs open for reading, too, so that it never is told that
nobody listens, and anybody can open them again by their paths.
"""

from __future__ import annotations

import os
from errno import EBADF, ENOENT, ESRCH
from struct import Struct

from minirun.home import Home
from minirun.kernel import jsonfile, process

_EXIT = Struct("<3q")  # wait status, seconds, nanoseconds: as keeper.c writes it
EXIT_BYTES = _EXIT.size
_SIGUSR1 = 10
_DEATH_S = 0.1  # for a keeper to be gone; a busy host may take longer, and nobody has to know


class Kept:
    """A container's keeper, as its file tells; the attributes are the keys.

    Attributes:
        pid: of the container's first process.
        start: when that started, in ticks since boot: see process.start_ticks.
        keeper, keeper_start: the same of the keeper.
        master: the number of the terminal's master among the keeper's descriptors; -1 without a terminal.
        owner, owner_start: the same of whoever started it and stays with it; 0 for nobody.
        boot: of which boot of the host they are: see process.boot_id; empty: it was not written down.
    """

    __slots__ = ("boot", "keeper", "keeper_start", "master", "owner", "owner_start", "pid", "start")

    def __init__(
        self, pid: int, start: int, keeper: int, keeper_start: int, master: int, boot: str = "", owner: int = 0,
        owner_start: int = 0,
    ) -> None:  # fmt: skip
        self.pid = pid
        self.start = start
        self.keeper = keeper
        self.keeper_start = keeper_start
        self.master = master
        self.boot = boot
        self.owner = owner
        self.owner_start = owner_start


def read(home: Home, container_id: str) -> Kept | None:
    """The keeper of a container, or None if it has none; the pids of another boot are 0, which is nobody's."""
    try:
        fields = jsonfile.read(f"{home.kept(container_id)}/keeper")
        found = Kept(**{name: fields[name] for name in Kept.__slots__ if name in fields})
    except (OSError, ValueError, TypeError):
        return None
    if found.boot and found.boot != process.boot_id():
        found.pid = found.keeper = found.owner = 0
    return found


def open_exit(home: Home, container_id: str) -> int:
    """A descriptor of the file with the exit status, which stays readable when it is removed.

    Raises:
        FileNotFoundError: the container has no keeper.
    """
    return os.open(f"{home.kept(container_id)}/exit", os.O_RDONLY | os.O_CLOEXEC)


def read_exit(descriptor: int) -> tuple[int, float] | None:
    """What the keeper wrote: the wait status, and when it ended in seconds since 1970; None before that."""
    status, seconds, nanoseconds = _EXIT.unpack(os.pread(descriptor, _EXIT.size, 0))
    return (status, seconds + nanoseconds / 1e9) if seconds else None


def ended(home: Home, container_id: str) -> tuple[int, float] | None:
    """The same by the container's id; None, too, where it has no keeper."""
    try:
        descriptor = open_exit(home, container_id)
    except FileNotFoundError:
        return None
    try:
        return read_exit(descriptor)
    finally:
        os.close(descriptor)


def write_exit(home: Home, container_id: str, status: int, finished: float) -> None:
    """Write what the keeper would have written, had it not been killed."""
    try:
        with open(f"{home.kept(container_id)}/exit", "r+b", 0) as file:
            file.write(_EXIT.pack(status, int(finished), int(finished % 1 * 1e9)))
    except FileNotFoundError:
        pass  # `rm -f` was quicker


def open_master(home: Home, container_id: str) -> int:
    """A descriptor of the master of a container's terminal, had from its keeper: see pidfd_getfd(2).

    Raises:
        ProcessLookupError: the keeper is gone, and the terminal with it.
        FileNotFoundError: it has no keeper, or no terminal.
    """
    from minirun.kernel.call import Call, Slot
    from minirun.launch import machine

    parent = read(home, container_id)
    if parent is None or parent.master < 0:
        raise FileNotFoundError(ENOENT, "it has no terminal")
    pidfd = process.open_pidfd(parent.keeper, parent.keeper_start)
    if pidfd < 0:
        raise ProcessLookupError(ESRCH, "its keeper was killed")
    try:
        return machine.run([Call("pidfd_getfd", pidfd, parent.master, 0, save=Slot(0, "master"))])
    except OSError as error:
        if error.errno not in (ESRCH, EBADF):
            raise
        raise ProcessLookupError(ESRCH, "its keeper has just ended") from None
    finally:
        os.close(pidfd)


def close_input(home: Home, container_id: str) -> None:
    """Let the container read an end, once whoever else writes has closed its input, too; a terminal is hung up."""
    if kept := read(home, container_id):
        process.send(kept.keeper, kept.keeper_start, _SIGUSR1)


def mark_by_hand(home: Home, container_id: str) -> None:
    """Write down that a person wants the container ended: its restart policy does not count until it is started."""
    try:
        with open(f"{home.kept(container_id)}/by-hand", "wb", 0):
            pass
    except FileNotFoundError:
        pass  # it has no keeper, and so nobody who would start it again


def marked_by_hand(home: Home, container_id: str) -> bool:
    """Whether `mark_by_hand` did."""
    return os.path.exists(f"{home.kept(container_id)}/by-hand")


def wake(home: Home) -> bool:
    """Have the supervisor look again; false: there is none, and a keeper that nobody stays with starts one."""
    try:
        descriptor = os.open(home.supervisor_wake, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False  # ENXIO
    try:
        os.write(descriptor, b"w")
    except OSError:
        pass  # EAGAIN: it has enough to wake up for
    finally:
        os.close(descriptor)
    return True


def forget(root: str, runtime: str, container_id: str) -> None:
    """End the keeper and remove its directory. An undo of the journal: idempotent."""
    from minirun.container import supervision
    from minirun.kernel import tree

    home = Home(root, runtime)
    kept = read(home, container_id)
    _end_usermode(home, container_id)
    # the keeper last: were we killed in between, it would have a supervisor go on, or see that it is not needed
    tree.remove(home.kept(container_id))
    if kept:
        process.end(kept.keeper, kept.keeper_start, _DEATH_S)
    supervision.tidy(runtime)


def end_keeper(root: str, runtime: str, container_id: str) -> None:
    """End the keeper alone: the directory tells that the container is to be started again. An undo: idempotent."""
    home = Home(root, runtime)
    _end_usermode(home, container_id)
    if kept := read(home, container_id):
        process.end(kept.keeper, kept.keeper_start, _DEATH_S)


def _end_usermode(home: Home, container_id: str) -> None:
    if os.path.exists(f"{home.kept(container_id)}/usermode"):
        from minirun.container import usermode

        usermode.end(home.root, home.runtime, container_id)
