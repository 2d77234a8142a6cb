"""How every plan ends, that of a new container and that of a command in one that runs: give away, then execute.

labels ─ keyring ─ rlimits ─ bounding set ─ user ─ capabilities    confine: from here on there is nothing to give away
signals ─ umask ─ close_range ─ no new privileges ─ filter         become
execveat(stub) ─▶ the command                                      all that a filter has to let through

A filter takes CAP_SYS_ADMIN to install, unless nothing gives new privileges. So that capability is kept until then, and
what follows is the exec alone, which takes it away: an exec leaves root what is in the bounding set, and anybody else
nothing. See capabilities(7), "Transformation of capabilities during execve()".
"""

from __future__ import annotations

import os
from _signal import SIG_IGN, getsignal
from errno import EACCES, EDQUOT, EINVAL, ENOENT, ENOSYS
from struct import pack

from minirun.kernel.call import Call, Struct, Vector
from minirun.kernel.names import (
    AT_EMPTY_PATH,
    CLOSE_RANGE_CLOEXEC,
    F_SETFD,
    KEYCTL_JOIN_SESSION_KEYRING,
    O_CLOEXEC,
    PR_SET_KEEPCAPS,
    SIG_SETMASK,
    mode,
)
from minirun.rootfs.attach import STUB
from minirun.security import capabilities, labels, seccomp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Protocol

    from minirun.security.labels import Label
    from minirun.security.seccomp import Filter
    from minirun.security.user import User

    class Command(Protocol):
        """What is to be executed, as whom, within which bounds: see Spec."""

        argv: Sequence[str]
        capabilities: int
        env: Sequence[str]
        init: bool
        labels: Sequence[Label]
        no_new_privileges: bool
        rlimits: Sequence[tuple[int, int, int]]
        seccomp: Filter | None
        status: int
        stub: str
        user: User


# glibc keeps these two for itself: its own calls, and so Python's, can neither see nor change what they are set to
_GLIBC_SIGNALS = (32, 33)


BY_PATH = "/proc/self/fd/"
_STUB = f"{os.path.dirname(__file__)}/stub"


def stub() -> str:
    """The path of the program that becomes the command, or empty where none was compiled."""
    return _STUB if os.path.exists(_STUB) else ""


def confine(command: Command, mapped: Sequence[Call] = ()) -> Iterator[Call]:
    """Give away what the command is not to have.

    Args:
        command: what is to be executed.
        mapped: the calls by which it enters a user namespace, if it is to be in another: see userns.py.
    """
    if mapped and command.rlimits:  # to raise one takes a capability on the host
        from minirun.launch import resources

        yield from resources.limit(command.rlimits)
    yield from mapped
    yield from labels.take_on(command.labels)
    # a full quota or a kernel without keyrings leaves nothing to see either
    yield Call(
        "keyctl", KEYCTL_JOIN_SESSION_KEYRING, 0, tolerate=(ENOSYS, EDQUOT), why="the host's keys stay out of sight"
    )
    if command.rlimits and not mapped:
        from minirun.launch import resources

        yield from resources.limit(command.rlimits)
    yield from capabilities.bound(command.capabilities)
    keep = 0 if command.user.uid else command.capabilities
    if not command.seccomp or command.no_new_privileges:
        yield from _change_user(command.user)
        yield from capabilities.limit(keep)
        return
    why = "CAP_SYS_ADMIN until the exec, for a filter to be installed"
    if command.user.uid:
        yield Call("prctl", PR_SET_KEEPCAPS, 1, 0, 0, 0, why=why)
    yield from _change_user(command.user)
    yield from capabilities.limit(keep | capabilities.SYS_ADMIN, f"only these, and none inheritable; {why}")


def _change_user(user: User) -> Iterator[Call]:
    groups = Struct(f"groups={list(user.groups)}", pack(f"<{len(user.groups)}I", *user.groups) or b"\0" * 4)
    yield Call("setgroups", len(user.groups), groups, why="groups first: they need what the user will not have")
    yield Call("setresgid", user.gid, user.gid, user.gid)
    yield Call("setresuid", user.uid, user.uid, user.uid, why="the user; any but root loses its capabilities here")


def become(command: Command, born: int = -1) -> Iterator[Call]:
    """Execute it, by way of the stub where there is one.

    Args:
        command: what is to be executed.
        born: descriptor on which the stub says the pid of its child that becomes the command; -1: it becomes that.
    """
    default = Struct("SIG_DFL", bytes(32))
    for signal in _ignored():
        yield Call(
            "rt_sigaction", signal, default, 0, 8, why="as a fresh process has it: an exec keeps what is ignored"
        )
    yield Call("rt_sigprocmask", SIG_SETMASK, Struct("none", bytes(8)), 0, 8, why="they were blocked across the clone")
    yield Call("umask", mode(0o022))
    yield Call(
        "close_range", 3, 0xFFFFFFFF, CLOSE_RANGE_CLOEXEC, why="no descriptor of the host's goes in (CVE-2024-21626)"
    )
    by_path = bool(command.stub and command.seccomp and command.seccomp.by_path)
    place = 4 if command.status == 3 else 3
    if command.stub:
        yield Call("fcntl", command.status, F_SETFD, 0, why="but the one on which the stub says that it could not")
    if born >= 0:
        yield Call("fcntl", born, F_SETFD, 0, why="and the one on which it says who the command is")
    if by_path:
        # EINVAL: it is there
        yield Call("dup3", STUB, place, O_CLOEXEC, tolerate=(EINVAL,), why="to have a path, as execveat is not allowed")
    if command.no_new_privileges:
        yield seccomp.no_new_privileges()
    if command.seccomp:
        yield seccomp.install(command.seccomp)
    if not command.stub:
        yield from _without_stub(command)
        return
    role = "join" if born >= 0 else "init" if command.init else "exec"
    told = [str(command.status), str(born)] if born >= 0 else [str(command.status)]
    argv = Vector([role, *told, *command.argv])
    if by_path:
        yield Call("execve", f"{BY_PATH}{place}", argv, Vector(command.env), why="become the command")
    else:
        yield Call("execveat", STUB, "", argv, Vector(command.env), AT_EMPTY_PATH, why="become the command")


def _ignored() -> list[int]:
    """The signals that are ignored here: PIPE and XFSZ by Python, HUP under nohup, whatever our caller left so."""
    return [number for number in range(1, 65) if number in _GLIBC_SIGNALS or getsignal(number) == SIG_IGN]


def _without_stub(command: Command) -> Iterator[Call]:
    """What the stub does, where no compiler made one: the search in PATH, one execve a place."""
    name, argv, env = command.argv[0], Vector(command.argv), Vector(command.env)
    path = next((text[5:] for text in command.env if text.startswith("PATH=")), "")
    files = [name] if "/" in name else [f"{folder}/{name}" for folder in path.split(":") if folder]
    for file in files[:-1]:
        yield Call("execve", file, argv, env, tolerate=(ENOENT, EACCES))
    yield Call("execve", files[-1] if files else name, argv, env, why="become the command")
