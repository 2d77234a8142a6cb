"""--security-opt apparmor= and label= are refused where the host has no such module; tests/vm has one that has."""

from __future__ import annotations

from pathlib import Path

import pytest

from minirun.security import apparmor
from tests import busybox
from tests.command import Minirun


def test_what_asks_for_nothing_is_taken_everywhere(store: Minirun) -> None:
    flags = ("--security-opt", "apparmor=unconfined", "--security-opt", "label=disable")
    assert store("run", "--rm", *flags, "busybox", "echo", "on", check=True).stdout == "on\n"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("apparmor=docker-default", "AppArmor is not enabled on this host"),
        ("label=type:container_t", "SELinux is not enabled on this host"),
        ("label=level:s0:c1,c2", "SELinux is not enabled on this host"),
        ("label=colour:red", "it is no part of a label"), ("label=type:", "it is no part of a label"),
        ("label=", "it is none that is known"), ("apparmor=", "it is none that is known"),
        ("apparmor=a\nb", "that is no name of a profile"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("verb", ["run", "create"])
def test_what_this_host_has_not_got_is_refused_and_nothing_made(
    store: Minirun, verb: str, value: str, said: str
) -> None:
    if "not enabled" in said and (
        apparmor.enabled() if "AppArmor" in said else Path("/sys/fs/selinux/enforce").exists()
    ):
        pytest.skip("this host has it")
    before = busybox.contents(store.root)
    result = store(verb, "--security-opt", value, "busybox", "true")
    assert (result.returncode, said in result.stderr) == (125, True), result.stderr
    assert busybox.contents(store.root) == before
