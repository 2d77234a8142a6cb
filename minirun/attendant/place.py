"""A network at whose gateway names are answered: the sockets there, and the lock that says so; see nameserver.py."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.attendant.connections import Connections
    from minirun.attendant.datagrams import Datagrams
    from minirun.attendant.loop import Timer


class Place:
    """A network that is served.

    Attributes:
        lock: descriptor of the lock that says so.
        idle: runs while nobody needs it.
    """

    __slots__ = ("connections", "datagrams", "idle", "lock")

    def __init__(self, datagrams: Datagrams, connections: Connections, lock: int) -> None:
        self.datagrams = datagrams
        self.connections = connections
        self.lock = lock
        self.idle: Timer | None = None

    def close(self, *, keep_lock: bool = False) -> int:
        """Close the sockets, and let go of the lock; or return it."""
        self.datagrams.close()
        self.connections.close()
        if self.idle:
            self.idle.cancel()
        if not keep_lock:
            os.close(self.lock)
        return self.lock
