"""Messages of DNS, beside dnspython's: what we write it reads as it was meant, and what it writes we read."""

from __future__ import annotations

import struct

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minirun.attendant import message
from minirun.attendant.message import (
    AAAA,
    BADVERS,
    FORMERR,
    NOERROR,
    NOTIMP,
    NXDOMAIN,
    PTR,
    REFUSED,
    A,
    Malformed,
    Question,
)


def asked(name: str = "db", kind: str = "A", **more: object) -> Question:
    """A question as dnspython writes it."""
    return Question(dns.message.make_query(name, kind, **more).to_wire())  # type: ignore[arg-type]


def refused(data: bytes) -> bytes:
    """What is said to something that is no question."""
    with pytest.raises(Malformed) as caught:
        Question(data)
    return caught.value.reply


def record(name: str, seconds: int, kind: str, *values: str) -> dns.rrset.RRset:
    """Records of one name."""
    return dns.rrset.from_text(name, seconds, "IN", kind, *values)


def answered(question: Question, *records: dns.rrset.RRset) -> bytes:
    """An answer as a server writes it."""
    found = dns.message.make_response(dns.message.from_wire(question.data), recursion_available=True)
    found.answer.extend(records)
    return found.to_wire()


@pytest.mark.parametrize("edns", [-1, 0])
@pytest.mark.parametrize(
    ("kind", "values"),
    [("A", ["10.1.0.2"]), ("AAAA", ["fd00::2"]), ("PTR", ["one.back."]), ("A", []), ("TXT", [])],
)
def test_an_answer_is_byte_for_byte_what_dnspython_writes(edns: int, kind: str, values: list[str]) -> None:
    query = dns.message.make_query("Db.Web", kind, use_edns=edns)
    expected = dns.message.make_response(query, recursion_available=True, our_payload=1232)
    expected.flags |= dns.flags.AA
    if values:
        expected.answer.append(record("Db.Web.", 0, kind, *values))
    question = Question(query.to_wire())
    assert question.reply(NOERROR, question.kind if values else 0, values) == expected.to_wire()


def test_what_is_asked_is_in_small_letters_and_the_question_comes_back_as_it_was() -> None:
    question = asked("DB.Web.", "AAAA")
    assert (question.text, question.kind) == ("db.web", AAAA)
    back = dns.message.from_wire(question.reply(NXDOMAIN))
    assert back.rcode() == dns.rcode.NXDOMAIN
    assert back.question[0].name.to_text() == "DB.Web."
    assert back.id == question.id


def test_more_addresses_than_a_datagram_holds_are_cut_off_and_a_connection_has_all() -> None:
    values = [f"10.1.{n // 250}.{n % 250}" for n in range(500)]
    for edns, limit in ((-1, 512), (0, 1232)):
        question = asked("all", "A", use_edns=edns, payload=4096)
        reply = question.reply(NOERROR, A, values)
        assert limit - 40 < len(reply) <= limit
        told = dns.message.from_wire(reply)
        assert told.flags & dns.flags.TC
        assert [one.address for one in told.answer[0]] == values[: len(told.answer[0])]
        whole = dns.message.from_wire(question.reply(NOERROR, A, values, stream=True))
        assert not whole.flags & dns.flags.TC
        assert len(whole.answer[0]) == 500


def test_what_is_no_question_is_refused_and_nobody_is_answered_who_answers() -> None:
    good = dns.message.make_query("db", "A")
    assert refused(b"") == refused(b"\0" * 11) == b""
    reply = dns.message.make_response(good).to_wire()
    assert refused(reply) == b""
    for data, rcode in (
        (dns.message.make_query("db", "AXFR").to_wire(), REFUSED),
        (dns.message.make_query("db", "A", "CH").to_wire(), REFUSED),
        (good.to_wire() + b"x", FORMERR),
        (good.to_wire()[:-1], FORMERR),
        (struct.pack("!6H", 7, 0x2800, 1, 0, 0, 0) + good.to_wire()[12:], NOTIMP),
        (struct.pack("!6H", 7, 0, 2, 0, 0, 0) + good.to_wire()[12:] * 2, FORMERR),
        (struct.pack("!6H", 7, 0, 0, 0, 0, 0), FORMERR),
        (struct.pack("!6H", 7, 0, 1, 0xFFFF, 0, 0) + good.to_wire()[12:], FORMERR),
    ):
        assert dns.message.from_wire(refused(data), ignore_trailing=True).rcode() == rcode
    newer = dns.message.make_query("db", "A", use_edns=1)
    assert dns.message.from_wire(refused(newer.to_wire())).rcode() == BADVERS


LONG = b"\x3f" + b"a" * 63
HOSTILE = (b"\xc0\x0c", b"\x01a\xc0\x0c", LONG, LONG * 5 + b"\0", b"\x40a\0", b"\x80a\0", b"\xc0\xff", b"\xc0")


@pytest.mark.parametrize("name", HOSTILE)
def test_names_that_lead_nowhere_are_refused(name: bytes) -> None:
    head = struct.pack("!6H", 7, 0x100, 1, 0, 0, 0)
    assert dns.message.from_wire(refused(head + name + b"\0\x01\0\x01")).rcode() == FORMERR


@given(st.binary(max_size=200))
def test_no_bytes_break_anything(data: bytes) -> None:
    for head in (b"", struct.pack("!6H", 7, 0x100, 1, 0, 0, 1)):
        try:
            question = Question(head + data)
            reply = question.reply(NOERROR)
        except Malformed as wrong:
            reply = wrong.reply
        # it is not more than was sent, but for an OPT where there was none that was read
        assert len(reply) <= len(head + data) + 11


@given(st.binary(max_size=300), st.integers(0, 40))
def test_no_answer_breaks_anything(data: bytes, place: int) -> None:
    question = asked("alias.example")
    whole = answered(
        question, record("alias.example.", 9, "CNAME", "x.example."), record("x.example.", 5, "A", "192.0.2.1")
    )
    for damaged in (whole[:12] + data, whole[:place] + data + whole[place:], whole[:place]):
        question.is_answered_by(damaged, question.id)
        question.addresses(damaged) if len(damaged) > 12 else None


def test_only_an_answer_to_the_question_counts() -> None:
    question = asked("v4.example")
    right = answered(question, record("v4.example.", 9, "A", "192.0.2.1"))
    assert question.is_answered_by(right, question.id)
    assert not question.is_answered_by(right, question.id ^ 1)
    assert not question.is_answered_by(question.data, question.id)
    other = asked("v5.example")
    assert not question.is_answered_by(struct.pack("!H", question.id) + answered(other)[2:], question.id)
    kind = asked("v4.example", "AAAA")
    assert not question.is_answered_by(struct.pack("!H", question.id) + answered(kind)[2:], question.id)
    # a server may write a name in other letters, and may say in a header alone that it does not understand
    assert question.is_answered_by(right.replace(b"v4", b"V4"), question.id)
    assert question.is_answered_by(struct.pack("!6H", question.id, 0x8004, 0, 0, 0, 0), question.id)
    assert not question.is_answered_by(struct.pack("!6H", question.id, 0x8000, 0, 0, 0, 0), question.id)


def test_addresses_are_those_of_the_name_and_of_what_its_aliases_lead_to() -> None:
    question = asked("www.example")
    chain = [
        record("b.example.", 20, "A", "192.0.2.1", "192.0.2.2"),
        record("a.example.", 10, "CNAME", "b.example."),
        record("WWW.example.", 30, "CNAME", "a.example."),
        record("evil.example.", 5, "A", "198.51.100.1"),
        record("b.example.", 40, "AAAA", "2001:db8::1"),
    ]
    found, seconds = question.addresses(answered(question, *chain))
    assert (sorted(found), seconds) == (["192.0.2.1", "192.0.2.2", "2001:db8::1"], 10)
    assert question.addresses(answered(question)) == ([], 0)
    loop = [record("www.example.", 1, "CNAME", "a.example."), record("a.example.", 1, "CNAME", "www.example.")]
    assert question.addresses(answered(question, *loop))[0] == []
    short = answered(question, record("www.example.", 3, "A", "192.0.2.1"))
    assert question.addresses(short[:-1]) == ([], 0)


def test_what_is_passed_on_is_what_was_asked_and_what_was_answered() -> None:
    option = dns.edns.GenericOption(dns.edns.OptionType.make(65001), b"cookie")
    question = asked("v4.example", "A", options=[option], want_dnssec=True)
    sent = question.with_id(4711)
    assert sent[:2] == struct.pack("!H", 4711)
    assert sent[2:] == question.data[2:]
    reply = answered(question, record("v4.example.", 9, "A", "192.0.2.1"))
    assert question.answer(struct.pack("!H", 4711) + reply[2:], stream=False) == reply
    plain = asked("v4.example", "A", use_edns=-1)
    long = answered(plain, record("v4.example.", 9, "TXT", "x" * 250, "y" * 250, "z" * 250))
    assert plain.answer(long, stream=True) == long
    cut = dns.message.from_wire(plain.answer(long, stream=False))
    assert cut.flags & dns.flags.TC
    assert cut.id == plain.id
    assert not cut.answer


def test_names_that_stand_for_addresses_are_read() -> None:
    for text in ("10.1.0.2", "fd00::2", "2001:db8:1:2:3:4:5:6"):
        assert message.reverse(asked(dns.reversename.from_address(text).to_text(), "PTR").name) == text
    for text in ("1.10.in-addr.arpa", "x.in-addr.arpa", "in-addr.arpa", "300.1.1.1.in-addr.arpa", "db"):
        assert message.reverse(asked(text, "PTR").name) == ""
    assert asked("2.0.1.10.in-addr.arpa", "PTR").kind == PTR
    assert message.is_name("db.web.")
    assert not message.is_name("x" * 64 + ".web.")
