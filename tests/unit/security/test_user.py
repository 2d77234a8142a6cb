"""Users are looked up in the layers of an image, which may say anything."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from minirun.errors import BadInput
from minirun.security import capabilities, user

PASSWD = """\
root:x:0:0:root:/root:/bin/sh
# comment:x:1:1::/:
alice:x:1000:1001::/home/alice:/bin/sh
homeless:x:1002:1002:::
7:x:70:70::/seven:
short:x:3
letters:x:abc:1::/:
huge:x:99999999999:1::/:
negative:x:-1:1::/:
alice:x:0:0::/root:
\udcff:x:1005:1005::/odd:
"""
GROUP = "root:x:0:\nstaff:x:50:alice,bob\naudio:x:29:bob,alice\nhuge:x:4294967295:alice\nalice:x:1001:\n9:x:90:\n"


@pytest.fixture
def stack(tmp_path: Path) -> list[str]:
    """Two layers; the upper one has the files."""
    for name in ("below", "above/etc"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "above/etc/passwd").write_bytes(os.fsencode(PASSWD))
    (tmp_path / "above/etc/group").write_text(GROUP)
    return [str(tmp_path / "below"), str(tmp_path / "above")]


@pytest.mark.parametrize(
    ("text", "uid", "gid", "groups", "home"),
    [
        ("", 0, 0, [0], "/root"),
        ("root", 0, 0, [0], "/root"),
        ("alice", 1000, 1001, [1001, 50, 29], "/home/alice"),  # the first of two lines counts
        ("1000", 1000, 1001, [1001, 50, 29], "/home/alice"),
        ("alice:staff", 1000, 50, [], "/home/alice"),
        ("alice:", 1000, 1001, [1001, 50, 29], "/home/alice"),
        (":staff", 0, 50, [], "/root"),
        ("homeless", 1002, 1002, [1002], "/"),
        ("70", 70, 70, [70], "/seven"),
        ("7", 70, 70, [70], "/seven"),  # a name of digits is a name first
        ("8", 8, 0, [0], "/"),
        ("8:9", 8, 9, [], "/"),
        ("\udcff", 1005, 1005, [1005], "/odd"),
        ("4294967294", 4294967294, 0, [0], "/"),
    ],
)
def test_a_user_is_found(stack: list[str], text: str, uid: int, gid: int, groups: list[int], home: str) -> None:
    found = user.find(text, stack)
    assert (found.uid, found.gid, list(found.groups), found.home) == (uid, gid, groups, home)


@pytest.mark.parametrize(
    "text",
    ["bob", "short", "letters", "huge", "negative", "# comment", "alice:bob", "alice:huge", "4294967295", "4294967296",
     "1:4294967295", "99999999999999999999", "-1", "+1", "1_0", "\u0661", "0x0", " 0", "x" * 10_000],
)  # fmt: skip
def test_what_is_no_user_is_refused(stack: list[str], text: str) -> None:
    with pytest.raises(BadInput):
        user.find(text, stack)


def test_an_image_without_the_files_knows_only_numbers(tmp_path: Path) -> None:
    assert user.find("5", [str(tmp_path)]).uid == 5
    with pytest.raises(BadInput, match="no user 'root'"):
        user.find("root", [str(tmp_path)])


def test_no_link_is_followed_not_even_in_the_folder(stack: list[str], tmp_path: Path) -> None:
    (tmp_path / "top").mkdir()
    (tmp_path / "top/etc").symlink_to(tmp_path / "above/etc")
    with pytest.raises(BadInput):
        user.find("alice", [*stack, str(tmp_path / "top")])


def test_what_comes_after_a_mebibyte_is_not_read(stack: list[str], tmp_path: Path) -> None:
    line = "late:x:2000:2000::/:\n"
    (tmp_path / "above/etc/passwd").write_text("#" * (user.LIMIT_BYTES - len(line) - 1) + "\n" + line)
    assert user.find("late", stack).uid == 2000
    (tmp_path / "above/etc/passwd").write_text("#" * user.LIMIT_BYTES + "\n" + line)
    with pytest.raises(BadInput):
        user.find("late", stack)


def test_capabilities_are_numbered_as_the_kernel_does() -> None:
    docker = {"CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "MKNOD", "NET_RAW", "SETGID", "SETUID", "SETFCAP", "SETPCAP",
              "NET_BIND_SERVICE", "SYS_CHROOT", "KILL", "AUDIT_WRITE"}  # fmt: skip
    kept = {name for number, name in enumerate(capabilities.NAMES) if capabilities.DEFAULT >> number & 1}
    assert kept == docker
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    assert last < capabilities.LAST
    assert (capabilities.name(0), capabilities.name(40), capabilities.name(63)) == (
        "CAP_CHOWN",
        "CAP_CHECKPOINT_RESTORE",
        "capability 63",
    )


def test_the_bounding_set_loses_every_other_one() -> None:
    dropped = [call.args[1] for call in capabilities.bound(capabilities.DEFAULT)]
    assert dropped == [number for number in range(64) if not capabilities.DEFAULT >> number & 1]
