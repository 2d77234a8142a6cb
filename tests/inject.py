"""Death and errors at a system call of one's choice, by strace: no hook in minirun is needed.

dry pass    strace -y …                                        ─▶ Point(openat, 57), Point(mkdir, 3), …
strike      strace -e inject=openat:signal=SIGKILL:when=57 …   killed on entering the call, which is not done
            strace -e inject=openat:error=ENOSPC:when=57 …     the call is not done, and says so

Each Point is a call by which the command changes the host. Killed before every one of them and at its end, it has been
killed in every state that it can leave behind. Only its own process is traced, not the container.

A container that is kept is made by a child of the command, which then is its keeper. That child is struck like this:

command ── ptrace(2) ──▶ its first fork: both are let go, the child stands still ── strace -p child … ──▶ it goes on
"""

from __future__ import annotations

import ctypes
import os
import re
import signal
import subprocess
import time
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
LIVE = ("clone", "clone3", "fork", "vfork", "wait4", "waitid", "poll", "exit_group")
CHANGING = (*MAKE, *MOVE, *FILL, *DESCRIBE, *SYNC, *LIVE, "execve")

KILL = "signal=SIGKILL"
PATIENCE_S = 60.0

_LINE = re.compile(r"^(\w+)\((.*)$")
_CGROUP = re.compile(r'mkdir\("(/sys/fs/cgroup/[^"]*/[0-9a-f]{64})"')
_STANDARD = re.compile(r"[012]<")
# see ptrace(2)
_TRACEME, _CONT, _DETACH, _SETOPTIONS, _GETEVENTMSG = 0, 7, 17, 0x4200, 0x4201
_TRACE_FORK, _FORKED = 1 << 1, signal.SIGTRAP | 1 << 8
_libc = ctypes.CDLL(None, use_errno=True)


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
        [*_strace(log, options), "--", *command],
        env=environment, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE_S,
        check=False,
    )  # fmt: skip
    return _struck(result.returncode, result.stdout, result.stderr, log)


def trace_child(command: Sequence[str], environment: Mapping[str, str], log: Path, options: Sequence[str]) -> Struck:
    """Run *command*, and strace with *options* on the first process that it forks; the log goes to *log*."""
    log.write_text("")
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: _ptrace(_TRACEME, 0),  # noqa: PLW1509 - another thread only waits
    ) as process:  # fmt: skip
        child = _hold_first_child(process.pid)
        with subprocess.Popen([*_strace(log, options), "-p", str(child)], stderr=subprocess.PIPE) as tracer:
            while f"TracerPid:\t{tracer.pid}\n" not in Path(f"/proc/{child}/status").read_text():
                assert tracer.poll() is None, tracer.stderr and tracer.stderr.read()
                time.sleep(0.001)
            os.kill(child, signal.SIGCONT)
            out, err = process.communicate(timeout=PATIENCE_S)
            tracer.wait(PATIENCE_S)
    return _struck(process.returncode, out, err, log)


def _hold_first_child(pid: int) -> int:
    """Let *pid*, which has just asked to be traced, run until it forks; it goes on, and its child is stopped."""
    os.waitpid(pid, 0)  # its exec
    _ptrace(_SETOPTIONS, pid, _TRACE_FORK)
    passed_on = 0
    while True:
        _ptrace(_CONT, pid, passed_on)
        _, status = os.waitpid(pid, 0)
        assert os.WIFSTOPPED(status), f"it ended without a fork: {status:#x}"
        if status >> 8 == _FORKED:
            break
        passed_on = os.WSTOPSIG(status)
    message = ctypes.c_ulong()
    _ptrace(_GETEVENTMSG, pid, ctypes.addressof(message))
    os.waitpid(message.value, 0)
    _ptrace(_DETACH, message.value, signal.SIGSTOP)
    _ptrace(_DETACH, pid)
    return message.value


def _ptrace(request: int, pid: int, data: int = 0) -> None:
    if _libc.ptrace(ctypes.c_long(request), ctypes.c_long(pid), ctypes.c_void_p(), ctypes.c_void_p(data)) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _strace(log: Path, options: Sequence[str]) -> list[str | Path]:
    return ["strace", "-qq", "-y", "-e", "signal=none", "-o", log, *options]


def _struck(status: int, stdout: str, stderr: str, log: Path) -> Struck:
    lines = log.read_text(errors="replace").splitlines()
    cgroups = [Path(found[1]) for line in lines if (found := _CGROUP.match(line))]
    return Struck(status, stdout, stderr, lines, cgroups)


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
    if call == "execve":
        return '"minirun-keeper' in arguments
    return call in CHANGING


def sample(found: Sequence[Point], few: int, edge: int = 50, step: int = 7) -> list[Point]:
    """Choose among points: a third of *few*, evenly, so that all cases of all tests fit into the time that there is.

    In a thorough test it is all, or of a long row both edges and every *step*-th.
    """
    if THOROUGH:
        return [p for place, p in enumerate(found) if not edge <= place < len(found) - edge or place % step == 0]
    few = max(2, (few + 2) // 3)
    if len(found) <= few:
        return list(found)
    return [found[place * (len(found) - 1) // (few - 1)] for place in range(few)]


def dry_pass(
    command: Sequence[str], environment: Mapping[str, str], log: Path, cwd: Path | None = None, *, child: bool = False
) -> Struck:
    """Run *command* to its end, and write down what it, or the *child* that it forks, did."""
    options = ["-e", f"trace={','.join(CHANGING)}"]
    return trace_child(command, environment, log, options) if child else trace(command, environment, log, options, cwd)


def strike(
    command: Sequence[str], environment: Mapping[str, str], log: Path, point: Point, what: str, cwd: Path | None = None,
    *, child: bool = False,
) -> Struck:  # fmt: skip
    """Run *command*, and let *what* happen as it, or its *child*, enters *point*: KILL, or ``error=ENOSPC``."""
    options = ["-e", f"trace={point.call},mkdir", "-e", f"inject={point.call}:{what}:when={point.number}"]
    return trace_child(command, environment, log, options) if child else trace(command, environment, log, options, cwd)
