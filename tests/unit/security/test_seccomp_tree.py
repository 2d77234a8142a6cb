"""A filter made small decides the same as the one that libseccomp made, whatever the rules are."""

from __future__ import annotations

from collections.abc import Sequence
from struct import pack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minirun.security import seccompprofile, seccomprun, seccomptree
from minirun.security.seccompdecision import ALL, EQUAL, GREATER_OR_EQUAL, LOAD, RETURN, Nodes
from minirun.security.seccomprun import ARCH_I386, ARCH_X86_64, Instruction, NotUnderstood, evaluate
from tests import filters
from tests.filters import ALLOW, ENOSYS, EPERM, X32

Rule = tuple[int, str, Sequence[tuple[int, int, int, int]]]

CALLS = ("read", "ioctl", "socket", "socketcall", "clone", "personality", "mmap2", "futex", "ipc", "close_range")
# theirs on x86_64, i386 and x32, those beside them, and those that socketcall and ipc stand for
NUMBERS = (
    *range(4), *range(15, 18), *range(40, 43), *range(53, 58), 102, *range(116, 122), *range(134, 138), 192, 202, 240,
    359, 436, *(X32 + number for number in (0, 16, 41, 56, 135, 202, 436, 514)), ALL,
)  # fmt: skip
VALUES = st.one_of(
    st.sampled_from((0, 1, 2, 40, 0x5412, 2**31, 2**32 - 1, 2**32, 2**63, 2**64 - 1)), st.integers(0, 2**64 - 1)
)
CONDITION = st.tuples(st.integers(0, 5), st.sampled_from([*seccompprofile.OPERATORS.values()]), VALUES, VALUES)
CONDITIONS = st.lists(CONDITION, max_size=3, unique_by=lambda one: one[0])
ACTIONS = st.sampled_from((ALLOW, EPERM, 0x00050002, 0, 0x80000000, 0x00030000, 0x7FF00001, 0x7FFC0000))
RULES = st.lists(st.tuples(ACTIONS, st.sampled_from(CALLS), CONDITIONS), min_size=1, max_size=20)


def by_library(rules: Sequence[Rule], default: int, *, halves: bool = False) -> list[Instruction]:
    library = filters.library()
    with library.filter(default) as made:
        for name in ("x86", "x32"):
            made.add_architecture(library.architecture(name))
        if halves:
            made.search_by_halves()
        for action, call, conditions in rules:
            if action == default:
                continue
            try:
                made.add_rule(action, library.number(call, library.native), conditions)
            except OSError:
                continue  # it contradicts another
        return made.export()


def smaller(program: Sequence[Instruction]) -> list[Instruction]:
    nodes = Nodes()
    parts = {arch: seccomprun.segments(program, arch, nodes) for arch in (ARCH_X86_64, ARCH_I386)}
    return seccomptree.decode(seccomptree.assemble(parts, seccomprun.segments(program, 0, nodes)[0][1], nodes))


@given(rules=RULES, default=ACTIONS, halves=st.booleans())
@settings(max_examples=40)
def test_any_rules_decide_the_same(rules: list[Rule], default: int, *, halves: bool) -> None:
    program = by_library(rules, default, halves=halves)
    assert filters.differences(program, smaller(program), NUMBERS) == []


def test_conditions_that_leave_out_few_values_become_tests_for_those() -> None:
    every_bit = [(ALLOW, "ioctl", [(1, 7, 1 << bit, ~0x5412 & 1 << bit)]) for bit in range(32)]
    program = by_library(every_bit, EPERM)
    made = smaller(program)
    assert filters.differences(program, made, NUMBERS) == []
    assert [k for code, _, _, k in made if code == EQUAL and k in (0x5412, 0x5413)] == [0x5412]
    assert len(made) < len(program) / 3


def test_more_decisions_than_a_jump_can_leave_out_are_still_reached() -> None:
    library = filters.library()
    names = [name for number in range(120) if (name := library.name(number, library.native))]
    # each call has conditions of its own, so nothing is shared, and all together are some 2,000 instructions
    rules: list[Rule] = [
        (ALLOW, name, [(0, 4, number, 0), (1, 7, 0xFF << 8, number << 8 & 0xFF00)]) for number, name in enumerate(names)
    ]
    program = by_library(rules, EPERM, halves=True)
    made = smaller(program)
    assert len(made) > 4 * 255
    assert filters.differences(program, made, range(0, 120, 17)) == []


def test_a_filter_with_more_instructions_than_the_kernel_takes_is_not_made() -> None:
    nodes = Nodes()
    answers = [(number, nodes.answer(0x00050000 | number % 4000)) for number in range(4200)]
    with pytest.raises(ValueError, match="and the kernel takes 4096"):
        seccomptree.assemble({ARCH_X86_64: answers}, nodes.answer(0), nodes)


def test_a_range_can_be_decided_otherwise_afterwards() -> None:
    nodes = Nodes()
    allow, deny, newer = nodes.answer(ALLOW), nodes.answer(EPERM), nodes.answer(ENOSYS)
    found = [(0, allow), (10, deny), (20, allow)]
    assert seccomprun.override(found, 15, ALL, newer) == [(0, allow), (10, deny), (15, newer)]
    assert seccomprun.override(found, 0, 4, newer) == [(0, newer), (5, allow), (10, deny), (20, allow)]
    assert seccomprun.override(found, 5, 25, newer) == [(0, allow), (5, newer), (26, allow)]
    assert seccomprun.override(found, 10, 19, allow) == [(0, allow)]
    assert seccomprun.override(found, 10, 9, newer) == found


@pytest.mark.parametrize(
    "program",
    [
        [(LOAD, 0, 0, 0), (0x45, 0, 0, 1), (RETURN, 0, 0, 0)],  # bits of the number
        [(LOAD, 0, 0, 8), (EQUAL, 0, 0, 1), (RETURN, 0, 0, 0)],  # where it was called from
        [(0x07, 0, 0, 0), (RETURN, 0, 0, 0)],  # another register
        [(EQUAL, 0, 0, 1), (RETURN, 0, 0, 0)],  # nothing was loaded
    ],
)
def test_a_program_that_libseccomp_does_not_make_is_not_guessed_at(program: list[Instruction]) -> None:
    with pytest.raises(NotUnderstood):
        seccomprun.segments(program, ARCH_X86_64, Nodes())


def test_evaluation_is_the_kernels() -> None:
    program = [
        (LOAD, 0, 0, 4), (EQUAL, 0, 5, ARCH_X86_64), (LOAD, 0, 0, 0), (GREATER_OR_EQUAL, 2, 0, 100), (LOAD, 0, 0, 28),
        (0x45, 1, 0, 2), (RETURN, 0, 0, EPERM), (RETURN, 0, 0, ALLOW),
    ]  # fmt: skip
    assert seccomptree.decode(b"".join(pack("<HBBI", *one) for one in program)) == program
    assert evaluate(program, ARCH_I386, 0) == ALLOW
    assert evaluate(program, ARCH_X86_64, 100) == EPERM
    assert evaluate(program, ARCH_X86_64, 99, (0, 2)) == EPERM
    assert evaluate(program, ARCH_X86_64, 99, (0, 2 << 32)) == ALLOW
