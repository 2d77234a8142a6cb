"""A name server of the tests' own that knows what it is told, and nothing else.

python zone.py ADDRESS v4.example=192.0.2.7 v4.example=2001:db8::7 short.example=192.0.2.8/5 …

The number behind the slash is how many seconds an answer holds (77). It prints "ready", and then each question, as in
"v4.example A"; of a name that it does not know it says NXDOMAIN. By UDP, port 53. See RFC 1035.
"""

from __future__ import annotations

import socket
import sys

import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

SECONDS = 77


def serve(own: str, told: list[str]) -> None:
    """Answer until we are killed."""
    known: dict[str, list[tuple[str, int]]] = {}
    for name, _, value in (one.partition("=") for one in told):
        where, _, seconds = value.partition("/")
        known.setdefault(name, []).append((where, int(seconds or SECONDS)))
    with socket.socket(socket.AF_INET6 if ":" in own else socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((own, 53))
        say("ready")
        while True:
            data, peer = server.recvfrom(4096)
            query = dns.message.from_wire(data)
            name = query.question[0].name.to_text(omit_final_dot=True).lower()
            kind = query.question[0].rdtype
            say(f"{name} {dns.rdatatype.to_text(kind)}")
            found = dns.message.make_response(query, recursion_available=True)
            if name not in known:
                found.set_rcode(dns.rcode.NXDOMAIN)
            for address, holds in known.get(name, ()):
                if kind == (dns.rdatatype.AAAA if ":" in address else dns.rdatatype.A):
                    found.answer.append(dns.rrset.from_text(query.question[0].name, holds, "IN", kind, address))
            server.sendto(found.to_wire(), peer)


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)  # noqa: T201 - who started us reads it


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2:])
