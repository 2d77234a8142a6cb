"""A command goes into a container that runs: a process of ours joins its namespaces, and gives away what it gave away.

      clone3(into its cgroup)                                a member from its first instruction
      │  setsid ─ stub                                       the host's paths still mean something
      ▼  setns(mnt ipc uts net cgroup; pid, for children)    ── from here on no path can name the host ──
      │  descriptors 0 1 2 ─ working directory
      ▼  confine ─ become                                    as a new container's plan ends: see ending.py
      execveat(stub) ─ fork ─▶ execve(the command)           the first that the container's processes see of it

Until its exec the process has our memory, and until its setns the host's root. Whoever sees a process and has
CAP_SYS_PTRACE, as --cap-add gives it, goes into both by /proc/PID/mem and /proc/PID/root. So it is born in the pid
namespace only when neither is left, by the stub: what is seen then has the rights of the command and no others
(CVE-2016-9962).

Where there is no stub, or a filter by which it cannot fork, the process itself is born there, and is not dumpable:
those without that capability may not look into it. See ptrace(2), "Ptrace access mode checking".
"""

from __future__ import annotations

import os
from errno import ECHILD

from minirun import caller
from minirun.kernel.call import Call
from minirun.kernel.names import (
    CLONE_NEWCGROUP,
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUTS,
    MOUNT_ATTR_NOSUID,
    MOUNT_ATTR_RDONLY,
    PR_SET_DUMPABLE,
    TIOCSCTTY,
)
from minirun.launch import ending, machine
from minirun.rootfs import attach
from minirun.rootfs.attach import STUB

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import TypeVar

    from minirun.launch.machine import Process
    from minirun.security.labels import Label
    from minirun.security.seccomp import Filter
    from minirun.security.user import User

    Made = TypeVar("Made")

# one call for all: since Linux 5.8 a pidfd stands for the namespaces of its process
NAMESPACES = CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET | CLONE_NEWCGROUP


class Entry:
    """One command that is to run in a container beside its first process.

    Attributes:
        pidfd: of that first process.
        terminal: descriptor of the slave that becomes its terminal; None: descriptors 0, 1 and 2 are the caller's own.
        redirects: (descriptor, place) pairs: what takes the place of the caller's 0, 1 or 2.
        cwd, user, capabilities, argv, env, labels, rlimits, oom_score_adj, seccomp, no_new_privileges, stub,
            status: as Spec has them.
        init: never: it is not PID 1.
        born: write end of a pipe that takes the pid of the command, which the stub forks; -1: no other is forked.
        mapped: whether that has a user namespace of its own.
        owner: whose terminal it is, as the host sees that uid.
    """

    __slots__ = (
        "argv", "born", "capabilities", "cwd", "env", "init", "labels", "mapped", "no_new_privileges", "oom_score_adj",
        "owner", "pidfd", "redirects", "rlimits", "seccomp", "status", "stub", "terminal", "user",
    )  # fmt: skip

    def __init__(
        self,
        *,
        pidfd: int,
        terminal: int | None,
        redirects: Sequence[tuple[int, int]],
        cwd: str,
        user: User,
        capabilities: int,
        argv: Sequence[str],
        env: Sequence[str],
        labels: Sequence[Label],
        rlimits: Sequence[tuple[int, int, int]],
        oom_score_adj: int | None,
        seccomp: Filter | None,
        no_new_privileges: bool,
        stub: str,
        status: int,
        mapped: bool = False,
        owner: int = -1,
    ) -> None:
        self.pidfd = pidfd
        self.terminal = terminal
        self.redirects = redirects
        self.cwd = cwd
        self.user = user
        self.capabilities = capabilities
        self.argv = argv
        self.env = env
        self.labels = labels
        self.rlimits = rlimits
        self.oom_score_adj = oom_score_adj
        self.seccomp = seccomp
        self.no_new_privileges = no_new_privileges
        self.stub = stub
        self.status = status
        self.mapped = mapped
        self.owner = user.uid if owner < 0 else owner
        self.init = False
        self.born = -1


def plan(entry: Entry) -> list[Call]:
    """List the calls that make *entry* a process, from its birth in the container's cgroup on."""
    return [*entering(entry), *_streams(entry), *confining(entry), *ending.become(entry, entry.born)]


def entering(entry: Entry) -> Iterator[Call]:
    """The calls by which a process that is in the container's cgroup, at least, gets to all else it has."""
    yield Call("setsid", why="a session of its own: no terminal of the host controls it, nor it one")
    if entry.oom_score_adj is not None:
        from minirun.launch import resources

        yield from resources.oom_score(entry.oom_score_adj)
    if entry.stub:
        yield attach.clone(entry.stub, save=STUB, why="the program that becomes the command")
        attributes = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID
        yield attach.allow(STUB, attributes, why="no /proc/PID/exe is writable (CVE-2019-5736)")
    kinds = NAMESPACES if entry.born < 0 else NAMESPACES | CLONE_NEWPID
    yield Call("setns", entry.pidfd, kinds, why="the container's mounts, its root, and all that it has of its own")


def confining(entry: Entry) -> Iterator[Call]:
    """The calls by which it gives away what the command is not to have."""
    if not entry.mapped:
        return ending.confine(entry)
    from minirun.launch import userns

    return ending.confine(entry, userns.enter(entry.pidfd))


def _streams(entry: Entry) -> Iterator[Call]:
    if entry.terminal is not None:
        for place in (0, 1, 2):
            yield Call("dup3", entry.terminal, place, 0, why="its terminal")
        if entry.born < 0:  # the session of who is forked is another: the stub does it there
            yield Call("ioctl", 0, TIOCSCTTY, 0, why="which controls its session")
    for descriptor, place in entry.redirects:
        yield Call("dup3", descriptor, place, 0, why="nothing of the host's that has a path")
    yield from attach.working_directory(entry.cwd)


def spawn(entry: Entry, cgroup: int) -> Process:
    """Make *entry* a process; returns once its stub is executed.

    Args:
        entry: the command.
        cgroup: descriptor of the directory of the group in which it is born.

    Raises:
        CallFailed: a call of the plan failed, or the container has ended (ESRCH).
        OSError: clone3(2) failed. EAGAIN: its limit of processes. EBUSY, EOPNOTSUPP: the group may have no processes.
            ENOMEM: the container has ended, or there is none. ECHILD: what was to fork the command was killed.
    """
    if not entry.stub or (entry.seccomp and not entry.seccomp.forks):
        return among(entry.pidfd, lambda: machine.spawn(plan(entry), 0, cgroup))
    told, entry.born = os.pipe2(os.O_CLOEXEC)
    try:
        try:
            between = machine.spawn(plan(entry), 0, cgroup)
        finally:
            os.close(entry.born)
        os.close(between.pidfd)
        pid = int.from_bytes(os.read(told, 4), "little")
        status = os.waitpid(between.pid, 0)[1]
    finally:
        os.close(told)
    if not pid:
        error = os.WEXITSTATUS(status) if os.WIFEXITED(status) else ECHILD
        raise OSError(error, os.strerror(error))
    return machine.Process(pid, os.pidfd_open(pid))  # a child of ours: nobody else has its number until we wait for it


def among(pidfd: int, spawn: Callable[[], Made]) -> Made:
    """Have the process that *spawn* makes be born in the pid namespace of another.

    Raises:
        CallFailed: that has ended (ESRCH); and what *spawn* raises.
    """
    ourselves = os.pidfd_open(os.getpid())
    try:
        machine.run(
            [
                Call("prctl", PR_SET_DUMPABLE, 0, 0, 0, 0, why="nobody in there looks into our memory"),
                Call("setns", pidfd, CLONE_NEWPID, why="children are born in there; we stay"),
            ]
        )
        try:
            return spawn()
        finally:
            # who makes children elsewhere makes no threads: see clone(2), CLONE_THREAD. For an ordinary user there is
            # no way back: where he came from is a namespace of the host's.
            if not caller.ROOTLESS:
                machine.run([Call("setns", ourselves, CLONE_NEWPID)])
    finally:
        os.close(ourselves)
