"""The default profile: Docker's, or stricter; every call is in it, and what is denied has a reason."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from minirun.security import capabilities, seccomp
from minirun.security.seccomprun import ARCH_I386, ARCH_X86_64, Instruction, evaluate
from tests import filters
from tests.filters import ALLOW, DEFAULT, ENOSYS, EPERM, X32

PROFILE: dict[str, Any] = json.loads(Path(seccomp.BUILTIN).read_text())
ALLOWED = [rule for rule in PROFILE["syscalls"] if rule["action"] == "SCMP_ACT_ALLOW"]
DENIED = [rule for rule in PROFILE["syscalls"] if rule["action"] == "SCMP_ACT_ERRNO"]
DOCUMENT = Path(__file__).resolve().parents[3] / "docs/seccomp.md"
EAFNOSUPPORT = 0x00050061
# read from inside a container of Docker's
DOCKER_DENIES = (
    "acct", "add_key", "bpf", "delete_module", "fsopen", "init_module", "io_uring_setup", "iopl", "kexec_load",
    "keyctl", "mount", "move_mount", "open_by_handle_at", "perf_event_open", "pivot_root", "quotactl", "setns",
    "settimeofday", "swapon", "syslog", "unshare", "userfaultfd",
)  # fmt: skip


@cache
def program(names: tuple[str, ...] = DEFAULT) -> list[Instruction]:
    return filters.compiled(PROFILE, names)


def answers(name: str, *arguments: int, names: tuple[str, ...] = DEFAULT) -> dict[str, int]:
    """What is answered to the call on each architecture that has it."""
    library = filters.library()
    found = {}
    for kind, arch in (("x86_64", ARCH_X86_64), ("x86", ARCH_I386), ("x32", ARCH_X86_64)):
        number = library.number(name, library.architecture(kind))
        if number >= 0:
            found[kind] = evaluate(program(names), arch, number, arguments)
    return found


def on_all(answer: int, *missing: str) -> dict[str, int]:
    return dict.fromkeys([kind for kind in ("x86_64", "x86", "x32") if kind not in missing], answer)


@pytest.mark.parametrize("name", DOCKER_DENIES)
def test_what_docker_denies_is_denied(name: str) -> None:
    assert set(answers(name).values()) == {EPERM}


def test_every_call_that_the_library_knows_is_allowed_or_denied_with_a_reason() -> None:
    library = filters.library()
    named = {name for rule in PROFILE["syscalls"] for name in rule["names"]}
    for kind, bit in (("x86_64", 0), ("x86", 0), ("x32", X32)):
        arch = library.architecture(kind)
        known = {library.name(bit + number, arch) for number in range(600)} - {""}
        assert len(known) > 300
        assert known - named == set(), kind
    assert all(rule["comment"] for rule in DENIED)


def test_nothing_is_both_allowed_and_denied_but_by_its_arguments_or_capabilities() -> None:
    plain = [{name for rule in rules if not rule.keys() & {"args", "includes", "excludes"} for name in rule["names"]}
             for rules in (ALLOWED, DENIED)]  # fmt: skip
    assert plain[0] & plain[1] == set()
    assert all(len(set(rule["names"])) == len(rule["names"]) for rule in PROFILE["syscalls"])


def test_libraries_are_told_that_clone3_and_calls_of_the_future_do_not_exist() -> None:
    assert answers("clone3") == on_all(ENOSYS)
    assert [evaluate(program(), arch, number) for arch, number in ((ARCH_X86_64, 599), (ARCH_I386, 599))] == [
        ENOSYS
    ] * 2


def test_a_clone_makes_threads_and_processes_and_no_namespaces() -> None:
    fork, thread = 17, 0x3D0F00
    for flags in (fork, thread):
        assert answers("clone", flags) == on_all(ALLOW)
    for name in ("NEWNS", "NEWCGROUP", "NEWUTS", "NEWIPC", "NEWUSER", "NEWPID", "NEWNET"):
        bit = {"NEWNS": 0x20000, "NEWCGROUP": 0x2000000, "NEWUTS": 0x4000000, "NEWIPC": 0x8000000,
               "NEWUSER": 0x10000000, "NEWPID": 0x20000000, "NEWNET": 0x40000000}[name]  # fmt: skip
        assert answers("clone", fork | bit) == on_all(EPERM)


def test_sockets_are_of_any_family_but_two() -> None:
    for family in (1, 2, 10, 16, 17, 37, 39, 41, 44, 45):
        assert answers("socket", family, 3) == {"x86_64": ALLOW, "x32": ALLOW}, family
    for family in (38, 40):
        assert answers("socket", family, 3) == {"x86_64": EPERM, "x32": EPERM}
        # what the kernel would cut to that number
        assert answers("socket", 1 << 32 | family) == {"x86_64": EAFNOSUPPORT, "x32": EPERM}
    assert set(answers("socket", 46).values()) == {EAFNOSUPPORT}
    assert [evaluate(program(), ARCH_I386, 359, (family,)) for family in (2, 38, 40)] == [ALLOW, EPERM, EPERM]


@pytest.mark.parametrize("high", [0, 1, 0xFFFFFFFF, 0x80000000])
def test_nothing_is_typed_into_a_terminal(high: int) -> None:
    for request, answer in ((0x5412, EPERM), (0x541C, EPERM), (0x5401, ALLOW), (0x5413, ALLOW), (0x541B, ALLOW)):
        assert answers("ioctl", 0, high << 32 | request) == on_all(answer), hex(request)
    denied = [low for low in range(1 << 16) if evaluate(program(), ARCH_X86_64, 16, (0, high << 32 | low)) != ALLOW]
    assert denied == [0x5412, 0x541C]


def test_personalities_are_the_harmless_ones() -> None:
    for persona in (0, 8, 0x20000, 0x20008, 0xFFFFFFFF):
        assert answers("personality", persona) == on_all(ALLOW)
    for persona in (0x40000, 0x400000, 1, 0x20009):
        assert answers("personality", persona) == on_all(EPERM)


GIVEN = {
    "SYS_ADMIN": ["mount", "unshare", "setns", "clone3", "bpf", "syslog", "fsopen", "sethostname", "quotactl"],
    "SYS_MODULE": ["init_module", "finit_module", "delete_module"], "SYS_BOOT": ["reboot"],
    "SYS_TIME": ["settimeofday", "clock_settime"], "SYS_PACCT": ["acct"], "SYS_RAWIO": ["iopl", "ioperm"],
    "SYSLOG": ["syslog"], "BPF": ["bpf"], "PERFMON": ["perf_event_open"], "SYS_NICE": ["mbind", "set_mempolicy"],
    "SYS_PTRACE": ["kcmp", "pidfd_getfd"], "SYS_TTY_CONFIG": ["vhangup"], "DAC_READ_SEARCH": ["open_by_handle_at"],
}  # fmt: skip


@pytest.mark.parametrize(("capability", "calls"), GIVEN.items(), ids=GIVEN)
def test_a_capability_that_is_given_brings_its_calls(capability: str, calls: list[str]) -> None:
    for call in calls:
        assert set(answers(call, names=(*DEFAULT, f"CAP_{capability}")).values()) == {ALLOW}, call
        assert ALLOW not in answers(call).values(), call


def test_some_calls_no_capability_brings() -> None:
    every = tuple(capabilities.name(number) for number in range(capabilities.LAST + 1))
    for call in ("add_key", "io_uring_setup", "kexec_load", "keyctl", "pivot_root", "swapon", "userfaultfd"):
        assert set(answers(call, names=every).values()) == {EPERM}
    # and one that every container has can be taken away
    without = tuple(name for name in DEFAULT if name != "CAP_SYS_CHROOT")
    assert answers("chroot", names=without) == on_all(EPERM)
    assert answers("chroot") == on_all(ALLOW)


def test_it_is_few_instructions() -> None:
    assert len(program()) < 360


def row(rule: Any) -> str:
    """A denied group as docs/seccomp.md has it."""
    calls = " ".join(f"`{name}`" for name in rule["names"])
    lifted = " or ".join(f"`{name.removeprefix('CAP_')}`" for name in rule.get("excludes", {}).get("caps", ()))
    return f"| {calls} | {rule['comment']} | {lifted} |"


def test_the_document_has_every_denied_group_with_its_reason() -> None:
    written = [line for line in DOCUMENT.read_text().splitlines() if line.startswith("| `")]
    table = [line for line in written if line.count("|") == 4]
    assert table == [row(rule) for rule in DENIED]
