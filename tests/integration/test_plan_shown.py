"""--dry-run says every call and does nothing; --trace does it and says what each took."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests import busybox
from tests.command import Minirun

FLAGS = ("--name", "planned", "--read-only", "-u", "alice", "-w", "/new", "--tmpfs", "/run:size=1m")


# the way in which this kernel is known to mount it
OVERLAY = (
    [r'^fsopen\("tmpfs"', r'^mount\("overlay", .*"lowerdir=']
    if tuple(map(int, os.uname().release.split(".")[:2])) < (6, 8)
    else [r'^fsopen\("overlay"', r'^fsconfig\(context, FSCONFIG_SET_STRING, "lowerdir\+"']
)


def test_dry_run_shows_each_step_of_the_way_in_order_with_its_reason(store: Minirun, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    flags = (*FLAGS, "-v", f"{tmp_path}/data:/data:ro", "-e", "A=b")
    plan = store("run", "--dry-run", *flags, "busybox", "echo", "hello", check=True).stdout
    expected = [
        r"^mkdir .*/containers/[0-9a-f]{64}/upper +# the container layer",
        r"^symlink .*/names/planned",
        r"^mkdir .*/minirun/[0-9a-f]{64} +# its processes",
        r"clone3\(.*CLONE_NEWNS.*CLONE_INTO_CGROUP",
        r'^mount\(0, "/", 0, MS_REC\|MS_PRIVATE',
        rf'^openat2\(AT_FDCWD, "{tmp_path}/data"',
        *OVERLAY,
        r'^pivot_root\("\.", "\."\)',
        r'^umount2\("\.", MNT_DETACH\)',
        r'^mknodat\(dev, "null"',
        r'"/data"',
        r'^fsopen\("proc"',
        r'^openat\(AT_FDCWD, "/proc/kcore"',
        r"^sethostname\(",
        r"^prctl\(PR_CAPBSET_DROP",
        r"^setgroups\(",
        r"^setresuid\(1000, 1000, 1000\)",
        r"^capset\(",
        r"^close_range\(3",
        r'^execveat\(stub, "", \["exec", "\w+", "echo", "hello"\]',
    ]
    at = 0
    for pattern in expected:
        found = re.compile(pattern, re.MULTILINE).search(plan, at)
        assert found, f"{pattern!r} does not come next in:\n{plan[at:]}"
        at = found.end()


def test_dry_run_changes_nothing(store: Minirun, tmp_path: Path) -> None:
    before = busybox.contents(store.root)
    flags = (*FLAGS, "--cidfile", str(tmp_path / "cid"), "-v", f"{tmp_path}:/data")
    assert store("run", "--dry-run", *flags, "busybox", "touch", "/data/x", check=True).stdout
    assert busybox.contents(store.root) == before
    assert list(tmp_path.iterdir()) == []


def test_dry_run_of_a_directory_that_was_never_unpacked_unpacks_nothing(store: Minirun, tmp_path: Path) -> None:
    busybox.tree(tmp_path / "image")
    before = busybox.contents(store.root)
    plan = store("run", "--dry-run", tmp_path / "image", "echo", "hello", check=True).stdout
    assert "00-base" in plan
    assert 'pivot_root(".", ".")' in plan
    assert busybox.contents(store.root) == before


def test_dry_run_refuses_what_run_would(store: Minirun) -> None:
    for flags, word in ((("-u", "nobody-here"), "no user"), (("--mount", "type=bind,src=/no/such,dst=/x"), "ENOENT")):
        result = store("run", "--dry-run", *flags, "busybox", "true")
        assert result.returncode == 125
        assert word in result.stderr
        assert result.stdout == ""


def test_trace_says_what_each_took_and_leaves_output_and_status_alone(store: Minirun) -> None:
    result = store("run", "--rm", "--trace", "busybox", "sh", "-c", "echo out; exit 7")
    assert result.returncode == 7
    assert result.stdout == "out\n"
    lines = result.stderr.splitlines()
    took = [re.fullmatch(r" *(\d+\.\d) µs  (.+)", line) for line in lines]
    assert all(took), result.stderr
    names = [line[2] for line in took if line]
    for call in ("mkdir ", "fsopen(", "pivot_root(", "capset(", "execveat("):
        assert any(name.startswith(call) for name in names), call
    times = [float(line[1]) for line in took if line]
    assert times[-1] == pytest.approx(sum(times[:-1]), abs=0.1 * len(times))
    assert times[-1] > 100


def test_trace_has_the_calls_that_dry_run_shows(store: Minirun) -> None:
    plan = store("run", "--rm", "--dry-run", "busybox", "true", check=True).stdout
    trace = store("run", "--rm", "--trace", "busybox", "true", check=True).stderr
    shown = [line.partition("(")[0] for line in plan.partition("clone3")[2].splitlines()[1:]]
    timed = [line.partition("µs  ")[2].partition("(")[0] for line in trace.partition("clone3")[2].splitlines()[1:-1]]
    assert shown == timed
