"""On a kernel with SELinux containers run without labels, and who asks for one is told that there are none.

No policy is loaded in the guest: the kernel has its initial contexts, and lets everybody do everything.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import Minirun
from tests.running import running

LABEL = "/proc/self/attr/current"


@pytest.fixture(scope="module", autouse=True)
def selinux(guest: str) -> Iterator[None]:
    """Mount what says that SELinux is on, as a distribution with it does."""
    if "selinux" not in Path("/proc/cmdline").read_text():
        pytest.skip("boot the guest with --append security=selinux: docs/vm.md")
    mounted = Path("/sys/fs/selinux/enforce").exists()
    if not mounted:
        subprocess.run(["mount", "-t", "selinuxfs", "none", "/sys/fs/selinux"], check=True)
    yield
    if not mounted:
        subprocess.run(["umount", "/sys/fs/selinux"], check=True)


@pytest.mark.parametrize("flags", [(), ("--security-opt", "label=disable"), ("-u", "1000", "--init")], ids=str)
def test_a_container_has_the_label_of_who_starts_it(store: Minirun, flags: tuple[str, ...]) -> None:
    own = Path(LABEL).read_text().rstrip("\0\n")
    said = store("run", "--rm", *flags, "busybox", "cat", LABEL, check=True).stdout
    assert said.rstrip("\0\n") == own
    with running(store, "box", "sleep", "1000", flags=flags):
        assert store("exec", "box", "cat", LABEL, check=True).stdout.rstrip("\0\n") == own
    shown = store("run", "--rm", "busybox", "sh", "-c", "ls /sys/fs/selinux; echo there", check=True).stdout
    assert shown == "there\n"  # nobody in there changes the policy


@pytest.mark.parametrize("label", ["type:container_t", "level:s0:c1,c2", "user:system_u"])
def test_a_label_is_refused_with_the_reason(store: Minirun, label: str) -> None:
    result = store("run", "--rm", "--security-opt", f"label={label}", "busybox", "true")
    assert result.returncode == 125
    assert "SELinux labels are not built" in result.stderr


def test_without_apparmor_a_profile_of_its_is_refused(store: Minirun) -> None:
    result = store("run", "--rm", "--security-opt", "apparmor=any", "busybox", "true")
    assert (result.returncode, "AppArmor is not enabled on this host" in result.stderr) == (125, True)
