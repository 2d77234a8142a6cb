"""The plan of a command that goes into a container: its order is the security of it."""

from __future__ import annotations

from typing import Any

from minirun.kernel.call import Call
from minirun.launch.enter import NAMESPACES, Entry, plan
from minirun.security import capabilities
from minirun.security.seccomp import Filter
from minirun.security.user import User


def entry(**changes: Any) -> Entry:
    fields: dict[str, Any] = {
        "pidfd": 5, "terminal": None, "redirects": [(8, 0)], "cwd": "/srv", "user": User(0, 0, [0], "/root"),
        "capabilities": capabilities.DEFAULT, "argv": ["true"], "env": ["A=b"], "rlimits": (), "oom_score_adj": None,
        "labels": (), "seccomp": None, "no_new_privileges": False,
        "stub": "/host/stub", "status": 9,
    }  # fmt: skip
    return Entry(**{**fields, **changes})


def place(calls: list[Call], name: str, *args: object) -> int:
    """Where the first call of that name is whose arguments begin so."""
    return next(i for i, call in enumerate(calls) if call.name == name and call.args[: len(args)] == args)


def test_all_namespaces_but_that_of_pids_are_joined_by_one_call() -> None:
    calls = plan(entry())
    assert [call.args for call in calls if call.name == "setns"] == [(5, NAMESPACES)]
    assert "PID" not in repr(NAMESPACES)


def test_who_is_born_by_the_stub_has_the_pid_namespace_set_for_that_and_its_terminal_from_it() -> None:
    born = entry(terminal=11, redirects=())
    born.born = 12
    calls = plan(born)
    assert [repr(call.args[1]).count("CLONE_NEWPID") for call in calls if call.name == "setns"] == [1]
    assert "ioctl" not in [call.name for call in calls]
    assert '["join", "9", "12", "true"]' in repr(calls[-1])
    assert [call.args[0] for call in calls if call.name == "fcntl"] == [9, 12]


def test_the_stub_is_opened_before_and_every_other_path_after_the_hosts_are_gone() -> None:
    calls = plan(entry())
    joined = place(calls, "setns")
    assert place(calls, "open_tree") < joined
    assert [i for i, call in enumerate(calls) if call.name in ("openat2", "openat", "chdir") and i < joined] == []


def test_the_working_directory_is_entered_through_no_magic_link() -> None:
    (call,) = (call for call in plan(entry()) if call.name == "openat2")
    assert call.args[1] == "/srv"
    assert "RESOLVE_NO_MAGICLINKS" in repr(call)


def test_everything_is_given_away_before_the_command_is_executed() -> None:
    calls = plan(entry(user=User(7, 8, [8], "/")))
    order = [
        place(calls, name)
        for name in ("setsid", "setns", "dup3", "fchdir", "keyctl", "setgroups", "setresuid", "capset", "close_range")
    ]
    assert order == sorted(order)
    assert calls[-1].name == "execveat"
    assert "permitted=0x0" in repr(calls[place(calls, "capset")])


def test_a_command_has_the_containers_filter_installed_last_of_all() -> None:
    calls = plan(entry(seccomp=Filter(4, bytes(8), by_path=False), no_new_privileges=True))
    assert [call.name for call in calls[-3:]] == ["prctl", "seccomp", "execveat"]


def test_a_terminal_takes_all_three_places_and_controls_the_session() -> None:
    calls = plan(entry(terminal=11, redirects=()))
    assert [call.args[:2] for call in calls if call.name == "dup3"] == [(11, 0), (11, 1), (11, 2)]
    assert calls[place(calls, "dup3", 11, 2) + 1].name == "ioctl"


def test_whoever_has_all_capabilities_keeps_them() -> None:
    everything = (1 << 64) - 1
    calls = plan(entry(capabilities=everything))
    assert [call for call in calls if "PR_CAPBSET_DROP" in repr(call)] == []
    assert "inheritable=0" in repr(calls[place(calls, "capset")])
