"""Who is on a network, with which addresses: a lease is two or three symbolic links, and no daemon's to give.

    <runtime>/networks/<network's id>/       gone at boot, as is what they stand for
    ├── lock                flock of whoever takes or gives back; holds the number that was given last
    ├── 10.90.0.7       → <container's id>
    ├── fd0c:…::7       → <container's id>
    └── <container's id> → "10.90.0.7 fd0c:…::7 02:42:0a:5a:00:07 <endpoint's id> eth0 db,store"
                             without IPv6, and without other names than its own, a - is in their place

A link is there whole or not at all, and there is but one of a name: symlink(2) says EEXIST to the second. The last link
of a lease is the container's; whoever was killed before it is found by the addresses that lead to its container.

Addresses are given in turn, so that one which came back rests: the kernel takes some milliseconds to take a namespace
apart, and until then what is in it answers. The address of the interface follows from its IPv4 address, so that
neighbours who remember it are right.
"""

from __future__ import annotations

import os

from minirun.errors import BadInput, Conflict, NotFound
from minirun.kernel import files
from minirun.network import address
from minirun.network.address import Subnet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from minirun.home import Home
    from minirun.network.record import Network

_ID_DIGITS = 64
_SHORT_ID = 12
_MAC_PREFIX = "02:42"  # locally administered; Docker's


class Lease:
    """The addresses of a container on one network.

    Attributes:
        container: its id.
        address: of IPv4.
        address6: of IPv6; empty without.
        mac: of its interface; empty where that is its parent's.
        endpoint: 64 hex digits: the id of its being on the network.
        interface: what the container calls its interface there: ``eth0``.
        aliases: names by which others on the network find it, beside its own.
    """

    __slots__ = ("address", "address6", "aliases", "container", "endpoint", "interface", "mac")

    def __init__(
        self, container: str, own: str, own6: str, mac: str, endpoint: str, interface: str, aliases: Sequence[str]
    ) -> None:  # fmt: skip
        self.container = container
        self.address = own
        self.address6 = own6
        self.mac = mac
        self.endpoint = endpoint
        self.interface = interface
        self.aliases = tuple(aliases)

    def text(self) -> str:
        """What its last link says."""
        aliases = ",".join(self.aliases)
        own = f"{self.address} {self.address6 or '-'} {self.mac or '-'}"
        return f"{own} {self.endpoint} {self.interface} {aliases or '-'}"

    def names(self, name: str, hostname: str) -> tuple[str, ...]:
        """What others on the network find the container by, whose *name* and *hostname* these are; in small letters."""
        every = (name, *self.aliases, self.container[:_SHORT_ID], hostname)
        return tuple(dict.fromkeys(one.lower() for one in every if one))


def folder(home: Home, network_id: str) -> str:
    """The directory of the leases of a network."""
    return f"{home.runtime}/networks/{network_id}"


def _hold(directory: str, *, make: bool = True) -> int:
    try:
        return files.lock(f"{directory}/lock", exclusive=True)
    except FileNotFoundError:
        if not make:
            raise
        os.makedirs(directory, 0o700, exist_ok=True)
        return files.lock(f"{directory}/lock", exclusive=True)


def hold(home: Home, network_id: str, *, make: bool = True) -> int:
    """Keep everybody else from taking and giving back leases of a network; closing the descriptor lets go.

    Raises:
        FileNotFoundError: nobody was ever on it, or it was removed, and the directory is not to be made for that.
    """
    return _hold(folder(home, network_id), make=make)


def take(
    home: Home, network: Network, container_id: str, *, own: str = "", own6: str = "", mac: str = "",
    interface: str = "eth0", aliases: Sequence[str] = (),
) -> Lease:  # fmt: skip
    """Give a container addresses that nobody else on the network has.

    Args:
        home: the store.
        network: which.
        container_id: whose.
        own: the IPv4 address that is wanted; empty for any.
        own6: the IPv6 address that is wanted; empty for the one that goes with the other.
        mac: the address of its interface; empty for the one that goes with the others.
        interface: what the container calls that.
        aliases: names for it beside its own, in small letters.

    Raises:
        BadInput: an address that is wanted is none of the network's.
        Conflict: somebody has it, or all are given.
        NotFound: the network was removed meanwhile.
    """
    check(network, own, own6, mac)
    directory = folder(home, network.id)
    lock = _hold(directory)
    try:
        if not os.path.exists(home.network(network.name)):
            raise NotFound(f"use network {network.name}", "it was removed meanwhile", "`minirun network ls` lists them")
        if os.path.lexists(f"{directory}/{container_id}"):
            _release(directory, container_id)  # of the time before: its journal is gone, and the store's is not
        own, own6 = _reserve(directory, network, container_id, own, own6, lock)
        if not mac and not network.shares_mac:
            mac = f"{_MAC_PREFIX}:{address.pack(own).hex(':')}"
        lease = Lease(container_id, own, own6, mac, os.urandom(32).hex(), interface, aliases)
        os.symlink(lease.text(), f"{directory}/{container_id}")
    finally:
        os.close(lock)
    return lease


def check(network: Network, own: str, own6: str, mac: str) -> None:
    """Raise BadInput unless addresses that are wanted are ones that *network* has to give."""
    if mac and network.shares_mac:
        raise BadInput(
            f"use --mac-address {mac}", f"on network {network.name} every interface has that of {network.interface}",
            "leave it out, or make a macvlan",
        )  # fmt: skip
    for flag, wanted, block in (("--ip", own, network.subnet), ("--ip6", own6, network.subnet6)):
        if not wanted:
            continue
        attempt = f"use {flag} {wanted}"
        if not block:
            raise BadInput(
                attempt, f"network {network.name} has no IPv6", "`minirun network create --ipv6 …` makes one that has"
            )
        subnet = Subnet.parse(block)
        number = address.parse(wanted)
        if not subnet.holds(number, address.width(wanted)):
            raise BadInput(attempt, f"it is not in {block}, the subnet of network {network.name}")
        if kept := network.kept().get(address.text(number, subnet.bits)):
            raise BadInput(attempt, f"it is {kept} of network {network.name}")
        if number == subnet.first or (number == subnet.last and subnet.bits == 32):
            raise BadInput(attempt, f"it stands for {'all' if number == subnet.last else 'the network'} of {block}")


def _reserve(
    directory: str, network: Network, container_id: str, own: str, own6: str, lock: int
) -> tuple[str, str]:  # fmt: skip
    """Make the links of the addresses; those that are wanted, or the next in turn that are free."""
    block = Subnet.parse(network.subnet)
    own6 = own6 and address.text(address.parse(own6), 128)
    if own6 and not _link(directory, own6, container_id):
        raise _in_use("--ip6", own6, network, directory)
    try:
        if own:
            own = address.text(address.parse(own), 32)
            if not _link(directory, own, container_id):
                raise _in_use("--ip", own, network, directory)  # noqa: TRY301 - what was linked before it goes
            if network.subnet6 and not own6:
                own6 = _beside(directory, network, container_id, address.parse(own) - block.first)
            return own, own6
        return _next(directory, network, container_id, own6, lock)
    except BaseException:
        _unlink(directory, container_id, (own, own6))
        raise


def _next(directory: str, network: Network, container_id: str, own6: str, lock: int) -> tuple[str, str]:
    block, kept = Subnet.parse(network.subnet), network.kept()
    pool = Subnet.parse(network.ip_range) if network.ip_range else block
    told = os.pread(lock, 16, 0)
    given = int.from_bytes(told, "big") if len(told) == 16 else pool.first - 1
    turn = given - pool.first + 1 if pool.holds(given, 32) else 0
    for offset in range(pool.size):
        number = pool.first + (turn + offset) % pool.size
        own = address.text(number, 32)
        if number in (block.first, block.last) or own in kept or not _link(directory, own, container_id):
            continue
        if network.subnet6 and not own6:
            own6 = _beside(directory, network, container_id, number - block.first)
        os.pwrite(lock, number.to_bytes(16, "big"), 0)
        return own, own6
    raise Conflict(
        f"take an address of network {network.name}", f"all {pool.size} of {pool!r} are in use",
        "remove containers, or make a network with a wider --subnet",
    )  # fmt: skip


def _beside(directory: str, network: Network, container_id: str, place: int) -> str:
    """Take the IPv6 address with the same *place* in its block as the IPv4 address, or one behind it."""
    width, block6, kept = Subnet.parse(network.subnet).size, Subnet.parse(network.subnet6), network.kept()
    step = width if width < block6.size else 1  # none that goes with another IPv4 address, if there are others
    for turn in range(block6.size // step):
        number = (place + turn * step) % block6.size
        own6 = address.text(block6.first + number, 128)
        if number > 1 and own6 not in kept and _link(directory, own6, container_id):
            return own6
    raise Conflict(
        f"take an address of network {network.name}", f"all of {block6!r} are in use",
        "remove containers, or make a network with a wider --subnet",
    )  # fmt: skip


def _link(directory: str, own: str, container_id: str) -> bool:
    try:
        os.symlink(container_id, f"{directory}/{own}")
    except FileExistsError:
        return False
    return True


def _in_use(flag: str, own: str, network: Network, directory: str) -> Conflict:
    owner = os.readlink(f"{directory}/{own}")
    return Conflict(
        f"use {flag} {own}", f"container {owner[:12]} has it on network {network.name}",
        "stop that one, or leave the flag out for an address that is free",
    )  # fmt: skip


def find(home: Home, network_id: str, container_id: str) -> Lease | None:
    """The lease of a container, or None if it has none."""
    try:
        words = os.readlink(f"{folder(home, network_id)}/{container_id}").split()
    except OSError:
        return None
    own, own6, mac, endpoint, interface, aliases = words
    named = aliases.split(",") if aliases != "-" else ()
    return Lease(container_id, own, own6 if own6 != "-" else "", mac if mac != "-" else "", endpoint, interface, named)


def networks_of(home: Home, container_id: str) -> set[str]:
    """The ids of the networks that a container has a lease of."""
    folders = f"{home.runtime}/networks"
    try:
        return {name for name in os.listdir(folders) if os.path.lexists(f"{folders}/{name}/{container_id}")}
    except FileNotFoundError:
        return set()


def holders(home: Home, network_id: str) -> list[str]:
    """The ids of the containers that have addresses of a network."""
    directory = folder(home, network_id)
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return []
    found = {name for name in names if len(name) == _ID_DIGITS}
    for name in names:
        if name not in found and name != "lock":
            try:
                found.add(os.readlink(f"{directory}/{name}"))
            except OSError:
                continue  # just given back, or no lease
    return sorted(found)


def release(home: Home, network_id: str, container_id: str) -> bool:
    """Give back what a container has; whether it had anything. Idempotent."""
    directory = folder(home, network_id)
    try:
        lock = files.lock(f"{directory}/lock", exclusive=True)
    except FileNotFoundError:
        return False  # the network has gone, and is not to leave a directory
    try:
        return _release(directory, container_id)
    finally:
        os.close(lock)


def _release(directory: str, container_id: str) -> bool:
    try:
        own, own6, *_ = os.readlink(f"{directory}/{container_id}").split()
    except FileNotFoundError:
        return _release_cut_short(directory, container_id)
    _unlink(directory, container_id, (own, own6))
    os.unlink(f"{directory}/{container_id}")
    return True


def _release_cut_short(directory: str, container_id: str) -> bool:
    found = _addresses(directory, container_id)
    _unlink(directory, container_id, found)
    return bool(found)


def _addresses(directory: str, container_id: str) -> list[str]:
    found: list[str] = []
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return found
    for name in names:
        try:
            if (":" in name or "." in name) and os.readlink(f"{directory}/{name}") == container_id:
                found.append(name)
        except FileNotFoundError:
            continue  # just given back
    return found


def addresses(home: Home, network_id: str, container_id: str) -> list[str]:
    """Every address that leads to a container: those of its lease, and what may be left of another."""
    return _addresses(folder(home, network_id), container_id)


def strike(home: Home, network_id: str, container_id: str, address: str) -> None:
    """Give back one address of a container that is none of its lease's. Idempotent."""
    directory = folder(home, network_id)
    lock = _hold(directory)
    try:
        own = find(home, network_id, container_id)
        if own and address not in (own.address, own.address6):
            _unlink(directory, container_id, [address])
    finally:
        os.close(lock)


def _unlink(directory: str, container_id: str, names: tuple[str, ...] | list[str]) -> None:
    """Remove the links of addresses that lead to a container, and no other's."""
    for name in names:
        if not name or name == "-":
            continue
        try:
            if os.readlink(f"{directory}/{name}") == container_id:
                os.unlink(f"{directory}/{name}")
        except FileNotFoundError:
            pass
