"""The ways that are taken where the kernel is older than the best way; every kernel still has them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from minirun import journal
from minirun.cgroup import hierarchy
from minirun.container import record as records
from minirun.container import specification, start, userns
from minirun.errors import Unsupported
from minirun.home import Home
from minirun.kernel.call import Call
from minirun.kernel.names import FSCONFIG_CMD_CREATE, FSCONFIG_SET_STRING
from minirun.launch import machine, plan
from minirun.launch.machine import CallFailed
from minirun.rootfs import overlay
from minirun.rootfs.overlay import Overlay
from tests.command import Minirun


def mount_by_options(minirun: Minirun, name: str) -> tuple[int, str]:
    """Run a created container as Linux before 6.8 would: its exit code, and what its upper holds."""
    home = Home(str(minirun.root), str(minirun.runtime))
    box = records.find(home, name)
    report, status = os.pipe2(os.O_CLOEXEC)
    with journal.Operation(home) as operation:
        operation.carry_out(start.steps(home, box, start.cgroup(box.id, box.options)))
        cgroup = os.open(hierarchy.path(box.id), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            own = userns.make(home, box) if "userns" in box.options else None
            spec = specification.specify(home, box, stdin=False, status=status, terminal=None, userns=own)
            process = machine.spawn(plan.plan(spec, by_options=True), plan.namespaces(spec), cgroup)
            if own:
                own.close()
            code = os.waitstatus_to_exitcode(os.waitpid(process.pid, 0)[1])
        finally:
            for descriptor in (cgroup, report, status):
                os.close(descriptor)
        os.close(process.pidfd)
        operation.undo()
    return code, "\n".join(sorted(os.listdir(f"{home.container(box.id)}/upper")))


@pytest.mark.parametrize("mode", ["host", "auto"])
def test_the_overlay_is_mounted_by_options_where_layers_cannot_be_added_one_by_one(
    minirun: Minirun, busybox_layers: Path, mode: str
) -> None:
    flags = ("--userns", mode, "--name", "old", "--network=none")
    minirun("create", *flags, busybox_layers, "sh", "-c", "touch /new && rm /etc/passwd", check=True)
    code, written = mount_by_options(minirun, "old")
    assert (code, written) == (0, "etc\nnew")


def test_a_refused_overlay_may_be_an_older_kernel_and_nothing_else_is() -> None:
    lower = Call("fsconfig", 0, FSCONFIG_SET_STRING, "lowerdir+", "base", 0, why="stack 2 layers")
    create = Call("fsconfig", 0, FSCONFIG_CMD_CREATE, 0, 0, 0, why="stack 2 layers")
    tmpfs = Call("fsconfig", 0, FSCONFIG_SET_STRING, "size", "lots", 0, why="memory at /tmp")
    assert CallFailed(lower, 22).may_lack_lowerdir_plus
    assert CallFailed(create, 22).may_lack_lowerdir_plus
    assert not CallFailed(lower, 2).may_lack_lowerdir_plus
    assert not CallFailed(tmpfs, 22).may_lack_lowerdir_plus


def test_as_many_layers_as_overlayfs_takes_fit_into_the_page_of_options(tmp_path: Path) -> None:
    """mount(2) would cut what is longer than a page, without a word; the names of 500 layers are not."""
    names = [f"{number:064x}" for number in range(500)]
    calls = list(overlay.mount_by_options(Overlay("/diffs", names, "../upper", "../work", volatile=True), "/root"))
    (options,) = (str(call.args[4]) for call in calls if call.name == "mount")
    assert options.startswith("lowerdir=499:498:")
    assert len(options) < overlay.OPTION_BYTES
    with pytest.raises(Unsupported, match="this kernel takes 4095 bytes"):
        list(overlay.mount_by_options(Overlay("/diffs", names * 3, "../upper", "../work", volatile=True), "/root"))


SEEN = """
import os, sys
from minirun.launch import machine
from minirun.rootfs.overlay import view_by_options
mount = machine.run(list(view_by_options(sys.argv[2:], sys.argv[1])))
print(sorted(os.listdir(f"/proc/self/fd/{mount}")))
"""


def test_a_view_by_options_shows_all_layers_and_is_nobody_elses(tmp_path: Path) -> None:
    stack = [tmp_path / f"layer {number}" for number in range(120)]
    for number, layer in enumerate(stack):
        layer.mkdir()
        (layer / f"of-{number}").touch()
    (tmp_path / "point").mkdir()
    command = [sys.executable, "-c", SEEN, str(tmp_path / "point"), *map(str, stack)]
    seen = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(start.__file__).parents[2])
    assert seen.stdout.strip() == str(sorted(f"of-{number}" for number in range(120)))
    assert list((tmp_path / "point").iterdir()) == []


def test_an_overlay_upon_a_directory_is_made_by_options_too(
    minirun: Minirun, busybox_layers: Path, tmp_path: Path
) -> None:
    source = tmp_path / "a, b\\d"  # what a string of options would have to escape
    source.mkdir()
    (source / "file").write_text("host's\n")
    script = "cat /o/file >/seen && rm /o/file && touch /o/x"
    minirun("create", "--name", "old", "-v", f"{source}:/o:O", busybox_layers, "sh", "-c", script, check=True)
    assert mount_by_options(minirun, "old") == (0, "o\nseen")
    assert [path.name for path in source.iterdir()] == ["file"]
