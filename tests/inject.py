"""Death and errors at a system call of one's choice, by strace: no hook in minirun is needed.

dry pass    strace -y …                                        ─▶ Point(openat, 57), Point(mkdir, 3), …
strike      strace -e inject=openat:signal=SIGKILL:when=57 …   killed on entering the call, which is not done
            strace -e inject=openat:error=ENOSPC:when=57 …     the call is not done, and says so

Each Point is a call by which the command changes the host. Killed before every one of them and at its end, it has been
killed in every state that it can leave behind. Only its own process is traced, not the container.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

THOROUGH = bool(os.environ.get("MINIRUN_TEST_THOROUGH"))

MAKE = ("openat", "open", "creat", "mkdir", "mkdirat", "mknod", "mknodat", "symlink", "symlinkat", "link", "linkat")
MOVE = ("rename", "renameat", "renameat2", "unlink", "unlinkat", "rmdir")
FILL = ("write", "pwrite64", "writev", "ftruncate", "fallocate", "copy_file_range", "sendfile", "ioctl")
DESCRIBE = (
    "chmod", "fchmod", "fchmodat", "chown", "fchown", "lchown", "fchownat", "utimensat",
    "setxattr", "lsetxattr", "fsetxattr", "removexattr", "lremovexattr", "fremovexattr",
)  # fmt: skip
SYNC = ("fsync", "fdatasync", "syncfs")
# That the command begins, runs, and ends: where minirun is killed most often in real life.
LIVE = ("clone3", "fork", "vfork", "wait4", "waitid", "exit_group")
CHANGING = (*MAKE, *MOVE, *FILL, *DESCRIBE, *SYNC, *LIVE)

KILL = "signal=SIGKILL"

_LINE = re.compile(r"^(\w+)\((.*)$")
_CGROUP = re.compile(r'mkdir\("(/sys/fs/cgroup/[^"]*/[0-9a-f]{64})"')
_STANDARD = re.compile(r"[012]<")


@dataclass(frozen=True, slots=True)
class Point:
    """A call of a command: the *number*-th of that name, from 1; *text* is how it went in the dry pass."""

    call: str
    number: int
    text: str

    def __str__(self) -> str:
        """Name it as a test's report does."""
        return f"{self.call} {self.number}: {self.text[:160]}"


@dataclass(frozen=True, slots=True)
class Struck:
    """How a command ended. *status* is -9 where it was killed; *cgroups* are those it made."""

    status: int
    stdout: str
    stderr: str
    lines: list[str]
    cgroups: list[Path]


def trace(
    command: Sequence[str], environment: Mapping[str, str], log: Path, options: Sequence[str], cwd: Path | None = None
) -> Struck:
    """Run *command* under strace with *options*; the log goes to *log*."""
    result = subprocess.run(
        ["strace", "-qq", "-y", "-e", "signal=none", "-o", log, *options, "--", *command],
        env=environment, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    lines = log.read_text(errors="replace").splitlines()
    cgroups = [Path(found[1]) for line in lines if (found := _CGROUP.match(line))]
    return Struck(result.returncode, result.stdout, result.stderr, lines, cgroups)


def points(lines: Sequence[str]) -> list[Point]:
    """The calls in a dry pass's log by which the command changed the host, in their order."""
    numbers: dict[str, int] = {}
    found = []
    for line in lines:
        if not (match := _LINE.match(line)):
            continue
        call, arguments = match.groups()
        numbers[call] = number = numbers.get(call, 0) + 1
        if changes(call, arguments):
            found.append(Point(call, number, line))
    return found


def changes(call: str, arguments: str) -> bool:
    """Whether a call changes the host, as opposed to this process."""
    if call in ("openat", "open"):
        return "O_CREAT" in arguments or "O_TRUNC" in arguments
    if call == "ioctl":
        return "FICLONE" in arguments
    if call in ("write", "writev"):
        return not _STANDARD.match(arguments)
    return call in CHANGING


def sample(found: Sequence[Point], few: int, edge: int = 50, step: int = 7) -> list[Point]:
    """Choose among points: *few*, evenly; in a thorough test all, or of a long row both edges and every *step*-th."""
    if THOROUGH:
        return [p for place, p in enumerate(found) if not edge <= place < len(found) - edge or place % step == 0]
    if len(found) <= few:
        return list(found)
    return [found[place * (len(found) - 1) // (few - 1)] for place in range(few)]


def dry_pass(command: Sequence[str], environment: Mapping[str, str], log: Path, cwd: Path | None = None) -> Struck:
    """Run *command* to its end, and write down what it did."""
    return trace(command, environment, log, ["-e", f"trace={','.join(CHANGING)}"], cwd)


def strike(
    command: Sequence[str], environment: Mapping[str, str], log: Path, point: Point, what: str, cwd: Path | None = None
) -> Struck:
    """Run *command*, and let *what* happen as it enters the call *point*: KILL, or ``error=ENOSPC``."""
    options = ["-e", f"trace={point.call},mkdir", "-e", f"inject={point.call}:{what}:when={point.number}"]
    return trace(command, environment, log, options, cwd)
