"""A connection to a D-Bus message bus, as much of it as asking systemd for a scope takes.

    l 1 0 1   length of body   serial   array of (code, variant)   padding to 8   body
    │ │ │ └ version            ↑        1 path  2 interface  3 member  5 reply to  6 destination  7 sender  8 signature
    │ │ └ flags                └ a reply names it in field 5
    │ └ type: 1 call  2 reply  3 error  4 signal
    └ little endian

See the D-Bus specification, "Message Protocol" and "Authentication Protocol". It is spoken by our own hand because
jeepney, which tests hold this against, takes as long to import as a container to start.
"""

from __future__ import annotations

from errno import ECONNRESET, EPROTO

from minirun import caller
from minirun.cgroup import marshalling

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any

CALL, REPLY, ERROR, SIGNAL = 1, 2, 3, 4
PATH, INTERFACE, MEMBER, ERROR_NAME, REPLY_TO, DESTINATION, SENDER, SIGNATURE = range(1, 9)
_FIELD_TYPES = {PATH: "o", SIGNATURE: "g"}
_HEADER_BYTES = 16  # up to the end of the length of the array of fields
_MOST_BYTES = 1 << 27  # of a message, by the specification
_DAEMON = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")


class Refused(Exception):
    """The other side answered with an error.

    Attributes:
        name: ``org.freedesktop.systemd1.UnitExists`` …
        text: its sentence.
    """

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.text = text
        super().__init__(f"{name}: {text}")


class Message:
    """One message that came.

    Attributes:
        kind: REPLY, ERROR, SIGNAL or CALL.
        fields: the header's, by their code.
        body: as it came.
    """

    __slots__ = ("body", "fields", "kind")

    def __init__(self, kind: int, fields: dict[int, Any], body: bytes) -> None:
        self.kind = kind
        self.fields = fields
        self.body = body

    def values(self) -> list[Any]:
        """What the body says."""
        return [*marshalling.values(self.body, self.fields.get(SIGNATURE, ""))]


class Bus:
    """A connection; a context manager."""

    __slots__ = ("_buffer", "_early", "_serial", "_socket")

    def __init__(self, address: str, timeout_s: float) -> None:
        """Connect to the socket at the path *address*, as the user that this process is.

        Raises:
            OSError: nobody listens there, or we were turned away; TimeoutError after *timeout_s*, now or later.
            Refused: the bus did not greet us.
        """
        import _socket  # socket would be milliseconds more to import, and adds nothing that is used here

        self._socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        self._buffer = bytearray()
        self._early: list[Message] = []
        self._serial = 0
        try:
            self._socket.settimeout(timeout_s)
            self._socket.connect(address)
            self._greet()
        except BaseException:
            self._socket.close()
            raise

    def _greet(self) -> None:
        self._socket.sendall(b"\0AUTH EXTERNAL %s\r\n" % str(caller.UID).encode().hex().encode())
        line = self._line()
        if not line.startswith(b"OK "):
            raise OSError(EPROTO, f"the bus answered {line!r}")
        self._socket.sendall(b"BEGIN\r\n")
        self.call(*_DAEMON, "Hello")

    def __enter__(self) -> Bus:
        """Be one's own context manager."""
        return self

    def __exit__(self, _k: type[BaseException] | None, _e: BaseException | None, _t: TracebackType | None) -> None:
        """Disconnect."""
        self._socket.close()

    def call(
        self, destination: str, path: str, interface: str, member: str, signature: str = "", *values: Any
    ) -> Message:
        """Call a method and wait for its reply.

        Args:
            destination: a name on the bus.
            path: the object.
            interface: the method's.
            member: the method.
            signature: of *values*.
            values: the arguments; see marshalling.

        Raises:
            Refused: the reply is an error.
            OSError: the connection ended, or nothing came in time.
        """
        self._serial += 1
        self._socket.sendall(encode(self._serial, destination, path, interface, member, signature, *values))
        while (message := self._receive()).fields.get(REPLY_TO) != self._serial:
            self._early.append(message)
        if message.kind == ERROR:
            text = message.values()[:1] if message.fields.get(SIGNATURE, "")[:1] == "s" else [""]
            raise Refused(message.fields[ERROR_NAME], text[0])
        return message

    def subscribe(self, rule: str) -> None:
        """Have the signals that *rule* describes sent here from now on.

        Raises:
            Refused: the rule says nothing.
        """
        self.call(*_DAEMON, "AddMatch", "s", rule)

    def signal(self) -> Message:
        """The next signal; those that came during a call first.

        Raises:
            OSError: the connection ended, or nothing came in time.
        """
        while True:
            message = self._early.pop(0) if self._early else self._receive()
            if message.kind == SIGNAL:
                return message

    def _receive(self) -> Message:
        header = self._take(_HEADER_BYTES)
        if header[:1] != b"l" or header[3] != 1:
            raise OSError(EPROTO, "a message of an unknown form came from the bus")
        body_bytes = int.from_bytes(header[4:8], "little")
        start = marshalling.aligned(_HEADER_BYTES + int.from_bytes(header[12:16], "little"), 8)
        if start + body_bytes > _MOST_BYTES:
            raise OSError(EPROTO, "a message of an impossible length came from the bus")
        data = header + self._take(start - _HEADER_BYTES + body_bytes)
        fields = {code: value for code, (_, value) in marshalling.get(data, 12, "a(yv)")[0]}
        return Message(data[1], fields, data[start:])

    def _take(self, count: int) -> bytes:
        while len(self._buffer) < count:
            self._fill()
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    def _line(self) -> bytes:
        while b"\r\n" not in self._buffer:
            self._fill()
        return self._take(self._buffer.index(b"\r\n") + 2)

    def _fill(self) -> None:
        data = self._socket.recv(1 << 16)
        if not data:
            raise ConnectionResetError(ECONNRESET, "the bus closed the connection")
        self._buffer += data


def encode(
    serial: int, destination: str, path: str, interface: str, member: str, signature: str, *values: Any
) -> bytes:
    """The bytes of a method call; *serial* is its number on this connection, from 1."""
    body = bytearray()
    for kind, value in zip(marshalling.types(signature), values, strict=True):
        marshalling.put(body, kind, value)
    named = {PATH: path, INTERFACE: interface, MEMBER: member, DESTINATION: destination}
    if signature:
        named[SIGNATURE] = signature
    fields = [(code, (_FIELD_TYPES.get(code, "s"), text)) for code, text in named.items()]
    message = bytearray(b"l\1\0\1")
    for kind, value in (("u", len(body)), ("u", serial), ("a(yv)", fields)):
        marshalling.put(message, kind, value)
    marshalling.pad(message, 8)
    return bytes(message + body)
