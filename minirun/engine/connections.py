"""network connect and network disconnect: which networks a container is on changes, also while it runs."""

from __future__ import annotations

import os

from minirun import caller
from minirun.container import connection, networkflags
from minirun.container import record as records
from minirun.engine import open_home
from minirun.errors import Attempt, BadInput, NotFound, Unsupported
from minirun.journal import Operation
from minirun.network import lease, store
from minirun.network.record import DEFAULT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from minirun.home import Home


def connect(
    network: str, container: str, *, ip: str = "", ip6: str = "", mac: str = "", aliases: Sequence[str] = ()
) -> None:  # fmt: skip
    """Connect a container to one more network, also while it runs.

    Args:
        network: its name, or the beginning of its id.
        container: name, id or the beginning of that.
        ip: the IPv4 address that it is to have there; empty for the next that is free.
        ip6: the IPv6 address, likewise.
        mac: the hardware address of its interface; empty for one that follows from its address.
        aliases: names by which others there find it, beside its own.

    Raises:
        NotFound, Conflict: there is no such network or container, or they do not go together.
        BadInput: an address or a name has no meaning.
    """
    attempt = f"connect container {container} to network {network}"
    if caller.ROOTLESS:
        raise Unsupported(
            attempt, "a network is an interface of the host, and an ordinary user can make none",
            "make the container anew: pasta connects it, or --network container:NAME",
        )  # fmt: skip
    home = open_home()
    name = _name(home, network, attempt)
    wanted = networkflags.check({"name": name, "ip": ip, "ip6": ip6, "mac": mac, "aliases": list(aliases)})
    if known := store.find(home, name):
        lease.check(known, wanted["ip"], wanted["ip6"], wanted["mac"])
    with Attempt(attempt), Operation(home) as operation:
        box, lock = records.find_and_hold(home, container)
        try:
            connection.connect(home, box, wanted, operation)
        finally:
            os.close(lock)


def disconnect(network: str, container: str, *, force: bool = False) -> None:
    """Take a container off a network, also while it runs.

    Args:
        network: its name, or the beginning of its id.
        container: name, id or the beginning of that.
        force: that the network was removed, or the container, is no failure: what is left of the one in the other goes.

    Raises:
        NotFound, Conflict: there is no such network or container, or the one is not on the other.
    """
    home = open_home()
    attempt = f"disconnect container {container} from network {network}"
    try:
        name = _name(home, network, attempt)
    except NotFound:
        if not force:
            raise
        name = network
    with Attempt(attempt), Operation(home) as operation:
        try:
            box, lock = records.find_and_hold(home, container)
        except NotFound:
            if not force:
                raise
            _forget(home, name, container)
            return
        try:
            connection.disconnect(home, box, name, operation)
        finally:
            os.close(lock)


def _name(home: Home, network: str, attempt: str) -> str:
    """The name of the network that is meant; the default one is there as soon as somebody is on it."""
    if network in ("none", "host"):
        reason = f"{network} is said when a container is made, and stays"
        raise BadInput(attempt, reason, "make it anew: `minirun run --network NETWORK …`")
    return DEFAULT if network in (DEFAULT, "default") else store.get(home, network).name


def _forget(home: Home, name: str, container: str) -> None:
    """Give back what a container that is gone has of a network: somebody has removed it by hand."""
    network = store.find(home, name)
    for container_id in lease.holders(home, network.id) if network and container else ():
        gone = not os.path.exists(home.container(container_id))
        if network and gone and container_id.startswith(container):
            lease.release(home, network.id, container_id)
