"""What cannot be run: a clear refusal with Docker's exit code, and a store that is exactly as it was."""

from __future__ import annotations

import lzma
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from minirun.cgroup import hierarchy
from tests import busybox, tars
from tests.command import LAUNCHER, Minirun

Damage = Callable[[Path], object]
DIGIT = "01-damaged"


def refused(minirun: Minirun, *arguments: str | Path, reason: str, status: int = 125) -> None:
    """Assert that minirun says "cannot …: reason" and changes nothing."""
    before = busybox.contents(minirun.root) if minirun.root.exists() else None
    result = minirun(*arguments, timeout_s=30)
    assert (result.returncode, result.stdout) == (status, "")
    assert reason in result.stderr
    assert re.match(r"minirun: cannot [^\n]+: [^\n]+", result.stderr), result.stderr
    assert "Traceback" not in result.stderr
    assert "fault of minirun's own" not in result.stderr
    if before is not None:
        assert busybox.contents(minirun.root) == before


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["-v", "/etc/passwd/x:/x"], "ENOTDIR"),
        (["--mount", "type=bind,src=/no/such/path,dst=/x"], "ENOENT"),
        (["--mount", "type=nfs,src=/x,dst=/x"], "there is no type 'nfs'"),
        (["--mount", "dst=/x,volume-driver=rexray"], "is a plugin"),
        (["-v", "a/b:/x"], "is no name of a volume"),
        (["-v", "proc:/proc"], "nothing can be attached at /proc"),
        (["-v", "/tmp:/x:U"], "not built"),
        (["--volumes-from", "no-such-container"], "no such container"),
        (["-v", "/tmp:/x", "--tmpfs", "/x"], "two mounts are to be there"),
        (["-v", "/tmp:relative"], "is not an absolute path in the container"),
        (["-v", "/tmp:/x:ro:rw"], "it is not SOURCE:TARGET"),
        (["-v", "/tmp:/x:shraed"], "there is no option 'shraed'"),
        (["-v", ":/x"], "it is not SOURCE:TARGET"),
        (["-v", "/tmp:/etc/passwd/x"], "ENOTDIR"),
        (["-v", "/etc/passwd:/bin"], "cannot attach at /bin"),
        (["-v", "/tmp:/etc/passwd"], "cannot attach at /etc/passwd"),
        (["-v", "/tmp:/sys/new"], "cannot attach at /sys/new"),
        (["--tmpfs", "relative"], "is not an absolute path"),
        (["--tmpfs", "/x:size=lots"], "EINVAL"),
        (["--tmpfs", "/x:unknown"], "is no option of a tmpfs"),
        (["-u", "no-such-user"], "the image has no user"),
        (["-u", "alice:no-such-group"], "the image has no group"),
        (["-u", "4294967296"], "is not in the range"),
        (["-e", "=value"], "it has no name"),
        (["-e", ""], "it has no name"),
        (["--env-file", "/no/such/file"], "ENOENT"),
        (["--env-file", "/etc"], "EISDIR"),
        (["--env-file", "/bin/busybox"], "it is not UTF-8 text"),
        (["-l", "=x"], "it has no name"),
        (["-w", "relative"], "it is not an absolute path"),
        (["-w", "/etc/passwd"], "ENOTDIR"),
        (["-w", "/etc/passwd/below"], "ENOTDIR"),
        (["-w", "/" + "x" * 300], "ENAMETOOLONG"),
        (["-h", "two words"], "a host name is"),
        (["-h", "x" * 65], "a host name is"),
        (["-h", "\udcff"], "a host name is"),
        (["--name", "x"], "a name is 2 to 128"),
        (["--name", "../escape"], "a name is 2 to 128"),
        (["--name", "a b"], "a name is 2 to 128"),
        (["--name", "é-e"], "a name is 2 to 128"),
        (["--memory", "much"], "it is not a number of bytes"),
        (["--memory", "1m"], "it is less than 6m"),
        (["--memory", "-5m"], "it is not a number of bytes"),
        (["--cpus", "none"], "not a number"),
        (["--cpus", "0"], "not a number"),
        (["--cpus", "nan"], "not a number"),
        (["--cpus", "100000"], "not a number"),
        (["--pids-limit", "many"], "not a number of processes"),
        (["--cpuset-cpus", "0-"], "is no processor"),
        (["--cpuset-cpus", "4096"], "this host has the processors"),
        (["--stop-signal", "NONE"], "there is none of that name or number"),
        (["--network", "nosuch"], "no such network"),
        (["--network", "container:nosuch"], "no such container"),
        (["--network", "bridge", "--network", "none"], "with that a container is on no network"),
        (["--pull", "sometimes"], "it is missing, always or never"),
        (["--restart", "sometimes"], "there is no policy 'sometimes'"),
        (["--restart", "always:3"], "always has no limit"),
        (["--restart", "on-failure:many"], "'many' is not a number of times"),
        (["--restart", "always", "--rm"], "what is removed at its end cannot be started again"),
        (["--stop-timeout", "soon"], "it is not a number of seconds, and -1 waits for ever"),
        (["--timeout", "-1"], "it is not a number of seconds"),
        (["-it"], "the input device is not a TTY"),
        (["--cidfile", "/etc/passwd"], "EEXIST"),
        (["--cidfile", "/no/such/folder/cid"], "ENOENT"),
        (["--no-such-flag"], "--no-such-flag"),
        (["--gpus", "all"], "--gpus"),
        (["-p", "80:80"], "has no network"),
        (["--rm=maybe"], "a switch is true or false"),
    ],
    ids=lambda value: (
        " ".join(value).encode("ascii", "backslashreplace").decode()[:40] if isinstance(value, list) else ""
    ),
)
def test_a_flag_that_means_nothing_is_refused(store: Minirun, flags: list[str], reason: str) -> None:
    refused(store, "run", *flags, "busybox", "true", reason=reason)


@pytest.mark.parametrize("words", [[], ["--rm"], ["--name"], ["-e"], ["--rm", "--"]])
def test_a_command_line_without_an_image_is_refused(store: Minirun, words: list[str]) -> None:
    refused(store, "run", *words, reason="")


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        ("no-such-image", "no image of that name or id is stored"),
        ("busybox:no-such-tag", "no image of that name or id is stored"),
        ("0123456789ab", "no image of that name or id is stored"),
        ("/no/such/directory", "there is no such directory"),
        ("./no-such-directory", "there is no such directory"),
        ("/etc/passwd", "it is not a directory"),
        ("../../x", "there is no such directory"),
        ("UPPER/case", ""),
        ("a\nb", ""),
        ("\udcff", ""),
        ("", ""),
    ],
    ids=ascii,
)
def test_an_image_that_is_not_there_is_refused(store: Minirun, image: str, reason: str) -> None:
    refused(store, "run", "--pull", "never", image, "true", reason=reason)


def _tar(text: bytes = b"x") -> bytes:
    return tars.tar(tars.directory(b"bin"), tars.file(b"bin/true", text * 5000))


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        (f"{DIGIT}.tar", b"no tar at all" * 100, ""),
        (f"{DIGIT}.tar", _tar()[:3000], "01-damaged.tar"),
        (f"{DIGIT}.tar.gz", b"\x1f\x8b\x08\x00 garbage that is no deflate stream", "01-damaged.tar.gz"),
        (f"{DIGIT}.tar.gz", b"not gzip", "01-damaged.tar.gz"),
        (f"{DIGIT}.tar.xz", lzma.compress(_tar())[:-20], "01-damaged.tar.xz"),
        (f"{DIGIT}.tar.zst", b"\x28\xb5\x2f\xfd garbage", "01-damaged.tar.zst"),
        (f"{DIGIT}.tar.bz2", b"BZh9", "begins like a layer and is none that is known here"),
        (f"{DIGIT}.zip", b"PK", "begins like a layer and is none that is known here"),
        ("image.json", b"{ not JSON", "it is not JSON"),
        ("image.json", b"[]", "image.json"),
        ("00-base.tar", _tar(), "are both the layer"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_directory_with_a_bad_layer_is_refused_and_its_good_ones_are_not_kept(
    store: Minirun, tmp_path: Path, name: str, content: bytes, reason: str
) -> None:
    busybox.tree(tmp_path / "image")
    (tmp_path / "image" / name).write_bytes(content)
    refused(store, "run", tmp_path / "image", "true", reason=reason)


def test_an_empty_directory_and_one_with_anything_else_are_refused(store: Minirun, tmp_path: Path) -> None:
    refused(store, "run", f"{tmp_path}/", reason="the directory is empty")
    (tmp_path / "README").write_text("no layer")
    refused(store, "run", f"{tmp_path}/", reason="cannot use")


def test_an_image_without_a_command_is_refused(store: Minirun, tmp_path: Path) -> None:
    busybox.tree(tmp_path / "image")
    store("run", "--rm", tmp_path / "image", "true", check=True)
    refused(store, "run", tmp_path / "image", reason="no command was given")


def test_a_name_in_use_is_refused_also_by_a_container_that_runs(store: Minirun) -> None:
    store("create", "--name", "taken", "busybox", check=True)
    refused(store, "run", "--name", "taken", "busybox", "true", reason="the name is in use by container")
    store("rm", "taken", check=True)
    with store.start("run", "--rm", "--name", "busy", "busybox", "sh", "-c", "echo on; exec sleep 100") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"on\n"
        store("rm", "busy")  # waits until all is written down about its start
        refused(store, "run", "--name", "busy", "busybox", "true", reason="the name is in use by container")
        refused(store, "rm", "busy", reason="it is running")
        refused(store, "rmi", "busybox", reason="uses it")
        store("rm", "-f", "busy", check=True)


@pytest.mark.parametrize("controller", ["memory", "cpu", "pids", "cpuset", "io"])
def test_a_limit_whose_controller_this_host_has_not_got_is_refused(store: Minirun, controller: str) -> None:
    if controller in hierarchy.controllers(hierarchy.mount_point()):
        pytest.skip(f"this host has the {controller} controller in cgroup v2")
    flag = {"memory": "--memory=64m", "cpu": "--cpus=0.5", "pids": "--pids-limit=10", "cpuset": "--cpuset-cpus=0",
            "io": "--blkio-weight=100"}[controller]  # fmt: skip
    refused(store, "run", flag, "busybox", "true", reason=f"the {controller} controller is not in the cgroup v2")


def test_who_is_not_root_and_has_no_ids_is_told_so(store: Minirun) -> None:
    before = busybox.contents(store.root)
    result = subprocess.run(
        [LAUNCHER, "run", "busybox", "true"], env=store.environment(), user=65534, group=65534, extra_groups=[],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 125
    assert result.stderr.startswith("minirun: cannot use containers as an ordinary user: ")
    assert busybox.contents(store.root) == before
