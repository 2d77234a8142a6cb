"""Questions that others are to answer: passed on to a server, and to the next one if that does not answer.

    server 1 ──1.5 s──▶ server 2 ──1.5 s──▶ server 3 ──1.5 s──▶ none      with one server, it is asked three times
        └───────────────────┴───────────────────┴──▶ the first answer that says anything, whoever it is of

Who wants to slip in an answer has to guess an id of 16 bits and a port of nearly as many, both by chance, to pretend to
be the server, which the kernel compares, and to repeat the question: RFC 5452. Each question has a socket of its own.
What came by TCP is asked by TCP.

Bounded: so many questions of one container, so many of all, each with three sockets at most.
"""

from __future__ import annotations

import os
import time
from _socket import SO_ERROR, SOCK_CLOEXEC, SOCK_DGRAM, SOCK_NONBLOCK, SOCK_STREAM, SOL_SOCKET, socket
from struct import pack

from minirun.attendant import message, servers
from minirun.attendant.loop import READ, WRITE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from minirun.attendant.loop import Loop, Timer
    from minirun.attendant.message import Question

    Done = Callable[[bytes], None]

EACH, ALL = 256, 1024  # questions that wait for an answer: of one container, and of all
_TRIES = 3
_TRY_S = 1.5  # libc waits for 5 s, and asks again then
_SILENT_S = 30.0  # who did not answer is asked last for so long
_ANSWER_BYTES = 65535
_NO_ANSWERS = (message.SERVFAIL, message.NOTIMP, message.REFUSED)  # another server may know more: as libc has it


class Forwarding:
    """What asks servers."""

    def __init__(self, loop: Loop, host: servers.HostServers) -> None:
        self._loop = loop
        self._host = host
        self._waiting: dict[str, int] = {}
        self._silent: dict[str, float] = {}

    def ask(
        self, asker: str, question: Question, wanted: Sequence[str] | None, done: Done, *, stream: bool
    ) -> None:  # fmt: skip
        """Pass a question on.

        Args:
            asker: id of the container that asks.
            question: what.
            wanted: the servers to ask; None for the host's.
            done: called with the answer; with an empty one if there is none.
            stream: whether to ask by TCP.
        """
        if self._waiting.get(asker, 0) >= EACH or sum(self._waiting.values()) >= ALL:
            done(b"")
            return
        self._waiting[asker] = self._waiting.get(asker, 0) + 1

        def ended(answer: bytes) -> None:
            self._waiting[asker] -= 1
            if not self._waiting[asker]:
                del self._waiting[asker]
            done(answer)

        kind = _Connection if stream else _Datagram
        order = self._order(self._host.read() if wanted is None else wanted)
        _Search(self._loop, question, order, kind, self._note, ended).go_on()

    def _order(self, found: Sequence[str]) -> list[str]:
        now = time.monotonic()
        return sorted(found, key=lambda server: self._silent.get(server, 0) > now)[:_TRIES]

    def _note(self, server: str, *, answered: bool) -> None:
        if answered:
            self._silent.pop(server, None)
        else:
            self._silent[server] = time.monotonic() + _SILENT_S


class _Search:
    """One question, until somebody has answered it."""

    def __init__(
        self, loop: Loop, question: Question, order: Sequence[str], kind: Callable[[_Search, str], _Try],
        note: Callable[..., None], done: Done,
    ) -> None:  # fmt: skip
        self.loop = loop
        self.question = question
        self._left = [order[place % len(order)] for place in range(_TRIES)] if order else []
        self._kind = kind
        self._note = note
        self._done = done
        self._tries: list[_Try] = []
        self._told = b""  # by a server that has no answer: better than nothing
        self._timer: Timer | None = None
        self._over = False

    def go_on(self) -> None:
        """Ask the next server; without one, it is over."""
        if self._over:
            return
        if self._timer:
            self._timer.cancel()
        while self._left:
            server = self._left.pop(0)
            try:
                self._tries.append(self._kind(self, server))
            except OSError:
                continue  # no route, no such interface, no descriptor
            self._timer = self.loop.later(_TRY_S, lambda server=server: self._silence(server))  # type: ignore[misc]
            return
        if any(one.is_open for one in self._tries):
            # somebody who was asked before may be slow
            self._timer = self.loop.later(_TRY_S, lambda: self._end(self._told))
        else:
            self._end(self._told)

    def _silence(self, server: str) -> None:
        self._note(server, answered=False)
        if self._left:
            self.go_on()
        else:
            self._end(self._told)

    def failed(self, one: _Try) -> None:
        """A server cannot be reached."""
        one.close()
        if one is self._tries[-1]:
            self.go_on()

    def answered(self, one: _Try, data: bytes) -> None:
        """A server has said something; what is no answer to the question is as if it had not been said."""
        if not self.question.is_answered_by(data, one.number):
            return
        self._note(one.server, answered=True)
        if message.code(data) not in _NO_ANSWERS:
            self._end(data)
            return
        self._told = data
        self._left = [server for server in self._left if server != one.server]
        self.failed(one)

    def _end(self, answer: bytes) -> None:
        self._over = True
        if self._timer:
            self._timer.cancel()
        for one in self._tries:
            one.close()
        self._done(answer)


class _Try:
    """A question on its way to one server.

    Attributes:
        server: whom.
        number: the id that the question has there.
    """

    def __init__(self, search: _Search, server: str, kind: int) -> None:
        """Open a socket, and begin.

        Raises:
            OSError: that cannot be done.
        """
        self.server = server
        self.number = int.from_bytes(os.urandom(2), "big")
        self.search = search
        family, where = servers.endpoint(server)
        self.socket = socket(family, kind | SOCK_CLOEXEC | SOCK_NONBLOCK)
        try:
            self.begin(where)
        except OSError:
            self.close()
            raise

    def begin(self, where: Any) -> None:
        """Connect, and watch the socket."""
        raise NotImplementedError

    @property
    def is_open(self) -> bool:
        """Whether there may be an answer."""
        return self.socket.fileno() >= 0

    def close(self) -> None:
        """Give it up. Idempotent."""
        if self.is_open:
            self.search.loop.unwatch(self.socket.fileno())
            self.socket.close()


class _Datagram(_Try):
    """By UDP."""

    def __init__(self, search: _Search, server: str) -> None:
        super().__init__(search, server, SOCK_DGRAM)

    def begin(self, where: Any) -> None:
        """Ask at once; the port is the kernel's choice, and by chance."""
        self.socket.connect(where)
        self.socket.send(self.search.question.with_id(self.number))
        self.search.loop.watch(self.socket.fileno(), self._ready)

    def _ready(self, _events: int) -> None:
        try:
            data = self.socket.recv(_ANSWER_BYTES)
        except BlockingIOError:
            return  # its checksum was wrong
        except OSError:
            self.search.failed(self)  # nobody listens there
            return
        self.search.answered(self, data)


class _Connection(_Try):
    """By TCP: two bytes for the length come before each message."""

    def __init__(self, search: _Search, server: str) -> None:
        data = search.question.data
        self._out = b""
        self._in = bytearray()
        super().__init__(search, server, SOCK_STREAM)
        self._out = pack("!H", len(data)) + search.question.with_id(self.number)

    def begin(self, where: Any) -> None:
        """Connect, and ask when that is done."""
        try:
            self.socket.connect(where)
        except BlockingIOError:
            pass
        self.search.loop.watch(self.socket.fileno(), self._ready, WRITE)

    def _ready(self, events: int) -> None:
        try:
            if self._out:
                self._write()
            else:
                self._read()
        except BlockingIOError:
            pass
        except OSError:
            self.search.failed(self)

    def _write(self) -> None:
        if error := self.socket.getsockopt(SOL_SOCKET, SO_ERROR):
            raise OSError(error, os.strerror(error))
        self._out = self._out[self.socket.send(self._out) :]
        if not self._out:
            self.search.loop.watch(self.socket.fileno(), self._ready, READ)

    def _read(self) -> None:
        data = self.socket.recv(_ANSWER_BYTES)
        self._in += data
        length = int.from_bytes(self._in[:2], "big")
        is_whole = 2 <= len(self._in) >= 2 + length
        if is_whole:
            self.search.answered(self, bytes(self._in[2 : 2 + length]))
        if is_whole or not data:
            self.search.failed(self)  # unless that was the answer
