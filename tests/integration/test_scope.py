"""Under systemd a container with limits has a scope of its own, which is gone with it, however minirun ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from minirun.cgroup import delegation, hierarchy, scope, systemd
from minirun.container import place
from minirun.errors import MinirunError, Unsupported
from tests.command import Minirun

PROJECT = Path(__file__).resolve().parents[2]
PATIENCE_S = 20.0  # an emulated guest is slow
NOBODY = 65534
NAMED = "c0ffee" * 10 + "abcd"

# Makes a scope and, with "container", a process in a group in it; then tells, and sleeps until it is killed.
HOLDER = """
import os, sys, time
from minirun.cgroup import scope
directory = scope.create(sys.argv[1], ["pids"])
if sys.argv[2] == "container":
    os.mkdir(f"{directory}/{sys.argv[1]}")
    reading, writing = os.pipe()
    if os.fork() == 0:
        with open(f"{directory}/{sys.argv[1]}/cgroup.procs", "w") as file:
            file.write("0")
        os.write(writing, b"x")
        print(directory, flush=True)
        time.sleep(600)
    os.read(reading, 1)  # an empty scope would be removed
    scope.settle(directory)
else:
    print(directory, flush=True)
time.sleep(600)
"""

# Tells what delegation.delegated says and, where it is a group, has a limit of 7 processes in a group below it.
DELEGATE = """
import os
from minirun.cgroup import delegation, scope
from minirun.errors import Unsupported
try:
    directory = delegation.delegated()
except Unsupported as refusal:
    print("refused", refusal.remedy)
    raise SystemExit
if directory:
    scope.enable(["pids"], directory)
    os.mkdir(f"{directory}/box")
    with open(f"{directory}/box/pids.max", "w") as file:
        file.write("7")
    if (pid := os.fork()) == 0:
        with open(f"{directory}/box/cgroup.procs", "w") as file:
            file.write("0")
        os._exit("/box" not in delegation.own_group())
    assert os.waitpid(pid, 0)[1] == 0, "no process could be put into the group"
    with open(f"{directory}/box/pids.max") as file:
        print(directory, file.read().strip())
    os.rmdir(f"{directory}/box")
else:
    print("none")
"""

# An ordinary user's: a scope of his own manager's, and a process in it.
USERS = """
import os, time
from minirun.cgroup import delegation, scope
container = "c0ffee" * 10 + "abcd"
assert delegation.delegated() is None
directory = scope.create(container, ["memory", "pids"])
os.mkdir(f"{directory}/{container}")
with open(f"{directory}/{container}/memory.max", "w") as file:
    file.write("64M")
if (pid := os.fork()) == 0:
    with open(f"{directory}/{container}/cgroup.procs", "w") as file:
        file.write("0")
    os._exit(container not in delegation.own_group())
print(directory, os.waitpid(pid, 0)[1])
scope.remove(directory)
end = time.monotonic() + 20
while os.path.exists(directory) and time.monotonic() < end:
    time.sleep(0.05)
print(os.path.exists(directory))
"""


@pytest.fixture(autouse=True, scope="module")
def kept_by_systemd() -> None:
    """Skip where systemd does not keep the tree, or has nothing to give."""
    if not Path(delegation.BOOTED).is_dir():
        pytest.skip("systemd is not PID 1 here")
    if "memory" not in hierarchy.controllers(hierarchy.mount_point()):
        pytest.skip("systemd runs cgroup v1 controllers here (hybrid)")


@pytest.fixture
def container() -> Iterator[str]:
    """An id that no container has; at the end its scope must go by itself."""
    made = os.urandom(32).hex()
    yield made
    waits(lambda: not Path(scope.path(made)).exists(), "the scope is there yet")
    shown = subprocess.run(
        ["systemctl", "list-units", "--all", "--no-legend", "--plain", f"minirun-{made[:12]}.scope"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert shown.stdout.strip() == ""


def waits(reached: Callable[[], bool], otherwise: str) -> None:
    """Wait until *reached*; fail after a while."""
    end = time.monotonic() + PATIENCE_S
    while not reached():
        if time.monotonic() > end:
            pytest.fail(otherwise)
        time.sleep(0.02)


def python(source: str, *arguments: str) -> list[str]:
    """The command line of a Python that runs *source* with this checkout."""
    return [sys.executable, "-B", "-c", f"import sys; sys.path.insert(0, {str(PROJECT)!r})\n{source}", *arguments]


def resident(directory: str) -> subprocess.Popen[bytes]:
    """A process that sleeps in the group *directory*."""
    put = f"echo $$ > {directory}/cgroup.procs && echo in && exec sleep 600"
    process = subprocess.Popen(["sh", "-c", put], stdout=subprocess.PIPE)
    assert process.stdout
    assert process.stdout.readline() == b"in\n"
    process.stdout.close()
    return process


def enabled(group: str) -> str:
    """The controllers of the groups in *group*, which is named from the root of the hierarchy."""
    return Path(f"{hierarchy.mount_point()}{group}/cgroup.subtree_control").read_text()


def processes(directory: str) -> list[str]:
    """The pids in a group, not those below it."""
    return Path(directory, "cgroup.procs").read_text().split()


def test_a_container_that_needs_a_controller_is_to_have_a_scope_and_no_other() -> None:
    if delegation.delegated():
        pytest.skip("these tests run in a delegated group, which is used instead")
    assert place.find(NAMED, "", {"memory": "memory"}) == f"{scope.path(NAMED)}/{NAMED}"
    assert place.find(NAMED, "", {}) == hierarchy.path(NAMED)


def test_a_scope_is_delegated_has_what_is_needed_and_lasts_as_long_as_what_is_in_it(container: str) -> None:
    directory = scope.create(container, ["memory", "pids"])
    assert directory == scope.path(container)
    assert directory.startswith(f"{hierarchy.mount_point()}/machine.slice/minirun-")
    assert os.getxattr(directory, "trusted.delegate") == b"1"
    assert Path(directory, "cgroup.subtree_control").read_text().split() == ["memory", "pids"]
    assert processes(directory) == []
    assert Path(directory, "pids.max").read_text() == "max\n"

    Path(directory, container).mkdir()
    Path(directory, container, "memory.max").write_text("33554432")
    sleeper = resident(f"{directory}/{container}")
    scope.settle(directory)
    scope.settle(directory)  # once more is no harm
    waits(lambda: not Path(directory, "placeholder", "cgroup.procs").exists(), "the placeholder's leaf is there yet")
    time.sleep(0.5)
    assert processes(f"{directory}/{container}") == [str(sleeper.pid)]

    scope.enable(["cpu"], directory)
    assert Path(directory, container, "cpu.max").exists()
    sleeper.kill()
    sleeper.wait()


def test_a_scope_stays_until_the_placeholder_is_gone_too(container: str) -> None:
    directory = scope.create(container, ["memory"])
    Path(directory, container).mkdir()
    sleeper = resident(f"{directory}/{container}")
    sleeper.kill()
    sleeper.wait()
    time.sleep(0.5)
    assert "oom_kill 0" in Path(directory, container, "memory.events").read_text()
    scope.remove(directory)


def test_removing_a_scope_ends_what_is_in_it(container: str) -> None:
    directory = scope.create(container, ["memory"])
    Path(directory, container).mkdir()
    sleeper = resident(f"{directory}/{container}")
    scope.remove(directory)
    scope.remove(directory)
    assert sleeper.wait(PATIENCE_S) == -signal.SIGKILL


def test_a_container_can_start_again_at_once(container: str) -> None:
    for _ in range(3):
        scope.remove(scope.create(container, ["pids"]))


def test_the_rest_of_the_tree_is_as_it_was(container: str) -> None:
    before = {group: enabled(group) for group in ("", "/system.slice")}
    directory = scope.create(container, ["cpu", "cpuset", "io", "memory", "pids"])
    assert enabled("/system.slice") == before["/system.slice"]
    scope.remove(directory)
    waits(lambda: not Path(directory).exists(), "the scope is there yet")
    waits(lambda: {group: enabled(group) for group in before} == before, "systemd has not taken the controllers back")


def test_a_controller_that_systemd_does_not_pass_on_is_refused_and_nothing_stays(container: str) -> None:
    if "hugetlb" not in hierarchy.controllers(hierarchy.mount_point()):
        pytest.skip("this kernel has no hugetlb controller")
    with pytest.raises(Unsupported, match="the hugetlb controller was not passed on"):
        scope.create(container, ["memory", "hugetlb"])


def test_a_scope_ends_with_the_minirun_that_made_it(container: str) -> None:
    with subprocess.Popen(python(HOLDER, container, "alone"), stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout
        directory = holder.stdout.readline().strip()
        assert Path(directory).is_dir()
        holder.kill()
    waits(lambda: not Path(directory).exists(), "the scope outlived minirun")


def test_a_minirun_that_is_killed_on_the_way_leaves_nothing(container: str) -> None:
    began = time.monotonic()
    with subprocess.Popen(python(HOLDER, container, "alone"), stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout
        directory = holder.stdout.readline().strip()
        took_s = time.monotonic() - began
        holder.kill()
    for tenths in range(3, 11):
        with subprocess.Popen(python(HOLDER, container, "alone"), stdout=subprocess.DEVNULL) as holder:
            time.sleep(took_s * tenths / 10)
            holder.kill()
        time.sleep(took_s / 2)  # systemd may be in the middle of making it
        scope.remove(directory)  # as the next command does
        waits(lambda: not Path(directory).exists(), f"killed after {took_s * tenths / 10:.2f} s, it left its scope")


def test_a_scope_that_systemd_never_sees_become_empty_is_removed_by_who_finds_it(container: str) -> None:
    dead = subprocess.Popen(["true"])
    os.waitid(os.P_PID, dead.pid, os.WEXITED | os.WNOWAIT)  # a zombie has a pid, and is in no group
    try:
        systemd.start_scope(f"minirun-{container[:12]}.scope", "machine.slice", "a test's", dead.pid)
    except MinirunError:
        pytest.skip("this systemd tells a zombie from a process")
    finally:
        dead.wait()
    time.sleep(1)
    if not Path(scope.path(container)).exists():
        pytest.skip("this systemd sees that its scope is empty")
    scope.remove(scope.path(container))


def test_a_scope_with_a_container_in_it_outlives_the_minirun_that_made_it(container: str) -> None:
    with subprocess.Popen(python(HOLDER, container, "container"), stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout
        directory = holder.stdout.readline().strip()
        holder.kill()
    time.sleep(1)
    (pid,) = processes(f"{directory}/{container}")
    os.kill(int(pid), signal.SIGKILL)


def scopes() -> list[str]:
    """The units that minirun had systemd make, and that are there."""
    listed = subprocess.run(
        ["systemctl", "list-units", "--all", "--no-legend", "--plain", "minirun-*.scope"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return [line.split()[0] for line in listed.stdout.splitlines()]


@pytest.fixture
def box(store: Minirun) -> Iterator[subprocess.Popen[bytes]]:
    """A container named box that runs with a limit; at the end it and its scope are gone."""
    with store.start("run", "--name", "box", "--memory", "64m", "busybox", "sh", "-c", "echo up; sleep 600") as process:
        assert process.stdout
        assert process.stdout.readline() == b"up\n"
        yield process
        store("rm", "-f", "box", check=True)
    waits(lambda: scopes() == [], "a scope is there yet")


def test_a_container_with_a_limit_runs_in_a_scope(store: Minirun, box: subprocess.Popen[bytes]) -> None:
    made = store("inspect", "-f", "{{.Id}}", "box", check=True).stdout.strip()
    assert scopes() == [f"minirun-{made[:12]}.scope"]
    assert Path(scope.path(made), made, "memory.max").read_text() == f"{64 << 20}\n"
    before = ["systemctl", "show", "--property=Before", "--value", *scopes()]
    assert "minirun.service" in subprocess.run(before, check=True, capture_output=True, text=True).stdout.split()
    # a limit of a controller that was not needed until now
    store("update", "--cpus", "0.5", "box", check=True)
    assert Path(scope.path(made), made, "cpu.max").read_text() == "50000 100000\n"


def test_containers_that_come_and_go_leave_nothing_to_the_next_command(store: Minirun) -> None:
    for _ in range(6):
        result = store("run", "--rm", "--memory", "64m", "busybox", "true", check=True)
        assert result.stderr == ""
    waits(lambda: scopes() == [], "a scope is there yet")


def test_a_container_outlives_a_minirun_that_is_killed_and_is_removed_with_its_scope(
    store: Minirun, box: subprocess.Popen[bytes]
) -> None:
    box.kill()
    box.wait()
    time.sleep(1.5)  # the placeholder has ended
    assert len(scopes()) == 1
    assert "Up" in store("ps", "--filter", "name=box", check=True).stdout


def test_memory_that_killed_a_container_in_a_scope_is_told_and_it_can_start_again_at_once(store: Minirun) -> None:
    hungry = ["sh", "-c", "[ -e /full ] && exit 7; touch /full; exec tail /dev/zero"]
    assert store("run", "--name", "hungry", "--memory", "16m", "busybox", *hungry).returncode == 137
    assert store("inspect", "-f", "{{.State.OOMKilled}}", "hungry", check=True).stdout == "true\n"
    assert store("start", "-a", "hungry").returncode == 7
    store("rm", "hungry", check=True)
    waits(lambda: scopes() == [], "a scope is there yet")


def test_a_container_without_limits_gets_no_scope(store: Minirun) -> None:
    with store.start("run", "--rm", "--name", "free", "busybox", "sh", "-c", "echo up; sleep 600") as process:
        assert process.stdout
        assert process.stdout.readline() == b"up\n"
        assert scopes() == []
        store("rm", "-f", "free", check=True)


def run_in_service(*properties: str, shell: str = "", user: int = 0) -> str:
    """What DELEGATE prints in a service of these *properties*, after the shell command *shell*."""
    words = [f"--property={one}" for one in properties]
    # systemd-run puts in variables of its own environment, and makes $ of $$
    command = ["sh", "-c", f'{shell}\nexec "$@"'.replace("$", "$$"), "sh", *python(DELEGATE)]
    ran = subprocess.run(
        ["systemd-run", "--quiet", "--pipe", "--wait", "--collect", f"--uid={user}", *words, *command],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return ran.stdout.strip()


# a process goes from the service's group, which is delegated, into one below it: what DelegateSubgroup= does
DESCEND = 'own=/sys/fs/cgroup$(sed -n "s/^0:://p" /proc/self/cgroup); mkdir $own/leaf; echo $$ > $own/leaf/cgroup.procs'


@pytest.mark.parametrize("user", [0, NOBODY])
def test_a_group_that_was_delegated_is_used(user: int) -> None:
    said = run_in_service("Delegate=yes", shell=DESCEND, user=user)
    assert said.startswith(f"{hierarchy.mount_point()}/system.slice/run-")
    assert said.endswith(".service 7")


@pytest.mark.parametrize("user", [0, NOBODY])
def test_a_delegated_group_with_processes_in_it_is_refused_with_the_way_out(user: int) -> None:
    said = run_in_service("Delegate=yes", user=user)
    assert said.startswith("refused")
    assert "DelegateSubgroup=" in said


def test_a_service_that_was_delegated_nothing_has_no_group_to_use() -> None:
    assert run_in_service() == "none"


def test_an_ordinary_user_has_scopes_of_his_own_manager() -> None:
    manager = f"user@{NOBODY}.service"
    subprocess.run(["systemctl", "start", manager], check=True)
    try:
        if not Path(f"/run/user/{NOBODY}/bus").exists():
            pytest.skip("users have no D-Bus of their own here (dbus-user-session)")
        as_user = [
            "setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups",
            "env", f"XDG_RUNTIME_DIR=/run/user/{NOBODY}",
        ]  # fmt: skip
        inside = subprocess.run(
            [*as_user, "systemd-run", "--user", "--scope", "--quiet", *python(USERS)],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        outside = subprocess.run([*as_user, *python(USERS)], check=False, capture_output=True, text=True)
    finally:
        subprocess.run(["systemctl", "stop", manager, f"user-runtime-dir@{NOBODY}.service"], check=True)
    made, gone = inside.stdout.splitlines()
    assert made.endswith(f"/{manager}/app.slice/minirun-c0ffeec0ffee.scope 0")
    assert gone == "False"
    assert "systemd-run --user --scope" in outside.stderr
