"""A process becomes like another, as if that were its parent: what children have, and nobody can hand over.

    compared     namespaces, root directory, user, capabilities, filters, labels, cgroup v1, personality, audit session
    taken on     umask, groups, limits, processors, scheduling, nice, out-of-memory score, timer slack, what a core has

What is compared and differs cannot be changed, or not soon enough: who is not like that has to do it himself.
Descriptors, the working directory and the environment are the other's to hand over; a cgroup of version 2 is one's own
from birth: clone3(2).

The other is named by its pid: it must be alive until this is done. See proc(5), credentials(7), namespaces(7).
"""

from __future__ import annotations

import os
import resource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_NAMESPACES = (
    "cgroup", "ipc", "mnt", "net", "pid", "pid_for_children", "time", "time_for_children", "user", "uts",
)  # fmt: skip
# of /proc/PID/status; masks of capabilities and of memory nodes, what seccomp does, and who one is
_SAME = (
    b"Uid", b"Gid", b"CapInh", b"CapPrm", b"CapEff", b"CapBnd", b"CapAmb", b"NoNewPrivs", b"Seccomp",
    b"Seccomp_filters", b"Speculation_Store_Bypass", b"SpeculationIndirectBranch", b"Mems_allowed", b"THP_enabled",
)  # fmt: skip
_SAME_FILES = ("personality", "attr/current", "loginuid", "sessionid")
_TAKEN_FILES = ("oom_score_adj", "timerslack_ns", "coredump_filter")
_LIMITS = range(16)  # RLIM_NLIMITS of asm-generic/resource.h
_BYTES = 8192


class Differs(Exception):
    """The other process is something that this one cannot become; the text says what."""


class Oneself:
    """What this process is, read once, and held against others."""

    __slots__ = ("_files", "_groups", "_namespaces", "_root", "_same")

    def __init__(self) -> None:
        self._namespaces = _namespaces("self")
        self._root = _identity("self")
        self._same = _compared(_status("self"))
        self._files = [_read("self", name) for name in _SAME_FILES]
        self._groups = groups("self")[0]

    def become_like(self, pid: int) -> None:
        """Take on what process *pid* is.

        Raises:
            Differs: it cannot be; nothing was changed.
            OSError: it has ended meanwhile, or has what this process may not have: some was changed.
            ValueError: it has a higher limit than this process may have; some was changed.
        """
        other = str(pid)
        status = _status(other)
        for what, ours, theirs in (
            ("user, capabilities, filters or memory nodes", self._same, _compared(status)),
            ("namespaces", self._namespaces, _namespaces(other)),
            ("root directory", self._root, _identity(other)),
            ("cgroup v1", self._groups, groups(other)[0]),
            ("personality, label or audit session", self._files, [_read(other, name) for name in _SAME_FILES]),
        ):
            if ours != theirs:
                raise Differs(what)
        _take_on(pid, status)


def groups(process: str) -> tuple[list[bytes], str]:
    """The cgroups of a process: its lines of cgroup v1, and the path of the one of cgroup v2, as we see it."""
    lines = _read(process, "cgroup").splitlines()
    unified = next((line[3:] for line in lines if line.startswith(b"0::")), b"")
    return [line for line in lines if not line.startswith(b"0::")], os.fsdecode(unified)


def _take_on(pid: int, status: Mapping[bytes, bytes]) -> None:
    os.umask(int(status[b"Umask"], 8))
    wanted = [int(number) for number in status[b"Groups"].split()]
    if wanted != os.getgroups():
        os.setgroups(wanted)
    for limit in _LIMITS:
        theirs = resource.prlimit(pid, limit)
        if theirs != resource.getrlimit(limit):
            resource.setrlimit(limit, theirs)
    processors = os.sched_getaffinity(pid)
    if processors != os.sched_getaffinity(0):
        os.sched_setaffinity(0, processors)
    how = (os.sched_getscheduler(pid), os.sched_getparam(pid).sched_priority)
    if how != (os.sched_getscheduler(0), os.sched_getparam(0).sched_priority):
        os.sched_setscheduler(0, how[0], os.sched_param(how[1]))
    nice = os.getpriority(os.PRIO_PROCESS, pid)
    if nice != os.getpriority(os.PRIO_PROCESS, 0):
        os.setpriority(os.PRIO_PROCESS, 0, nice)
    for name in _TAKEN_FILES:
        value = _read(str(pid), name)
        if value != _read("self", name):
            _write(name, value)


def _write(name: str, value: bytes) -> None:
    text = b"0x" + value if name == "coredump_filter" else value
    descriptor = os.open(f"/proc/self/{name}", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text)
    finally:
        os.close(descriptor)


def _namespaces(process: str) -> list[str]:
    found = []
    for name in _NAMESPACES:
        try:
            found.append(os.readlink(f"/proc/{process}/ns/{name}"))
        except FileNotFoundError:
            found.append("")  # no such kind in this kernel, or no child yet in the pid namespace of its children
    return found


def _identity(process: str) -> tuple[int, int]:
    status = os.stat(f"/proc/{process}/root")
    return status.st_dev, status.st_ino


def _status(process: str) -> dict[bytes, bytes]:
    lines = (line.partition(b":\t") for line in _read(process, "status").splitlines())
    return {name: value for name, _, value in lines}


def _compared(status: Mapping[bytes, bytes]) -> list[bytes | None]:
    return [status.get(name) for name in _SAME]


def _read(process: str, name: str) -> bytes:
    """A file of a process; nothing where this kernel has no such file, or nothing to say in it."""
    try:
        descriptor = os.open(f"/proc/{process}/{name}", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        if not os.path.exists(f"/proc/{process}"):
            raise ProcessLookupError from None
        return b""
    try:
        return os.read(descriptor, _BYTES)
    except OSError:
        return b""  # EINVAL: no security module
    finally:
        os.close(descriptor)
