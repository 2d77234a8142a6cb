"""The attendant is told by the kernel: that something was denied, and that somebody has removed or made rules.

    nfnetlink_log, a group of the store's     a packet, of which the prefix is wanted: "minirun-0549d09d7b36"; or, with
                                              "!" behind that, its beginning, so that it can be refused
    nf_tables, NFNLGRP_NFTABLES               every change of any rules of the host; of those, tables of that name

See linux/netfilter/nfnetlink_log.h, nfnetlink.h and nf_tables.h in include/uapi.
"""

from __future__ import annotations

from _socket import AF_NETLINK, MSG_DONTWAIT, SOCK_CLOEXEC, SOCK_RAW, SOL_SOCKET, socket
from errno import EBUSY, ENOBUFS
from struct import pack, unpack_from

from minirun.attendant.egressrefusal import Refuser
from minirun.network.egressrules import HEAD_BYTES, REFUSE
from minirun.network.flows import attributes
from minirun.network.portelements import answers, attribute, message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from minirun.attendant.loop import Loop

_NETFILTER, _SOL_NETLINK, _ADD_MEMBERSHIP, _NFTABLES_GROUP = 12, 270, 1, 7
_SO_RCVBUFFORCE, _RECEIVE_BYTES = 33, 1 << 20
_REQUEST, _ACK, _HEADERS = 0x1, 0x4, 20  # nlmsghdr and nfgenmsg
_LOG_PACKET, _LOG_CONFIG = 4 << 8, 4 << 8 | 1
_COMMAND, _MODE, _WAIT, _BIND, _COPY_PACKET = 1, 2, 4, 1, 2
_WAIT_CS = 5  # hundredths of a second that the kernel may gather
_INTERFACE, _PAYLOAD, _PREFIX, _HEADER = 4, 9, 10, 16
_NEW_TABLE, _DELETED_TABLE, _TABLE_NAME = 10 << 8, 10 << 8 | 2, 1


class Watch:
    """What tells; `close` ends it.

    Attributes:
        hears_denials: false where somebody else listens to the group, who may be that of another store.
    """

    def __init__(
        self, loop: Loop, group: int, denied: Callable[[str], None], changed: Callable[[str, bool], None]
    ) -> None:
        """Listen.

        Args:
            loop: what calls us.
            group: of nfnetlink_log.
            denied: called with the name of a table that denied something.
            changed: called with the name of a table, and whether it is there; an empty one: some were removed or made.
        """
        self._loop = loop
        self._denied = denied
        self._changed = changed
        self._log = self._open()
        self._refuser = Refuser()
        self.hears_denials = self._bind(group)
        self._rules = self._open()
        self._rules.setsockopt(SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BYTES)
        self._rules.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, _NFTABLES_GROUP)
        loop.watch(self._log.fileno(), lambda _events: self._read_log())
        loop.watch(self._rules.fileno(), lambda _events: self._read_rules())

    def _bind(self, group: int) -> bool:
        wanted = attribute(_MODE, pack(">IBx", HEAD_BYTES, _COPY_PACKET)) + attribute(_WAIT, pack(">I", _WAIT_CS))
        try:
            for body in (attribute(_COMMAND, pack("B", _BIND)), wanted):
                self._log.send(message(_LOG_CONFIG, _REQUEST | _ACK, 0, body, resource=group))
                answers(self._log)
        except OSError as error:
            if error.errno != EBUSY:
                raise
            return False
        return True

    @staticmethod
    def _open() -> socket:
        made = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, _NETFILTER)
        made.bind((0, 0))
        return made

    def close(self) -> None:
        """Listen no more."""
        for one in (self._log, self._rules):
            self._loop.unwatch(one.fileno())
            one.close()
        self._refuser.close()

    def _read_log(self) -> None:
        tables = set()
        try:
            for kind, body in _messages(self._log):
                if kind == _LOG_PACKET:
                    parts = dict(attributes(body))
                    prefix = _as_text(parts.get(_PREFIX, b""))
                    if prefix.endswith(REFUSE):
                        self._refuse(parts)
                    else:
                        tables.add(prefix)
        except OSError as error:
            if error.errno != ENOBUFS:
                raise  # or there is more to come
        for table in tables:
            self._denied(table)

    def _refuse(self, parts: dict[int, bytes]) -> None:
        interface = int.from_bytes(parts.get(_INTERFACE, b""), "big")
        self._refuser.refuse(interface, parts.get(_HEADER, b""), parts.get(_PAYLOAD, b""))

    def _read_rules(self) -> None:
        try:
            for kind, body in _messages(self._rules):
                if kind in (_NEW_TABLE, _DELETED_TABLE):
                    name = dict(attributes(body)).get(_TABLE_NAME, b"")
                    self._changed(_as_text(name), kind == _NEW_TABLE)
        except OSError as error:
            if error.errno != ENOBUFS:
                raise
            self._changed("", False)


def _messages(speaker: socket) -> Iterator[tuple[int, bytes]]:
    """What a socket was told: the kinds of messages, and their attributes."""
    while True:
        try:
            data = speaker.recv(_RECEIVE_BYTES, MSG_DONTWAIT)
        except BlockingIOError:
            return
        place = 0
        while place + _HEADERS <= len(data):
            length, kind = unpack_from("<IH", data, place)
            yield kind, data[place + _HEADERS : place + length]
            place += max(length, _HEADERS) + 3 & ~3


def _as_text(value: bytes) -> str:
    return value.rstrip(b"\0").decode(errors="replace")
