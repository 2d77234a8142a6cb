"""Questions by TCP, from the containers on one network and from nobody else: RFC 7766.

accept ─▶ read: length, question ─▶ asked ─▶ write: length, answer ─▶ read …     one question after the other
            └── nothing for 10 s, too long, or too many of one container: closed
"""

from __future__ import annotations

from struct import pack

from minirun.attendant.loop import READ, WRITE
from minirun.attendant.message import LIMIT_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from socket import socket

    from minirun.attendant.loop import Loop
    from minirun.attendant.resolver import Resolver

EACH = 16  # connections of one container; the one that is silent longest makes room
IDLE_S = 10.0
_AT_ONCE = 16
_LENGTH_BYTES = 2


class Connections:
    """What accepts connections at one socket."""

    def __init__(self, loop: Loop, resolver: Resolver, network_id: str, heard: socket) -> None:
        self._loop = loop
        self._resolver = resolver
        self._network_id = network_id
        self._socket = heard
        self._open: dict[str, list[_Connection]] = {}  # by the container's id, the one that is silent longest first
        loop.watch(heard.fileno(), self._ready)

    def close(self) -> None:
        """Stop, and close all. Idempotent."""
        if self._socket.fileno() >= 0:
            self._loop.unwatch(self._socket.fileno())
            self._socket.close()
        for some in [*self._open.values()]:
            for one in [*some]:
                one.close()

    def _ready(self, _events: int) -> None:
        for _ in range(_AT_ONCE):
            try:
                connected, sender = self._socket.accept()
            except OSError:
                return  # no more; or it has gone again; or we have no descriptors left
            self._take(connected, sender[0])

    def _take(self, connected: socket, sender: str) -> None:
        self._resolver.census.look()
        register = self._resolver.census.registers.get(self._network_id)
        asker = register.by_address.get(sender) if register else None
        if asker is None:
            connected.close()
            return
        connected.setblocking(False)
        some = self._open.setdefault(asker.id, [])
        if len(some) >= EACH:
            some[0].close()
        some = self._open.setdefault(asker.id, [])
        some.append(_Connection(self._loop, connected, self._asking(asker.id), self._gone(asker.id)))

    def _asking(self, container_id: str) -> Callable[[_Connection, bytes], None]:
        def ask(one: _Connection, data: bytes) -> None:
            self._resolver.census.look()
            some = self._open[container_id]
            some.remove(one)
            some.append(one)
            register = self._resolver.census.registers.get(self._network_id)
            asker = register.members.get(container_id) if register else None
            if asker:
                self._resolver.ask(asker, data, one.reply, stream=True)
            else:
                one.close()

        return ask

    def _gone(self, container_id: str) -> Callable[[_Connection], None]:
        def gone(one: _Connection) -> None:
            some = self._open[container_id]
            some.remove(one)
            if not some:
                del self._open[container_id]

        return gone


class _Connection:
    """One connection; it asks one question at a time."""

    def __init__(
        self, loop: Loop, connected: socket, ask: Callable[[_Connection, bytes], None],
        gone: Callable[[_Connection], None],
    ) -> None:  # fmt: skip
        self._loop = loop
        self._socket = connected
        self._ask = ask
        self._gone = gone
        self._in = b""
        self._out = b""
        self._asks = False
        self._timer = loop.later(IDLE_S, self.close)
        loop.watch(connected.fileno(), self._ready)

    def close(self) -> None:
        """Close it. Idempotent."""
        if self._socket.fileno() >= 0:
            self._timer.cancel()
            self._loop.unwatch(self._socket.fileno())
            self._socket.close()
            self._gone(self)

    def reply(self, answer: bytes) -> None:
        """Write an answer; the next question is read when that is done. Of an empty one there is no more to say."""
        if self._socket.fileno() < 0:
            return
        if not answer:
            self.close()
            return
        self._asks = False
        self._out = pack("!H", len(answer)) + answer
        self._timer = self._loop.later(IDLE_S, self.close)
        self._loop.watch(self._socket.fileno(), self._ready, WRITE)

    def _ready(self, _events: int) -> None:
        try:
            if self._asks or not self._go_on():
                self.close()  # it has ended, perhaps while we asked
        except BlockingIOError:
            pass
        except OSError:
            self.close()

    def _go_on(self) -> bool:
        """Write more of the answer, or read more of a question; false: there is no more."""
        if self._out:
            self._out = self._out[self._socket.send(self._out) :]
        else:
            data = self._socket.recv(LIMIT_BYTES)
            self._in += data
            if not data:
                return False
        return bool(self._out) or self._next()

    def _next(self) -> bool:
        """Ask the next question, if all of it is there; false: it is none."""
        length = int.from_bytes(self._in[:_LENGTH_BYTES], "big")
        if len(self._in) >= _LENGTH_BYTES and length > LIMIT_BYTES:
            return False
        if not _LENGTH_BYTES <= len(self._in) >= _LENGTH_BYTES + length:
            self._loop.watch(self._socket.fileno(), self._ready, READ)
            return True
        data = self._in[_LENGTH_BYTES : _LENGTH_BYTES + length]
        self._in = self._in[_LENGTH_BYTES + length :]
        self._asks = True
        self._timer.cancel()
        self._loop.watch(self._socket.fileno(), self._ready, 0)  # it waits for us; of its end we are told all the same
        self._ask(self, data)
        return True
