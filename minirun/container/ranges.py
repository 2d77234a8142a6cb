"""Ranges of user and group ids of the host, each one container's: no two of --userns auto ever share an id.

    /etc/subuid, /etc/subgid     minirun:600000:1048576, or podman's name, containers: what is ours to give
    without such a line          1879048192 … 2147352575, which no convention gives to anybody

    <store>/ranges/
    ├── lock                                   flock of whoever takes one; holds where the last one ended
    ├── 1879048192-1879048192-65536         → ../containers/<id>    the first uid, the first gid, how many
    └── 1879048192-1879048192-65536.<id>    → ../containers/<id>    of one that has joined that: --userns container:NAME

A link is there whole or not at all, and a range is free when the last of its links is gone. One whose container is gone
is nobody's: a container's directory is made before its range is taken, and goes after its processes. Ranges are given
in turn: what a container that was removed has left on a directory of the host is not the next one's. See subuid(5),
user_namespaces(7); systemd.io/UIDS-GIDS has who uses what.
"""

from __future__ import annotations

import os

from minirun.errors import BadInput, Conflict, NotFound
from minirun.kernel import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.home import Home

SIZE = 65536  # as many as 16 bits tell apart: nobody, 65534, and all that packages of distributions have
OWNERS = ("minirun", "containers")
# from behind systemd's containers, which are behind all that useradd gives, to its "foreign" ids; no tool prints a
# number below 2**31 as a negative one
DEFAULT = 0x70000000, 0x7FFE0000 - 0x70000000


class Range:
    """As many user ids as group ids, of the host.

    Attributes:
        uid, gid: the first ones.
        size: how many.
    """

    __slots__ = ("gid", "size", "uid")

    def __init__(self, uid: int, gid: int, size: int) -> None:
        self.uid = uid
        self.gid = gid
        self.size = size

    @classmethod
    def read(cls, name: str) -> Range | None:
        """What the name of a link says; None for the name of another file."""
        words = name.partition(".")[0].split("-")
        return cls(*map(int, words)) if len(words) == 3 and all(word.isdigit() for word in words) else None

    def __str__(self) -> str:
        """The name of its link."""
        return f"{self.uid}-{self.gid}-{self.size}"


def pool(etc: str = "/etc") -> Range:
    """What there is to give.

    Raises:
        BadInput: a file of *etc* says something that is no range.
    """
    uid, gid = (_subordinate(f"{etc}/{name}") for name in ("subuid", "subgid"))
    if uid is None or gid is None:
        return Range(DEFAULT[0], DEFAULT[0], DEFAULT[1])
    return Range(uid[0], gid[0], min(uid[1], gid[1]))


def _subordinate(path: str) -> tuple[int, int] | None:
    """The largest range that a file of subuid(5) gives to the first of OWNERS that it knows."""
    try:
        with open(path, "rb", 0) as file:
            lines = file.readall().decode(errors="replace").splitlines()
    except FileNotFoundError:
        return None
    for owner in OWNERS:
        found = [line for line in lines if line.startswith(f"{owner}:")]
        try:
            ranges = [(int(count), int(first)) for _, first, count in (line.split(":") for line in found)]
        except ValueError:
            raise BadInput("use --userns auto", f"{path} has a line of {owner} that is no NAME:FIRST:COUNT") from None
        if ranges:
            count, first = max(ranges)
            return first, count
    return None


def folder(home: Home) -> str:
    """The directory of the links."""
    return home.folder("ranges")


def take(home: Home, container_id: str, size: int, given: Range) -> Range:
    """Give a container ids that no other container has.

    Args:
        home: the store.
        container_id: whose directory is there already.
        size: how many.
        given: what there is to give: see `pool`.

    Raises:
        Conflict: so many are not free.
    """
    directory = folder(home)
    os.makedirs(directory, 0o700, exist_ok=True)
    lock = files.lock(f"{directory}/lock", exclusive=True)
    try:
        told = os.pread(lock, 16, 0)
        begin = int.from_bytes(told, "big") % given.size if len(told) == 16 else _somewhere(given)
        taken = _taken(directory, given)
        at = _free(taken, begin, given.size, size)
        if at < 0:
            at = _free(taken, 0, given.size, size)
        if at < 0:
            raise Conflict(
                f"take {size} user ids for --userns auto", f"no {size} of {given.size} in a row are free",
                "remove containers, ask for fewer with `--userns auto:size=N`, or give minirun more in /etc/subuid",
            )  # fmt: skip
        found = Range(given.uid + at, given.gid + at, size)
        files.remove(f"{directory}/{found}")  # of a container that is gone
        os.symlink(f"../containers/{container_id}", f"{directory}/{found}")
        os.pwrite(lock, (at + size).to_bytes(16, "big"), 0)
    finally:
        os.close(lock)
    return found


def _somewhere(given: Range) -> int:
    """Where a store begins: by chance, for another one on this host has no part in its lock."""
    return int.from_bytes(os.urandom(4), "big") % max(given.size // SIZE, 1) * SIZE


def share(home: Home, container_id: str, own: Range) -> None:
    """Have a range stay taken, also when who took it is gone, as long as this container is there.

    Raises:
        NotFound: nobody has it any more.
    """
    directory = folder(home)
    lock = files.lock(f"{directory}/lock", exclusive=True)
    try:
        if not any(name.partition(".")[0] == str(own) and os.path.exists(f"{directory}/{name}")
                   for name in os.listdir(directory)):  # fmt: skip
            raise NotFound(
                "join the ids of a container", "it was removed meanwhile", "`minirun ps -a` lists what is there"
            )
        os.symlink(f"../containers/{container_id}", f"{directory}/{own}.{container_id}")
    finally:
        os.close(lock)


def _taken(directory: str, given: Range) -> list[tuple[int, int]]:
    """The parts of *given* that containers have, by their places in it: (first, behind the last), in order."""
    found = []
    for name in os.listdir(directory):
        one = Range.read(name)
        if one is None or not os.path.exists(f"{directory}/{name}"):
            continue
        # of another time's /etc/subuid its groups may lie elsewhere than its users
        for first in (one.uid - given.uid, one.gid - given.gid):
            if first < given.size and first + one.size > 0:
                found.append((first, first + one.size))
    return sorted(found)


def _free(taken: list[tuple[int, int]], begin: int, end: int, size: int) -> int:
    """The first place from *begin* on, and before *end*, where *size* are free; -1: there is none."""
    for first, behind in taken:
        if first - begin >= size:
            break
        begin = max(begin, behind)
    return begin if end - begin >= size else -1


def of(home: Home, container_id: str) -> list[str]:
    """The links of what a container has."""
    directory = folder(home)
    wanted = f"../containers/{container_id}"
    found: list[str] = []
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return found  # nobody ever took any
    for name in names:
        try:
            if Range.read(name) and os.readlink(f"{directory}/{name}") == wanted:
                found.append(f"{directory}/{name}")
        except FileNotFoundError:
            continue  # just given back
    return found


def release(root: str, container_id: str) -> None:
    """Give back what a container has. An undo of the journal: idempotent."""
    from minirun.home import Home

    for link in of(Home(root, root), container_id):
        files.remove(link)
