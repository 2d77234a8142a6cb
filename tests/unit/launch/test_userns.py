"""The plan of a container with a user namespace: what comes before what, and what is whose on the host."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from minirun.kernel.call import Call
from minirun.kernel.names import CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWUTS, PR_CAPBSET_DROP
from minirun.launch.plan import namespaces, plan
from minirun.launch.userns import UserNamespace, host_id
from tests.unit.launch.test_plan import mounting, named, spec

SYS_ADMIN = 1 << 21
OWNED = CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS


def mapped(**changes: object) -> list[Call]:
    """The plan of a container whose ids begin at 5000000 and 6000000."""
    own = UserNamespace("/store", [[0, 5000000, 65536]], [[0, 6000000, 65536]], OWNED)
    return plan(spec(userns=own, network="none", network_namespace=None, shared={}, **changes))


def owning(call: Call) -> bool:
    return call.name == "setresuid" and call.args == (-1, 5000000, -1)


def entering(call: Call) -> bool:
    return call.name == "setns" and call.args[-1] == CLONE_NEWUSER


ORDER = [
    ("whose all is before anything is made", owning, named("mkdirat")),
    ("whose all is before the overlay, which takes note of that", owning, mounting("overlay")),
    ("namespaces before /sys", named("setns", OWNED), mounting("sysfs")),
    ("the store's clone before the overlay of it", named("open_tree", "/store"), mounting("overlay")),
    ("all mounts before the user namespace", mounting("proc"), entering),
    ("limits while a capability of the host raises them", named("prlimit64"), entering),
    ("the user namespace before what is given away", entering, named("prctl", PR_CAPBSET_DROP)),
    ("the user namespace before its keys", entering, named("keyctl")),
    ("the user namespace before the user", entering, named("setgroups")),
    ("the user namespace before the filter", entering, named("seccomp")),
]


@pytest.mark.parametrize(("_why", "first", "then"), ORDER, ids=[why for why, _, _ in ORDER])
def test_one_comes_before_the_other(_why: str, first: Callable[[Call], bool], then: Callable[[Call], bool]) -> None:
    calls = mapped()
    firsts = [index for index, call in enumerate(calls) if first(call)]
    thens = [index for index, call in enumerate(calls) if then(call)]
    assert firsts
    assert thens
    assert max(firsts) < min(thens)


def test_nothing_is_opened_or_mounted_in_the_user_namespace() -> None:
    calls = mapped()
    after = calls[next(index for index, call in enumerate(calls) if entering(call)) :]
    assert not {call.name for call in after} & {"openat", "openat2", "open_tree", "mount", "move_mount", "fsmount"}


def test_mounts_of_its_own_are_for_who_may_mount() -> None:
    for keep in (0, SYS_ADMIN):
        calls = mapped(capabilities=keep)
        assert any(call.name == "unshare" and call.args == (CLONE_NEWNS,) for call in calls) == bool(keep)


def test_the_group_of_terminals_is_the_containers() -> None:
    calls = mapped(tty=6000005, terminal=None)
    assert any(call.name == "fsconfig" and call.args[2:4] == ("gid", "6000005") for call in calls)


def test_namespaces_that_it_owns_are_not_made_by_the_clone() -> None:
    own = UserNamespace("/store", [[0, 1, 1]], [[0, 1, 1]], OWNED)
    whole = spec(userns=own, network="none", network_namespace=None, shared={})
    assert not namespaces(whole) & OWNED
    assert namespaces(whole) & CLONE_NEWNS


@pytest.mark.parametrize(("inside", "host"), [(0, 100), (9, 109), (10, -1), (20, 500), (24, 504), (25, -1)])
def test_an_id_is_looked_up_in_each_part_of_a_map(inside: int, host: int) -> None:
    assert host_id([[0, 100, 10], [20, 500, 5]], inside) == host
