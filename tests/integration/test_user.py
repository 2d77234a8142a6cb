"""Who a command is: -u with names and numbers, looked up in the image, whose files are not trusted."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from tests import busybox
from tests.command import PATIENCE, Minirun

QUICK_S = 1.0 * PATIENCE
MEMORY_BYTES = 100 << 20
WHOAMI = ("sh", "-c", "grep Uid /proc/self/status | cut -f 1,2")  # not `id`, which reads passwd itself


def identity(minirun: Minirun, *arguments: str | Path) -> tuple[str, str, list[int]]:
    """The four user ids, the four group ids, and the supplementary groups of the command."""
    printed = minirun("run", "--rm", *arguments, "cat", "/proc/self/status", check=True).stdout
    fields = dict(line.split(":", 1) for line in printed.splitlines())
    return (*(" ".join(fields[name].split()) for name in ("Uid", "Gid")), sorted(map(int, fields["Groups"].split())))  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("text", "uid", "gid", "groups"),
    [
        ("root", 0, 0, [0]),
        ("0", 0, 0, [0]),
        ("alice", 1000, 1000, [29, 50, 1000]),  # audio and staff have her as a member
        ("1000", 1000, 1000, [29, 50, 1000]),
        ("alice:staff", 1000, 50, []),
        ("1000:50", 1000, 50, []),
        ("alice:4711", 1000, 4711, []),
        ("4242", 4242, 0, [0]),
        ("4242:4343", 4242, 4343, []),
        ("4294967294:4294967294", 4294967294, 4294967294, []),
    ],
)
def test_a_user_is_who_the_image_says(store: Minirun, text: str, uid: int, gid: int, groups: list[int]) -> None:
    four = (" ".join([str(number)] * 4) for number in (uid, gid))
    assert identity(store, "-u", text, "busybox") == (*four, groups)


def test_without_u_it_is_the_images_user(store: Minirun, tmp_path: Path) -> None:
    busybox.tree(tmp_path / "image", {"User": "alice"})
    assert identity(store, tmp_path / "image") == ("1000 1000 1000 1000",) * 2 + ([50, 1000],)
    assert identity(store, "-u", "0", tmp_path / "image")[0] == "0 0 0 0"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("nobody-of-that-name", "the image has no user 'nobody-of-that-name' in its /etc/passwd"),
        ("alice:no-such-group", "the image has no group 'no-such-group' in its /etc/group"),
        ("4294967295", "4294967295 is not in the range 0 to 4294967294"),  # -1 would mean: stay who you are, root
        ("4294967296", "4294967296 is not in the range 0 to 4294967294"),  # 2³² would be cut to 0, root
        ("1000:4294967296", "4294967296 is not in the range 0 to 4294967294"),
        ("-1", "the image has no user '-1'"),
    ],
)
def test_a_user_that_is_none_is_refused(store: Minirun, text: str, reason: str) -> None:
    before = busybox.contents(store.root)
    result = store("run", f"--user={text}", "busybox", "id")
    assert result.returncode == 125
    assert reason in result.stderr
    assert busybox.contents(store.root) == before


def test_the_last_layer_that_has_a_passwd_decides(store: Minirun, tmp_path: Path) -> None:
    busybox.tree(tmp_path / "image")
    (tmp_path / "image/01-users/etc").mkdir(parents=True)
    (tmp_path / "image/01-users/etc/passwd").write_text("bob:x:2000:2000::/home/bob:/bin/sh\n")
    assert identity(store, "-u", "bob", tmp_path / "image")[0] == "2000 2000 2000 2000"
    assert store("run", "--rm", "-u", "alice", tmp_path / "image", "true").returncode == 125


def test_a_user_that_the_container_made_is_known_at_its_next_start(store: Minirun) -> None:
    line = "carol:x:3000:3000::/:/bin/sh"
    script = f"grep -q carol /etc/passwd && exec id -u; echo {line} >>/etc/passwd"
    store("run", "--name", "users", "busybox", "sh", "-c", script, check=True)
    assert store("start", "-a", "users", check=True).stdout == "0\n"
    store("rm", "users", check=True)


@pytest.mark.parametrize("text", ["alice", "1000", "0", ""])
@pytest.mark.parametrize("kind", ["fifo", "link to /dev/zero", "link to the host's", "4 GiB, sparse", "a directory"])
def test_a_passwd_that_is_a_trap_costs_neither_time_nor_memory(
    store: Minirun, tmp_path: Path, kind: str, text: str
) -> None:
    base = busybox.tree(tmp_path / "image")
    # In the upper directory of a container that exists: what the container itself could put there.
    box = store("create", "-u", text, tmp_path / "image", *WHOAMI, check=True).stdout.strip()
    etc = store.root / "containers" / box / "upper/etc"
    etc.mkdir(exist_ok=True)
    spoil(etc / "passwd", kind)
    assert (base / "etc/passwd").is_file()
    began = time.monotonic()
    process = subprocess.run(
        # all of its address space: the peak of its memory would count this process's own, from before the exec
        ["prlimit", f"--as={MEMORY_BYTES}", *store.command(("start", "-a", box))],
        env=store.environment(),
        capture_output=True,
        check=False,
    )
    assert time.monotonic() - began < QUICK_S
    if text == "alice":
        assert process.returncode == 125
        assert b"the image has no user 'alice'" in process.stderr
    else:
        assert (process.returncode, process.stdout) == (0, f"Uid:\t{text or 0}\n".encode())
    store("rm", box, check=True)


def spoil(path: Path, kind: str) -> None:
    """Put at *path* what is no list of users."""
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "link to /dev/zero":
        path.symlink_to("/dev/zero")
    elif kind == "link to the host's":
        path.symlink_to("/etc/passwd")
    elif kind == "a directory":
        path.mkdir()
    else:
        path.touch()
        os.truncate(path, 4 << 30)
