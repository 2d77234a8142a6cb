"""A profile means what it means to Docker and podman; one without a meaning is refused with its place."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minirun.errors import BadInput, MinirunError, Unsupported
from minirun.security import seccompcompile, seccompprofile
from minirun.security.seccompprofile import Profile, Rule
from minirun.security.seccomprun import ARCH_I386, ARCH_X86_64, evaluate
from tests import filters
from tests.filters import ALLOW, DEFAULT, ENOSYS, EPERM, KERNEL, X32

LOG, TRACE, TRAP = 0x7FFC0000, 0x7FF00000, 0x00030000
STARTS = {"names": ["execve", "execveat", "fcntl"], "action": "SCMP_ACT_ALLOW"}


def reduced(document: Any, kernel: tuple[int, ...] = KERNEL) -> Profile:
    found = seccompprofile.reduce(document, "test", DEFAULT, kernel)
    assert found is not None
    return found


def rules(*given_: Any, kernel: tuple[int, ...] = KERNEL) -> list[Rule]:
    return [*reduced({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [*given_]}, kernel).rules]


def answer(document: Any, number: int, *arguments: int, arch: int = ARCH_X86_64) -> int:
    return evaluate(filters.compiled(document), arch, number, arguments)


@pytest.mark.parametrize(
    ("action", "number"),
    [
        ("SCMP_ACT_KILL", 0), ("SCMP_ACT_KILL_THREAD", 0), ("SCMP_ACT_KILL_PROCESS", 0x80000000),
        ("SCMP_ACT_TRAP", TRAP), ("SCMP_ACT_ERRNO", EPERM), ("SCMP_ACT_TRACE", TRACE | 1), ("SCMP_ACT_LOG", LOG),
        ("SCMP_ACT_ALLOW", ALLOW),
    ],
)  # fmt: skip
def test_every_action_has_its_number(action: str, number: int) -> None:
    assert reduced({"defaultAction": action, "syscalls": []}).default == number
    (rule,) = rules({"names": ["read"], "action": action})
    assert rule.action == number


def test_the_error_is_a_number_or_podmans_name_which_wins() -> None:
    base = {"names": ["read"], "action": "SCMP_ACT_ERRNO"}
    errors: tuple[dict[str, Any], ...] = (
        {},
        {"errnoRet": 38},
        {"errno": "ENOSYS"},
        {"errnoRet": 1, "errno": "ENOSYS"},
        {"errno": "38"},
    )
    assert [rule.action for rule in rules(*({**base, **one} for one in errors))] == [EPERM, *[ENOSYS] * 4]
    default = {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1, "defaultErrno": "ENOSYS"}
    assert reduced(default).default == ENOSYS
    (rule,) = rules({"names": ["read"], "action": "SCMP_ACT_TRACE", "errnoRet": 7})
    assert rule.action == TRACE | 7


@pytest.mark.parametrize(
    ("condition", "applies"),
    [
        ({}, True),
        ({"includes": {"caps": ["CAP_CHOWN"]}}, True),
        ({"includes": {"caps": ["CAP_CHOWN", "CAP_SYS_ADMIN"]}}, False),
        ({"excludes": {"caps": ["CAP_CHOWN", "CAP_SYS_ADMIN"]}}, False),
        ({"excludes": {"caps": ["CAP_SYS_ADMIN"]}}, True),
        ({"includes": {"arches": ["arm64", "amd64"]}}, True),
        ({"includes": {"arches": ["x86"]}}, False),
        ({"excludes": {"arches": ["amd64"]}}, False),
        ({"includes": {"minKernel": "6.12"}}, True),
        ({"includes": {"minKernel": "6.13"}}, False),
        ({"includes": {"minKernel": "4.8.1"}}, True),
        ({"excludes": {"minKernel": "4.8"}}, False),
        ({"excludes": {"minKernel": "7.0"}}, True),
        ({"includes": {"caps": [], "arches": [], "minKernel": ""}, "excludes": None}, True),
        ({"includes": {"caps": ["CAP_CHOWN"]}, "excludes": {"minKernel": "4.8"}}, False),
    ],
)
def test_a_rule_is_for_all_that_it_includes_and_none_that_it_excludes(condition: Any, *, applies: bool) -> None:
    assert bool(rules({"names": ["read"], "action": "SCMP_ACT_ALLOW", **condition})) is applies


def test_keys_are_known_in_any_case_and_others_are_passed_over() -> None:
    (rule,) = rules({"Names": ["read"], "ACTION": "SCMP_ACT_ALLOW", "comment": 7, "extra": {}})
    assert list(rule.names) == ["read"]
    assert list(rules({"name": "write", "action": "SCMP_ACT_ALLOW"})[0].names) == ["write"]


def test_conditions_of_several_arguments_must_all_hold_and_of_one_any() -> None:
    first, second, other = ({"index": i, "value": v, "op": "SCMP_CMP_EQ"} for i, v in ((0, 1), (0, 2), (1, 2)))
    both = {"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [first, other]}
    either = {"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [first, other, second]}
    assert [len(rule.conditions) for rule in rules(both)] == [2]
    assert [len(rule.conditions) for rule in rules(either)] == [1, 1, 1]


@pytest.mark.parametrize(
    ("operator", "value", "second", "holds", "fails"),
    [
        ("NE", 5, 0, (4, 5 << 32), (5,)),
        ("LT", 1 << 32, 0, (0, 2**32 - 1), (1 << 32, 2**64 - 1)),
        ("LE", 1 << 32, 0, (0, 1 << 32), ((1 << 32) + 1, 2**64 - 1)),
        ("EQ", 5, 0, (5,), (5 | 1 << 32, 4)),
        ("GE", 1 << 32, 0, (1 << 32, 2**64 - 1), (0, 2**32 - 1)),
        ("GT", 1 << 32, 0, ((1 << 32) + 1,), (1 << 32, 0)),
        ("MASKED_EQ", 0xF0, 0x30, (0x35, 0x3A | 1 << 40), (0x45, 0)),
    ],
)
def test_every_operator_compares_64_bits(operator: str, value: int, second: int, holds: tuple[int, ...],
                                         fails: tuple[int, ...]) -> None:  # fmt: skip
    condition = {"index": 3, "op": f"SCMP_CMP_{operator}", "value": value, "valueTwo": second}
    document = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "syscalls": [STARTS, {"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [condition]}],
    }
    assert [answer(document, 0, 0, 0, 0, one) for one in (*holds, *fails)] == [ALLOW] * len(holds) + [EPERM] * len(
        fails
    )


def test_calls_newer_than_a_profile_do_not_exist_and_what_it_does_not_name_is_forbidden() -> None:
    document = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": [STARTS, {"names": ["openat2", "a_call_of_tomorrow"], "action": "SCMP_ACT_ALLOW"}],
    }
    openat2 = 437
    for arch, bit in ((ARCH_X86_64, 0), (ARCH_I386, 0), (ARCH_X86_64, X32)):
        found = [answer(document, bit + number, arch=arch) for number in (openat2, openat2 + 1, 2)]
        # x32 has numbers of its own from 512 on, and execve is among them
        assert found == [ALLOW, EPERM if bit else ENOSYS, EPERM]
    assert answer(document, X32 + 600) == ENOSYS
    assert answer(document | {"defaultAction": "SCMP_ACT_LOG"}, openat2 + 1) == LOG
    alone = document | {"architectures": ["SCMP_ARCH_X86_64"]}
    assert answer(alone, openat2 + 1) == ENOSYS
    # other kinds of programs than those it is for are killed
    assert [answer(alone, 1, arch=ARCH_I386), answer(alone, X32 + 1)] == [0, 0]


def test_architectures_come_from_a_list_or_from_the_map_of_this_one() -> None:
    base = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []}
    mapped = [
        {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]},
        {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]},
        {"architecture": "SCMP_ARCH_RISCV64", "subArchitectures": None},
    ]
    assert reduced({**base, "archMap": mapped}).architectures == ["x86_64", "x86"]
    assert reduced({**base, "architectures": ["SCMP_ARCH_X32"], "archMap": []}).architectures == ["x32"]
    assert reduced(base).architectures == []


def test_flags_are_those_that_are_named_or_runcs() -> None:
    base = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []}
    assert reduced(base).flags == 4
    assert reduced({**base, "flags": []}).flags == 0
    assert reduced({**base, "flags": ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_TSYNC"]}).flags == 3


def test_an_empty_profile_asks_for_no_filter() -> None:
    assert seccompprofile.reduce({}, "test", DEFAULT, KERNEL) is None
    assert seccompprofile.reduce({"syscalls": [], "archMap": []}, "test", DEFAULT, KERNEL) is None


ARGUMENT = {"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}
RULE = {"names": ["read"], "action": "SCMP_ACT_ALLOW"}


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ([], "it is no object"),
        ({"defaultAction": "ALLOW"}, "defaultAction: 'ALLOW' is none of"),
        ({"defaultAction": 7}, "defaultAction: it is no string"),
        ({"defaultErrnoRet": -1}, "defaultErrnoRet: it is no whole number"),
        ({"defaultErrno": "ENOTHING"}, "defaultErrno: 'ENOTHING' is no error"),
        ({"syscalls": {}}, "syscalls: it is no list"),
        ({"syscalls": [RULE, 7]}, "syscalls[1]: it is no object"),
        ({"syscalls": [{**RULE, "names": [7]}]}, "syscalls[0].names[0]: it is no string"),
        ({"syscalls": [{**RULE, "names": [""]}]}, "syscalls[0].names: a system call has a name"),
        ({"syscalls": [{**RULE, "name": "write"}]}, "syscalls[0].name: there are names, too"),
        ({"syscalls": [{**RULE, "action": "SCMP_ACT_NONE"}]}, "syscalls[0].action: 'SCMP_ACT_NONE'"),
        ({"syscalls": [{**RULE, "errnoRet": 1.5}]}, "syscalls[0].errnoRet: it is no whole number"),
        ({"syscalls": [{**RULE, "errnoRet": 65536}]}, "syscalls[0].errnoRet: it is no whole number"),
        ({"syscalls": [{**RULE, "args": [{**ARGUMENT, "op": "EQ"}]}]}, "syscalls[0].args[0].op: 'EQ' is none of"),
        ({"syscalls": [{**RULE, "args": [{**ARGUMENT, "index": 6}]}]}, "syscalls[0].args[0].index: it is no whole"),
        ({"syscalls": [{**RULE, "args": [{**ARGUMENT, "value": 2**64}]}]}, "syscalls[0].args[0].value: it is no whole"),
        ({"syscalls": [{**RULE, "args": [{**ARGUMENT, "value": True}]}]}, "syscalls[0].args[0].value: it is no whole"),
        ({"syscalls": [{**RULE, "includes": []}]}, "syscalls[0].includes: it is no object"),
        ({"syscalls": [{**RULE, "excludes": {"caps": "CAP_CHOWN"}}]}, "syscalls[0].excludes.caps: it is no list"),
        ({"syscalls": [{**RULE, "includes": {"minKernel": "new"}}]}, "syscalls[0].includes.minKernel: 'new'"),
        ({"architectures": ["X86"]}, "architectures[0]: 'X86' is no architecture"),
        ({"archMap": [{"architecture": "X86"}]}, "archMap[0].architecture: 'X86' is no architecture"),
        ({"architectures": ["SCMP_ARCH_X86"], "archMap": [{"architecture": "SCMP_ARCH_X86"}]}, "there is an archMap"),
        ({"flags": ["SECCOMP_FILTER_FLAG_NEW_LISTENER"]}, "flags[0]: 'SECCOMP_FILTER_FLAG_NEW_LISTENER' is none of"),
    ],
)  # fmt: skip
def test_what_has_no_meaning_is_refused_with_its_place(change: Any, place: str) -> None:
    document = {"defaultAction": "SCMP_ACT_ERRNO", **change} if isinstance(change, dict) else change
    with pytest.raises(BadInput) as caught:
        seccompprofile.reduce(document, "odd.json", DEFAULT, KERNEL)
    assert str(caught.value).startswith("cannot use the seccomp profile odd.json: ")
    assert place in str(caught.value)


@pytest.mark.parametrize("change", [{"listenerPath": "/run/x"}, {"syscalls": [{**RULE, "action": "SCMP_ACT_NOTIFY"}]},
                                    {"defaultAction": "SCMP_ACT_NOTIFY"}])  # fmt: skip
def test_that_another_program_decides_is_refused(change: Any) -> None:
    with pytest.raises(Unsupported, match="another program"):
        seccompprofile.reduce({"defaultAction": "SCMP_ACT_ERRNO", **change}, "test", DEFAULT, KERNEL)
    elsewhere = {**RULE, "action": "SCMP_ACT_NOTIFY", "includes": {"arches": ["arm"]}}
    assert rules(elsewhere) == []


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"defaultAction": "SCMP_ACT_KILL", "syscalls": []}, "it does not allow execve"),
        ({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{**RULE, "names": ["execve"]}]}, "it does not allow fcntl"),
        ({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_S390X"], "syscalls": []}, "refuses s390x"),
        ({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{**RULE, "action": "SCMP_ACT_ERRNO", "errnoRet": 5000}]},
         "syscalls[0].names: libseccomp refuses the rule for read"),
        ({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 5000, "syscalls": []}, "defaultAction: libseccomp"),
    ],
)  # fmt: skip
def test_what_the_library_or_a_start_cannot_do_with_is_refused(document: Any, said: str) -> None:
    with pytest.raises(BadInput) as caught:
        filters.compiled(document)
    assert said in str(caught.value)


JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**65), 2**65),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=8),
    ),
    lambda one: st.one_of(st.lists(one, max_size=4), st.dictionaries(st.text(max_size=8), one, max_size=4)),
    max_leaves=8,
)
WORDS = ("defaultAction", "defaultErrnoRet", "defaultErrno", "architectures", "archMap", "flags", "syscalls", "names",
         "name", "action", "errnoRet", "args", "index", "value", "valueTwo", "op", "includes", "excludes", "caps",
         "minKernel", "subArchitectures", "architecture", "listenerPath")  # fmt: skip


def put(document: Any, path: list[int], word: str, value: Any) -> Any:
    """*document* with *value* somewhere in it."""
    if isinstance(document, dict) and document and path:
        key = sorted(document)[path[0] % len(document)]
        return {**document, key: put(document[key], path[1:], word, value)}
    if isinstance(document, list) and document and path:
        at = path[0] % len(document)
        return [*document[:at], put(document[at], path[1:], word, value), *document[at + 1 :]]
    return {**document, word: value} if isinstance(document, dict) else value


VALID = {
    "defaultAction": "SCMP_ACT_ERRNO", "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": []}],
    "syscalls": [STARTS, {**RULE, "args": [ARGUMENT], "includes": {"caps": ["CAP_CHOWN"], "minKernel": "4.8"}}],
}  # fmt: skip


@given(path=st.lists(st.integers(0, 9), max_size=6), word=st.sampled_from(WORDS), value=JSON)
@settings(max_examples=150)
def test_whatever_stands_in_a_profile_it_is_compiled_or_refused(path: list[int], word: str, value: Any) -> None:
    filters.library()
    document = seccompprofile.parse(json.dumps(put(VALID, path, word, value)), "test")
    attempt = ""
    try:
        profile = seccompprofile.reduce(document, "test", DEFAULT, KERNEL)
        if profile is not None:
            seccompcompile.compile_profile(profile, "test")
    except MinirunError as error:
        attempt = error.attempt
    assert attempt in ("", "use the seccomp profile test")


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"a": NaN}', "\ufeff{}", '{"a": ' + "9" * 5000 + "}"])
def test_what_is_not_json_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="it is not JSON"):
        seccompprofile.parse(text, "test")
