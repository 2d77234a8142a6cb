"""A process of ours goes into a container that runs, as a command of `exec` does, and asks the kernel about a path.

    here: fork, in the container's cgroup         so its device filter is asked
      ▼   setns ─ confine                         as launch/enter.py has it, but for the exec
      ▼   open(O_PATH) ─ fstat ─ faccessat2 R W X ─ open(O_RDONLY) of files and directories
      ▼   what came of it, with its line of mountinfo, as JSON, by a pipe ──▶ here

Nothing is opened for writing, which would copy a file of a layer up, and no device and no FIFO, which would notice. It
imports nothing in there (CVE-2019-14271). The container's processes see it, and may not look into it: it is not
dumpable. With CAP_SYS_PTRACE they may all the same: then it stays out of their pid namespace, where they do not see it.
"""

from __future__ import annotations

import os
import select
from errno import EAGAIN, ENOENT
from stat import S_ISDIR, S_ISLNK, S_ISREG

from minirun.cgroup import group
from minirun.container import wait
from minirun.errors import Conflict, MinirunError
from minirun.kernel import files, jsonfile
from minirun.kernel.call import Call
from minirun.kernel.names import AT_FDCWD, PR_SET_DUMPABLE, Named
from minirun.launch import enter, machine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, NoReturn

    from minirun.launch.enter import Entry

_AT_EACCESS = Named("AT_EACCESS", 0x200)
ACCESSES = {"read": Named("R_OK", 4), "write": Named("W_OK", 2), "execute": Named("X_OK", 1)}
PATIENCE_MS = 10_000
_SIGKILL = 9
_LINKS = 40  # as many as the kernel follows


class Mount:
    """The mount that a path is on: a line of mountinfo, see proc_pid_mountinfo(5).

    Attributes:
        point: where it is attached, in the container.
        options: ``ro``, ``nosuid``, ``nodev``, ``noexec`` … of the mount.
        kind: of the file system.
        read_only: whether the file system is, whatever the mount says.
    """

    __slots__ = ("kind", "options", "point", "read_only")

    def __init__(self, line: str) -> None:
        left, _, right = line.partition(" - ")
        fields, rest = left.split(), right.split()
        # the kernel writes a blank as \\040
        escaped = fields[4].encode(errors="surrogateescape")
        self.point = escaped.decode("unicode_escape").encode("latin-1").decode(errors="surrogateescape")
        self.options = fields[5].split(",")
        self.kind = rest[0]
        self.read_only = rest[-1].split(",")[0] == "ro"


class Asked:
    """What the kernel said.

    Attributes:
        failed: the errno with which the path was not found; 0: it was.
        at: where on its way that was: a path without links; or where the path leads to.
        target: what it says, if it is a symbolic link.
        mode, uid, gid, device: of what it leads to, or of *at* where it was not found.
        answers: ``read``, ``write``, ``execute``, ``open`` → errno, 0 for none; of a name that is missing in its
            directory alone, ``make``.
        mount: on which that is; None where nobody knows.
    """

    __slots__ = ("answers", "at", "device", "failed", "gid", "mode", "mount", "target", "uid")

    def __init__(self, said: Mapping[str, Any]) -> None:
        self.failed: int = said["failed"]
        self.at: str = said["at"]
        self.target: str = said["target"]
        self.mode, self.uid, self.gid, self.device = said["status"]
        self.answers: Mapping[str, int] = said["answers"]
        self.mount = Mount(said["mount"]) if said["mount"] else None


def ask(entry: Entry, cgroup: str, path: str, *, hidden: bool) -> Asked:
    """Ask about *path*.

    Args:
        entry: what `exec` would start; its filter and its labels are not taken on, which come with an exec alone.
        cgroup: the path of the container's group.
        path: absolute, in the container.
        hidden: whether to stay out of the container's pid namespace.

    Raises:
        Conflict: it has ended, or may have no more processes.
        MinirunError: it could not be entered.
    """
    plan = [*enter.entering(entry), *enter.confining(entry)]
    directory = group.birthplace(cgroup)
    try:
        if hidden:
            machine.run([Call("prctl", PR_SET_DUMPABLE, 0, 0, 0, 0, why="nobody in there looks into our memory")])
            return _asked(plan, directory, path)
        return enter.among(entry.pidfd, lambda: _asked(plan, directory, path))
    except machine.CallFailed as failure:
        raise MinirunError("enter the container", str(failure)) from None
    except OSError as error:
        if error.errno != EAGAIN:
            raise
        raise Conflict(
            "make a process in the container", "EAGAIN: it has as many processes as it may have",
            "`minirun update --pids-limit N` allows more",
        ) from None  # fmt: skip
    finally:
        if directory >= 0:
            os.close(directory)


def _asked(plan: Sequence[Call], cgroup: int, path: str) -> Asked:
    wait.hold()
    try:
        told, ours = os.pipe2(os.O_CLOEXEC)
        child = machine.fork(cgroup) if cgroup >= 0 else os.fork()
        if child == 0:
            _answer(plan, path, ours)
        os.close(ours)
        try:
            _await(told, child)
            with open(told, encoding="ascii", closefd=False) as file:
                line = file.readline()
            if not line:
                raise MinirunError("ask in the container", f"the process {child} that entered it was ended")
            said = jsonfile.loads(line)
            if "call" in said:
                raise machine.CallFailed(plan[said["call"]], said["failed"])
            return Asked(said)
        finally:
            os.close(told)
            os.kill(child, _SIGKILL)  # one that has answered, too: stopped, it would not end by itself
            os.waitpid(child, 0)
    finally:
        wait.release()


def _await(told: int, child: int) -> None:
    """Wait for the answer, but not for what hangs, by a file system or a signal."""
    poll = select.poll()
    poll.register(told, select.POLLIN)
    if not poll.poll(PATIENCE_MS):
        seconds = f"{PATIENCE_MS / 1000:g}"
        raise MinirunError(
            "ask in the container", f"the process {child} that entered it did not answer within {seconds} seconds",
            "something in the container stopped it, or the file system there does not answer",
        )  # fmt: skip


def _answer(plan: Sequence[Call], path: str, told: int) -> NoReturn:
    """Go in, ask, say what came of it, and end."""
    try:
        # on the host's /proc: that in there may be another, or lack it
        own = os.open("/proc/self", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            machine.run(plan)
            files.close_but(told, own)  # what leads out is not for where it is now
            said = _look(path, own)
        except machine.CallFailed as failure:
            said = {"call": plan.index(failure.call), "failed": failure.errno}
        os.write(told, f"{jsonfile.dumps(said)}\n".encode())
    finally:
        os._exit(0)


def _look(path: str, own: int) -> dict[str, Any]:
    said: dict[str, Any] = {"failed": 0, "at": path, "target": "", "answers": {}}
    answers = said["answers"]
    try:
        if S_ISLNK(os.lstat(path).st_mode):
            said["target"] = os.readlink(path)
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError as error:
        said["failed"] = error.errno
        said["at"], is_last = _way(path)
        descriptor = os.open(said["at"], os.O_PATH | os.O_CLOEXEC)
        if error.errno == ENOENT and is_last:
            answers["make"] = _may(said["at"], ACCESSES["write"] | ACCESSES["execute"])
    else:
        said["at"] = os.readlink(f"fd/{descriptor}", dir_fd=own)
        for name, wanted in ACCESSES.items():
            answers[name] = _may(path, wanted)
    status = os.fstat(descriptor)
    said["mount"] = _mount(own, descriptor)
    said["status"] = [status.st_mode, status.st_uid, status.st_gid, status.st_rdev]
    if not said["failed"] and (S_ISREG(status.st_mode) or S_ISDIR(status.st_mode)):
        answers["open"] = _opened(path)
    return said


def _may(path: str, wanted: int) -> int:
    try:
        machine.run([Call("faccessat2", AT_FDCWD, path, wanted, _AT_EACCESS)])
    except machine.CallFailed as failure:
        return failure.errno or 0
    return 0


def _opened(path: str) -> int:
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError as error:
        return error.errno or 0
    return 0


def _way(path: str) -> tuple[str, bool]:
    """The last directory on the way of a path that leads nowhere, and whether only one name is missing there."""
    at, pending, links = "", path.split("/")[::-1], 0
    while pending:
        name = pending.pop()
        if name in ("", "."):
            continue
        if name == "..":
            at = at.rpartition("/")[0]
            continue
        try:
            status = os.lstat(f"{at}/{name}")
            target = os.readlink(f"{at}/{name}") if S_ISLNK(status.st_mode) else ""
        except OSError:
            break
        if not target:
            at = f"{at}/{name}"
        elif links := links + 1 if links < _LINKS else 0:
            at = "" if target.startswith("/") else at
            pending += target.split("/")[::-1]
        else:
            break
    return at or "/", not any(pending)


def _mount(own: int, descriptor: int) -> str:
    """The line of mountinfo of the mount that a descriptor is on."""
    told = _read(own, f"fdinfo/{descriptor}")
    identity = next(line.split()[1] for line in told.splitlines() if line.startswith("mnt_id:"))
    return next((line for line in _read(own, "mountinfo").splitlines() if line.startswith(f"{identity} ")), "")


def _read(own: int, name: str) -> str:
    descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=own)
    parts = []
    while part := os.read(descriptor, 1 << 16):
        parts.append(part)
    os.close(descriptor)
    return b"".join(parts).decode(errors="surrogateescape")
