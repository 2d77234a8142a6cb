"""What a container with an allow-list was denied, as `inspect` tells it: NetworkSettings.Egress.

{"Denied": [{"Destination": "192.0.2.7", "Host": "example.org", "Protocol": "tcp", "Port": 80, "Count": 3, "Last": …},
             …],
 "DeniedElsewhere": 0}

Since it was started last. Of a name that it was not to ask for the destination is that name, and the protocol dns.
"""

from __future__ import annotations

from datetime import UTC, datetime

from minirun.network import egressdenials

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minirun.container.record import Record
    from minirun.home import Home


def settings(home: Home, box: Record) -> dict[str, Any]:
    """What a container was denied; nothing for one that may reach everything."""
    if "egress" not in box.options:
        return {}
    denials = egressdenials.show(home, box.id)
    denied = [
        {
            "Destination": one.destination, "Host": one.name, "Protocol": one.protocol, "Port": one.port,
            "Count": one.count, "Last": _date(one.last),
        }
        for one in denials.list()
    ]  # fmt: skip
    return {"Egress": {"Denied": denied, "DeniedElsewhere": denials.more}}


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def asked_for(box: Record) -> dict[str, Any]:
    """What it may reach, under the key of HostConfig."""
    return {"NetworkEgress": box.options["egress"]} if "egress" in box.options else {}
