"""The networks of a container as Docker's JSON describes them: NetworkSettings.Networks, and of HostConfig its part.

{"bridge": {"IPAddress": "10.90.0.7", "IPPrefixLen": 16, "Gateway": "10.90.0.1", "MacAddress": …, "IPAMConfig" and
"Aliases": what was asked for, "DNSNames": those by which others there find it, "NetworkID": …, "EndpointID": …}}; while
it does not run, all but what was asked for is empty
"""

from __future__ import annotations

from minirun.container import endpoint
from minirun.network.record import DEFAULT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minirun.container.record import Record
    from minirun.home import Home

NO_ADDRESS: dict[str, Any] = {
    "Gateway": "", "GlobalIPv6Address": "", "GlobalIPv6PrefixLen": 0, "IPAddress": "", "IPPrefixLen": 0,
    "IPv6Gateway": "", "MacAddress": "",
}  # fmt: skip


def settings(home: Home, box: Record) -> dict[str, Any]:
    """What it has of networks: the addresses on the default one, and Networks with those on each."""
    mode = box.options["network"]
    nothing = {
        "IPAMConfig": None, "Links": None, "Aliases": None, "DriverOpts": None, **NO_ADDRESS, "DNSNames": None,
    }  # fmt: skip
    found: dict[str, Any] = {}
    for wanted, network, lease in endpoint.leases(home, box):
        asked = {"IPv4Address": wanted["ip"], "IPv6Address": wanted["ip6"]}
        has: dict[str, Any] = {}
        if network and lease:
            has = {
                "Gateway": network.gateway, "IPAddress": lease.address, "MacAddress": lease.mac,
                "IPPrefixLen": int(network.subnet.partition("/")[2]),
            }  # fmt: skip
            if network.name != DEFAULT:
                has["DNSNames"] = list(lease.names(box.name, box.options["hostname"]))
            if lease.address6:
                has |= {
                    "IPv6Gateway": network.gateway6, "GlobalIPv6Address": lease.address6,
                    "GlobalIPv6PrefixLen": int(network.subnet6.partition("/")[2]),
                }  # fmt: skip
        found[wanted["name"]] = {
            **nothing,
            "Aliases": wanted["aliases"] or None,
            "IPAMConfig": {key: text for key, text in asked.items() if text} or None,
            **has,
            "NetworkID": network.id if network else "",
            "EndpointID": lease.endpoint if lease else "",
        }
    if "networks" not in box.options and not mode.startswith("container:"):
        found[mode] = nothing
    own = found.get(DEFAULT, NO_ADDRESS)
    return {**{key: own[key] for key in NO_ADDRESS}, "Networks": found}


def asked_for(box: Record) -> dict[str, Any]:
    """What of its names and parameters was asked for, under HostConfig's keys."""
    dns = box.options.get("dns") or {}
    return {
        "Dns": dns.get("servers") or [],
        "DnsOptions": dns.get("options") or [],
        "DnsSearch": dns.get("search") or [],
        "ExtraHosts": [f"{name}:{where}" for name, where in box.options.get("add_hosts", ())] or None,
        **({"Sysctls": box.options["sysctls"]} if "sysctls" in box.options else {}),
    }
