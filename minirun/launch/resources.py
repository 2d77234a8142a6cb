"""What the kernel holds a process to besides its cgroup: its rlimits, and its place in the OOM killer's order.

--ulimit nofile=1024:2048     prlimit64(0, RLIMIT_NOFILE, {soft=1024, hard=2048}, 0)      see getrlimit(2)
--oom-score-adj 500           /proc/self/oom_score_adj 500                                see proc(5)
"""

from __future__ import annotations

from struct import pack

from minirun.errors import BadInput, Unsupported
from minirun.kernel.call import Call, Struct
from minirun.kernel.names import AT_FDCWD, O_CLOEXEC, O_WRONLY, Named
from minirun.rootfs.attach import SCRATCH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# asm-generic/resource.h; the names are Docker's
RLIMITS = {
    "core": Named("RLIMIT_CORE", 4), "cpu": Named("RLIMIT_CPU", 0), "data": Named("RLIMIT_DATA", 2),
    "fsize": Named("RLIMIT_FSIZE", 1), "locks": Named("RLIMIT_LOCKS", 10), "memlock": Named("RLIMIT_MEMLOCK", 8),
    "msgqueue": Named("RLIMIT_MSGQUEUE", 12), "nice": Named("RLIMIT_NICE", 13), "nofile": Named("RLIMIT_NOFILE", 7),
    "nproc": Named("RLIMIT_NPROC", 6), "rss": Named("RLIMIT_RSS", 5), "rtprio": Named("RLIMIT_RTPRIO", 14),
    "rttime": Named("RLIMIT_RTTIME", 15), "sigpending": Named("RLIMIT_SIGPENDING", 11),
    "stack": Named("RLIMIT_STACK", 3),
}  # fmt: skip
UNLIMITED = (1 << 64) - 1
_CAP_SYS_RESOURCE = 24


def read(text: str) -> tuple[str, int, int, int]:
    """Read one --ulimit, ``NAME=SOFT[:HARD]``, where -1 is no limit.

    Returns:
        (Docker's name, the kernel's number, soft, hard).

    Raises:
        BadInput: it is none.
        Unsupported: it is above our own hard limit, which we may not raise.
    """
    attempt = f"use --ulimit {text}"
    name, equals, values = text.partition("=")
    if name not in RLIMITS:
        raise BadInput(attempt, f"there is no limit {name!r}", f"there are {', '.join(RLIMITS)}")
    first, colon, second = values.partition(":")
    soft = _value(first)
    hard = _value(second) if colon else soft
    if not equals or soft is None or hard is None:
        raise BadInput(attempt, "it is not NAME=SOFT[:HARD]", f"write it as --ulimit {name}=1024:2048; -1 is no limit")
    if soft > hard:
        raise BadInput(attempt, "the soft limit is above the hard one", f"write it as --ulimit {name}={second}:{first}")
    _check_raise(attempt, name, hard)
    return name, int(RLIMITS[name]), soft, hard


def _value(text: str) -> int | None:
    if text in ("-1", "unlimited"):
        return UNLIMITED
    return int(text) if text.isascii() and text.isdigit() and int(text) < UNLIMITED else None


def _check_raise(attempt: str, name: str, hard: int) -> None:
    from resource import RLIM_INFINITY, getrlimit

    ours = getrlimit(RLIMITS[name])[1]
    if ours == RLIM_INFINITY or hard <= ours:
        return
    with open("/proc/self/status") as file:
        capabilities = next(int(line.split()[1], 16) for line in file if line.startswith("CapEff"))
    if not capabilities >> _CAP_SYS_RESOURCE & 1:
        raise Unsupported(
            attempt, f"minirun's own hard limit is {ours}, and it has no CAP_SYS_RESOURCE to raise it",
            f"give {name}={ours} or less, or give minirun the capability",
        )  # fmt: skip


def oom_score(adjustment: int) -> Iterator[Call]:
    """Say how early the OOM killer is to choose the process; while the host's /proc is there."""
    text = str(adjustment)
    path = "/proc/self/oom_score_adj"
    yield Call("openat", AT_FDCWD, path, O_WRONLY | O_CLOEXEC, 0, save=SCRATCH, why="--oom-score-adj")
    yield Call("write", SCRATCH, text, len(text), why="--oom-score-adj")
    yield Call("close", SCRATCH)


def limit(rlimits: Sequence[tuple[int, int, int]]) -> Iterator[Call]:
    """Set (resource, soft, hard) limits; while there may be a capability to raise them."""
    names = {int(number): number for number in RLIMITS.values()}
    for resource, soft, hard in rlimits:
        shown = ", ".join(
            f"{word}={'RLIM_INFINITY' if value == UNLIMITED else value}"
            for word, value in (("soft", soft), ("hard", hard))
        )
        yield Call("prlimit64", 0, names[resource], Struct(f"{{{shown}}}", pack("<QQ", soft, hard)), 0, why="--ulimit")
