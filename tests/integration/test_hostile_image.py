"""Images that mean harm: what they are made of must lead nothing of ours astray."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from minirun.cgroup import hierarchy
from tests import attacker, busybox, tars
from tests.command import LAUNCHER, Minirun
from tests.screen import on_terminal

STUB = LAUNCHER.parent.parent.parent / "minirun/launch/stub"


def digests() -> dict[str, str]:
    """What could be overwritten: whatever of ours is executed."""
    paths = [Path(LAUNCHER.read_text().splitlines()[0][2:].split()[0]), STUB, LAUNCHER, Path(sys.executable)]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


@pytest.mark.parametrize("name", ["proc", "sys", "dev"])
@pytest.mark.parametrize("kind", ["a link inside", "a link to the other", "a link to nothing", "a file"])
def test_a_place_of_the_kernels_that_is_no_real_directory_is_refused(
    store: Minirun, tmp_path: Path, name: str, kind: str
) -> None:
    base = busybox.tree(tmp_path / "image")
    (base / name).rmdir()
    if kind == "a file":
        (base / name).write_text("")
    else:
        targets = {"a link inside": "/tmp", "a link to the other": "/etc", "a link to nothing": "/nowhere"}
        (base / name).symlink_to(targets[kind])
    store("run", "--rm", tmp_path / "image", "true")  # unpacked, whatever becomes of it
    before = busybox.contents(store.root)
    result = store("run", tmp_path / "image", "true")
    assert result.returncode == 125
    assert f"/{name} of the image is not a real directory" in result.stderr
    assert busybox.contents(store.root) == before


def test_a_null_device_of_the_images_hides_nothing(store: Minirun, tmp_path: Path) -> None:
    """CVE-2025-31133: what masks a path would be the file that the image's link leads to, open for writing."""
    core_pattern = Path("/proc/sys/kernel/core_pattern")
    before = core_pattern.read_text()
    base = busybox.tree(tmp_path / "image")
    (base / "dev/null").symlink_to("/proc/sys/kernel/core_pattern")
    script = "cat /proc/keys; stat -c %F /dev/null; (: >>/proc/sys/kernel/core_pattern) 2>&1; true"
    lines = store("run", "--rm", tmp_path / "image", "sh", "-c", script, check=True).stdout.splitlines()
    assert lines[0] == "character special file"
    assert "Read-only file system" in lines[1]
    assert core_pattern.read_text() == before


def test_a_pts_of_the_images_is_not_where_the_console_comes_from(store: Minirun, tmp_path: Path) -> None:
    """CVE-2025-52565."""
    base = busybox.tree(tmp_path / "image")
    (base / "dev/pts").symlink_to("/proc/sys/kernel")
    (base / "dev/console").symlink_to("/proc/sysrq-trigger")
    script = "tty; stat -c %F /dev/console; grep -c 'proc.* /dev/console' /proc/self/mountinfo"
    printed = store("run", "--rm", "-t", tmp_path / "image", "sh", "-c", script).stdout
    assert printed == "/dev/pts/0\ncharacter special file\n0\n"


@pytest.mark.parametrize("name", ["hosts", "hostname", "resolv.conf"])
@pytest.mark.parametrize(
    "target", ["/proc/sys/kernel/core_pattern", "/etc/passwd", "/nowhere", "/sys/kernel/uevent_helper"]
)
def test_a_link_in_etc_leads_to_nothing_of_the_hosts(store: Minirun, tmp_path: Path, name: str, target: str) -> None:
    base = busybox.tree(tmp_path / "image")
    (base / "etc" / name).symlink_to(target)
    host = Path(target).read_bytes() if Path(target).exists() else b""
    script = f"echo mine >>/etc/{name}; (: >>/proc/sys/kernel/core_pattern) 2>&1; true"
    printed = store("run", "--rm", tmp_path / "image", "sh", "-c", script, check=True).stdout
    assert "Read-only file system" in printed
    assert (Path(target).read_bytes() if Path(target).exists() else b"") == host


def test_whoever_holds_the_stub_cannot_write_to_it_once_it_has_ended(store: Minirun) -> None:
    """As a second container could, to which the first one passed the descriptor through a socket in a volume."""
    before = digests()
    pipe = subprocess.PIPE
    command = store.command(("run", "--rm", "--init", "-i", "busybox", "sh", "-c", "echo on; read end"))
    with subprocess.Popen(command, env=store.environment(), stdin=pipe, stdout=pipe) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"on\n"
        (box,) = busybox.containers(store.root)
        pids = Path(hierarchy.path(box), "cgroup.procs").read_text().split()
        held = os.open(f"/proc/{pids[0]}/exe", os.O_RDONLY)
        assert os.fstat(held).st_ino == STUB.stat().st_ino
        process.communicate(b"\n")
    try:
        with pytest.raises(OSError, match="Read-only file system"):
            os.open(f"/proc/self/fd/{held}", os.O_WRONLY | os.O_APPEND)
    finally:
        os.close(held)
    assert digests() == before


@pytest.mark.parametrize("flags", [(), ("--init",)])
@pytest.mark.parametrize("how", ["command", "entrypoint"])
def test_a_program_that_executes_its_executer_finds_nothing_to_write_to(
    store: Minirun, tmp_path: Path, flags: tuple[str, ...], how: str
) -> None:
    """CVE-2019-5736."""
    before = digests()
    image = attacker.image(tmp_path / "image")
    named = ("--entrypoint", "/attack", image) if how == "entrypoint" else (image, "/attack")
    result = store("run", "--rm", *flags, *named, timeout_s=20)
    assert "OPENED" not in result.stdout + result.stderr
    assert "python" not in result.stdout
    assert digests() == before


def test_the_attack_works_on_an_executable_that_is_not_protected(tmp_path: Path) -> None:
    """Else the test above would see nothing of it. Here a copy of the interpreter is what starts the program."""
    base = attacker.image(tmp_path / "image") / "00-base"
    shutil.copy2(Path(sys.executable).resolve(), base / "victim")
    script = 'mount -t proc proc "$0/proc" && exec chroot "$0" /victim'
    command = ["unshare", "--mount", "--pid", "--fork", "sh", "-c", script, str(base)]
    assert "OPENED" in subprocess.run(command, capture_output=True, text=True, check=True).stdout


PAINT = "\x1b]0;title\x07\x1b[2J\u202e"
PAINT_CODES = ("\x1b]", "\x07", "\x1b[2J", "\u202e")
COMMANDS = {
    "refused for a name": tars.tar(tars.pax((b"path", PAINT.encode() + b"/" + b"n" * 256)) + tars.file(b"f")),
    "refused for a record": tars.tar(tars.pax((PAINT.encode() + b"\0", b"1")) + tars.file(b"f")),
    "refused for a number": tars.tar(tars.pax((b"uid", PAINT.encode())) + tars.file(b"f")),
    "refused for what it looks like": PAINT.encode() * 99,
    "an xattr left out": tars.tar(tars.xattr(PAINT.encode(), b"1") + tars.file(b"f")),
}


@pytest.mark.parametrize("case", COMMANDS)
@pytest.mark.parametrize("form", ["a tar", "a directory of layers"])
def test_what_an_archive_says_commands_no_terminal(minirun: Minirun, tmp_path: Path, case: str, form: str) -> None:
    (tmp_path / PAINT).mkdir()
    source = tmp_path / PAINT / "00-base.tar"
    source.write_bytes(COMMANDS[case])
    path = str(source if form == "a tar" else source.parent)
    shown = on_terminal(minirun, "import", path, columns=500, colours=False)
    assert "\\x1b]0;title" in shown
    assert not any(code in shown for code in PAINT_CODES)  # progress has codes of its own


def test_what_a_config_says_is_data(minirun: Minirun, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    label = f"{PAINT}$(touch {canary})`touch {canary}`{{{{.Id}}}}%s%n"
    config = {"Labels": {label: label, "org.example.hook": f"touch {canary}"}, "Cmd": ["true", label]}
    busybox.tree(tmp_path / "image", config)
    minirun("import", tmp_path / "image", "labelled", check=True)
    minirun("run", "--name", "one", "labelled", check=True)
    minirun("commit", "-m", label, "one", "again", check=True)
    for name in ("labelled", "again", "one"):
        (found,) = json.loads(minirun("inspect", name, check=True).stdout)
        assert found["Config"]["Labels"][label] == label
    for words in (
        ("inspect", "one"), ("inspect", "-f", "{{.Config.Labels}}", "again"), ("history", "--no-trunc", "again"),
        ("ps", "-a", "--no-trunc", "--format", "{{.Labels}} {{.Command}}"), ("images", "--tree", "--no-trunc"),
        ("images", "--filter", f"label={label}={label}"),
    ):  # fmt: skip
        shown = on_terminal(minirun, *words, columns=500, colours=False)
        assert all(sign.isprintable() or sign in "\n\t" for sign in shown), words
    assert not canary.exists()
