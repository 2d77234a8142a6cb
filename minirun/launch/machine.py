"""The machine that runs plans: encodes a list of calls, runs it here or in a new process.

    struct call (64 bytes, little endian)               data                       relocations
    ┌────────┬──────┬──────┬──────────┬─────────┬──────┐ ┌──────────────────────┐   offsets in data of pointers
    │ number │ save │ skip │ tolerate │ kind[6] │ args │ │ strings, structures, │   to data: elements of argv
    │ u16    │ u8   │ u8   │ u16[2]   │ u8[6],2 │ i64  │ │ vectors of pointers  │   and envp, a filter's program
    └────────┴──────┴──────┴──────────┴─────────┴──────┘ └──────────────────────┘
    kind: 0 a number, 1 an offset into data, 2 a slot

The C extension (_plan.c) runs it in a child that shares our memory; fallback.py does without a compiler, by ctypes.
"""

from __future__ import annotations

from errno import EINVAL, errorcode
from os import fsencode, strerror
from struct import Struct as Form
from struct import pack

from minirun.kernel.call import Slot, Struct, Vector
from minirun.kernel.names import SYSCALLS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from minirun.kernel.call import Argument, Call

_CALL = Form("<HBBHH6B2x6q")


class Encoded:
    """A plan as the machine takes it."""

    __slots__ = ("calls", "data", "relocations")

    def __init__(self, plan: Sequence[Call]) -> None:
        """Encode *plan*."""
        self.data = bytearray(8)  # offset 0 stays unused
        self.relocations: list[int] = []
        places: dict[str | bytes, int] = {}
        parts = []
        for call in plan:
            kinds, values = [0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]
            for index, arg in enumerate(call.args):
                if isinstance(arg, int):
                    values[index] = arg
                elif isinstance(arg, Slot):
                    kinds[index], values[index] = 2, arg.index
                elif isinstance(arg, (str, bytes)):
                    place = places.get(arg)
                    if place is None:
                        place = places[arg] = self._put(fsencode(arg) + b"\0")
                    kinds[index], values[index] = 1, place
                else:
                    kinds[index], values[index] = 1, self._structure(arg)
            tolerate = (*call.tolerate, 0, 0)
            save = call.save.index + 1 if call.save else 0
            parts.append(_CALL.pack(SYSCALLS[call.name], save, call.skip, tolerate[0], tolerate[1], *kinds, *values))
        self.calls = b"".join(parts)

    def _put(self, data: bytes) -> int:
        place = len(self.data)
        self.data += data
        self.data += bytes(-len(data) & 7)
        return place

    def _structure(self, arg: Struct | Vector | Argument) -> int:
        if isinstance(arg, Vector):
            strings = [self._put(fsencode(text) + b"\0") for text in arg.strings]
            place = self._put(pack(f"<{len(strings) + 1}Q", *strings, 0))
            self.relocations += range(place, place + 8 * len(strings), 8)
            return place
        if isinstance(arg, Struct):
            place = self._put(arg.data)
            if arg.pointed is not None:
                at, data = arg.pointed
                self.data[place + at : place + at + 8] = pack("<Q", self._put(data))
                self.relocations.append(place + at)
            return place
        raise TypeError(f"a system call takes no {type(arg).__name__}")


class CallFailed(OSError):
    """A call of a plan failed; errno and, where it has one, filename are set.

    Attributes:
        call: the call that failed.
    """

    def __init__(self, call: Call, error: int) -> None:
        self.call = call
        super().__init__(error, strerror(error))

    @property
    def may_lack_lowerdir_plus(self) -> bool:
        """Whether the overlay was refused as a kernel refuses it that is older than ``lowerdir+``, of Linux 6.8.

        From 6.5 on it says so at the option. Before, options were text that was read at the end, and that can have
        other reasons, too: whoever then tries the older way learns them.
        """
        return self.errno == EINVAL and self.call.name == "fsconfig" and self.call.why.startswith("stack ")

    def __str__(self) -> str:
        """The call as a man page would write it, and the errno by name."""
        return f"{self.call!r}: {errorcode.get(self.errno or 0, self.errno)} ({self.strerror})"


class Process:
    """What `spawn` made: the first process of a container.

    Attributes:
        pid: as the host sees it; a child of ours, to be waited for.
        pidfd: descriptor of the same process, close-on-exec.
    """

    __slots__ = ("pid", "pidfd")

    def __init__(self, pid: int, pidfd: int) -> None:
        self.pid = pid
        self.pidfd = pidfd


def run(plan: Sequence[Call], times: bytearray | None = None) -> int:
    """Run *plan* in this process.

    Returns:
        The result of the last call that saved one.

    Raises:
        CallFailed: a call failed; the ones before it were done.
    """
    encoded = Encoded(plan)
    failed, error, result = _machine().run(encoded.calls, encoded.data, _offsets(encoded), times)
    if failed >= 0:
        raise CallFailed(plan[failed], error)
    return int(result)


def spawn(plan: Sequence[Call], clone_flags: int, cgroup: int, times: bytearray | None = None) -> Process:
    """Run *plan*, which ends in an exec, in a new process; returns once that exec is done.

    Args:
        plan: the calls.
        clone_flags: CLONE_NEW*.
        cgroup: descriptor of the cgroup directory in which the process is born.
        times: takes ``len(plan) + 1`` readings of CLOCK_MONOTONIC, 8 bytes each in ns.

    Raises:
        CallFailed: a call failed; the process is gone and reaped.
        OSError: clone3(2) failed.
    """
    encoded = Encoded(plan)
    pid, pidfd, failed, error = _machine().spawn(
        encoded.calls, encoded.data, _offsets(encoded), clone_flags, cgroup, times
    )
    if failed >= 0:
        from os import close, waitpid

        waitpid(pid, 0)
        close(pidfd)
        raise CallFailed(plan[failed], error)
    return Process(pid, pidfd)


def compiled() -> bool:
    """Whether the C extension is there."""
    return bool(_machine().__name__.endswith("._plan"))


def fork(cgroup: int) -> int:
    """os.fork(), with the child in another cgroup; one without threads, if we have others.

    Args:
        cgroup: descriptor of the directory of its group.

    Raises:
        OSError: clone3(2) failed. ENODEV: the group is gone.
    """
    import _thread

    if _thread._count():  # the other threads
        from minirun.launch import fallback

        return fallback.fork(cgroup)
    return int(_machine().fork(cgroup))


def _offsets(encoded: Encoded) -> bytes:
    return pack(f"<{len(encoded.relocations)}I", *encoded.relocations)


def _machine() -> Any:
    try:
        from minirun.launch import _plan  # type: ignore[attr-defined]  # compiled at set-up
    except ImportError:
        from minirun.launch import fallback

        return fallback
    return _plan
