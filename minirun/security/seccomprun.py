"""Runs a filter's program without the kernel: for one call, or for all at once.

    libseccomp's program                 for all calls of an architecture: ranges of numbers, each with its decision
    ─────────────────────────────        ───────────────────────────────────────────────────────────────────────────
    load arch                            0 …  15   ALLOW
    if arch == X86_64: load number       16        arg1 == 0x5412 ? EPERM : ALLOW
      if number == 0: ALLOW              17 … 100  ALLOW
      if number == 1: ALLOW …            101       EPERM …

For all at once it is run with a range for the number, and a test that holds for a part of the range alone splits it.
What is loaded of arguments is left open: both ways are followed, and what remains is a decision.

See linux/filter.h, linux/seccomp.h, Documentation/userspace-api/seccomp_filter.rst.
"""

from __future__ import annotations

from struct import pack

from minirun.security.seccompdecision import (
    ALL,
    AND,
    ANY_BIT,
    ARCH,
    ARGUMENTS,
    EQUAL,
    GREATER,
    GREATER_OR_EQUAL,
    JUMP,
    LOAD,
    NUMBER,
    RETURN,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeAlias

    from minirun.security.seccompdecision import Load, Node, Nodes

    Place: TypeAlias = tuple[int, Load | None]  # of an instruction, and what was loaded before it
    Ranges: TypeAlias = dict[Load, tuple[int, int]]  # what is loaded → first and last of what it can be
    Segments: TypeAlias = list[tuple[int, Node]]  # first number of each range, ascending from 0, and its decision

Instruction = tuple[int, int, int, int]  # code, jt, jf, k
ARCH_I386, ARCH_X86_64 = 0x40000003, 0xC000003E  # linux/audit.h: all that a kernel for x86_64 says


class NotUnderstood(ValueError):
    """A program has an instruction that libseccomp does not make."""


class _Split(Exception):
    """A test has not one outcome for the whole range of numbers.

    Attributes:
        at: the first number of the upper part.
        place: where to go on with each part; None: from where that began.
    """

    def __init__(self, at: int, place: Place | None) -> None:
        super().__init__(at)
        self.at = at
        self.place = place


def evaluate(program: Sequence[Instruction], arch: int, number: int, arguments: Sequence[int] = ()) -> int:
    """What *program* answers to one call, as the kernel would run it.

    Args:
        program: with instructions of libseccomp's or ours.
        arch: AUDIT_ARCH_*.
        number: of the call.
        arguments: up to six of 64 bits; those that are missing are 0.
    """
    data = pack("<IIQ6Q", number & ALL, arch, 0, *arguments, *[0] * (6 - len(arguments)))
    place = loaded = 0
    while True:
        code, jt, jf, k = program[place]
        place += 1
        if code == RETURN:
            return k
        if code == LOAD:
            loaded = int.from_bytes(data[k : k + 4], "little")
        elif code == AND:
            loaded &= k
        elif code == JUMP:
            place += k
        else:
            place += jt if _holds(code, loaded, k) else jf


def answers(program: Sequence[Instruction], arch: int, number: int, arguments: Sequence[int | None]) -> set[int]:
    """All that *program* may answer to a call of which not everything is known.

    Args:
        program: as `evaluate` has it.
        arch: as `evaluate` has it.
        number: of the call.
        arguments: of 64 bits; None for one that can be anything, as those that are missing can.
    """
    known = {NUMBER[0]: number, ARCH[0]: arch}
    for place, value in enumerate(arguments):
        if value is not None:
            offset = ARGUMENTS + 8 * place
            known[offset], known[offset + 4] = value & ALL, value >> 32
    found: set[int] = set()
    met: set[tuple[int, int | None]] = set()
    pending: list[tuple[int, int | None]] = [(0, None)]  # an instruction, and what is loaded: None, if not known
    while pending:
        here = pending.pop()
        if here in met:
            continue
        met.add(here)
        place, loaded = here
        code, jt, jf, k = program[place]
        place += 1
        if code == RETURN:
            found.add(k)
        elif code == LOAD:
            pending.append((place, known.get(k)))
        elif code == AND:
            pending.append((place, None if loaded is None else loaded & k))
        elif code == JUMP:
            pending.append((place + k, loaded))
        else:
            ways = (True, False) if loaded is None else (_holds(code, loaded, k),)
            pending += [(place + (jt if yes else jf), loaded) for yes in ways]
    return found


def segments(program: Sequence[Instruction], arch: int, nodes: Nodes) -> Segments:
    """What *program* decides of every number of a call on *arch*.

    Raises:
        NotUnderstood: of its instructions.
    """
    found: Segments = []
    pending: list[tuple[Place, int, int]] = [((0, None), 0, ALL)]
    while pending:
        place, first, last = pending.pop()
        try:
            decision = _remainder(program, place, {ARCH: (arch, arch), NUMBER: (first, last)}, nodes)
        except _Split as split:
            pending += [(split.place or place, split.at, last), (split.place or place, first, split.at - 1)]
            continue
        if not found or found[-1][1] is not decision:
            found.append((first, decision))
    return found


def _remainder(program: Sequence[Instruction], begin: Place, values: Ranges, nodes: Nodes) -> Node:
    """What remains of *program*, from a place on, when architecture and number are known to be in *values*."""
    known: dict[Place, Node] = {}
    pending = [begin]
    while pending:
        try:
            stop = _run(program, pending[-1], values)
        except _Split as split:
            # past a test of arguments there is no one place to go on from
            raise _Split(split.at, split.place if pending == [begin] and not known else None) from None
        if isinstance(stop, int):
            known[pending.pop()] = nodes.answer(stop)
            continue
        load, code, k, jump_yes, jump_no = stop
        yes, no = (jump_yes, load), (jump_no, load)
        # jumps lead forward only, so this comes to an end
        if missing := [place for place in (yes, no) if place not in known]:
            pending += missing
        else:
            known[pending.pop()] = nodes.test(load, code, k, known[yes], known[no])
    return known[begin]


def _run(program: Sequence[Instruction], place: Place, values: Ranges) -> int | tuple[Load, int, int, int, int]:
    """Run *program* from a place on.

    Returns:
        Its answer; or the test of an argument that it came to: what was loaded, the code and the value of the test, and
        which instructions follow either way.
    """
    at, load = place
    while True:
        code, jt, jf, k = program[at]
        if code == RETURN:
            return k
        if code == LOAD:
            load = (k, ALL)
        elif code == JUMP:
            at += k
        elif load is None or code not in (AND, EQUAL, GREATER, GREATER_OR_EQUAL, ANY_BIT):
            raise NotUnderstood(f"instruction {at} has the code {code:#x}")
        elif load[0] >= ARGUMENTS:
            if code != AND:
                return load, code, k, at + 1 + jt, at + 1 + jf
            load = (load[0], load[1] & k)
        elif load not in values or code in (AND, ANY_BIT):
            raise NotUnderstood(f"instruction {at} looks at bits of a number, or at who calls")
        else:
            first, last = values[load]
            if code == EQUAL and first <= k <= last and first != last:
                raise _Split(k if k != first else k + 1, (at, load))
            if code != EQUAL and _holds(code, first, k) != _holds(code, last, k):
                raise _Split(k + 1 if code == GREATER else k, (at, load))
            at += jt if _holds(code, first, k) else jf
        at += 1


def _holds(code: int, value: int, k: int) -> bool:
    if code == EQUAL:
        return value == k
    if code == GREATER:
        return value > k
    return value >= k if code == GREATER_OR_EQUAL else bool(value & k)


def override(found: Segments, first: int, last: int, decision: Node) -> Segments:
    """*found* with *decision* for the numbers from *first* to *last*."""
    if first > last:
        return found
    before = [one for one in found if one[0] < first]
    after = [one for one in found if one[0] > last]
    if last < ALL and (not after or after[0][0] > last + 1):
        after.insert(0, (last + 1, [node for start, node in found if start <= last][-1]))
    joined: Segments = []
    for start, node in [*before, (first, decision), *after]:
        if not joined or joined[-1][1] is not node:
            joined.append((start, node))
    return joined
