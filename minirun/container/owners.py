"""Whose the files of a container with a user namespace are, for somebody of the host's who copies them.

    the container     the host, which sees the same file
    0                 1879048192               a range of the container's: --userns auto
    1000              1879049192
    65534, nobody     0                        of a directory that was attached by -v

While it does not run its files are mounted as they lie on the disk, with the container's ids: none of this is needed.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from errno import EOVERFLOW

from minirun.kernel.call import Call
from minirun.launch import machine
from minirun.launch.userns import UNMOVED, become_owner, host_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from minirun.launch.userns import Extents

NOBODY = 65534  # as the kernel shows who has no id: /proc/sys/kernel/overflowuid


class Owners:
    """Whose files are, in a container with a user namespace and on the host, which looks at the same files.

    Args:
        users, groups: the container's maps.
    """

    __slots__ = ("_groups", "_users")

    def __init__(self, users: Extents, groups: Extents) -> None:
        self._users = users
        self._groups = groups

    def inside(self, uid: int, gid: int) -> tuple[int, int]:
        """What an owner and a group that the host sees are in the container: nobody, if they are none of its own."""
        return _inside_id(self._users, uid), _inside_id(self._groups, gid)

    def outside(self, uid: int, gid: int) -> tuple[int, int]:
        """What an owner and a group of the container are on the host.

        Raises:
            OSError: EOVERFLOW: one is none of its own, as chown(2) in there would say.
        """
        found = host_id(self._users, uid), host_id(self._groups, gid)
        if min(found) < 0:
            raise OSError(EOVERFLOW, f"an owner {uid}:{gid} is none of the container's ids")
        return found

    def of(self, stat: os.stat_result) -> tuple[int, int]:
        """The same of a file that the host sees so."""
        return self.inside(stat.st_uid, stat.st_gid)

    @contextmanager
    def root(self) -> Iterator[None]:
        """Have what this process makes meanwhile be the container's root's, whom its files take it from alone."""
        uid, gid = self.outside(0, 0)
        machine.run(list(become_owner(uid, gid)))
        try:
            yield
        finally:
            machine.run([Call("setresuid", UNMOVED, 0, UNMOVED), Call("setresgid", UNMOVED, 0, UNMOVED)])


def _inside_id(extents: Extents, host: int) -> int:
    for first, outside, size in extents:
        if outside <= host < outside + size:
            return first + host - outside
    return NOBODY


def of(options: Mapping[str, Any]) -> Owners | None:
    """Those of a container that runs; None without a user namespace."""
    if "userns" not in options:
        return None
    return Owners(options["userns"]["uid"], options["userns"]["gid"])
