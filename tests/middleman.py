"""Somebody between a client and a registry, who may cut, stall, alter and lie.

    client ──▶ Middleman ──▶ registry
                 │ each request is noted; the first trick that suits it and is not used up has its way

What a trick is given is the registry's own answer, whole: it sends what it likes of it.
"""

from __future__ import annotations

import http.client
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_HOP = {"connection", "transfer-encoding", "content-length", "keep-alive"}


@dataclass
class Asked:
    """One request that came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes = b""


@dataclass
class Reply:
    """The registry's answer to it."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


Act = Callable[["Visit", Asked, Reply], None]


@dataclass
class Trick:
    """What is done to some requests.

    Attributes:
        part: is in the path of these.
        act: does it.
        times: so often; after that they pass.
        method: of these.
        after: let so many pass first.
    """

    part: str
    act: Act
    times: int = 1_000_000
    method: str = "GET"
    after: int = 0


@dataclass
class Middleman:
    """A server on loopback; see `middleman`."""

    port: int
    upstream: int
    tricks: list[Trick] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def place(self) -> str:
        """As it is named in an image's name."""
        return f"localhost:{self.port}"

    def trick(self, part: str, act: Act, times: int = 1_000_000, method: str = "GET", after: int = 0) -> None:
        """Add a trick."""
        self.tricks.append(Trick(part, act, times, method, after))

    def paths(self, part: str, method: str = "GET") -> list[str]:
        """The paths of the requests so far in which *part* is."""
        return [one.path for one in self.asked if part in one.path and one.method == method]

    def suits(self, asked: Asked) -> Trick | None:
        """The trick for a request, which is used up a little by that."""
        with self.lock:
            for trick in self.tricks:
                if trick.times > 0 and trick.method == asked.method and trick.part in asked.path:
                    if trick.after > 0:
                        trick.after -= 1
                        continue
                    trick.times -= 1
                    return trick
        return None


class Visit(BaseHTTPRequestHandler):
    """One connection of a client."""

    protocol_version = "HTTP/1.1"
    owner: Middleman

    def handle(self) -> None:
        """Answer requests; who begins to speak TLS is told in the clear that nobody does here."""
        try:
            if self.connection.recv(1, socket.MSG_PEEK) == b"\x16":
                self.wfile.write(b"HTTP/1.0 400 Bad Request\r\nConnection: close\r\n\r\n")
                return
            super().handle()
        except OSError:
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        """Say nothing."""

    def _do(self) -> None:
        asked = Asked(self.command, self.path, dict(self.headers.items()))
        trick = self.owner.suits(asked)
        if trick and getattr(trick.act, "early", False):
            self.owner.asked.append(asked)
            trick.act(self, asked, Reply(0, [], b""))
            return
        asked.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.owner.asked.append(asked)
        reply = self.forward(asked)
        if trick:
            trick.act(self, asked, reply)
        else:
            self.send(reply.status, reply.headers, reply.body)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _do  # noqa: N815 - their names there

    def forward(self, asked: Asked) -> Reply:
        """What the registry says."""
        connection = http.client.HTTPConnection("127.0.0.1", self.owner.upstream, timeout=60)
        try:
            passed = {name: value for name, value in asked.headers.items() if name.lower() not in ("connection",)}
            connection.request(asked.method, asked.path, asked.body or None, passed)
            answer = connection.getresponse()
            return Reply(answer.status, answer.getheaders(), answer.read())
        finally:
            connection.close()

    def send(self, status: int, headers: list[tuple[str, str]], body: bytes = b"", length: int | None = None) -> None:
        """Send an answer, with another length than it has perhaps."""
        self.send_response_only(status)
        told = dict(headers).get("Content-Length") if self.command == "HEAD" else None
        for name, value in headers:
            if name.lower() not in _HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", told or str(len(body) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()

    def hang_up(self, *, rudely: bool) -> None:
        """End the connection: by FIN, or rudely by RST."""
        if rudely:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()


@contextmanager
def middleman(upstream: int) -> Iterator[Middleman]:
    """Somebody before the registry that listens at the port *upstream*, until the end of the block."""
    owner = Middleman(0, upstream)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("OwnVisit", (Visit,), {"owner": owner}))
    server.daemon_threads = True
    owner.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield owner
    finally:
        owner.over.set()
        server.shutdown()
        server.server_close()
        thread.join()


def cut(count: int, *, rudely: bool = True) -> Act:
    """Send so many bytes of the body, and hang up."""

    def act(visit: Visit, _asked: Asked, reply: Reply) -> None:
        visit.send(reply.status, reply.headers, reply.body[:count], len(reply.body))
        visit.hang_up(rudely=rudely)

    return act


def stall(count: int) -> Act:
    """Send so many bytes of the body, and nothing more."""

    def act(visit: Visit, _asked: Asked, reply: Reply) -> None:
        visit.send(reply.status, reply.headers, reply.body[:count], len(reply.body))
        visit.owner.over.wait(60)

    return act


def alter(visit: Visit, _asked: Asked, reply: Reply) -> None:
    """Send another byte in the middle."""
    middle = len(reply.body) // 2
    body = reply.body[:middle] + bytes([reply.body[middle] ^ 1]) + reply.body[middle + 1 :]
    visit.send(reply.status, reply.headers, body)


def lengthen(count: int) -> Act:
    """Send more than there is, and say so."""

    def act(visit: Visit, _asked: Asked, reply: Reply) -> None:
        visit.send(reply.status, reply.headers, reply.body + bytes(count))

    return act


def endless(visit: Visit, _asked: Asked, reply: Reply) -> None:
    """Send the body, and then more of it until nobody listens."""
    visit.send_response_only(reply.status)
    for name, value in reply.headers:
        if name.lower() not in _HOP:
            visit.send_header(name, value)
    visit.send_header("Transfer-Encoding", "chunked")
    visit.end_headers()
    piece = (reply.body or b"x") * (1 + 65536 // max(len(reply.body), 1))
    while not visit.owner.over.is_set():
        visit.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))


def refuse(status: int, *headers: tuple[str, str], body: bytes = b"") -> Act:
    """Answer otherwise."""

    def act(visit: Visit, _asked: Asked, _reply: Reply) -> None:
        visit.send(status, list(headers), body)

    return act


def header(name: str, value: str) -> Act:
    """Answer with another header."""

    def act(visit: Visit, _asked: Asked, reply: Reply) -> None:
        headers = [pair for pair in reply.headers if pair[0].lower() != name.lower()]
        visit.send(reply.status, [*headers, (name, value)], reply.body)

    return act


def early(act: Act) -> Act:
    """Have *act* called before the registry is asked, to read the body of the request and to ask it."""
    act.early = True  # type: ignore[attr-defined]  # see Visit._do
    return act


def cut_request(count: int) -> Act:
    """Take so many bytes of what is sent, but not all, and hang up."""

    def act(visit: Visit, asked: Asked, _reply: Reply) -> None:
        visit.rfile.read(min(count, int(asked.headers["Content-Length"]) // 2))
        visit.hang_up(rudely=True)

    return early(act)
