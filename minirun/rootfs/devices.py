"""Devices of the host in a container's /dev, beside the six that every container has.

/dev      tmpfs, nodev
└── fuse  a node of the same numbers, mode and owner as the host's, and a mount of its own, without nodev

A node, and not the host's: what the container does to its mode or owner stays in the container.
"""

from __future__ import annotations

from errno import EEXIST
from struct import pack

from minirun.kernel.call import Call, Struct
from minirun.kernel.names import AT_EMPTY_PATH, MOUNT_ATTR_NODEV, S_IFBLK, S_IFCHR, mode
from minirun.rootfs.attach import DEV, ROOT, attach, clone

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Device:
    """One device of the host.

    Attributes:
        name: below the container's /dev: ``fuse``, ``net/tun``.
        block: whether it is a block device.
        number: as mknod(2) takes it.
        permissions: its mode, without its type.
        uid, gid: whose it is.
        owned: whether that has to be said, as it would be another's otherwise.
    """

    __slots__ = ("block", "gid", "name", "number", "owned", "permissions", "uid")

    def __init__(
        self, name: str, *, block: bool, number: int, permissions: int, uid: int, gid: int, mapped: bool = False
    ) -> None:
        self.name = name
        self.block = block
        self.number = number
        self.permissions = permissions
        self.uid = uid
        self.gid = gid
        # in a user namespace what we make is the container's root's: the host's disks are not
        self.owned = mapped or bool(uid or gid)


def nodes(devices: Sequence[Device], *, mounted: bool = True) -> Iterator[Call]:
    """Make them in DEV; *mounted*, each opens although what else is made there does not."""
    for device in devices:
        parts = device.name.split("/")
        for depth in range(1, len(parts)):
            yield Call("mkdirat", DEV, "/".join(parts[:depth]), mode(0o755), tolerate=(EEXIST,))
        kind = (S_IFBLK if device.block else S_IFCHR) | mode(device.permissions)
        yield Call("mknodat", DEV, device.name, kind, device.number, why=f"/dev/{device.name}, asked for")
        if device.owned:
            yield Call("fchownat", DEV, device.name, device.uid, device.gid, 0)
        if mounted:
            yield clone(device.name, at=DEV, why="a mount of its own, through which the device opens")
            yield from attach(device.name, at=DEV)


def open_made() -> Iterator[Call]:
    """Have nodes open that the container makes below its root: the filter of its group says which."""
    change = Struct(f"attr_clr={MOUNT_ATTR_NODEV!r}", pack("<4Q", 0, MOUNT_ATTR_NODEV, 0, 0))
    yield Call("mount_setattr", ROOT, "", AT_EMPTY_PATH, change, 32, why="the device filter says which nodes open")
