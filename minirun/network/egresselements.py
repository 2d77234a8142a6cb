"""What the sets of a container with an allow-list hold: addresses of names put into them, and what was denied, read.

    set of `table netdev minirun-4f…`   key                                     with
    names0_4, names0_6, names1_4 …      address                                 when it ends; comment: the name
    denied4, denied6                    address . inet_proto . inet_service     how many; when it ends, so since when
    others4, others6                    address . inet_proto                    the same
    link                                ether_type                              the same

Encoded here as ports are: see portelements.py, and include/uapi/linux/netfilter/nf_tables.h. A field of a key takes a
multiple of four bytes.
"""

from __future__ import annotations

from struct import pack, unpack

from minirun.network import address
from minirun.network.egressrules import table
from minirun.network.firewall import TABLE
from minirun.network.flows import attributes
from minirun.network.portelements import answers, attribute, batch, message, speak
from minirun.network.portrules import ASKING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Iterator, Sequence

_REQUEST, _ACK, _CREATE, _DUMP = 0x1, 0x4, 0x400, 0x300
_NFTABLES, _NETDEV, _INET = 10 << 8, 5, 1
_GET_TABLE, _DELETE_TABLE = _NFTABLES | 1, _NFTABLES | 2
_NEW_ELEMENT, _GET_ELEMENT, _DELETE_ELEMENT = _NFTABLES | 12, _NFTABLES | 13, _NFTABLES | 14
_NEW_OBJECT, _GET_OBJECT = _NFTABLES | 18, _NFTABLES | 19
_TABLE_NAME, _OBJECT_TYPE, _OBJECT_DATA, _COUNTER = 1, 3, 4, 1
_LIST_TABLE, _LIST_SET, _LIST_ELEMENTS, _LIST_ELEM = 1, 2, 3, 1
_KEY, _TIMEOUT, _EXPIRATION, _USERDATA, _EXPRESSION = 1, 4, 5, 6, 7
_VALUE, _EXPRESSION_DATA, _PACKETS = 1, 2, 2
_NESTED = 0x8000
_HEADERS = 20  # nlmsghdr and nfgenmsg
_COMMENT_BYTES = 255


class Found:
    """An element that is there.

    Attributes:
        key: as the kernel has it.
        packets: how many it was updated by.
        expires_ms: when it ends, if nothing comes.
        comment: what was written beside it.
    """

    __slots__ = ("comment", "expires_ms", "key", "packets")

    def __init__(self, key: bytes, packets: int, expires_ms: int, comment: str) -> None:
        self.key = key
        self.packets = packets
        self.expires_ms = expires_ms
        self.comment = comment


def is_there(container_id: str) -> bool:
    """Whether a container's rules are in force."""
    speaker = speak()
    try:
        speaker.send(message(_GET_TABLE, _REQUEST, _NETDEV, attribute(_TABLE_NAME, _name(container_id))))
        answers(speaker)
    except FileNotFoundError:
        return False
    finally:
        speaker.close()
    return True


def remove(container_id: str) -> None:
    """Remove a container's rules, with all that they hold. Idempotent.

    Raises:
        OSError: the kernel refused.
    """
    speaker = speak()
    try:
        batch(speaker, [message(_DELETE_TABLE, _REQUEST | _ACK, _NETDEV, attribute(_TABLE_NAME, _name(container_id)))])
    except FileNotFoundError:
        pass
    finally:
        speaker.close()


def ask_no_more(asking: Sequence[tuple[str, str]]) -> None:
    """Take addresses out of those that ask for names: see egresslink.py. Idempotent."""
    speaker = speak()
    try:
        for bridge, own in asking:
            key = pack("16s", bridge.encode()) + address.pack(own)
            body = attribute(_LIST_TABLE, TABLE.encode() + b"\0") + attribute(_LIST_SET, ASKING.encode() + b"\0")
            body += attribute(_LIST_ELEMENTS | _NESTED, _element(key))
            try:
                batch(speaker, [message(_DELETE_ELEMENT, _REQUEST | _ACK, _INET, body)])
            except FileNotFoundError:
                continue
    finally:
        speaker.close()


def put(
    speaker: socket, container_id: str, where: Sequence[str], keys: Sequence[bytes], seconds: int, comment: str,
    *, again: bool,
) -> None:  # fmt: skip
    """Have addresses be in sets from now on for so long; all at once.

    Args:
        speaker: of `speak`; one that has removed elements waits for the kernel, some milliseconds, when it is closed.
        container_id: whose.
        where: the sets, for addresses of one kind.
        keys: the addresses, as they go over the wire.
        seconds: how long; 0: until they are taken out.
        comment: the name that they are of.
        again: whether they may be there already, with another end.

    Raises:
        FileNotFoundError: its rules are not in force.
        OSError: the kernel refused: ENFILE: a set is full.
    """
    text = comment.encode()[: _COMMENT_BYTES - 1] + b"\0"
    told = attribute(_TIMEOUT, pack(">Q", seconds * 1000)) if seconds else b""
    told += attribute(_USERDATA, pack("BB", 0, len(text)) + text)
    messages = []
    for name in where:
        new = _listed(_NEW_ELEMENT, _CREATE, container_id, name, [_element(key, told) for key in keys])
        if again:
            # before Linux 6.12 one that is there keeps its end; what is added first can be deleted, it was there or not
            bare = [_element(key) for key in keys]
            messages += [new, _listed(_DELETE_ELEMENT, 0, container_id, name, bare)]
        messages.append(new)
    batch(speaker, messages)


def take(speaker: socket, container_id: str, where: str, key: bytes) -> None:
    """Take an address out of a set. Idempotent; the arguments are those of `put`."""
    try:
        batch(speaker, [_listed(_DELETE_ELEMENT, 0, container_id, where, [_element(key)])])
    except FileNotFoundError:
        pass


def read(container_id: str, names: Sequence[str]) -> dict[str, list[Found]]:
    """What sets hold, by their names; nothing of those that are not there."""
    speaker = speak()
    try:
        return {name: list(_read(speaker, container_id, name)) for name in names}
    finally:
        speaker.close()


def _read(speaker: socket, container_id: str, name: str) -> Iterator[Found]:
    body = attribute(_LIST_TABLE, _name(container_id)) + attribute(_LIST_SET, name.encode() + b"\0")
    speaker.send(message(_GET_ELEMENT, _REQUEST | _DUMP, _NETDEV, body))
    try:
        told = answers(speaker)
    except FileNotFoundError:
        return
    for part in _messages(told, _NEW_ELEMENT):
        elements = dict(attributes(part)).get(_LIST_ELEMENTS, b"")
        for _, element in attributes(elements):
            yield _found(dict(attributes(element)))


def _found(parts: dict[int, bytes]) -> Found:
    key = dict(attributes(parts[_KEY]))[_VALUE]
    packets = 0
    if _EXPRESSION in parts:
        counted = dict(attributes(dict(attributes(parts[_EXPRESSION]))[_EXPRESSION_DATA]))
        (packets,) = unpack(">Q", counted[_PACKETS])
    (expires,) = unpack(">Q", parts.get(_EXPIRATION, bytes(8)))
    comment = parts.get(_USERDATA, b"")[2:].rstrip(b"\0").decode(errors="replace")
    return Found(key, packets, expires, comment)


def counted(container_id: str, name: str) -> int:
    """The packets of a counter that has a name; 0 if it is not there."""
    body = attribute(1, _name(container_id)) + attribute(2, name.encode() + b"\0")
    body += attribute(_OBJECT_TYPE, pack(">I", _COUNTER))
    speaker = speak()
    try:
        speaker.send(message(_GET_OBJECT, _REQUEST, _NETDEV, body))
        told = answers(speaker)
    except FileNotFoundError:
        return 0
    finally:
        speaker.close()
    for part in _messages(told, _NEW_OBJECT):
        data = dict(attributes(dict(attributes(part))[_OBJECT_DATA]))
        return int.from_bytes(data[_PACKETS], "big")
    return 0


def _messages(told: bytes, kind: int) -> Iterator[bytes]:
    """The attributes of the messages of one kind."""
    place = 0
    while place + _HEADERS <= len(told):
        length = int.from_bytes(told[place : place + 4], "little")
        if int.from_bytes(told[place + 4 : place + 6], "little") == kind:
            yield told[place + _HEADERS : place + length]
        place += length + 3 & ~3


def _name(container_id: str) -> bytes:
    return table(container_id).encode() + b"\0"


def _element(key: bytes, told: bytes = b"") -> bytes:
    return attribute(_LIST_ELEM | _NESTED, attribute(_KEY | _NESTED, attribute(_VALUE, key)) + told)


def _listed(kind: int, flags: int, container_id: str, name: str, elements: Sequence[bytes]) -> bytes:
    body = attribute(_LIST_TABLE, _name(container_id)) + attribute(_LIST_SET, name.encode() + b"\0")
    return message(
        kind, _REQUEST | _ACK | flags, _NETDEV, body + attribute(_LIST_ELEMENTS | _NESTED, b"".join(elements))
    )
