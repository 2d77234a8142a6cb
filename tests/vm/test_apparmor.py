"""A profile of AppArmor's confines a container and what joins it: the guests' kernels have AppArmor, and it is on."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import Minirun
from tests.running import running

SECURITY = Path("/sys/kernel/security")
NAME = "minirun-test"
# as Docker's has it, it may all, but for one file; signals come from nobody
PROFILE = (
    f"profile {NAME} flags=(attach_disconnected,mediate_deleted) {{ network, capability, file, deny /etc/group r, }}"
)
# and one that knows nothing of how a command is started
NARROW = f"profile {NAME}-narrow {{ /bin/** mrix, /proc/** r, }}"
ASKS = ("sh", "-c", "cat /proc/self/attr/current; cat /etc/group 2>&1 | head -1")
DENIED = "cat: can't open '/etc/group': Permission denied\n"


@pytest.fixture(scope="module", autouse=True)
def loaded(guest: str) -> Iterator[None]:
    """Load both, in a guest that goes with them."""
    parser = shutil.which("apparmor_parser", path="/usr/sbin:/sbin")
    if parser is None:
        pytest.skip("there is no apparmor_parser: it is of the package apparmor")
    mounted = (SECURITY / "apparmor").exists()
    if not mounted:
        subprocess.run(["mount", "-t", "securityfs", "none", SECURITY], check=True)
    words = [parser, "--skip-cache", "--skip-read-cache"]
    for profile in (PROFILE, NARROW):
        subprocess.run([*words, "--replace"], input=profile, text=True, check=True)
    yield
    for profile in (PROFILE, NARROW):
        subprocess.run([*words, "--remove"], input=profile, text=True, check=True)
    if not mounted:
        subprocess.run(["umount", SECURITY], check=True)


@pytest.mark.parametrize(
    ("name", "flags"),
    [(NAME, ()), (f"{NAME}-narrow", ("-u", "1000", "--init", "--security-opt", "no-new-privileges"))],
)
def test_a_container_is_confined_by_the_profile_that_it_is_given(
    store: Minirun, name: str, flags: tuple[str, ...]
) -> None:
    said = store("run", "--rm", *flags, "--security-opt", f"apparmor={name}", "busybox", *ASKS, check=True).stdout
    assert said == f"{name} (enforce)\n{DENIED}"


def test_so_is_a_command_that_joins_it_and_inspect_tells(store: Minirun) -> None:
    with running(store, "box", "sleep", "1000", flags=("--security-opt", f"apparmor={NAME}")):
        assert store("exec", "box", *ASKS, check=True).stdout == f"{NAME} (enforce)\n{DENIED}"
        assert store("inspect", "-f", "{{.AppArmorProfile}}", "box", check=True).stdout == f"{NAME}\n"


def test_without_one_or_unconfined_there_is_none(store: Minirun) -> None:
    for flags in ((), ("--security-opt", f"apparmor={NAME}", "--security-opt", "apparmor=unconfined")):
        assert store("run", "--rm", *flags, "busybox", *ASKS, check=True).stdout == "unconfined\nroot:x:0:\n"


def test_one_that_is_not_loaded_is_refused(store: Minirun) -> None:
    result = store("run", "--rm", "--security-opt", "apparmor=nosuch", "busybox", "true")
    assert result.returncode == 125
    assert "no profile of that name is loaded" in result.stderr
