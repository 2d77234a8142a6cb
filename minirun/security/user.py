"""Who a command is: names are looked up in the image's own passwd and group files.

    -u alice          uid, gid, groups and home of alice in the image
    -u 1000           the same by number; a number that passwd does not know is that user, group 0
    -u alice:staff    gid of staff, and no other group but it
    (nothing)         the image's User, or root

The files belong to the image and are not trusted: regular files only, reached through no symlink, at most 1 MiB.
"""

from __future__ import annotations

import os
import stat

from minirun.errors import BadInput
from minirun.layer import stack as layers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LIMIT_BYTES = 1 << 20
LAST_ID = 4294967294  # -1 means "unchanged" to setresuid(2)


class User:
    """Who a command is.

    Attributes:
        uid, gid: 0 to LAST_ID.
        groups: supplementary groups, *gid* among them.
        home: the directory that the image's passwd gives, ``/`` where it gives none.
    """

    __slots__ = ("gid", "groups", "home", "uid")

    def __init__(self, uid: int, gid: int, groups: Sequence[int], home: str) -> None:
        self.uid = uid
        self.gid = gid
        self.groups = groups
        self.home = home


def find(text: str, stack: Sequence[str], added: Sequence[str] = ()) -> User:
    """Find the user that *text* names in the root file system that *stack* makes.

    Args:
        text: ``user[:group]``, names or numbers; empty for root.
        stack: layer directories, bottom to top.
        added: more groups of the user's, by name or number.

    Raises:
        BadInput: a name that the image has not got, or a number out of range.
    """
    return look_up(text, lambda path: _read(stack, path), added)


def look_up(text: str, read: Callable[[str], bytes], added: Sequence[str] = ()) -> User:
    """Find the user that *text* names, as `find` does, in whatever root file system *read* reads.

    Args:
        text: ``user[:group]``.
        read: gives the first LIMIT_BYTES of ``etc/passwd`` or ``etc/group``; nothing where there is no such file.
        added: as `find`.

    Raises:
        BadInput: as `find`.
    """
    user, _, group = text.partition(":")
    name, uid, gid, home = _user(user or "0", _rows(read("etc/passwd"), 7), f"run as {text!r}")
    rows = _rows(read("etc/group"), 4)
    more = [_group(one, rows, f"add group {one!r}") for one in added]
    if group:
        return User(uid, _group(group, rows, f"run as {text!r}"), more, home)
    members = (row[2] for row in rows if name and name in row[3].split(","))
    groups = dict.fromkeys([gid, *(int(number) for number in members if _is_id(number)), *more])
    return User(uid, gid, list(groups), home)


def _user(user: str, rows: list[list[str]], attempt: str) -> tuple[str, int, int, str]:
    number = _number(user, attempt)
    for row in rows:
        known = row[0] == user or (number is not None and row[2] == str(number))
        if known and _is_id(row[2]) and _is_id(row[3]):
            return row[0], int(row[2]), int(row[3]), row[5] or "/"
    if number is None:
        raise BadInput(attempt, f"the image has no user {user!r} in its /etc/passwd", "give a number: -u 1000")
    return "", number, 0, "/"


def _group(group: str, rows: list[list[str]], attempt: str) -> int:
    number = _number(group, attempt)
    if number is not None:
        return number
    for row in rows:
        if row[0] == group and _is_id(row[2]):
            return int(row[2])
    raise BadInput(attempt, f"the image has no group {group!r} in its /etc/group", "give a number: -u 1000:1000")


def _number(name: str, attempt: str) -> int | None:
    if not (name.isascii() and name.isdigit()):
        return None
    if not _is_id(name):
        raise BadInput(attempt, f"{name} is not in the range 0 to {LAST_ID}")
    return int(name)


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= LAST_ID


def _read(stack: Sequence[str], path: str) -> bytes:
    found = layers.find(stack, path)
    if found is None or not stat.S_ISREG(found.stat.st_mode):
        return b""
    descriptor = os.open(found.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return os.read(descriptor, LIMIT_BYTES)
    finally:
        os.close(descriptor)


def _rows(data: bytes, fields: int) -> list[list[str]]:
    rows = (line.split(":") for line in data.decode(errors="surrogateescape").split("\n"))
    return [row for row in rows if len(row) >= fields and not row[0].startswith("#")]
