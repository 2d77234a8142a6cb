"""A name server of the tests' own: it answers as the first part of a name says, and writes down what it was asked.

    python nameserver.py ADDRESS LOG      prints "ready", and serves UDP and TCP on port 53 until it is killed

    v4.example    192.0.2.7, and of IPv6 2001:db8::7       silent.…    nothing at all
    alias.…       an alias of v4.example, with addresses   broken.…    SERVFAIL
    big.…         TXT of 2000 bytes: by UDP cut off        forged.…    answers by somebody who guesses, then its own
    flags.…       TXT with what EDNS the question had      refused.…   REFUSED
    nosuch.…      NXDOMAIN                                 me.…        TXT with the server's own address

See RFC 1035. Each line of LOG is a protocol, a name and a type: ``udp v4.example A``.
"""

from __future__ import annotations

import selectors
import socket
import sys
from pathlib import Path

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

ADDRESS, ADDRESS6 = "192.0.2.7", "2001:db8::7"
SECONDS = 77


def answer(query: dns.message.Message, own: str, *, stream: bool) -> dns.message.Message | None:
    """What is said to a question."""
    name, kind = query.question[0].name, query.question[0].rdtype
    text = name.to_text(omit_final_dot=True).lower()
    word = text.partition(".")[0]
    found = dns.message.make_response(query, recursion_available=True)
    values: dict[dns.rdatatype.RdataType, str] = {}
    if word in ("v4", "alias", "forged"):
        values = {dns.rdatatype.A: ADDRESS, dns.rdatatype.AAAA: ADDRESS6}
    elif word == "big":
        values = {dns.rdatatype.TXT: " ".join(["x" * 200] * 10)}
        if not stream:
            found.flags |= dns.flags.TC
            values = {}
    elif word == "flags":
        values = {dns.rdatatype.TXT: f"edns{query.edns}-{query.payload}-{len(query.options)}"}
    elif word == "me":
        values = {dns.rdatatype.TXT: own}
    elif word == "silent":
        return None
    else:
        codes = {"broken": dns.rcode.SERVFAIL, "refused": dns.rcode.REFUSED}
        found.set_rcode(codes.get(word, dns.rcode.NXDOMAIN))
    if kind in values:
        owner = name
        if word == "alias":
            found.answer.append(dns.rrset.from_text(name, SECONDS + 1, "IN", "CNAME", "v4.example."))
            owner = found.answer[0][0].target
        found.answer.append(dns.rrset.from_text(owner, SECONDS, "IN", dns.rdatatype.to_text(kind), values[kind]))
    return found


def forgeries(query: dns.message.Message, found: dns.message.Message) -> list[bytes]:
    """Answers that somebody sends who does not know the id, or what was asked."""
    false = dns.message.from_wire(found.to_wire())
    false.answer = [dns.rrset.from_text(query.question[0].name, SECONDS, "IN", "A", "198.51.100.66")]
    guessed = bytearray(false.to_wire())
    guessed[0] ^= 0xFF
    false.question = [dns.rrset.RRset(dns.name.from_text("other.example."), query.question[0].rdclass, 1)]  # type: ignore[arg-type]
    question = bytearray(false.to_wire())
    asks = bytearray(found.to_wire())
    asks[2] &= 0x7F
    return [b"", b"\0", bytes(guessed), bytes(question), bytes(asks), found.to_wire()[:11]]


def serve(own: str, log: Path) -> None:
    """Answer until we are killed."""
    family = socket.AF_INET6 if ":" in own else socket.AF_INET
    datagrams = socket.socket(family, socket.SOCK_DGRAM)
    datagrams.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    datagrams.bind((own, 53))
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((own, 53))
    listener.listen(64)
    choice = selectors.DefaultSelector()
    choice.register(datagrams, selectors.EVENT_READ)
    choice.register(listener, selectors.EVENT_READ)
    print("ready", flush=True)  # noqa: T201 - who started us waits for it
    while True:
        for key, _ in choice.select():
            if key.fileobj is listener:
                connection, _ = listener.accept()
                with connection, connection.makefile("rb") as file:
                    data = file.read(int.from_bytes(file.read(2), "big"))
                    query = dns.message.from_wire(data)
                    note(log, "tcp", query)
                    if found := answer(query, own, stream=True):
                        wire = found.to_wire(max_size=65535)
                        connection.sendall(len(wire).to_bytes(2, "big") + wire)
                continue
            data, peer = datagrams.recvfrom(4096)
            query = dns.message.from_wire(data)
            note(log, "udp", query)
            if found := answer(query, own, stream=False):
                if query.question[0].name.labels[0] == b"forged":
                    for one in forgeries(query, found):
                        datagrams.sendto(one, peer)
                datagrams.sendto(found.to_wire(), peer)


def note(log: Path, protocol: str, query: dns.message.Message) -> None:
    """Write down what was asked."""
    question = query.question[0]
    with log.open("a") as file:
        name = question.name.to_text(omit_final_dot=True)
        file.write(f"{protocol} {name} {dns.rdatatype.to_text(question.rdtype)}\n")


if __name__ == "__main__":
    serve(sys.argv[1], Path(sys.argv[2]))
