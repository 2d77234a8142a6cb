"""Seccomp filters as tests look at them: compiled from a profile, or read out of a process that has one.

A filter is read by ptrace(2), PTRACE_SECCOMP_GET_FILTER: what the kernel has, whoever installed it. Two filters decide
the same if they answer the same to every call: all numbers are tried that there are, with all values that one of the
filters compares an argument with, and with those around them.
"""

from __future__ import annotations

import ctypes
import os
import random
from collections.abc import Iterable, Sequence
from typing import Any

import pytest

from minirun.errors import Unsupported
from minirun.security import capabilities, seccompcompile, seccomplibrary, seccompprofile, seccomptree
from minirun.security.seccompdecision import AND, ARGUMENTS, LOAD, RETURN
from minirun.security.seccomprun import ARCH_I386, ARCH_X86_64, Instruction, evaluate

X32 = 0x40000000
ARCH_ARM = 0x40000028
ALLOW, EPERM, ENOSYS = 0x7FFF0000, 0x00050001, 0x00050026
DEFAULT = tuple(
    capabilities.name(number) for number in range(capabilities.LAST + 1) if capabilities.DEFAULT >> number & 1
)
KERNEL = (6, 12, 0)
# all that there are, and some beyond, with each of the two highest bits
NUMBERS = (*range(600), *range(X32, X32 + 600), X32 - 1, 2 * X32 - 1, 2 * X32, 3 * X32 - 1, 3 * X32, 2**32 - 1)
_WITH_VALUE = (AND, 0x15, 0x25, 0x35, 0x45)
_LOOKS = 0x12345678  # no answer
_SEIZE, _INTERRUPT, _DETACH, _GET_FILTER = 0x4206, 0x4207, 17, 0x420C  # linux/ptrace.h
_WALL = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long


def library() -> seccomplibrary.Library:
    """libseccomp; without it the test is skipped."""
    try:
        return seccomplibrary.Library()
    except Unsupported as error:
        pytest.skip(error.reason)


def compiled(document: Any, names: Sequence[str] = DEFAULT, kernel: Sequence[int] = KERNEL) -> list[Instruction]:
    """The instructions of a profile for a container with these capabilities."""
    library()
    profile = seccompprofile.reduce(document, "test", names, kernel)
    assert profile is not None
    return seccomptree.decode(seccompcompile.compile_profile(profile, "test").program)


def installed(pid: int) -> list[Instruction]:
    """The one filter of a process, which goes on afterwards."""
    _ptrace(_SEIZE, pid)
    try:
        _ptrace(_INTERRUPT, pid)
        os.waitpid(pid, _WALL)  # it need be no child
        program = (ctypes.c_char * (8 * _ptrace(_GET_FILTER, pid)))()
        _ptrace(_GET_FILTER, pid, 0, ctypes.addressof(program))
        return seccomptree.decode(bytes(program))
    finally:
        _ptrace(_DETACH, pid)


def _ptrace(request: int, pid: int, address: int = 0, data: int = 0) -> int:
    result = int(_libc.ptrace(request, pid, address, data))
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"ptrace({request:#x}): {os.strerror(error)}")
    return result


def differences(
    one: Sequence[Instruction], other: Sequence[Instruction], numbers: Iterable[int] = NUMBERS
) -> list[tuple[str, int, tuple[int, ...], str, str]]:
    """Where two filters decide otherwise: (architecture, number, arguments, what one answers, what the other)."""
    found = []
    every = _arguments(one, other)
    blind = _blind(one), _blind(other)
    for arch, name in ((ARCH_X86_64, "x86_64"), (ARCH_I386, "i386"), (ARCH_ARM, "arm")):
        for number in numbers:
            # most calls are decided on without a look at their arguments
            looks = _LOOKS in (evaluate(blind[0], arch, number), evaluate(blind[1], arch, number))
            for given in every if looks else ((),):
                answers = evaluate(one, arch, number, given), evaluate(other, arch, number, given)
                if answers[0] != answers[1]:
                    found.append((name, number, given, f"{answers[0]:#x}", f"{answers[1]:#x}"))
    return found


def _blind(program: Sequence[Instruction]) -> list[Instruction]:
    """*program*, but it answers _LOOKS where it would load an argument."""
    return [(RETURN, 0, 0, _LOOKS) if one[0] == LOAD and one[3] >= ARGUMENTS else one for one in program]


def _arguments(*programs: Sequence[Instruction]) -> list[tuple[int, ...]]:
    """Arguments of calls, six each, in whose halves all occurs that one of *programs* compares an argument with."""
    words = {0, 1, 2**31, 2**32 - 1}
    for program in programs:
        loaded = 0
        for code, _, _, k in program:
            if code == LOAD:
                loaded = k
            elif code in _WITH_VALUE and loaded >= ARGUMENTS:
                words |= {k, (k + 1) % 2**32, (k - 1) % 2**32}
    ordered = sorted(words)
    chance = random.Random(7)
    high = (0, 0, 1, 2**32 - 1)
    return [
        *((word,) * 6 for word in ordered),
        *((word << 32 | chance.choice(ordered),) * 6 for word in ordered),
        *(tuple(chance.choice(ordered) | chance.choice(high) << 32 for _ in range(6)) for _ in range(2 * len(ordered))),
    ]
