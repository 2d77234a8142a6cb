r"""Lines for systemd's journal, by its native protocol, with the fields of Docker's journald driver.

    one datagram a message     NAME=value\n …      or, for a value with a newline in it,
                               NAME\n<length, 8 bytes little-endian><value>\n
    too long for a datagram    the same in a sealed memfd, whose descriptor is sent

See https://systemd.io/JOURNAL_NATIVE_PROTOCOL/ and https://docs.docker.com/engine/logging/drivers/journald/.
"""

from __future__ import annotations

import _socket
import fcntl
import os
import select
from errno import ECONNREFUSED, ECONNRESET, EMSGSIZE, ENOBUFS, ENOTCONN, EPIPE
from time import monotonic

from minirun.kernel import files
from minirun.log.entries import stamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SOCKET = "/run/systemd/journal/socket"
_PRIORITIES = (b"", b"6", b"3")  # as Docker: info, err
_PATIENCE_S = 0.5  # for a journal that is busy; a container does not stand still for one that is stuck
_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
_NOBODY = (ECONNREFUSED, ECONNRESET, ENOTCONN, EPIPE)
_sockets: dict[str, _socket.socket] = {}


def field(name: str, value: bytes) -> bytes:
    """One field as the journal reads it."""
    if b"\n" in value:
        return name.encode() + b"\n" + len(value).to_bytes(8, "little") + value + b"\n"
    return name.encode() + b"=" + value + b"\n"


class Journal:
    """The journal, for the lines of one container. All of them share a socket.

    Args:
        fields: of every message.
        path: of the socket.
        told: called with the reason when a line cannot be sent, once until one can be.
    """

    __slots__ = ("_fields", "_missing", "_path", "_told")

    def __init__(
        self, fields: Mapping[str, str], *, path: str = SOCKET, told: Callable[[OSError], object] | None = None
    ) -> None:
        self._fields = b"".join(field(name, value.encode("utf-8", "surrogateescape")) for name, value in fields.items())
        self._path = path
        self._missing = 0
        self._told = told

    def send(self, line: bytes, stream: int, time_ns: int) -> None:
        """Send a line, or a part of one that does not end with a newline; what cannot be sent is counted, and told of.

        Args:
            line: as the container printed it.
            stream: 1: standard output, 2: standard error.
            time_ns: since 1970.
        """
        try:
            if self._missing:
                text = f"minirun: {self._missing} bytes of output are missing here: the journal did not take them"
                self._message(text.encode(), 2, time_ns, b"")
                self._missing = 0
            part = b"" if line.endswith(b"\n") else b"CONTAINER_PARTIAL_MESSAGE=true\n"
            self._message(line.removesuffix(b"\n"), stream, time_ns, part)
        except OSError as error:
            if not self._missing and self._told:
                self._told(error)
            self._missing += len(line)

    def _message(self, text: bytes, stream: int, time_ns: int, more: bytes) -> None:
        message = b"".join(
            (field("MESSAGE", text), b"PRIORITY=", _PRIORITIES[stream], b"\nSYSLOG_TIMESTAMP=",
             stamp(time_ns).encode(), b"\n", more, self._fields)
        )  # fmt: skip
        until = monotonic() + (0 if self._missing else _PATIENCE_S)
        while True:
            try:
                _send(self._path, message)
            except BlockingIOError:
                left_s = until - monotonic()
                if left_s <= 0:
                    raise
                poll = select.poll()
                poll.register(_connected(self._path).fileno(), select.POLLOUT)
                poll.poll(left_s * 1000)
            else:
                return


def _send(path: str, message: bytes) -> None:
    try:
        _datagram(_connected(path), message)
    except OSError as error:
        if error.errno not in _NOBODY:
            raise
        _sockets.pop(path).close()
        _datagram(_connected(path), message)  # a journal that was started again may have made another socket


def _connected(path: str) -> _socket.socket:
    if path not in _sockets:
        made = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK)
        try:
            made.connect(path)
        except OSError:
            made.close()
            raise
        _sockets[path] = made
    return _sockets[path]


def _datagram(connected: _socket.socket, message: bytes) -> None:
    try:
        connected.send(message)
    except OSError as error:
        if error.errno not in (EMSGSIZE, ENOBUFS):
            raise
        memory = os.memfd_create("minirun-journal", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            files.write_all(memory, message)
            fcntl.fcntl(memory, fcntl.F_ADD_SEALS, _SEALS)
            connected.sendmsg([], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, memory.to_bytes(4, "little"))])
        finally:
            os.close(memory)
