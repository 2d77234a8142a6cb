"""A call as somebody asks about it: read, looked for in the rules, and put to the filter with what is known of it."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from minirun.errors import BadInput
from minirun.security import callneeds, callquestion, seccomprun
from minirun.security.seccomp import BUILTIN
from minirun.security.seccomprun import ARCH_I386, ARCH_X86_64
from tests import filters


@pytest.mark.parametrize(
    ("text", "arch", "number", "arguments"),
    [
        ("mount", ARCH_X86_64, 165, ()),
        (" socket( AF_VSOCK ) ", ARCH_X86_64, 41, (40,)),
        ("ioctl(_, TIOCSTI)", ARCH_X86_64, 16, (None, 0x5412)),
        ("clone(CLONE_NEWUSER|SIGCHLD)", ARCH_X86_64, 56, (0x10000011,)),
        ("personality(-1)", ARCH_X86_64, 135, (2**64 - 1,)),
        ("umount(_, 0x2)", ARCH_X86_64, 166, (None, 2)),
        ("socketcall", ARCH_I386, 102, ()),
    ],
)
def test_a_call_is_read(text: str, arch: int, number: int, arguments: tuple[int | None, ...]) -> None:
    filters.library()
    question = callquestion.read(text)
    assert (question.arch, question.number, question.arguments) == (arch, number, arguments)


@pytest.mark.parametrize(
    "text", ["", "()", "mount(", "nosuchcall", "mount(nothing)", "mount(1 2)", "riscv_flush_icache"]
)
def test_what_is_no_call_is_refused(text: str) -> None:
    filters.library()
    with pytest.raises(BadInput):
        callquestion.read(text)


def test_what_is_not_known_of_a_call_leaves_every_answer_open_that_there_is_and_none_beside_them() -> None:
    program = filters.compiled(json.loads(Path(BUILTIN).read_text()))
    chance = random.Random(7)
    values = [0, 1, 2, 8, 38, 40, 0x5412, 0x20000, 0x10000000, 2**32 - 1, 2**32 + 38, 2**64 - 1]
    for number in (16, 41, 56, 135, *range(0, 460, 3)):
        seen = set()
        for _ in range(200):
            given = [chance.choice(values) for _ in range(6)]
            answer = seccomprun.evaluate(program, ARCH_X86_64, number, given)
            assert seccomprun.answers(program, ARCH_X86_64, number, given) == {answer}
            partly = [value if chance.random() < 0.5 else None for value in given]
            assert answer in seccomprun.answers(program, ARCH_X86_64, number, partly)
            seen.add(answer)
        assert seen == seccomprun.answers(program, ARCH_X86_64, number, ())


@pytest.mark.parametrize(
    ("text", "needed"),
    [
        ("mount", (("SYS_ADMIN",), "")),
        ("getpid", None),
        ("socket(AF_PACKET)", (("NET_RAW",), "")),
        ("socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC)", None),
        ("socket(AF_UNIX)", None),
        ("unshare(CLONE_NEWNET)", (("SYS_ADMIN",), "")),
        ("unshare(CLONE_NEWUSER|CLONE_NEWNET)", None),
    ],
)
def test_what_the_kernel_asks_for_depends_on_the_arguments(text: str, needed: object) -> None:
    filters.library()
    assert callneeds.of(callquestion.read(text)) == needed
