"""`doctor` tells what this host has, by trying it, and what is taken from it is told as missing; it leaves nothing."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import minirun as package
from minirun.cgroup import controllers, hierarchy
from minirun.launch import machine
from tests import inject
from tests.command import LAUNCHER, Minirun
from tests.scene import Case, Scene, Stage
from tests.screen import until_closed

STATES = {"ok", "degraded", "missing"}
STORE = ("root", "runtime")


@pytest.fixture
def healthy(minirun: Minirun) -> Minirun:
    """The command, on a host on which containers run."""
    result = minirun("doctor")
    assert result.returncode == 0, result.stdout
    return minirun


def findings(text: str) -> dict[str, dict[str, str]]:
    """What `doctor --format json` printed, by what it is about."""
    rows = [json.loads(line) for line in text.splitlines()]
    assert all(row["State"] in STATES and row["What"] and row["Meaning"] for row in rows)
    assert all((row["State"] == "ok") != bool(row["Remedy"]) for row in rows)
    return {row["What"]: row for row in rows}


def examined(minirun: Minirun, *words: str | Path) -> tuple[int, dict[str, dict[str, str]]]:
    """Run doctor behind *words*; its exit code and what it found."""
    result = subprocess.run(
        [*words, *minirun.command(["doctor", "--format", "json"])],
        env=minirun.environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "Traceback" not in result.stderr
    return result.returncode, findings(result.stdout)


def test_where_containers_run_nothing_is_missing(healthy: Minirun, busybox_layers: Path) -> None:
    healthy("run", "--rm", busybox_layers, "true", check=True)
    code, found = examined(healthy)
    assert code == 0
    assert "missing" not in {row["State"] for row in found.values()}
    for what in ("store", "overlay", "namespaces", "cgroup v2", "cgroup of minirun"):
        assert found[what]["State"] in ("ok", "degraded"), what


def test_each_controller_is_listed_with_its_place_and_the_flags_that_need_it(healthy: Minirun) -> None:
    _, found = examined(healthy)
    told = {one["Name"]: one for one in json.loads(healthy("info", "-f", "json").stdout)["CgroupControllersElsewhere"]}
    for one in controllers.list_all():
        row = found[f"{one.name} controller"]
        assert row["Meaning"].startswith(one.where)
        assert row["Remedy"] == one.remedy
        assert (row["State"] == "ok") == one.usable
        assert (one.name in told) != one.usable
        if not one.usable:
            assert told[one.name] == {"Name": one.name, "Where": one.where, "Remedy": one.remedy}
            assert all(flag in row["Meaning"] for flag in controllers.flags(one.name))


@pytest.mark.parametrize(
    ("controller", "flag"), [("memory", "--memory=64m"), ("pids", "--pids-limit=9"), ("cpu", "--cpus=0.5")]
)
def test_what_run_says_of_a_limit_is_what_doctor_says(
    healthy: Minirun, busybox_layers: Path, controller: str, flag: str
) -> None:
    _, found = examined(healthy)
    result = healthy("run", "--rm", flag, busybox_layers, "true")
    assert (result.returncode == 0) == (found[f"{controller} controller"]["State"] == "ok"), result.stderr


def test_info_lists_the_controllers_that_are_elsewhere_in_text_too(healthy: Minirun) -> None:
    text = healthy("info", check=True).stdout
    for one in controllers.list_all():
        assert (f"\n {one.name}: {one.where}; {one.remedy}\n" in text) != one.usable


def test_the_table_has_colours_on_a_terminal_only_and_remedies_once(healthy: Minirun) -> None:
    plain = healthy("doctor", check=True).stdout
    assert "\x1b" not in plain
    assert plain.startswith("STATE ")
    rows = findings(healthy("doctor", "--format", "json").stdout).values()
    for row in rows:
        assert any(line.startswith(row["State"]) and row["What"] in line for line in plain.splitlines())
    for remedy in {row["Remedy"] for row in rows if row["Remedy"]}:
        assert plain.count("\n  " + remedy.replace("\n", "\n  ") + "\n") == 1
    master, slave = pty.openpty()
    with healthy.start("doctor", stdout=slave, env={"TERM": "xterm"}) as process:
        os.close(slave)
        shown = until_closed(master)
    os.close(master)
    assert process.returncode == 0
    assert b"\x1b[32mok\x1b[0m" in shown


def test_a_template_may_choose(healthy: Minirun) -> None:
    assert "ok: namespaces\n" in healthy("doctor", "--format", "{{.State}}: {{.What}}", check=True).stdout
    result = healthy("doctor", "--format", "{{.Nothing}}")
    assert result.returncode == 125
    assert "there is no field 'Nothing'" in result.stderr


def test_without_cgroup_v2_that_is_missing_and_the_status_is_1(minirun: Minirun) -> None:
    # in a mount namespace of its own
    code, found = examined(
        minirun, "unshare", "--mount", "sh", "-c", f'umount {hierarchy.mount_point()} && exec "$@"', "sh"
    )
    assert code == 1
    assert found["cgroup v2"]["State"] == "missing"
    assert "mount -t cgroup2" in found["cgroup v2"]["Remedy"]


def test_a_hierarchy_that_cannot_be_written_is_told(minirun: Minirun) -> None:
    point = hierarchy.mount_point()
    script = f'mount --bind {point} {point} && mount -o remount,bind,ro {point} && exec "$@"'
    code, found = examined(minirun, "unshare", "--mount", "sh", "-c", script, "sh")
    assert code == 1
    assert found["cgroup of minirun"]["State"] == "missing"
    assert "EROFS" in found["cgroup of minirun"]["Meaning"]


@pytest.fixture
def killed_before() -> Iterator[Path]:
    """A group whose processes were once ended all at once, on a kernel that does not forgive that."""
    top = Path(hierarchy.mount_point(), f"minirun-test-{os.getpid()}")
    path = top / "killed"
    path.mkdir(parents=True)
    (path / "cgroup.kill").write_text("1")
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    if not (child := machine.fork(directory)):
        os._exit(0)
    os.close(directory)
    forgives = os.waitpid(child, 0)[1] == 0
    try:
        if forgives:
            pytest.skip("this kernel lets a process be born in a group that was killed once")
        yield path
    finally:
        for group in (path, top):
            group.rmdir()


def test_a_group_from_which_the_kernel_lets_nobody_be_born_is_told(minirun: Minirun, killed_before: Path) -> None:
    code, found = examined(minirun, "sh", "-c", f'echo 0 >{killed_before}/cgroup.procs && exec "$@"', "sh")
    assert code == 1
    assert "cgroup.kill" in found["namespaces"]["Meaning"]
    assert "systemd-run" in found["namespaces"]["Remedy"]


def test_without_the_capability_to_mount_no_container_runs(minirun: Minirun) -> None:
    code, found = examined(minirun, "setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin")
    assert code == 1
    assert "CAP_SYS_ADMIN" in found["capabilities"]["Meaning"]
    assert found["overlay"]["State"] == found["namespaces"]["State"] == "missing"
    assert "EPERM" in found["namespaces"]["Meaning"]


def test_a_store_that_no_overlay_can_write_to_is_told(minirun: Minirun, tmp_path: Path) -> None:
    for name in ("lower", "upper", "work", "merged"):
        (tmp_path / name).mkdir()
    on_overlay = Minirun(tmp_path / "merged/root", minirun.runtime)
    script = f"""cd {tmp_path} && mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work overlay merged
        exec "$@" """
    code, found = examined(on_overlay, "unshare", "--mount", "sh", "-c", script, "sh")
    assert code == 1
    assert found["overlay"]["State"] == "missing"
    assert "no overlay itself" in found["overlay"]["Remedy"]


@pytest.mark.parametrize(("mib", "state"), [(32, "missing"), (300, "degraded")])
def test_a_store_without_room_is_told(minirun: Minirun, tmp_path: Path, mib: int, state: str) -> None:
    small = Minirun(tmp_path / "root", minirun.runtime)
    small.root.mkdir()
    script = f'mount -t tmpfs -o size={mib}m small {small.root} && exec "$@"'
    code, found = examined(small, "unshare", "--mount", "sh", "-c", script, "sh")
    assert found["store"]["State"] == state
    assert code == (state == "missing")
    assert "minirun gc" in found["store"]["Remedy"]


def test_a_store_that_cannot_be_written_is_told(minirun: Minirun) -> None:
    minirun("ps", check=True)
    script = f'mount --bind {minirun.root} {minirun.root} && mount -o remount,bind,ro {minirun.root} && exec "$@"'
    code, found = examined(minirun, "unshare", "--mount", "sh", "-c", script, "sh")
    assert code == 1
    assert "EROFS" in found["store"]["Meaning"]
    assert found["cgroup of minirun"]["State"] == "ok"


def test_a_kernel_that_takes_layers_only_all_at_once_is_told(minirun: Minirun, tmp_path: Path) -> None:
    # refuse the overlay's configuration at a call which that of the older way, in a process of its own, does not reach
    code, found = examined(
        minirun, "strace", "-f", "-qq", "-o", tmp_path / "log", "-e", "trace=fsconfig",
        "-e", "inject=fsconfig:error=EINVAL:when=4",
    )  # fmt: skip
    refused = [line for line in (tmp_path / "log").read_text().splitlines() if "INJECTED" in line]
    assert len(refused) == 2  # and that below the probe of user namespaces
    assert code == 0
    assert found["overlay"]["State"] == "ok"
    assert "by mount(2)" in found["overlay"]["Meaning"]


def test_what_was_not_compiled_is_told(minirun: Minirun, tmp_path: Path) -> None:
    ours = Path(package.__file__).parent
    shutil.copytree(ours, tmp_path / "minirun", ignore=shutil.ignore_patterns("hot.*.bin", "_plan*.so", "stub"))
    text = (ours / "launcher.in").read_text()
    python = LAUNCHER.read_text().splitlines()[0][2:].split()[0]
    places = {"@PYTHON@": python, "@CHECKOUT@": str(tmp_path), "@SITE_PACKAGES@": sysconfig.get_path("platlib")}
    for name, value in places.items():
        text = text.replace(name, value)
    (tmp_path / "launcher").write_text(text)
    (tmp_path / "launcher").chmod(0o755)
    result = subprocess.run(
        [tmp_path / "launcher", "doctor", "--format", "json"],
        env=minirun.environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    found = findings(result.stdout)
    assert result.returncode == 0
    for what in ("python", "C extension", "stub"):
        assert found[what]["State"] == "degraded"
        assert "make setup" in found[what]["Remedy"]
    assert found["namespaces"]["State"] == "ok", "containers start nevertheless"


def test_who_is_not_root_is_told_so_and_what_can_be_read(minirun: Minirun) -> None:
    code, found = examined(minirun, "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    assert code == 1
    assert found["user namespace"]["State"] == "missing"
    assert "no ids" in found["user namespace"]["Meaning"]
    assert found["python"]["State"] in ("ok", "degraded")
    assert not minirun.root.exists()


@pytest.fixture(scope="module")
def stage(busybox_layers: Path) -> Iterator[Stage]:
    """The stores that are copied."""
    with tempfile.TemporaryDirectory(prefix="minirun-doctor-", dir="/dev/shm") as place:
        yield Stage(Path(place), busybox_layers)


def test_a_killed_doctor_leaves_nothing(stage: Stage) -> None:
    scene = Scene(Case("doctor", ["doctor"], 8), stage)
    found = scene.dry_pass()
    assert any("cgroup" in point.text for point in found)
    wrong = []
    for point in inject.sample(found, scene.case.few):
        scene.reset()
        struck = scene.strike(point, inject.KILL)
        if faults := scene.faults(struck.cgroups):
            wrong.append("\n    ".join([f"killed at {point}, status {struck.status}", *faults]))
    assert not wrong, "\n".join(wrong)
