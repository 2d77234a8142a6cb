"""What is done with networks: made, listed, looked at, removed.

A network is used by containers that run: see network/lease.py. One that does not run any more only names it.
"""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime

from minirun import caller
from minirun.container import record as records
from minirun.container import state
from minirun.engine import open_home
from minirun.errors import Attempt, BadInput, Conflict, MinirunError, NotFound, Unsupported
from minirun.journal import Operation
from minirun.network import address, creation, drivers, lease, predefined, store
from minirun.network.record import DEFAULT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any

    from minirun.home import Home
    from minirun.network.record import Network

FILTERS = ("dangling", "driver", "id", "label", "name", "scope", "type")
_NO_DRIVERS = ("overlay", "host", "null", "none")


def create(
    name: str,
    *,
    driver: str = "bridge",
    subnets: Sequence[str] = (),
    gateways: Sequence[str] = (),
    ip_range: str = "",
    auxiliary: Mapping[str, str] = {},
    ipv6: bool = False,
    internal: bool = False,
    options: Mapping[str, str] = {},
    labels: Mapping[str, str] = {},
) -> str:
    """Make a network, and what it has on the host: see drivers.py.

    Args:
        name: unique in the store.
        driver: ``bridge``, ``macvlan`` or ``ipvlan``.
        subnets: one of IPv4 and one of IPv6 at most; chosen where there is none.
        gateways: likewise.
        ip_range: the part of the IPv4 subnet that containers get addresses of.
        auxiliary: addresses that no container gets, for somebody else has them: name to address.
        ipv6: whether it has IPv6; a subnet of IPv6 says so, too.
        internal: whether there is no way out.
        options: Docker's of its driver.
        labels: name to value.

    Returns:
        Its id.

    Raises:
        BadInput, Unsupported: something of that has no meaning, or is not built.
        Conflict: there is one of that name, or its addresses are somebody's.
    """
    if caller.ROOTLESS:
        raise Unsupported(
            f"create network {name}", "a network is an interface of the host, and an ordinary user can make none",
            "pasta connects each container: leave --network out; or --network container:NAME shares one",
        )  # fmt: skip
    attempt = f"create network {name}"
    if driver not in drivers.NAMES:
        reason = "is not built in this version" if driver in _NO_DRIVERS else "does not exist"
        raise Unsupported(attempt, f"the driver {driver} {reason}", f"there are {', '.join(drivers.NAMES)}")
    home = open_home()
    with Attempt(attempt), Operation(home) as operation:
        held = store.hold(home)
        try:
            if store.find(home, name):
                raise Conflict(attempt, "there is one of that name", f"`minirun network inspect {name}` shows it")
            network = creation.describe(
                home, name, driver=driver, subnet=_one(attempt, "--subnet", subnets, 32), ip_range=ip_range,
                gateway=_one(attempt, "--gateway", gateways, 32), subnet6=_one(attempt, "--subnet", subnets, 128),
                gateway6=_one(attempt, "--gateway", gateways, 128), auxiliary=auxiliary, ipv6=ipv6, internal=internal,
                options=options, labels=labels,
            )  # fmt: skip
            if name == DEFAULT:
                raise BadInput(attempt, "the default network has that name", "take another name")
            operation.will("discard_network", home.root, home.runtime, name, network.id)
            store.put(home, network)
        finally:
            os.close(held)
        drivers.ensure(home, network)
    return network.id


def _one(attempt: str, flag: str, given: Sequence[str], bits: int) -> str:
    found = [text for text in given if address.width(text) == bits]
    if len(found) > 1:
        raise Unsupported(attempt, f"several of {flag} for IPv{6 if bits > 32 else 4} are not built in this version")
    return found[0] if found else ""


def listed(
    filters: Sequence[str] = (), warn: Callable[[MinirunError], object] | None = None
) -> list[Network]:  # fmt: skip
    """Networks by name.

    Args:
        filters: Docker's: ``dangling=true``, ``driver=bridge``, ``id=``, ``label=KEY[=VALUE]``, ``name=REGEX``,
            ``scope=local``, ``type=builtin`` or ``type=custom``.
        warn: told of each record that cannot be read, which is left out.

    Raises:
        BadInput: a filter that is none.
    """
    from minirun.engine.filters import read

    values = read(filters, FILTERS)
    home = open_home()
    # by name: one may get its record meanwhile
    every = {network.name: network for network in (*predefined.unwritten(home), *store.list_all(home, warn))}
    found = sorted(every.values(), key=lambda network: network.name)
    for word, given in values.items():
        tests = [_test(home, word, value) for value in given]
        enough = all if word == "label" else any
        found = [network for network in found if enough(test(network) for test in tests)]
    return found


def _test(home: Home, word: str, value: str) -> Callable[[Network], bool]:
    if word == "dangling":
        if value.lower() not in ("true", "1", "false", "0"):
            raise BadInput(f"filter by dangling={value}", "it is true or false")
        wanted = value.lower() in ("true", "1")
        return lambda network: (network.name not in predefined.DRIVERS and not is_used(home, network)) is wanted
    if word == "type":
        if value not in ("builtin", "custom"):
            raise BadInput(f"filter by type={value}", "it is builtin or custom")
        return lambda network: (network.name in predefined.DRIVERS) is (value == "builtin")
    if word == "scope":
        return lambda _network: value == "local"
    if word == "driver":
        return lambda network: network.driver == value
    if word == "id":
        return lambda network: network.id.startswith(value)
    if word == "label":
        key, equals, text = value.partition("=")
        return lambda network: key in network.labels and (not equals or network.labels[key] == text)
    try:
        pattern = re.compile(value)
    except re.error as error:
        raise BadInput(f"filter by name={value}", f"it is no regular expression: {error}") from None
    return lambda network: bool(pattern.search(network.name))


def is_used(home: Home, network: Network) -> bool:
    """Whether a container that runs is on a network; as with Docker, one that does not run only names it."""
    return bool(lease.holders(home, network.id))


def inspect(name: str) -> dict[str, Any]:
    """Everything about one network, as Docker's JSON has it.

    Raises:
        NotFound: there is none of that name or id.
    """
    home = open_home()
    network = store.get(home, name, predefined.unwritten(home))
    blocks = [_block(network, network.subnet, network.gateway)] if network.subnet else []
    if network.ip_range:
        blocks[0]["IPRange"] = network.ip_range
    if network.subnet6:
        blocks.append(_block(network, network.subnet6, network.gateway6))
    named = {"com.docker.network.bridge.name": network.interface} if network.driver == "bridge" else {}
    return {
        "Name": network.name,
        "Id": network.id,
        "Created": datetime.fromtimestamp(network.created, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "Scope": "local",
        "Driver": network.driver,
        "EnableIPv4": True,
        "EnableIPv6": bool(network.subnet6),
        "IPAM": {"Driver": "default", "Options": {}, "Config": blocks},
        "Internal": network.internal,
        "Attachable": False,
        "Ingress": False,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": False,
        "Containers": dict(_members(home, network)),
        "Options": {**named, **network.options},
        "Labels": network.labels,
    }


def _block(network: Network, subnet: str, gateway: str) -> dict[str, Any]:
    found: dict[str, Any] = {"Subnet": subnet} | ({"Gateway": gateway} if gateway else {})
    bits = address.width(subnet)
    if others := {key: own for key, own in network.auxiliary.items() if address.width(own) == bits}:
        found["AuxiliaryAddresses"] = others  # Docker's word, and docker-compose's
    return found


def _members(home: Home, network: Network) -> Iterator[tuple[str, dict[str, str]]]:
    if network.driver in ("host", "null"):  # nobody takes a lease of those
        nothing = dict.fromkeys(("EndpointID", "MacAddress", "IPv4Address", "IPv6Address"), "")
        for box in records.list_all(home, warn=lambda _error: None):
            if box.options["network"] == network.name and state.read(home, box).alive:
                yield box.id, {"Name": box.name, **nothing}
        return
    for container_id in lease.holders(home, network.id):
        own = lease.find(home, network.id, container_id)
        try:
            name = records.read(home, container_id).name
        except MinirunError:
            continue  # it has just gone
        if own:
            prefix, prefix6 = network.subnet.partition("/")[2], network.subnet6.partition("/")[2]
            yield container_id, {
                "Name": name, "EndpointID": own.endpoint, "MacAddress": own.mac,
                "IPv4Address": f"{own.address}/{prefix}",
                "IPv6Address": f"{own.address6}/{prefix6}" if own.address6 else "",
            }  # fmt: skip


def remove(names: Sequence[str]) -> Iterator[str | MinirunError]:
    """Remove networks one after the other; yields each name, or why it was not removed."""
    home = open_home()
    for name in names:
        try:
            remove_one(home, name)
            yield name
        except MinirunError as error:
            yield error


def remove_one(home: Home, name: str) -> None:
    """Remove a network, with its bridge and its rules.

    Raises:
        NotFound: there is none of that name.
        Conflict: it is the default one, or a container is on it.
    """
    attempt = f"remove network {name}"
    with Attempt(attempt), Operation(home, frees=True) as operation:
        held = store.hold(home)
        try:
            network = store.get(home, name, predefined.unwritten(home))
            if network.name == DEFAULT:
                raise Conflict(attempt, "it is the default network, and made again when it is needed")
            if network.name in predefined.DRIVERS:
                raise Conflict(attempt, "it is always there", "`minirun network ls -f type=custom` lists the others")
            leases = lease.hold(home, network.id)
            try:
                _check_unused(home, network, attempt)
                # removing is its own undo: half of it is worth nothing, so whoever recovers does the rest
                operation.will("discard_network", home.root, home.runtime, network.name, network.id)
                drivers.remove(home, network)
            finally:
                os.close(leases)
        finally:
            os.close(held)


def _check_unused(home: Home, network: Network, attempt: str) -> None:
    """Raise Conflict where a container is on the network; the leases are held."""
    names = []
    for container_id in lease.holders(home, network.id):
        try:
            box = records.read(home, container_id)
        except NotFound:
            continue  # it has gone, and nothing of it will come back
        names.append(box.name)
    if names:
        raise Conflict(
            attempt, f"it is in use by container{'s' * (len(names) > 1)} {', '.join(names)}",
            f"stop what uses it first: `minirun stop {' '.join(names)}`",
        )  # fmt: skip
