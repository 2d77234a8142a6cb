"""What system calls a container may make: a program that the kernel runs at each of them.

    --security-opt seccomp=FILE ─▶ profile ─▶ seccompcompile.py ─▶ <runtime>/seccomp/<key> ─▶ seccomp(2)
    (nothing)     seccomp.json ──────┘                                 the next start begins here

    <key>: digest of the profile, capabilities of the container, kernel, version of ours

    offset
       0   crc32 of all that follows
       4   flags of seccomp(2); _NO_FILTER: the profile asks for none
       8   bits: 1: execveat is not allowed; 2: the stub may fork the command
      12   key, NUL, filled up to a multiple of 8
           struct sock_filter, as many as there are

A file that is not exactly that is made anew. It is root's, in a directory of root's: the sum tells of what disks do,
not of what root does. See seccomp(2).
"""

from __future__ import annotations

import os
from binascii import crc32
from struct import Struct as Form
from struct import pack

from minirun import __version__
from minirun.errors import MinirunError
from minirun.kernel.call import Call, Struct
from minirun.kernel.names import PR_SET_NO_NEW_PRIVS, SECCOMP_SET_MODE_FILTER, Named

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from minirun.home import Home

BUILTIN = f"{os.path.dirname(__file__)}/seccomp.json"
_HEADER = Form("<III")
_NO_FILTER = 0xFFFFFFFF
_BY_PATH, _FORKS = 1, 2
_MOST_BYTES = 40 << 10  # 4096 instructions of 8 bytes, and the rest
_FLAGS = (
    Named("SECCOMP_FILTER_FLAG_TSYNC", 1), Named("SECCOMP_FILTER_FLAG_LOG", 2),
    Named("SECCOMP_FILTER_FLAG_SPEC_ALLOW", 4),
)  # fmt: skip


class Filter:
    """A compiled profile.

    Attributes:
        flags: of seccomp(2).
        program: an array of struct sock_filter.
        by_path: whether execveat is not allowed, so that the stub must be executed by a path.
        forks: whether all is allowed that the stub does to have the command be born in another pid namespace.
    """

    __slots__ = ("by_path", "flags", "forks", "program")

    def __init__(self, flags: int, program: bytes, *, by_path: bool, forks: bool = False) -> None:
        self.flags = flags
        self.program = program
        self.by_path = by_path
        self.forks = forks


def folder(home: Home) -> str:
    """Where compiled profiles are; gone at boot."""
    return f"{home.runtime}/seccomp"


def find(home: Home, options: Mapping[str, Any], keep: int) -> Filter | None:
    """The filter of a container, compiled now if nothing like it was since boot; None if it is to have none.

    Args:
        home: whose container.
        options: of its record.
        keep: its capabilities, the bounding set; what of a profile counts can depend on them.

    Raises:
        MinirunError: of `seccompcompile.make`.
    """
    name = key(options, keep)
    if not name:
        return None
    try:
        return _read(f"{folder(home)}/{name}", name)
    except (OSError, ValueError):
        pass
    from minirun.security import seccompcompile

    return seccompcompile.make(home, given(options), keep, name)


def find_started(home: Home, options: Mapping[str, Any], keep: int, name: str) -> Filter | None:
    """The filter that a container was started with, whatever the default profile has become since.

    Args:
        home: as `find` has it.
        options: as `find` has them.
        keep: as `find` has it.
        name: the `key` of then; empty for a container that was started before keys were written down.

    Raises:
        MinirunError: of `find`; or the default was another then, and what was compiled of it is not kept any more.
    """
    if not name:
        return find(home, options, keep)
    try:
        return _read(f"{folder(home)}/{name}", name)
    except (OSError, ValueError):
        pass
    # a profile of the user's is in the record: compiled again it means the same
    if _wanted(options) is None and name != key(options, keep):
        raise MinirunError(
            "have the filter of system calls that the container was started with",
            f"minirun's default profile is another since, and {folder(home)}/{name} is not there or damaged",
            "start the container again: it gets today's",
        )
    return find(home, options, keep)


def key(options: Mapping[str, Any], keep: int) -> str:
    """By what the filter of a container is found that is started now; empty for one that is to have none.

    Args:
        options: as `find` has them.
        keep: as `find` has it.
    """
    wanted = _wanted(options)
    if wanted is None:
        if options.get("privileged"):
            return ""
        status = os.stat(BUILTIN)
        digest = f"builtin-{status.st_mtime_ns:x}-{status.st_size:x}"
    else:
        digest = wanted["digest"]
    return f"{digest}-{keep:x}-{os.uname().release}-{__version__}" if digest else ""


def forbids_new_privileges(options: Mapping[str, Any]) -> bool:
    """Whether a container was asked for with no-new-privileges."""
    return "security" in options and bool(options["security"].get("no_new_privileges"))


def _wanted(options: Mapping[str, Any]) -> Mapping[str, str] | None:
    """What was asked for; None for the default profile."""
    return options["security"].get("seccomp") if "security" in options else None


def given(options: Mapping[str, Any]) -> tuple[str, str]:
    """The name and the text of a container's profile."""
    if (wanted := _wanted(options)) is not None:
        return wanted["name"], wanted["profile"]
    with open(BUILTIN, encoding="utf-8") as file:
        return "builtin", file.read()


def _read(path: str, key: str) -> Filter | None:
    """Read what `encode` made.

    Raises:
        OSError: it cannot be read.
        ValueError: it is something else.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        data = os.read(descriptor, _MOST_BYTES)
    finally:
        os.close(descriptor)
    head = _head(key)
    begin = _HEADER.size + len(head)
    if len(data) < begin or data[_HEADER.size : begin] != head or (len(data) - begin) % 8:
        raise ValueError(path)
    checksum, flags, bits = _HEADER.unpack_from(data)
    if crc32(data[4:]) != checksum:
        raise ValueError(path)
    if flags == _NO_FILTER:
        return None
    return Filter(flags, data[begin:], by_path=bool(bits & _BY_PATH), forks=bool(bits & _FORKS))


def encode(key: str, found: Filter | None) -> bytes:
    """A compiled profile as the file of *key* has it."""
    rest = _head(key) + found.program if found else _head(key)
    bits = (_BY_PATH * found.by_path | _FORKS * found.forks) if found else 0
    values = pack("<II", found.flags if found else _NO_FILTER, bits)
    return pack("<I", crc32(values + rest)) + values + rest


def _head(key: str) -> bytes:
    text = key.encode() + b"\0"
    return text + bytes(-(_HEADER.size + len(text)) % 8)


def install(found: Filter) -> Call:
    """Have the kernel ask *found* from now on: with CAP_SYS_ADMIN, or after `no_new_privileges`."""
    count = len(found.program) // 8
    flags = Named("0", 0)
    for flag in _FLAGS:
        if found.flags & flag:
            flags = flags | flag if flags else flag
    program = Struct(f"{count} instructions", pack("<H14x", count), (8, found.program))
    return Call("seccomp", SECCOMP_SET_MODE_FILTER, flags, program, why="from now on a filter decides on calls")


def no_new_privileges() -> Call:
    """Have no setuid program and no file's capabilities give anything, for ever. See PR_SET_NO_NEW_PRIVS(2const)."""
    return Call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, why="what it executes gives it no more than it has")
