"""The ways that are taken where the kernel is older than the best way; every kernel still has them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from minirun import journal
from minirun.cgroup import hierarchy
from minirun.container import record as records
from minirun.container import start
from minirun.errors import Unsupported
from minirun.home import Home
from minirun.kernel.call import Call
from minirun.kernel.names import FSCONFIG_SET_STRING
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
        operation.carry_out(start.steps(home, box, start.cgroup(box)))
        cgroup = os.open(hierarchy.path(box.id), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            spec = start.specify(home, box, stdin=False, status=status, terminal=None)
            process = machine.spawn(plan.plan(spec, by_options=True), plan.namespaces(spec), cgroup)
            code = os.waitstatus_to_exitcode(os.waitpid(process.pid, 0)[1])
        finally:
            for descriptor in (cgroup, report, status):
                os.close(descriptor)
        os.close(process.pidfd)
        operation.undo()
    return code, "\n".join(sorted(os.listdir(f"{home.container(box.id)}/upper")))


def test_the_overlay_is_mounted_by_options_where_layers_cannot_be_added_one_by_one(
    minirun: Minirun, busybox_layers: Path
) -> None:
    minirun("create", "--name", "old", busybox_layers, "sh", "-c", "touch /new && rm /etc/passwd", check=True)
    code, written = mount_by_options(minirun, "old")
    assert (code, written) == (0, "etc\nnew")


def test_a_refused_lower_layer_is_taken_for_an_older_kernel_and_nothing_else_is() -> None:
    lower = Call("fsconfig", 0, FSCONFIG_SET_STRING, "lowerdir+", "base", 0)
    upper = Call("fsconfig", 0, FSCONFIG_SET_STRING, "upperdir", "base", 0)
    assert CallFailed(lower, 22).lacks_lowerdir_plus
    assert not CallFailed(lower, 2).lacks_lowerdir_plus
    assert not CallFailed(upper, 22).lacks_lowerdir_plus


def test_options_that_mount_would_cut_without_a_word_are_refused() -> None:
    names = [f"{number:064x}" for number in range(63)]
    many = Overlay("/diffs", names, "../upper", "../work", volatile=False)
    with pytest.raises(Unsupported, match=r"cannot stack 63 layers: this kernel takes 4095 bytes"):
        list(overlay.mount_by_options(many, "/root"))
    assert list(overlay.mount_by_options(Overlay("/diffs", names[:50], "../u", "../w", volatile=False), "/root"))
