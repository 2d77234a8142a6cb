"""Flags of isolation that mean harm, or nothing: one sentence, 125, and the disk is as it was."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import busybox
from tests.command import PATIENCE, Minirun

QUICK_S = 6.0 * PATIENCE
LINES = 3
ALLOW = '{"defaultAction":"SCMP_ACT_ALLOW"'


def rule(rest: str) -> str:
    return f'{ALLOW},"syscalls":[{{"names":["mkdir"],"action":"SCMP_ACT_ERRNO"{rest}}}]}}'


def condition(rest: str) -> str:
    return rule(f',"args":[{{{rest},"op":"SCMP_CMP_EQ"}}]')


def many(count: int) -> str:
    """A profile of so many rules that no filter holds them; libseccomp alone takes a second for them."""
    every = (
        f'{{"names":["mkdir"],"action":"SCMP_ACT_ERRNO","args":[{{"index":0,"value":{n},"op":"SCMP_CMP_EQ"}}]}}'
        for n in range(count)
    )
    return f'{ALLOW},"syscalls":[{",".join(every)}]}}'


PROFILES = {
    "nested lists": "[" * 100_000 + "]" * 100_000,
    "nested objects": '{"a":' * 50_000 + "1" + "}" * 50_000,
    "more rules than fit": many(5000),
    "nothing": "", "NULs": "\0" * 100, "a mark of byte order": "\ufeff{}", "a list": "[]", "null": "null",
    "a string": '"x"',
    "a control character": '{"defaultAction":"\x1b]0;title\x07"}', "NaN": '{"defaultAction":NaN}',
    "infinity": f'{ALLOW},"defaultErrnoRet":1e400}}',
    "a number of 100,000 digits": f'{{"defaultAction":{"9" * 100_000}}}',
    "rules that are none": f'{ALLOW},"syscalls":{{}}}}', "a rule that is none": f'{ALLOW},"syscalls":[1]}}',
    "names that are none": f'{ALLOW},"syscalls":[{{"names":"x","action":"SCMP_ACT_ERRNO"}}]}}',
    "a name that is none": f'{ALLOW},"syscalls":[{{"names":[1],"action":"SCMP_ACT_ERRNO"}}]}}',
    "half a character": f'{ALLOW},"syscalls":[{{"names":["\\ud800"],"action":"SCMP_ACT_ERRNO"}}]}}',
    "an errno too large": rule(',"errnoRet":99999999999999999999'), "an errno below 0": rule(',"errnoRet":-1'),
    "half an errno": rule(',"errnoRet":1.5'), "a version that is none": rule(',"includes":{"minKernel":"a.b"}'),
    "conditions that are none": rule(',"includes":[]'), "capabilities that are none": rule(',"includes":{"caps":"x"}'),
    "a tenth argument": condition('"index":9,"value":1'),
    "an argument before the first": condition('"index":-1,"value":1'),
    "a value of 5,000 digits": condition(f'"index":0,"value":{"9" * 5000}'),
    "architectures that are none": f'{ALLOW},"architectures":{{}}}}', "flags that are none": f'{ALLOW},"flags":["x"]}}',
    "what lets nothing begin": '{"defaultAction":"SCMP_ACT_KILL_PROCESS"}',
}  # fmt: skip

FLAGS = [
    *(("--security-opt", f"seccomp={path}") for path in (
        "/dev/zero", "/proc/self/mem", "/dev/null", "/", "\n", "x\udcff",
    )),
    *(("--security-opt", text) for text in (
        "label=x:y", "label=type:container_t", "label=", "label=level:s0:c1,c2", "apparmor=", "apparmor=../../x",
        "apparmor=a\nb", "apparmor=unconfined\n", "mask=relative", "mask=", "unmask=", "unmask=[", "systempaths=x",
        "no-new-privileges=2", "writable-cgroups=x", "proc-opts=hidepid=2", "seccomp=builtin\n", "NO-NEW-PRIVILEGES",
    )),
    *(("--device", text) for text in (
        "", ":", "/", "/proc", "/dev/shm:/dev/shm", "/dev/nu\nll", "/dev/null:/dev/../etc/x", "/dev/null:/dev/",
        "/dev/null:/dev/x/../../../etc/y", "/dev/null:/dev/x:", "/dev/null::", "/dev/null:/dev/fd/0",
        "/dev/null:/dev/shm/x",
        "/dev/null:/dev/null/x", "/dev/null:/dev/pts", "vendor.com/x=y", "/dev/null:/dev/x:rwmr",
    )),
    *(("--device-cgroup-rule", text) for text in (
        "", "a", "c -1:3 r", "c 1:3 r\n", " c 1:3 r", "c  1:3 r", "c \u0661:3 r", "c 4096:3 r",
        "c 1:1048576 r", "c 1:3 ",
    )),
    *(("--cap-add", text) for text in (
        "", "CAP_", "cap_cap_chown", "\u017fys_admin", "SYS_ADMIN,CHOWN", " CHOWN", "CHOWN\n", "9" * 50,
    )),
    ("--cap-drop", "64"), ("--pid", "container:"), ("--pid", "container:/"), ("--pid", "hos"),
    ("--ipc", "container:.."),
    ("--uts", "container:x"), ("--cgroupns", "x"), ("--cgroup-parent", "../../x"), ("--cgroup-parent", "/../x"),
    *(("--sysctl", text) for text in (
        "kernel.core_pattern=x", "net/../kernel/core_pattern=x", "net.ipv4/../../kernel/core_pattern=x", "=x",
        "net.", "net..=1",
        "fs.mqueue.../../../x=1", "net/ipv4/ip_forward=1", "net.ipv4.ip_forward", "kernel.shm_rmid_forced\n=1",
    )),
    ("--tmpfs", "/proc/sys"), ("-v", "/:/proc/1"), ("--ulimit", "nofile=-2"), ("--oom-score-adj", "1001"),
    ("-h", "../x"),
]  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def used(store: Minirun) -> None:
    """The store has been used: what the first command makes, no refusal is found to have made."""
    store("run", "--rm", "busybox", "true", check=True)


@pytest.fixture
def unchanged(store: Minirun) -> Iterator[None]:
    """Fail a test after which something else is in the store, or in the runtime directory."""
    before = busybox.contents(store.root), busybox.contents(store.runtime)
    yield
    assert (busybox.contents(store.root), busybox.contents(store.runtime)) == before


def refused(store: Minirun, *flags: str) -> str:
    """What is wrong about how `create` refuses *flags*; empty for nothing."""
    began = time.monotonic()
    result = store("create", *flags, "busybox", "true")
    took = time.monotonic() - began
    said = result.stderr
    wrong = [
        result.returncode != 125, not said.startswith("minirun: cannot"), "Traceback" in said, said.count("\n") > LINES,
        any(not sign.isprintable() for sign in said.replace("\n", "")), took > QUICK_S,
    ]  # fmt: skip
    return f"{flags!r:.80}: {result.returncode} after {took:.1f} s {said!r:.200}" if any(wrong) else ""


@pytest.mark.parametrize("case", PROFILES)
def test_a_profile_that_is_none_is_refused_in_a_sentence(
    store: Minirun, tmp_path: Path, case: str, unchanged: None
) -> None:
    profile = tmp_path / "profile.json"
    profile.write_text(PROFILES[case])
    assert not refused(store, "--security-opt", f"seccomp={profile}")


@pytest.mark.parametrize("flag", sorted({flag for flag, _ in FLAGS}))
def test_a_value_without_a_meaning_is_refused_in_a_sentence(store: Minirun, flag: str, unchanged: None) -> None:
    wrong = [refused(store, *flags) for flags in FLAGS if flags[0] == flag]
    assert [one for one in wrong if one] == []


@pytest.mark.parametrize(
    "flags",
    [("-u", "9" * 10_000), ("--group-add", "-1"), ("--group-add", "\u0661"), ("-u", "0\n"), ("-u", "::"), ("-u", "+0"),
     ("--device", f"/dev/null:/dev/{'n' * 300}"), ("--device", f"/dev/null:/dev/{'n/' * 3000}n"),
     ("--tmpfs", "/x:size=-1")],
    ids=lambda flags: f"{flags[0]} {flags[1]!a:.16}",
)  # fmt: skip
def test_what_shows_only_at_the_start_is_undone(store: Minirun, flags: tuple[str, str]) -> None:
    before = busybox.contents(store.root)
    result = store("run", *flags, "busybox", "true")
    assert result.returncode == 125
    assert result.stderr.startswith("minirun: cannot")
    assert "Traceback" not in result.stderr
    assert busybox.contents(store.root) == before
