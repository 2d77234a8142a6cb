"""Probes of what networks need: bridges, rules, other kinds of interfaces, forwarding, and who is in the way.

fork ─▶ unshare(CLONE_NEWNET) ─▶ a bridge, a pair, macvlan, ipvlan, a network's rules ─▶ what was refused, by a pipe

What is made goes with that process; the host's own rules and switches are only read. Nothing here is missing for good:
`--network none` and `host` need none of it.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator

from minirun.engine.finding import DEGRADED, OK, Finding, Patient
from minirun.errors import MinirunError, describe
from minirun.kernel.call import Call
from minirun.kernel.names import CLONE_NEWNET
from minirun.launch import machine
from minirun.network import bridge, firewall, forwarding, portrules, store, strangers
from minirun.network.record import DEFAULT, MTU, Network

_WITHOUT = "`--network none` and `host` do without"
_BRIDGED = "/proc/sys/net/bridge/bridge-nf-call-ip6tables"
_PROGRAMS = {"pasta": "passt", "slirp4netns": "slirp4netns"}  # program → Debian's package
_INTERFACE = "minirun0"
_TRIED = ("bridge", "veth", "nftables", "macvlan", "ipvlan")


def networks(patient: Patient) -> Iterator[Finding]:
    """All of it, in the order in which a packet meets it."""
    refused = _tried()
    text = refused.get("bridge") or refused.get("veth")
    if text:
        remedy = f"`modprobe -a bridge veth`, or boot a kernel with CONFIG_BRIDGE and CONFIG_VETH; {_WITHOUT}"
        yield Finding("bridge", DEGRADED, f"containers on networks are refused: {text}", remedy)
    else:
        yield Finding("bridge", OK, "bridges, and pairs of interfaces (veth)")
    yield from _rules(refused)
    for kind in ("macvlan", "ipvlan"):
        if text := refused.get(kind):
            remedy = f"`modprobe {kind}`, or boot a kernel with CONFIG_{kind.upper()}"
            yield Finding(kind, DEGRADED, f"`network create -d {kind}` is refused: {text}", remedy)
        else:
            yield Finding(kind, OK, f"interfaces of kind {kind}")
    yield from _switched(patient)
    yield from _firewalls(patient)
    yield from _bridged()
    yield from _programs()


def _rules(refused: dict[str, str]) -> Iterator[Finding]:
    text = refused.get("nftables")
    if not text:
        yield Finding("nftables", OK, "the rules of networks, with NAT, and maps for published ports")
    elif shutil.which("nft") is None:
        yield Finding(
            "nftables", DEGRADED, "containers on networks are refused: nft is not there",
            f"install it, `apt-get install nftables`; {_WITHOUT}",
        )  # fmt: skip
    else:
        remedy = f"`modprobe -a nf_tables nft_chain_nat nft_masq nft_fib_inet`, or a kernel that has them; {_WITHOUT}"
        yield Finding("nftables", DEGRADED, f"containers on networks are refused: {text}", remedy)


def _tried() -> dict[str, str]:
    """What was refused in a network namespace of a child's own: what → why."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.close(reading)
            os.write(writing, json.dumps(_try_all()).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    with open(reading, "rb") as pipe:
        said = pipe.read()
    os.waitpid(pid, 0)
    found: dict[str, str] = json.loads(said) if said else dict.fromkeys(_TRIED, "the probe was killed")
    return found


def _try_all() -> dict[str, str]:
    from pyroute2 import IPRoute

    try:
        machine.run([Call("unshare", CLONE_NEWNET)])
    except OSError as error:
        return dict.fromkeys(_TRIED, f"no network namespace can be made: {describe(error)}")
    with IPRoute() as speaker:

        def link(name: str, **more: object) -> Callable[[], object]:
            return lambda: speaker.link("add", ifname=name, **more)

        def macvlan() -> None:
            (parent,) = speaker.link_lookup(ifname="there")
            speaker.link("add", ifname="macvlan", kind="macvlan", link=parent, macvlan_mode="bridge")
            speaker.link("del", ifname="macvlan")  # an interface is of one kind's or of the other's

        def ipvlan() -> None:
            (parent,) = speaker.link_lookup(ifname="there")
            speaker.link("add", ifname="ipvlan", kind="ipvlan", link=parent, ipvlan_mode=0)

        pair = link("here", kind="veth", peer="there")
        tries = zip(_TRIED, (link(_INTERFACE, kind="bridge"), pair, _admit, macvlan, ipvlan), strict=True)
        return {what: said for what, one in tries if (said := _refusal(one))}


def _admit() -> None:
    fields: dict[str, object] = dict.fromkeys(Network.__slots__, "")
    told = {"name": DEFAULT, "interface": _INTERFACE, "subnet": "192.0.2.0/24", "subnet6": "2001:db8::/64", "mtu": MTU}
    network = Network(**{**fields, **told, "internal": False, "icc": False})
    firewall.admit(network)
    portrules.make(_INTERFACE, [network.subnet, network.subnet6])


def _refusal(attempt: Callable[[], object]) -> str:
    """Why something cannot be done; empty where it can."""
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        attempt()
    except MinirunError as refusal:
        return refusal.reason
    except NetlinkError as refusal:
        return describe(OSError(refusal.code, os.strerror(refusal.code)))
    except OSError as error:
        return describe(error)
    except ValueError:
        return "there was no interface to make it of"
    return ""


def _switched(patient: Patient) -> Iterator[Finding]:
    """Whether packets are passed on, or can be once a network needs it."""
    try:
        with open(forwarding.SWITCH4) as file:
            is_on = file.read().strip() == "1"
    except OSError as error:
        yield Finding("ip_forward", DEGRADED, f"it cannot be read: {describe(error)}", "mount /proc, with all of it")
        return
    there = [network for network in _known(patient) if bridge.made(patient.home, network)]
    waiting = [network.name for network in there if not network.internal]
    command = "`sysctl -w net.ipv4.ip_forward=1`"
    if is_on:
        yield Finding("ip_forward", OK, "packets are passed on")
    elif waiting:
        meaning = f"off: containers on {', '.join(waiting)} do not get out of it, and nothing gets in"
        yield Finding("ip_forward", DEGRADED, meaning, command)
    elif not os.access(forwarding.SWITCH4, os.W_OK):
        meaning = "off, and it cannot be switched on from here: containers on networks are refused"
        yield Finding("ip_forward", DEGRADED, meaning, f"{command} on the host; {_WITHOUT}")
    else:
        yield Finding("ip_forward", OK, "off; the first network that needs it switches it on, the last sets it back")


def _known(patient: Patient) -> list[Network]:
    try:
        return store.list_all(patient.home, warn=lambda _error: None)
    except OSError:
        return []  # no store


def _firewalls(patient: Patient) -> Iterator[Finding]:
    """Chains of others that drop what they do not know, and do not know the default network."""
    interface = next((network.interface for network in _known(patient) if network.name == DEFAULT), _INTERFACE)
    dropping = [chain for chain in strangers.chains() if chain.hook == "forward" and chain.drops()]
    dropping = [chain for chain in dropping if not chain.knows(interface)]
    if not dropping:
        yield Finding("firewall", OK, "no chain of others drops what containers send and get")
    for chain in dropping:
        meaning = f"chain {chain.name} of table {chain.family} {chain.table} drops what containers send and get"
        yield Finding("firewall", DEGRADED, meaning, _way_through(chain, interface))


def _way_through(chain: strangers.Chain, interface: str) -> str:
    if chain.table == "firewalld":
        return f"`firewall-cmd --permanent --zone=trusted --add-interface={interface}`, and `firewall-cmd --reload`"
    both = "for each bridge"
    if chain.table.endswith("filter") and chain.family in ("ip", "ip6"):
        program = f"{chain.family}tables{'-legacy' if chain.table.startswith(strangers.LEGACY) else ''}"
        where = "DOCKER-USER" if strangers.has_chain(chain, "DOCKER-USER") else "FORWARD"
        return f"`{program} -I {where} -i {interface} -j ACCEPT`, and the same with -o, {both}"
    rule = f"nft insert rule {chain.family} {chain.table} {chain.name} iifname {interface} accept"
    return f"`{rule}`, and the same with oifname, {both}"


def _bridged() -> Iterator[Finding]:
    """Whether bridges show what they pass on to the firewall, by br_netfilter."""
    try:
        with open(_BRIDGED) as file:
            is_on = file.read().strip() != "0"
    except OSError:
        is_on = False
    if is_on:
        yield Finding(
            "br_netfilter", DEGRADED, "`-p [::1]:…` is refused, and the host's rules are asked between neighbours, too",
            "`sysctl -w net.bridge.bridge-nf-call-ip6tables=0 net.bridge.bridge-nf-call-iptables=0`, unless others "
            "want them, Kubernetes and Docker's --icc=false for instance",
        )  # fmt: skip
    else:
        yield Finding("br_netfilter", OK, "neighbours on a bridge reach each other past the rules of the host")


def _programs() -> Iterator[Finding]:
    there = [name for name in _PROGRAMS if shutil.which(name)]
    for name, package in _PROGRAMS.items():
        if name in there:
            yield Finding(name, OK, f"{shutil.which(name)}")
        else:
            yield Finding(name, DEGRADED, f"`--network {name}` is refused", f"`apt-get install {package}`")
