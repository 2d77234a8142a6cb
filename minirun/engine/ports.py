"""port: which ports of the host lead to a container.

None do, yet: a container has a network of its own with loopback only, or the host's.
"""

from __future__ import annotations

from minirun.container import record as records
from minirun.engine import open_home
from minirun.errors import BadInput, NotFound

PROTOCOLS = ("tcp", "udp", "sctp")


def port(name: str, private: str = "") -> list[str]:
    """The lines that `docker port` has, ``80/tcp -> 0.0.0.0:8080``; none, for nothing is published.

    Args:
        name: of the container.
        private: ``PORT[/PROTOCOL]``, to know of that one only.

    Raises:
        BadInput: *private* is no port.
        NotFound: there is no such container, or it has not published that port.
    """
    number, _, protocol = private.partition("/")
    protocol = protocol.lower() or "tcp"
    if private and not (number.isdecimal() and 0 < int(number) < 1 << 16 and protocol in PROTOCOLS):
        raise BadInput(f"show port {private} of container {name}", "it is no port", "write 80, 80/tcp, 53/udp")
    box = records.find(open_home(), name)
    if private:
        reason = "it is not published: no port is, in this version"
        remedy = "`run --network host` shares the host's ports"
        raise NotFound(f"show port {number}/{protocol} of container {box.name}", reason, remedy)
    return []
