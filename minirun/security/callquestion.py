"""A system call as somebody asks about it, with as many of its arguments as are known.

    mount                         any
    socket(AF_VSOCK)              the first is 40, the others are whatever they are
    ioctl(_, TIOCSTI)             the second is 0x5412
    clone(CLONE_NEWUSER|SIGCHLD)  names and numbers, joined as in C

Names of numbers are those of C's headers, as Python's modules have them; numbers of calls are libseccomp's to know.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import socket
import termios
from dataclasses import dataclass
from difflib import get_close_matches

from minirun.errors import BadInput
from minirun.kernel import names as kernel_names
from minirun.security import seccomp
from minirun.security.seccomplibrary import UNKNOWN, Library
from minirun.security.seccomprun import ARCH_I386, ARCH_X86_64

_CALL = re.compile(r"(\w+)\s*(?:\((.*)\))?\s*", re.DOTALL)
_MODULES = (socket, termios, fcntl, signal, os, kernel_names)
# linux/sched.h, linux/personality.h, asm/ioctls.h, linux/socket.h: what those modules have not got
_NUMBERS = {
    "CLONE_NEWTIME": 0x80, "CLONE_VM": 0x100, "CLONE_FS": 0x200, "CLONE_FILES": 0x400, "CLONE_THREAD": 0x10000,
    "CLONE_NEWUSER": 0x10000000, "CLONE_IO": 0x80000000, "PER_LINUX": 0, "PER_LINUX32": 8, "UNAME26": 0x20000,
    "ADDR_NO_RANDOMIZE": 0x40000, "READ_IMPLIES_EXEC": 0x400000, "TIOCLINUX": 0x541C, "AF_NFC": 39, "AF_KCM": 41,
    "AF_SMC": 43, "AF_XDP": 44, "AF_MCTP": 45,
}  # fmt: skip
_WORD = (1 << 64) - 1
_MOST_ARGUMENTS = 6
# what C's libraries call otherwise than the kernel does
_KERNELS = {"umount": "umount2"}


@dataclass(frozen=True, slots=True)
class Question:
    """A system call.

    Attributes:
        name: as the kernel calls it.
        arch: AUDIT_ARCH_*: x86_64's, or i386's for a call that is there alone.
        number: of it there.
        arguments: of 64 bits each, None for one that is not known; what is not among them is not known either.
    """

    name: str
    arch: int
    number: int
    arguments: tuple[int | None, ...]

    def argument(self, place: int) -> int | None:
        """One of them."""
        return self.arguments[place] if place < len(self.arguments) else None


def read(text: str) -> Question:
    """Read a call.

    Raises:
        BadInput: it is none, or libseccomp does not know it.
        Unsupported: this host has no libseccomp.
    """
    attempt = f"ask about {text!r}"
    remedy = "mount, 'socket(AF_VSOCK)', 'ioctl(_, TIOCSTI)'; a path has a slash in it"
    found = _CALL.fullmatch(text.strip())
    if not found:
        raise BadInput(attempt, "it is neither a system call nor a path", remedy)
    name, inside = found[1], found[2]
    arguments = tuple(_argument(attempt, one.strip()) for one in inside.split(",")) if inside else ()
    if len(arguments) > _MOST_ARGUMENTS:
        raise BadInput(attempt, f"a system call has {_MOST_ARGUMENTS} arguments at most", remedy)
    library = Library()
    for arch, architecture in ((ARCH_X86_64, library.native), (ARCH_I386, library.architecture("x86"))):
        for known in (_KERNELS.get(name, name), name):
            number = library.number(known, architecture)
            if number >= 0:
                return Question(known, arch, number, arguments)
            if number == UNKNOWN:
                close = get_close_matches(name, calls(), 1)
                raise BadInput(attempt, f"there is no system call {name}", f"perhaps {close[0]}" if close else remedy)
    raise BadInput(attempt, f"{name} is a call of other processors than x86_64 and i386")


def calls() -> list[str]:
    """The names of the calls that the default profile says something of: nearly all that there are."""
    with open(seccomp.BUILTIN, encoding="utf-8") as file:
        groups = json.load(file)["syscalls"]
    return sorted({name for group in groups for name in group["names"]})


def _argument(attempt: str, text: str) -> int | None:
    if text in ("", "_"):
        return None
    value = 0
    for word in text.split("|"):
        value |= _number(attempt, word.strip())
    return value & _WORD


def _number(attempt: str, word: str) -> int:
    try:
        return int(word, 0)
    except ValueError:
        pass
    if word in _NUMBERS:
        return _NUMBERS[word]
    for module in _MODULES:
        value = getattr(module, word, None)
        if isinstance(value, int) and word.isupper():
            return int(value)
    raise BadInput(attempt, f"{word!r} is no number that has a name here", "write it as a number; _ is whatever it is")
