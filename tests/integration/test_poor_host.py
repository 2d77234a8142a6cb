"""A host that lacks something: a clear refusal with a remedy, and nothing half-done."""

from __future__ import annotations

import io
import os
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import busybox
from tests.command import Minirun

STORE_MIB = 64


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Minirun]:
    """The command, with a store on a file system of STORE_MIB."""
    point = tmp_path / "small"
    point.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={STORE_MIB}m", "small", point], check=True)
    try:
        yield Minirun(point / "root", tmp_path / "runtime")
    finally:
        subprocess.run(["umount", point], check=True)


def write_for_ever(file: io.FileIO, size: int) -> None:
    while True:
        file.write(bytes(size))


def settled(minirun: Minirun) -> dict[str, tuple[object, ...]]:
    """What is in the store after a command that cleans up, if there is anything to clean up."""
    minirun("ps", check=True)
    assert list((minirun.root / "marks").iterdir()) == []
    assert list((minirun.root / "tmp").iterdir()) == []
    return busybox.contents(minirun.root)


def in_namespace(minirun: Minirun, script: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run minirun in a mount namespace that *script* changed; the host's is as it was."""
    words = ["unshare", "--mount", "sh", "-c", f'{script}\nexec "$@"', "sh", *minirun.command(arguments)]
    return subprocess.run(words, env=minirun.environment(), capture_output=True, text=True, check=False)


def test_an_image_that_does_not_fit_leaves_nothing(small: Minirun, busybox_layers: Path, ubuntu_layers: Path) -> None:
    small("run", "--rm", busybox_layers, "true", check=True)
    before = settled(small)
    result = small("run", "--rm", ubuntu_layers, "true")
    assert result.returncode == 125
    assert "ENOSPC (No space left on device)" in result.stderr
    assert "free some space" in result.stderr
    assert settled(small) == before
    small("run", "--rm", busybox_layers, "true", check=True)


def test_a_full_disk_is_told_and_what_was_there_goes_on_working(small: Minirun, busybox_layers: Path) -> None:
    small("run", "--rm", busybox_layers, "true", check=True)
    before = settled(small)
    filler = small.root.parent / "filler"
    for size in (1 << 16, 512):
        with filler.open("ab", buffering=0) as file, pytest.raises(OSError, match="No space left"):
            write_for_ever(file, size)
    result = small("run", "--rm", busybox_layers, "true")
    assert result.returncode == 125
    assert "ENOSPC" in result.stderr
    assert "Traceback" not in result.stderr
    assert small("images").returncode == 0
    filler.unlink()
    assert settled(small) == before
    small("run", "--rm", busybox_layers, "true", check=True)


@pytest.mark.parametrize("command", [["rm", "written"], ["rmi", "-f", "busybox"], ["gc"]], ids=lambda words: words[0])
def test_a_disk_without_one_free_block_still_lets_things_be_removed(
    small: Minirun, busybox_layers: Path, command: list[str]
) -> None:
    small("import", busybox_layers, "busybox", check=True)
    small("run", "--name", "written", "busybox", "dd", "if=/dev/zero", "of=/big", "bs=1M", "count=3", check=True)
    if command[0] != "rm":
        small("rm", "written", check=True)
    stray = small.root / "diffs" / ("5" * 64)
    stray.mkdir()
    (stray / "big").write_bytes(bytes(1 << 20))
    filler = small.root.parent / "filler"
    for size in (1 << 16, 512):
        with filler.open("ab", buffering=0) as file, pytest.raises(OSError, match="No space left"):
            write_for_ever(file, size)
    assert os.statvfs(small.root).f_bavail == 0
    result = small(*command)
    assert (result.returncode, result.stderr) == (0, "")
    assert os.statvfs(small.root).f_bavail * os.statvfs(small.root).f_frsize > 500_000
    assert (small.root / "spare").stat().st_blocks, "and there is room again for the next time"
    assert settled(small)


def test_a_container_that_fills_the_disk_fails_by_itself(small: Minirun, busybox_layers: Path) -> None:
    script = "dd if=/dev/zero of=/big bs=1M count=100 2>&1 | grep -c 'No space'; exit 3"
    result = small("run", "--rm", busybox_layers, "sh", "-c", script)
    assert (result.returncode, result.stdout) == (3, "1\n")
    assert settled(small)
    assert busybox.containers(small.root) == []


@pytest.mark.parametrize("limit", [24, 64])
def test_few_descriptors_are_enough(store: Minirun, limit: int) -> None:
    result = limited(store, limit, "run", "--rm", "--init", "-v", "/etc:/x:ro", "busybox", "echo", "ran")
    assert (result.returncode, result.stdout, result.stderr) == (0, "ran\n", "")


def test_too_few_descriptors_are_told(store: Minirun) -> None:
    before = busybox.contents(store.root)
    volumes = [word for number in range(80) for word in ("-v", f"/etc:/v{number}:ro")]
    result = limited(store, 64, "run", "--rm", *volumes, "busybox", "true")
    assert result.returncode == 125
    assert "EMFILE" in result.stderr
    assert "ulimit -n" in result.stderr
    assert busybox.contents(store.root) == before


def limited(minirun: Minirun, descriptors: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))

    return subprocess.run(
        minirun.command(arguments), env=minirun.environment(), capture_output=True, text=True, check=False,
        stdin=subprocess.DEVNULL, preexec_fn=limit,
    )  # fmt: skip


def test_a_host_without_cgroup_v2_is_told_how_to_get_it(store: Minirun) -> None:
    before = busybox.contents(store.root)
    script = "for point in $(awk '/ - cgroup2 /{print $5}' /proc/self/mountinfo); do umount -l $point; done"
    result = in_namespace(store, script, "run", "--rm", "busybox", "true")
    assert result.returncode == 125
    assert "no cgroup v2 hierarchy is mounted" in result.stderr
    assert "mount -t cgroup2" in result.stderr
    assert busybox.contents(store.root) == before


def test_a_store_on_which_no_overlay_can_be_made_is_told_why(store: Minirun, tmp_path: Path) -> None:
    for name in ("lower", "upper", "work", "merged"):
        (tmp_path / name).mkdir()
    options = f"lowerdir={tmp_path}/lower,upperdir={tmp_path}/upper,workdir={tmp_path}/work"
    script = f"mount -t overlay -o {options} overlay {tmp_path}/merged && cp -a {store.root} {tmp_path}/merged/root"
    on_overlay = Minirun(tmp_path / "merged/root", tmp_path / "runtime")
    result = in_namespace(on_overlay, script, "run", "--rm", "busybox", "true")
    assert result.returncode == 125
    assert "cannot mount the overlay of" in result.stderr
    assert "not itself an overlay" in result.stderr
    assert list((tmp_path / "upper/root/containers").iterdir()) == []


def test_a_store_that_cannot_be_written_is_told(store: Minirun) -> None:
    script = f"mount --bind -o ro {store.root} {store.root}"
    result = in_namespace(store, script, "run", "--rm", "busybox", "true")
    assert result.returncode == 125
    assert "EROFS (Read-only file system)" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_hostile_environment_changes_nothing(store: Minirun, tmp_path: Path) -> None:
    """A deleted working directory, no HOME, a strict umask, Python's own variables, a locale without UTF-8."""
    gone = tmp_path / "gone"
    gone.mkdir()
    (tmp_path / "os.py").write_text("raise SystemExit('imported from PYTHONPATH')")
    env = {"LC_ALL": "C", "PYTHONPATH": str(tmp_path), "PYTHONHOME": "/nowhere", "PYTHONSTARTUP": "/etc/passwd"}
    plain = {name: value for name, value in store.environment(env).items() if name != "HOME"}
    command = store.command(("run", "--rm", "busybox", "sh", "-c", "umask; echo é; touch /x; stat -c %a /x"))
    words = ["sh", "-c", f'cd {gone}; rmdir {gone}; umask 077; exec "$@"', "sh", *command]
    result = subprocess.run(words, env=plain, capture_output=True, check=False)
    assert result.stderr == b""
    assert result.stdout == "0022\né\n644\n".encode()
    assert os.stat(store.root).st_mode & 0o777 == 0o700  # noqa: PTH116 - beside the other modes
