"""What a container changed, against what podman prints after the same actions."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from minirun.layer import diff, stack

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="overlay mounts need root")

Changed = Callable[..., list[str]]


def shell(command: str, folder: Path) -> None:
    subprocess.run(["sh", "-ec", command], check=True, cwd=folder)


def furnish(base: Path) -> None:
    shell(
        """
        mkdir -p etc/conf.d var/log/old usr/share/doc opt
        echo 1 >etc/passwd; echo 2 >etc/conf.d/x; ln -s passwd etc/link
        echo 3 >var/log/a; echo 4 >var/log/old/b
        echo 5 >usr/share/doc/c; ln usr/share/doc/c usr/share/d
        """,
        base,
    )


@pytest.fixture
def changed(tmp_path: Path) -> Changed:
    """Run shell commands one after the other in an overlay each on a small base; returns what `changes` says."""
    base = tmp_path / "base"
    base.mkdir()
    furnish(base)
    count = 0

    def run(*commands: str) -> list[str]:
        nonlocal count
        uppers: list[str] = []
        for command in commands:
            count += 1
            upper, work, view = (tmp_path / f"{kind}{count}" for kind in ("upper", "work", "view"))
            for folder in (upper, work, view):
                folder.mkdir()
            lower = ":".join([*reversed(uppers), str(base)])
            options = f"lowerdir={lower},upperdir={upper},workdir={work}"
            subprocess.run(["mount", "-t", "overlay", "-o", options, "overlay", view], check=True)
            try:
                shell(command, view)
            finally:
                subprocess.run(["umount", view], check=True)
            uppers.append(str(upper))
        return [f"{kind} {path}" for kind, path in diff.changes(uppers, [str(base)])]

    return run


CASES = {
    "nothing": ("true", []),
    "an added file": ("echo >etc/new", ["C /etc", "A /etc/new"]),
    "a changed file": ("echo more >>etc/conf.d/x", ["C /etc", "C /etc/conf.d", "C /etc/conf.d/x"]),
    "a deleted file": ("rm etc/passwd", ["C /etc", "D /etc/passwd"]),
    "a deleted directory": ("rm -r var/log", ["C /var", "D /var/log"]),
    "an added tree": ("mkdir -p new/a/b; echo >new/a/b/c", ["A /new", "A /new/a", "A /new/a/b", "A /new/a/b/c"]),
    "a renamed file": ("mv etc/passwd etc/shadow", ["C /etc", "D /etc/passwd", "A /etc/shadow"]),
    "a file that came and went": ("echo >opt/x; rm opt/x", ["C /opt"]),
    "a changed mode": ("chmod 700 opt", ["C /opt"]),
    "a file replaced by a directory": (
        "rm etc/passwd; mkdir etc/passwd; echo >etc/passwd/x",
        ["C /etc", "C /etc/passwd", "A /etc/passwd/x"],
    ),
    "a directory replaced by a file": ("rm -r var/log; echo >var/log", ["C /var", "C /var/log"]),
    "a directory emptied and made again": (
        "rm -r var/log; mkdir var/log; echo >var/log/a; echo >var/log/new",
        ["C /var", "C /var/log", "C /var/log/a", "A /var/log/new", "D /var/log/old"],
    ),
    "a new hardlink": ("ln etc/passwd opt/passwd", ["C /etc", "C /etc/passwd", "C /opt", "A /opt/passwd"]),
    "a symlink changed": ("ln -sf /nowhere etc/link", ["C /etc", "C /etc/link"]),
    "names that sort around the slash": (
        "mkdir a; touch a-b a/c a.d",
        ["A /a", "A /a-b", "A /a.d", "A /a/c"],
    ),
}


NOT_PODMANS = {
    "a file replaced by a directory",  # podman 4.3 ends with "not a directory"
    "a directory emptied and made again",  # podman tells the directory, which is there, as deleted
}


@pytest.mark.parametrize("case", CASES)
def test_changes_are_told_as_docker_tells_them(case: str, changed: Changed) -> None:
    command, expected = CASES[case]
    assert changed(command) == expected


def test_what_came_and_went_between_uppers_is_not_told(changed: Changed) -> None:
    assert changed("mkdir d; echo >d/x; echo >d/y", "rm d/x") == ["A /d", "A /d/y"]


def test_several_uppers_are_told_as_one(changed: Changed) -> None:
    assert changed("echo >etc/new; rm var/log/a", "rm etc/new; echo >var/log/a; rm -r opt", "mkdir opt; echo >x") == [
        "C /etc",
        "C /opt",
        "C /var",
        "C /var/log",
        "C /var/log/a",
        "A /x",
    ]


def test_a_whiteout_of_what_the_base_lacks_is_not_told(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "upper/d").mkdir(parents=True)
    os.mknod(tmp_path / "upper/gone", stat.S_IFCHR, os.makedev(0, 0))
    os.mknod(tmp_path / "upper/d/gone", stat.S_IFCHR, os.makedev(0, 0))
    assert list(diff.changes([str(tmp_path / "upper")], [str(tmp_path / "base")])) == [("A", "/d")]


def test_opaque_directories_in_opaque_ones_are_told_once(tmp_path: Path) -> None:
    base, upper = tmp_path / "base", tmp_path / "upper"
    for path in ("a/b/x", "a/b/y", "a/c/z", "a/kept"):
        (base / path).parent.mkdir(parents=True, exist_ok=True)
        (base / path).touch()
    (upper / "a/b").mkdir(parents=True)
    (upper / "a/b/x").touch()
    for folder in ("a", "a/b"):
        os.setxattr(upper / folder, stack.OPAQUE, b"y")
        os.utime(upper / folder, ns=(0, (base / folder).stat().st_mtime_ns))
    assert [f"{kind} {path}" for kind, path in diff.changes([str(upper)], [str(base)])] == [
        "C /a",
        "C /a/b",
        "C /a/b/x",
        "D /a/b/y",
        "D /a/c",
        "D /a/kept",
    ]


@pytest.fixture(scope="module")
def podman(podmans: Path) -> Iterator[Callable[..., str]]:
    """Podman with a store of its own, emptied at the end."""
    if shutil.which("podman") is None:
        pytest.skip("needs podman")
    own: list[str | Path] = ["--root", podmans / "root", "--runroot", podmans / "run", "--storage-driver", "overlay"]

    def call(*arguments: str | Path) -> str:
        # neither its network, nor its cgroups, nor its log are needed
        command: list[str | Path] = [
            "podman",
            *own,
            "--cgroup-manager",
            "cgroupfs",
            "--events-backend",
            "none",
            *arguments,
        ]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    yield call
    call("rm", "--all", "--force")
    call("rmi", "--all", "--force")
    # podman leaves a bind mount of its own store behind
    subprocess.run(["umount", podmans / "root/overlay"], check=False, capture_output=True)


def test_podman_tells_the_same_changes_but_for_directories_that_only_contain_some(
    podman: Callable[..., str], tmp_path: Path
) -> None:
    root = tmp_path / "root"
    for number in range(len(CASES)):
        (root / f"case{number}").mkdir(parents=True)
        furnish(root / f"case{number}")
    subprocess.run(["tar", "-cf", tmp_path / "root.tar", "-C", root, "."], check=True)
    podman("import", tmp_path / "root.tar", "box")
    podman("create", "--name", "made", "box", "true")
    view = Path(podman("mount", "made").strip())
    for number, (case, (command, _expected)) in enumerate(CASES.items()):
        if case in NOT_PODMANS:
            continue
        shell(command, view / f"case{number}")
    podman("umount", "made")
    told = [line for line in podman("diff", "made").splitlines() if line[2:].startswith("/case")]
    driver = json.loads(podman("container", "inspect", "made"))[0]["GraphDriver"]["Data"]
    ours = diff.changes([driver["UpperDir"]], [*reversed(driver["LowerDir"].split(":"))])
    extra = [f"{kind} {path}" for kind, path in ours if path.startswith("/case")]
    for line in told:
        extra.remove(line)
    # podman, as docker with native diff, leaves out directories that only contain changes; docker without it does not
    assert extra
    assert all(line.startswith("C ") and (root / line[3:]).is_dir() for line in extra)
