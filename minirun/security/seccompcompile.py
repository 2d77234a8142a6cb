"""A profile is compiled for a container, and what comes of it kept for the next one that is the same.

    profile ─▶ rules ─▶ libseccomp ─▶ ENOSYS past the last call ─▶ tree ─▶ file, see seccomp.py
               for these capabilities and this kernel

As runc has it, a call that is newer than the profile does not exist, rather than being forbidden: a library that is
told ENOSYS tries an older one. What is newer is known by its number: it is above those of all calls in the profile.
"""

from __future__ import annotations

import os
from errno import EEXIST, ENOSYS

from minirun.errors import BadInput, MinirunError
from minirun.kernel import files
from minirun.kernel.names import AT_EMPTY_PATH, F_SETFD, TIOCSCTTY
from minirun.security import capabilities, seccomp, seccomplibrary, seccompprofile, seccomprun, seccomptree
from minirun.security.seccomp import Filter
from minirun.security.seccompdecision import Nodes
from minirun.security.seccomprun import ARCH_I386, ARCH_X86_64

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from minirun.home import Home
    from minirun.security.seccompdecision import Node
    from minirun.security.seccomplibrary import Library
    from minirun.security.seccompprofile import Profile
    from minirun.security.seccomprun import Instruction, Segments

_MANY = 32  # rules, from which on libseccomp is to make a tree; with none at all some versions of it fail at that
_ACTION = 0xFFFF0000
_ERRNO, _TRACE, _LOG, _ALLOW = 0x00050000, 0x7FF00000, 0x7FFC0000, 0x7FFF0000
_X32, _LAST = 0x40000000, 0xFFFFFFFF  # the bit of a number that says x32; the last of all numbers
_NATIVE = {"x86_64": 0, "x32": _X32}
# asm/unistd_64.h
_FCNTL, _EXECVE, _EXECVEAT = 72, 59, 322
# of `join` in launch/stub.c: clone of a child of its parent's, write, close, setsid, ioctl, exit_group
_FORKING = ((56, 0x8000 | 17), (1, 3), (3, 3), (112,), (16, 0, TIOCSCTTY), (231,))
_FD_CLOEXEC = 1


def make(home: Home, given: tuple[str, str], keep: int, key: str) -> Filter | None:
    """Compile a profile, and keep what comes of it where the next start looks.

    Args:
        home: whose.
        given: the name of the profile, for refusals, and its text.
        keep: the bounding set of the container.
        key: by which it is found: see `seccomp.key`.

    Returns:
        None for a profile that asks for no filter.

    Raises:
        BadInput: the profile has no meaning, or forbids what starting a container takes.
        Unsupported: it asks for what is not built, or this host has no libseccomp.
    """
    name, text = given
    names = [capabilities.name(number) for number in range(capabilities.LAST + 1) if keep >> number & 1]
    profile = seccompprofile.reduce(seccompprofile.parse(text, name), name, names, kernel())
    found = None if profile is None else compile_profile(profile, name)
    data = seccomp.encode(key, found)
    folder = seccomp.folder(home)
    try:
        try:
            os.mkdir(folder, 0o700)
        except FileExistsError:
            pass
        files.replace(f"{folder}/{key}", data, durable=False)
    except OSError:
        pass  # a disk that is full, or read-only: the next start compiles it again
    return found


def kernel() -> list[int]:
    """The numbers of the running kernel's version, three of them."""
    numbers = os.uname().release.replace("+", "-").partition("-")[0].split(".")
    return [int(one) if one.isdigit() else 0 for one in [*numbers, "0", "0"][:3]]


def compile_profile(profile: Profile, name: str) -> Filter:
    """Compile *profile*, which is called *name* in refusals."""
    attempt = f"use the seccomp profile {name}"
    library = seccomplibrary.Library()
    architectures = {"x86_64": library.native}
    for architecture in profile.architectures:
        architectures[architecture] = library.architecture(architecture)
        if not architectures[architecture]:
            raise BadInput(attempt, f"the libseccomp of this host knows no architecture {architecture}", "leave it out")
    try:
        program = _by_library(library, profile, architectures, attempt)
        nodes = Nodes()
        parts = {arch: seccomprun.segments(program, arch, nodes) for arch in (ARCH_X86_64, ARCH_I386)}
        if profile.default & _ACTION not in (_ALLOW, _LOG, _TRACE):
            newer = nodes.answer(_ERRNO | ENOSYS)
            for architecture, last in _last(library, profile, architectures):
                arch = ARCH_I386 if architecture == "x86" else ARCH_X86_64
                parts[arch] = _past(parts[arch], architecture, last, newer)
        other = seccomprun.segments(program, 0, nodes)[0][1]
        return _checked(seccomptree.assemble(parts, other, nodes), profile.flags, attempt)
    except ValueError as error:
        raise MinirunError(attempt, str(error), "take a simpler profile") from error


def _by_library(library: Library, profile: Profile, architectures: dict[str, int], attempt: str) -> list[Instruction]:
    try:
        made = library.filter(profile.default)
    except OSError as error:
        raise BadInput(attempt, f"defaultAction: libseccomp refuses it: {error.strerror}") from None
    with made as filter_:
        for architecture, number in architectures.items():
            try:
                filter_.add_architecture(number)
            except OSError as error:
                raise BadInput(
                    attempt, f"architectures: libseccomp refuses {architecture} beside x86_64: {error.strerror}",
                    "leave it out: this host runs no program of that kind",
                ) from None  # fmt: skip
        if sum(len(rule.names) for rule in profile.rules) > _MANY:
            filter_.search_by_halves()
        for rule in profile.rules:
            if rule.action == profile.default:
                continue  # as runc does: libseccomp refuses a rule that says what is so without it
            for call in rule.names:
                number = library.number(call, library.native)
                if number == seccomplibrary.UNKNOWN:
                    continue  # newer than the library: see `_past` for what becomes of it
                try:
                    filter_.add_rule(rule.action, number, rule.conditions)
                except OSError as error:
                    if error.errno == EEXIST:
                        reason = f"another rule for {call} says something else of the same calls"
                    else:
                        reason = f"libseccomp refuses the rule for {call}: {error.strerror}"
                    raise BadInput(attempt, f"{rule.place}: {reason}", "leave one of the rules out") from None
        return filter_.export()


def _last(library: Library, profile: Profile, architectures: dict[str, int]) -> Iterator[tuple[str, int]]:
    """The highest number of the calls that a profile names, on each architecture that it names one of."""
    for architecture, number in architectures.items():
        if architecture not in ("x86", *_NATIVE):
            continue  # no such program runs here
        numbers = [library.number(call, number) for rule in profile.rules for call in rule.names]
        if (last := max(numbers, default=0)) > 0:
            yield architecture, last


def _past(parts: Segments, architecture: str, last: int, newer: Node) -> Segments:
    """*parts* with *newer* for the numbers above *last*; x86_64 and x32 share them, by a bit in their midst."""
    if architecture == "x86":
        return seccomprun.override(parts, last + 1, _LAST, newer)
    bit = _NATIVE[architecture]
    parts = seccomprun.override(parts, last + 1, bit + _X32 - 1, newer)
    above = (_X32 << 1) + bit
    return seccomprun.override(parts, above, above + _X32 - 1, newer)


def _checked(program: bytes, flags: int, attempt: str) -> Filter:
    """Refuse a filter by which no container starts: the stub, and by it the command, is executed with it in place."""
    instructions = seccomptree.decode(program)

    def allows(call: int, *arguments: int) -> bool:
        answer = seccomprun.evaluate(instructions, ARCH_X86_64, call, arguments)
        return answer & _ACTION in (_ALLOW, _LOG)

    for name, arguments in (("execve", (_EXECVE,)), ("fcntl", (_FCNTL, 3, F_SETFD, _FD_CLOEXEC))):
        if not allows(*arguments):
            raise BadInput(
                attempt, f"it does not allow {name}, which starting the command takes", f"allow {name} in it"
            )
    by_path = not allows(_EXECVEAT, 3, 0, 0, 0, AT_EMPTY_PATH)
    # not by a path: the container's /proc has none of a process that is not in its pid namespace
    forks = not by_path and all(allows(*call) for call in _FORKING)
    return Filter(flags, program, by_path=by_path, forks=forks)
