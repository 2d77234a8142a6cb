"""How every plan ends, that of a new container and that of a command in one that runs: give away, then execute.

keyring ─ rlimits ─ bounding set ─ user ─ capabilities         confine: from here on there is nothing to give away
signals ─ umask ─ close_range ─ execveat(stub) ─▶ the command  become
"""

from __future__ import annotations

import os
from _signal import SIG_IGN, getsignal
from errno import EACCES, EDQUOT, ENOENT, ENOSYS
from struct import pack

from minirun.kernel.call import Call, Struct, Vector
from minirun.kernel.names import (
    AT_EMPTY_PATH,
    CLOSE_RANGE_CLOEXEC,
    F_SETFD,
    KEYCTL_JOIN_SESSION_KEYRING,
    SIG_SETMASK,
    mode,
)
from minirun.rootfs.attach import STUB
from minirun.security import capabilities

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Protocol

    from minirun.security.user import User

    class Command(Protocol):
        """What is to be executed, as whom, within which bounds: see Spec."""

        argv: Sequence[str]
        capabilities: int
        env: Sequence[str]
        init: bool
        rlimits: Sequence[tuple[int, int, int]]
        status: int
        stub: str
        user: User


# glibc keeps these two for itself: its own calls, and so Python's, can neither see nor change what they are set to
_GLIBC_SIGNALS = (32, 33)


_STUB = f"{os.path.dirname(__file__)}/stub"


def stub() -> str:
    """The path of the program that becomes the command, or empty where none was compiled."""
    return _STUB if os.path.exists(_STUB) else ""


def confine(command: Command) -> Iterator[Call]:
    """Give away what the command is not to have."""
    # a full quota or a kernel without keyrings leaves nothing to see either
    yield Call(
        "keyctl", KEYCTL_JOIN_SESSION_KEYRING, 0, tolerate=(ENOSYS, EDQUOT), why="the host's keys stay out of sight"
    )
    if command.rlimits:
        from minirun.launch import resources

        yield from resources.limit(command.rlimits)
    yield from capabilities.bound(command.capabilities)
    yield from _change_user(command.user)
    yield from capabilities.limit(0 if command.user.uid else command.capabilities)


def _change_user(user: User) -> Iterator[Call]:
    groups = Struct(f"groups={list(user.groups)}", pack(f"<{len(user.groups)}I", *user.groups) or b"\0" * 4)
    yield Call("setgroups", len(user.groups), groups, why="groups first: they need what the user will not have")
    yield Call("setresgid", user.gid, user.gid, user.gid)
    yield Call("setresuid", user.uid, user.uid, user.uid, why="the user; any but root loses its capabilities here")


def become(command: Command) -> Iterator[Call]:
    """Execute it, by way of the stub where there is one."""
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
    if not command.stub:
        yield from _without_stub(command)
        return
    yield Call("fcntl", command.status, F_SETFD, 0, why="but the one on which the stub says that it could not")
    argv = Vector(["init" if command.init else "exec", str(command.status), *command.argv])
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
