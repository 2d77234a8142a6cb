"""The loopback interface of a new network namespace, which starts down."""

from __future__ import annotations

from struct import pack

from minirun.kernel.call import Call, Struct
from minirun.kernel.names import AF_INET, SIOCSIFFLAGS, SOCK_DGRAM_CLOEXEC
from minirun.rootfs.attach import SCRATCH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_IFF_UP, _IFF_LOOPBACK, _IFF_RUNNING = 0x1, 0x8, 0x40


def up() -> Iterator[Call]:
    """Bring lo up; the kernel gives it 127.0.0.1 and ::1 by itself. See netdevice(7)."""
    request = Struct("lo, IFF_UP", pack("<16sH22x", b"lo", _IFF_UP | _IFF_LOOPBACK | _IFF_RUNNING))
    yield Call("socket", AF_INET, SOCK_DGRAM_CLOEXEC, 0, save=SCRATCH, why="to speak to the namespace's interfaces")
    yield Call("ioctl", SCRATCH, SIOCSIFFLAGS, request, why="127.0.0.1 and ::1 answer")
    yield Call("close", SCRATCH)
