"""The bridge of a network on the host: made when somebody needs it and it is not there.

    minirun0  kind bridge, address 02:… of the network's id, no spanning tree
    ├── 10.90.0.1/16, fd0c:…::1/64        the gateways
    ├── mr0123456789a                     the host's end of a container's eth0
    └── rules: firewall.py                forwarding: on

    <runtime>/networks/<id>/bridge   "<network namespace> <index>": it was made whole, there, under that index

A container starts with a look at that file; only where it is not right the library is imported, which takes as long as
fifty starts. All of it can be done again after it was cut short. The bridge is known by its hardware address, which it
is born with; one of the same name with another is somebody else's, and left alone.
"""

from __future__ import annotations

import os
from _socket import if_nametoindex
from errno import ENODEV

from minirun.errors import Conflict, MinirunError, NotFound
from minirun.home import Home
from minirun.kernel import files
from minirun.network import cable, firewall, lease, netlink, store
from minirun.network.address import Subnet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyroute2 import IPRoute

    from minirun.network.record import Network

_CONF4, _CONF6 = "/proc/sys/net/ipv4/conf", "/proc/sys/net/ipv6/conf"
_ALIAS_BYTES = 255  # IFALIASZ, without the NUL


def ensure(home: Home, network: Network) -> int:
    """Have the bridge of a network be there, with its addresses and rules.

    Returns:
        Its index, in the network namespace of the caller.

    Raises:
        Conflict: the host has an interface of its name, or routes to its addresses.
        MinirunError: the kernel refuses.
    """
    index = made(home, network)
    if index and firewall.is_in_force(network):
        return index
    lock = hold(home)
    try:
        if not os.path.exists(home.network(network.name)):
            raise NotFound(f"use network {network.name}", "it was removed meanwhile", "`minirun network ls` lists them")
        index = made(home, network)
        if not (firewall.is_in_force(network) if index else firewall.is_there()):
            restore(home)
        if not index:
            index = make(home, network)
    except OSError as error:
        raise MinirunError(
            f"make the bridge of network {network.name}", error, "look whether this kernel has bridges and nftables"
        ) from error
    finally:
        os.close(lock)
    return index


def restore(home: Home) -> None:
    """Put the rules of all networks in force again: whoever flushed them flushed everybody's. Bridges are held."""
    for network in sorted(store.list_all(home, warn=lambda _error: None), key=lambda network: network.created):
        if made(home, network):
            firewall.admit(network)
    from minirun.network import published

    published.restore(home)


def made(home: Home, network: Network) -> int:
    """The index of the bridge, if it was made whole and is there still; or 0."""
    try:
        with open(f"{lease.folder(home, network.id)}/bridge", "rb", 0) as file:
            namespace, index = file.read(64).split()
        if int(namespace) == _namespace() and if_nametoindex(network.interface) == int(index):
            return int(index)
    except (OSError, ValueError):
        pass
    return 0


def is_noted(home: Home, network: Network) -> bool:
    """Whether the bridge was made and not taken down, in whatever network namespace; somebody may have removed it."""
    return os.path.exists(f"{lease.folder(home, network.id)}/bridge")


def _namespace() -> int:
    return os.stat("/proc/thread-self/ns/net").st_ino


def hardware_address(network: Network) -> str:
    """The address that the bridge is known by: locally administered, and of the network's id."""
    return ":".join(["02", *(network.id[place : place + 2] for place in range(0, 10, 2))])


def make(home: Home, network: Network) -> int:
    """Make the bridge of a network, or what it lacks. Bridges are held.

    Returns:
        Its index.

    Raises:
        Conflict: the host has an interface of its name, or routes to its addresses.
        OSError, MinirunError: the kernel refuses.
    """
    from pyroute2 import IPRoute

    from minirun.network import creation

    with IPRoute() as speaker:
        found = speaker.link_lookup(ifname=network.interface)
        if found:
            _check_ours(speaker.link("get", index=found[0])[0], network)
        else:
            creation.check_still_free(network)
            speaker.link(
                "add", ifname=network.interface, kind="bridge", address=hardware_address(network), mtu=network.mtu,
                br_stp_state=0,
            )  # fmt: skip
        index: int = speaker.link_lookup(ifname=network.interface)[0]
        try:
            _configure(home, speaker, network, index)
        except BaseException:
            if not found:
                speaker.link("del", index=index)
            raise
    directory = lease.folder(home, network.id)
    os.makedirs(directory, 0o700, exist_ok=True)
    files.replace(f"{directory}/bridge", f"{_namespace()} {index}".encode(), durable=False)
    return index


def _configure(home: Home, speaker: IPRoute, network: Network, index: int) -> None:
    """Give a bridge its addresses and rules, and put it into use."""
    speaker.link("set", index=index, ifalias=alias(home, network))
    for text, own in ((network.subnet, network.gateway), (network.subnet6, network.gateway6)):
        if text:
            flags = {"flags": 2} if ":" in own else {}  # IFA_F_NODAD: nobody else can have it
            speaker.addr("replace", index=index, address=own, prefixlen=Subnet.parse(text).prefix, **flags)
    if os.path.isdir(f"{_CONF6}/{network.interface}"):
        # a container must not be able to say that it is the host's router (CVE-2020-13401)
        _write(f"{_CONF6}/{network.interface}/accept_ra", "0")
        # its link-local address is used at once, or nobody is asked for on the bridge in the first seconds
        _write(f"{_CONF6}/{network.interface}/accept_dad", "0")
    # the rules come first: at no moment does a packet pass without them
    firewall.admit(network)
    if not network.internal:
        from minirun.network import forwarding

        forwarding.switch_on(home, ipv6=bool(network.subnet6))
    holders = lease.holders(home, network.id)
    _take_back(home, network, holders, index)
    speaker.link("set", index=index, state="up")
    if holders:
        from minirun.network import published

        published.restore(home)  # that loopback may come through was said of the bridge before


def _take_back(home: Home, network: Network, holders: list[str], index: int) -> None:
    """Have the cables of containers that run be ports of their bridge, after somebody removed the one before."""
    speaker = netlink.speak()
    try:
        for own in filter(None, (lease.find(home, network.id, holder) for holder in holders)):
            try:
                port = netlink.index(speaker, cable.host_end(own))
                netlink.ask(speaker, [netlink.join(port, index), *([] if network.icc else [netlink.isolate(port)])])
            except OSError as error:
                if error.errno != ENODEV:
                    raise  # else it has ended, or is just being started
    finally:
        speaker.close()


def alias(home: Home, network: Network) -> str:
    """What `ip link` tells of a bridge: whose it is, and of which store."""
    told = f"minirun network {network.name} {network.id[:12]} of {home.root}"
    return told.encode()[:_ALIAS_BYTES].decode(errors="ignore")


def _check_ours(link: object, network: Network) -> None:
    attributes = dict(link["attrs"])  # type: ignore[index]  # pyroute2's messages are dictionaries
    kind = dict(attributes.get("IFLA_LINKINFO", {}).get("attrs", ())).get("IFLA_INFO_KIND")
    if kind != "bridge" or attributes.get("IFLA_ADDRESS") != hardware_address(network):
        raise Conflict(
            f"make the bridge of network {network.name}", f"the host has an interface {network.interface} already",
            f"look whose it is, `ip -d link show {network.interface}`, and give it another name",
        )  # fmt: skip


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


def remove(home: Home, network: Network) -> None:
    """Take a network from the host and from the store; nobody is on it, and the folder of networks is held.

    Its record goes last: as long as it is there, whoever finds this cut short knows what else has to go.

    Raises:
        MinirunError: the kernel refuses.
    """
    lock = hold(home)
    try:
        take_down(home, network)
        store.take_away(home, network)
    finally:
        os.close(lock)


def take_down(home: Home, network: Network) -> None:
    """Take a network that nobody is on from the host; with the last one goes all that minirun changed there.

    The caller holds the networks, the leases, and bridges: see `hold`.

    Raises:
        MinirunError: the kernel refuses.
    """
    from pyroute2 import IPRoute

    from minirun.network import portrules, retiring, ruleset

    if os.path.isdir(f"{_CONF4}/{network.interface}"):
        # while the bridge is there, it tells whether there is something of it in the rules
        portrules.forget(network.interface, [subnet for subnet in (network.subnet, network.subnet6) if subnet])
    elif rules := ruleset.read():
        ruleset.forget(rules, network.interface)
    files.remove(f"{lease.folder(home, network.id)}/bridge")
    with IPRoute() as speaker:
        for index in speaker.link_lookup(ifname=network.interface):
            try:
                _check_ours(speaker.link("get", index=index)[0], network)
            except Conflict:
                continue  # somebody else's by now
            speaker.link("del", index=index)
    firewall.dismiss(network)
    retiring.tidy(home, but=network.name)


def hold(home: Home) -> int:
    """Keep everybody else from making and removing bridges."""
    os.makedirs(f"{home.runtime}/networks", 0o700, exist_ok=True)
    return files.lock(f"{home.runtime}/networks/lock", exclusive=True)
