"""Questions by UDP, from the containers on one network and from nobody else.

The socket hears nothing but what comes by the bridge, and who has no lease there is not answered: no answer goes
anywhere but to a container, whatever address a question pretends to be from.
"""

from __future__ import annotations

from minirun.attendant.message import LIMIT_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from socket import socket
    from typing import Any

    from minirun.attendant.census import Census
    from minirun.attendant.loop import Loop
    from minirun.attendant.resolver import Resolver

_AT_ONCE = 32  # questions of one network, before it is another one's turn
_ID_BYTES = 2


class Datagrams:
    """What reads questions from one socket, and writes the answers to it."""

    def __init__(self, loop: Loop, resolver: Resolver, network_id: str, heard: socket) -> None:
        self._loop = loop
        self._resolver = resolver
        self._network_id = network_id
        self._socket = heard
        self._open: set[tuple[Any, bytes]] = set()  # who asks again while we ask is not asked for twice
        loop.watch(heard.fileno(), self._ready)

    def close(self) -> None:
        """Stop. Idempotent."""
        if self._socket.fileno() >= 0:
            self._loop.unwatch(self._socket.fileno())
            self._socket.close()

    def _ready(self, _events: int) -> None:
        census: Census = self._resolver.census
        for _ in range(_AT_ONCE):
            if self._socket.fileno() < 0:
                return  # that was taken from us just now
            try:
                data, sender = self._socket.recvfrom(LIMIT_BYTES)
            except OSError:
                return  # no more; or the bridge has gone
            census.look()  # what was done before the question was asked counts
            register = census.registers.get(self._network_id)
            asker = register.by_address.get(sender[0]) if register else None
            key = (sender, data)
            if asker and key not in self._open:
                self._open.add(key)
                self._resolver.ask(asker, data, lambda answer, key=key: self._reply(key, answer), stream=False)  # type: ignore[misc]

    def _reply(self, key: tuple[Any, bytes], answer: bytes) -> None:
        self._open.discard(key)
        if not answer or self._socket.fileno() < 0:
            return
        try:
            self._socket.sendto(answer, key[0])
        except OSError:
            pass  # it has gone, or does not take what it asked for: it may ask again
