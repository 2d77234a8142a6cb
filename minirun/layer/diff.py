"""What a stack of upper directories changed in the stack below it, as `docker diff` prints it.

in the uppers                       in the base        printed
----------------------------------  -----------------  ---------------------------------------------------
a whiteout                          something          D
a whiteout                          nothing            -
anything                            nothing            A, and A for all that is in a directory
a directory                         a directory        C if it differs, or if anything in it is printed
an opaque directory                 a directory        the same, and D for what it shows no more
anything                            anything           C
"""

from __future__ import annotations

import os
from stat import S_ISDIR

from minirun.layer import stack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def changes(uppers: Sequence[str], base: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Compare.

    Args:
        uppers: directories that were written on top, bottom to top.
        base: the directories under them, bottom to top.

    Yields:
        ``(kind, path)``: ``A`` added, ``C`` changed, ``D`` deleted; an absolute path; sorted by the paths' bytes.

    Raises:
        OSError: a directory could not be read.
    """
    kinds: dict[bytes, str] = {}
    added = None  # a directory that the base has not got: nor has it anything in there
    emptied = None  # an opaque one, whose missing contents were looked for
    for path, upper, opaque in stack.walk(uppers):
        if added is not None and path.startswith(added):
            if not stack.is_whiteout(upper.stat):  # of what only a lower upper had
                kinds[path] = "A"
            continue
        lower = stack.find(base, path)
        kind = _kind(upper, lower)
        if kind:
            kinds[path] = kind
        if kind == "A" and S_ISDIR(upper.stat.st_mode):
            added = path + b"/"
        elif opaque and lower is not None and (emptied is None or not path.startswith(emptied)):
            emptied = path + b"/"
            kinds.update((gone, "D") for gone in _gone(uppers, base, path))
    for path in list(kinds):
        above = path.rpartition(b"/")[0]
        while above and above not in kinds:
            kinds[above] = "C"
            above = above.rpartition(b"/")[0]
    for path in sorted(kinds):
        yield kinds[path], "/" + os.fsdecode(path)


def _kind(upper: stack.Found, lower: stack.Found | None) -> str:
    if stack.is_whiteout(upper.stat):
        return "D" if lower is not None else ""
    if lower is None:
        return "A"
    if S_ISDIR(upper.stat.st_mode) and S_ISDIR(lower.stat.st_mode):
        # copied up for what is in it, with owner, mode and times
        return "C" if _described(upper.stat) != _described(lower.stat) else ""
    return "C"


def _described(stat: os.stat_result) -> tuple[int, ...]:
    return stat.st_mode, stat.st_uid, stat.st_gid, stat.st_mtime_ns


def _gone(uppers: Sequence[str], base: Sequence[str], path: bytes) -> Iterator[bytes]:
    """What the base shows in the directory *path* and the opaque one above it does not."""
    seen_gone = None
    for below, lower, _opaque in stack.walk(stack.merged(base, path)):
        if stack.is_whiteout(lower.stat) or (seen_gone is not None and below.startswith(seen_gone)):
            continue
        upper = stack.find(uppers, path + b"/" + below)
        if upper is None:
            yield path + b"/" + below
        if upper is None or not S_ISDIR(upper.stat.st_mode):
            seen_gone = below + b"/"
