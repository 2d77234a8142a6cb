"""Messages of DNS: a question is read, an answer is made, what a server answers is compared with what it was asked.

    ┌────┬─────┬───┬───┬───┬───┐  id, flags, and how many of: questions, answers, authorities, additional records
    │ id │flags│ 1 │ 0 │ 0 │0 1│  a question has one, and at most the record OPT, of EDNS
    ├────┴─────┴───┴───┴───┴───┤
    │ 2 db 0   type  class     │  the question: an answer has it unchanged
    ├──────────────────────────┤
    │ OPT                      │  how long an answer by UDP may be; without it, 512 bytes
    └──────────────────────────┘

What is read is read by dnspython's parser: names are what is hostile about a message. Its records and messages are not
imported, which would make this process larger by a half; what is written here is a header, the question as it came, and
few records. A message that is passed on stays as it is, but for its id: so what EDNS has, passes. See RFC 1035, 6891.
"""

from __future__ import annotations

from _socket import AF_INET, AF_INET6, inet_ntop
from struct import pack, unpack_from

import dns.exception
import dns.name
import dns.reversename
import dns.wire

from minirun.network import address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

A, AAAA, PTR, ANY = 1, 28, 12, 255
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED, BADVERS = 0, 1, 2, 3, 4, 5, 16
LIMIT_BYTES = 4096  # of a question, which has at most 255 for its name; options of EDNS may come to some
_TRANSFERS = (251, 252)  # IXFR, AXFR: answers in many messages
_IN, _OPT, _CNAME = 1, 41, 5
_HEADER_BYTES = 12
_OURS_BYTES = 1232  # of datagrams that no path breaks in pieces: dnsflagday.net/2020
_LEAST_BYTES = 512
_OPT_BYTES = 11
_CHAIN = 16  # names that lead from one to the next
_QR, _AA, _TC, _RD, _RA = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080
_OPCODE = 0x7800
_ITS_NAME = 0xC000 | _HEADER_BYTES  # a pointer to the name in the question


class Malformed(Exception):
    """It is no question that can be answered.

    Attributes:
        reply: what there is to say to that; empty for nothing.
    """

    def __init__(self, reply: bytes) -> None:
        self.reply = reply


class Question:
    """A question.

    Attributes:
        data: the message.
        id: its own.
        name: what is asked for.
        text: the same in small letters, without the dot at its end.
        kind: the type of the records that are asked for: A, AAAA, PTR …
        limit: how long an answer by UDP may be, in bytes.
    """

    __slots__ = ("_end", "_has_options", "data", "id", "kind", "limit", "name", "text")

    def __init__(self, data: bytes) -> None:
        """Read a message.

        Raises:
            Malformed: it cannot be answered.
        """
        if len(data) < _HEADER_BYTES:
            raise Malformed(b"")
        self.data = data
        self.id, flags, questions, answers, authorities, more = unpack_from("!6H", data)
        if flags & _QR:
            raise Malformed(b"")  # an answer: whoever answered that would be answered
        if flags & _OPCODE:
            raise Malformed(_bare(data, NOTIMP))
        if questions != 1 or answers or authorities or more > 1:
            raise Malformed(_bare(data, FORMERR))
        try:
            parser = dns.wire.Parser(data, _HEADER_BYTES)
            self.name: dns.name.Name = dns.name.from_wire_parser(parser)
            self.kind, kind_of_network = parser.get_struct("!HH")
            self._end = parser.current
            self.limit, version = _LEAST_BYTES, -1
            if more:
                self.limit, version = _read_options(parser)
            if parser.remaining():
                raise Malformed(_bare(data, FORMERR))
        except dns.exception.DNSException:
            raise Malformed(_bare(data, FORMERR)) from None
        self._has_options = version >= 0
        self.text = self.name.to_text(omit_final_dot=True).lower()
        if version > 0:
            raise Malformed(self.reply(BADVERS))
        if kind_of_network != _IN or self.kind in _TRANSFERS:
            raise Malformed(self.reply(REFUSED))

    def reply(self, code: int, kind: int = 0, values: Sequence[str] = (), *, stream: bool = False) -> bytes:
        """An answer of ours.

        Args:
            code: NOERROR, NXDOMAIN …
            kind: type of the records that are in it.
            values: addresses, or names; without any, there are none of that type.
            stream: it goes by TCP, and may be as long as it is.
        """
        flags = _QR | _RA | (unpack_from("!H", self.data, 2)[0] & _RD) | code & 0xF
        if code in (NOERROR, NXDOMAIN):
            flags |= _AA
        # a change is seen at once where nobody keeps what he was told
        records = [pack("!HHHIH", _ITS_NAME, kind, _IN, 0, len(data)) + data for data in map(_data, values)]
        if records and not stream:
            room = (min(self.limit, _OURS_BYTES) - self._end - _OPT_BYTES) // len(records[0])
            if room < len(records):
                # who cannot ask by TCP has some of them
                flags |= _TC
                records = records[:room]
        options = pack("!BHHIH", 0, _OPT, _OURS_BYTES, code >> 4 << 24, 0) if self._has_options else b""
        header = pack("!6H", self.id, flags, 1, len(records), 0, bool(options))
        return b"".join((header, self.data[_HEADER_BYTES : self._end], *records, options))

    def with_id(self, number: int) -> bytes:
        """The message as it is passed on, under another id."""
        return pack("!H", number) + self.data[2:]

    def is_answered_by(self, data: bytes, number: int) -> bool:
        """Whether *data* is an answer to this question, which was asked under that id.

        A server that does not understand us may say no more than that.
        """
        if len(data) < _HEADER_BYTES:
            return False
        own, flags, questions, answers, authorities, more = unpack_from("!6H", data)
        if own != number or not flags & _QR or flags & _OPCODE:
            return False
        if not questions:
            return flags & 0xF not in (NOERROR, NXDOMAIN) and not (answers or authorities or more)
        # what is compared in small letters is the name: its lengths, and what follows it, are no letters, or the same
        name = slice(_HEADER_BYTES, self._end - 4)
        kind = slice(self._end - 4, self._end)
        return questions == 1 and data[name].lower() == self.data[name].lower() and data[kind] == self.data[kind]

    def answer(self, data: bytes, *, stream: bool) -> bytes:
        """What a server answered, for whoever asked us; cut off where that is longer than he can take."""
        if stream or len(data) <= self.limit:
            return pack("!H", self.id) + data[2:]
        flags = unpack_from("!H", data, 2)[0] | _TC
        return pack("!6H", self.id, flags, 1, 0, 0, 0) + self.data[_HEADER_BYTES : self._end]

    def addresses(self, data: bytes) -> tuple[list[str], int]:
        """The addresses that an answer gives the name, by whatever other names, and how long they hold, in seconds.

        Those of names that lead nowhere from here are left out: nobody asked for them.
        """
        names, times, found = {self.name}, [], []
        try:
            records = _records(data)
        except dns.exception.DNSException:
            return [], 0
        # in whatever order they are
        for _ in range(_CHAIN):
            before = len(names)
            for name, kind, seconds, value in records:
                if kind == _CNAME and name in names:
                    names.add(value)
                    times.append(seconds)
            if len(names) == before:
                break
        for name, kind, seconds, value in records:
            if kind != _CNAME and name in names:
                found.append(str(value))
                times.append(seconds)
        return found, min(times, default=0)


def _records(data: bytes) -> list[tuple[dns.name.Name, int, int, Any]]:
    """The names, types, seconds and values of the answers in a message that are addresses, or lead to them.

    Raises:
        DNSException: it is damaged.
    """
    parser = dns.wire.Parser(data, _HEADER_BYTES)
    _, _, questions, answers, _, _ = unpack_from("!6H", data)
    for _ in range(questions):
        dns.name.from_wire_parser(parser)
        parser.get_struct("!HH")
    found: list[tuple[dns.name.Name, int, int, Any]] = []
    for _ in range(answers):
        name = dns.name.from_wire_parser(parser)
        kind, kind_of_network, seconds, length = parser.get_struct("!HHIH")
        with parser.restrict_to(length):
            if kind_of_network != _IN or kind not in (A, AAAA, _CNAME):
                parser.get_remaining()
            elif kind == _CNAME:
                found.append((name, kind, seconds, dns.name.from_wire_parser(parser)))
            else:
                value = parser.get_bytes(4 if kind == A else 16)
                found.append((name, kind, seconds, inet_ntop(AF_INET if kind == A else AF_INET6, value)))
    return found


def _data(value: str) -> bytes:
    """An address, or a name, as records have it."""
    try:
        return address.pack(value)
    except ValueError:
        return dns.name.from_text(value).to_wire() or b""


def code(data: bytes) -> int:
    """How it went, as a server says: NOERROR, SERVFAIL and so on."""
    return int(unpack_from("!H", data, 2)[0] & 0xF)


def is_cut_off(data: bytes) -> bool:
    """Whether an answer was longer than a datagram: it has to be asked for by TCP."""
    return bool(unpack_from("!H", data, 2)[0] & _TC)


def reverse(name: dns.name.Name) -> str:
    """The address that a name of in-addr.arpa or ip6.arpa stands for; empty where it is none of those, or a part."""
    try:
        found = dns.reversename.to_address(name)
        return address.text(address.parse(found), address.width(found))
    except (dns.exception.DNSException, ValueError):
        return ""


def is_name(text: str) -> bool:
    """Whether that can be a name at all: no part of it has more than 63 bytes."""
    try:
        dns.name.from_text(text)
    except (dns.exception.DNSException, ValueError):
        return False
    return True


def _read_options(parser: dns.wire.Parser) -> tuple[int, int]:
    """How long an answer may be, and the version of EDNS; -1 where the record is something else."""
    owner = dns.name.from_wire_parser(parser)
    kind, size, flags = parser.get_struct("!HHI")
    parser.get_counted_bytes(2)
    if kind != _OPT or owner != dns.name.root:
        return _LEAST_BYTES, -1
    return max(_LEAST_BYTES, size), flags >> 16 & 0xFF


def _bare(data: bytes, rcode: int) -> bytes:
    """A header that says what is wrong, and nothing else."""
    number, flags = unpack_from("!HH", data)
    return pack("!6H", number, _QR | flags & (_OPCODE | _RD) | rcode, 0, 0, 0, 0)
