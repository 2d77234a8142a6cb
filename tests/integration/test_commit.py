"""commit: what a container wrote becomes a layer, exactly, however much it is, and the container goes on."""

from __future__ import annotations

import json
import subprocess
import tarfile
from pathlib import Path

from tests.command import Minirun

# every way to change a file system that a layer has a form for, with what the userland of the second layer offers
CHANGES = """
import os
os.remove("/etc/debian_version")
os.system("rm -r /usr/share/base-files; mkdir /usr/share/base-files; echo new > /usr/share/base-files/only")
os.system("mv /etc/apt /etc/apt-renamed")
os.link("/etc/issue", "/etc/issue-link")
os.mkdir("/made", 0o2751); os.chown("/made", 7, 8)
open("/made/a", "w").write("a"); os.link("/made/a", "/made/b"); os.chmod("/made/a", 0o4755)
os.setxattr("/made/a", "user.note", b"\\x00\\xffbytes")
os.setxattr("/made/a", "security.capability", bytes.fromhex("0100000200040000000000000000000000000000"))
os.symlink("nowhere", "/made/link"); os.mkfifo("/made/fifo", 0o640); os.mknod("/made/null", 0o20666, os.makedev(1, 3))
open(b"/made/\\xff\\n", "w"); os.utime("/made/b", ns=(1, 123456789))
os.truncate("/etc/issue.net", 3)
os.remove("/etc/motd") if os.path.exists("/etc/motd") else None
open("/etc/motd", "w").write("again")
"""


def tree(minirun: Minirun, name: str, tmp_path: Path) -> dict[str, tuple[object, ...]]:
    """What an export says of every file, but for the times of directories, which mounting in them changes."""
    minirun("export", "-o", tmp_path / "out.tar", name, check=True)
    with tarfile.open(tmp_path / "out.tar", encoding="utf-8", errors="surrogateescape") as archive:
        entries: dict[str, tuple[object, ...]] = {}
        for entry in archive:
            xattrs = sorted((k, v) for k, v in entry.pax_headers.items() if "xattr" in k)
            data = archive.extractfile(entry).read() if entry.isreg() else None  # type: ignore[union-attr]
            mtime = None if entry.isdir() else entry.pax_headers.get("mtime", entry.mtime)
            device = (entry.devmajor, entry.devminor) if entry.isdev() else None
            entries[entry.name] = (
                entry.type, entry.mode, entry.uid, entry.gid, entry.linkname, mtime, device, xattrs, data
            )  # fmt: skip
    return entries


def test_every_kind_of_change_survives_run_commit_run_export(
    userland: Minirun, ubuntu_layers: Path, tmp_path: Path
) -> None:
    userland("run", "--name", "before", ubuntu_layers, "python3", "-c", CHANGES, check=True)
    before = tree(userland, "before", tmp_path)
    diff = userland("diff", "before", check=True).stdout
    userland("commit", "before", "changed", check=True)
    userland("run", "--name", "after", "changed", "true", check=True)
    after = tree(userland, "after", tmp_path)
    assert "made/b" in before
    below = "usr/share/base-files/"
    assert [name for name in before if name.startswith(below)] == [below + "only"]
    assert {
        name: (before.get(name), after.get(name)) for name in before | after if before.get(name) != after.get(name)
    } == {}
    # and what the container changed since its own image is still told, layer by layer
    assert userland("diff", "before", check=True).stdout == diff
    assert userland("diff", "after", check=True).stdout == ""
    userland("rm", "before", "after", check=True)
    userland("rmi", "changed", check=True)


def test_a_container_goes_on_above_what_was_committed_and_can_be_committed_again(store: Minirun) -> None:
    store("run", "--name", "two", "busybox", "sh", "-c", "echo $RANDOM >> /lines; wc -l < /lines", check=True)
    store("commit", "two", "one-line", check=True)
    assert store("start", "-a", "two", check=True).stdout.strip() == "2"
    store("commit", "two", "two-lines", check=True)
    assert store("run", "--rm", "one-line", "wc", "-l", "/lines", check=True).stdout.split()[0] == "1"
    assert store("run", "--rm", "two-lines", "wc", "-l", "/lines", check=True).stdout.split()[0] == "2"
    assert store("diff", "two", check=True).stdout == "A /lines\n"
    layers = [
        json.loads(store("inspect", image, check=True).stdout)[0]["Layers"] for image in ("one-line", "two-lines")
    ]
    assert layers[1][: len(layers[0])] == layers[0]
    store("rm", "two", check=True)
    assert store("run", "--rm", "two-lines", "wc", "-l", "/lines", check=True).stdout.split()[0] == "2"
    store("rmi", "one-line", "two-lines", check=True)


def test_the_image_runs_what_the_container_ran_changed_as_asked(store: Minirun) -> None:
    store("run", "--name", "cfg", "-e", "A=1", "-w", "/tmp", "-l", "k=v", "busybox", "pwd", check=True)
    changes = ["-c", "ENV B=two", "-c", 'CMD ["sh", "-c", "echo $A $B; pwd"]', "-c", "LABEL x=y"]
    store("commit", "-a", "A. Author", "-m", "why", *changes, "cfg", "cfg", check=True)
    assert store("run", "--rm", "cfg", check=True).stdout == "1 two\n/tmp\n"
    told = json.loads(store("inspect", "--type", "image", "cfg", check=True).stdout)[0]
    assert {"k": "v", "x": "y"}.items() <= told["Config"]["Labels"].items()
    assert told["Author"] == "A. Author"
    assert store("history", "--format", "{{.Comment}}", "cfg", check=True).stdout.splitlines()[0] == "why"
    assert store("commit", "-c", "NONSENSE x", "cfg").returncode == 125
    store("rm", "cfg", check=True)
    store("rmi", "cfg", check=True)


def calls(minirun: Minirun, files: int, tmp_path: Path) -> int:
    """How many system calls the commit of a stopped container with so many files takes."""
    script = f"mkdir /d; for n in $(seq {files}); do echo $n > /d/$n; done"
    minirun("run", "--name", f"c{files}", "busybox", "sh", "-c", script, check=True)
    trace = tmp_path / f"trace{files}"
    command = ["strace", "-f", "-o", str(trace), *minirun.command(("commit", f"c{files}", f"c{files}"))]
    subprocess.run(command, env=minirun.environment(), check=True, capture_output=True)
    minirun("rm", f"c{files}", check=True)
    minirun("rmi", f"c{files}", check=True)
    return len(trace.read_text().splitlines())


def test_committing_a_stopped_container_takes_as_much_for_many_files_as_for_one(store: Minirun, tmp_path: Path) -> None:
    calls(store, 1, tmp_path)  # what is written at the first time, such as .pyc files
    few, many = calls(store, 2, tmp_path), calls(store, 2000, tmp_path)
    assert abs(many - few) < 50


def test_a_running_container_is_committed_as_of_one_moment_and_goes_on(store: Minirun) -> None:
    script = "echo on; n=0; while [ ! -e /end ]; do n=$((n+1)); echo $n > /a; echo $n > /b; done; echo ended"
    with store.start("run", "--name", "busy", "busybox", "sh", "-c", script) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"on\n"
        for number in range(5):
            store("commit", "busy", f"moment:{number}", check=True)
            seen = store("run", "--rm", f"moment:{number}", "cat", "/a", "/b").stdout.split()
            assert len(seen) < 2 or int(seen[0]) - int(seen[1]) in (0, 1)
        assert store("ps", "--format", "{{.State}}", check=True).stdout.strip() == "running"
        store("commit", "--pause=false", "busy", "moment:unpaused", check=True)
        store("rm", "-f", "busy", check=True)
        process.communicate()
        assert process.returncode == 137
    store("rmi", *(f"moment:{number}" for number in range(5)), "moment:unpaused", check=True)
