"""Containers are held to their allow-lists: by rules on their cables, until their end.

    claim ─▶ its cable is there, and down ─▶ guard: rules ─▶ its cable is up ─▶ … ─▶ release: denials kept, rules, claim

The rules can be made again from the claim, where somebody has flushed all there are: see attendant/egress.py. Where
the kernel cannot refuse what they deny, the attendant does: see attendant/egressrefusal.py.
"""

from __future__ import annotations

import os
from _socket import if_nametoindex

from minirun.errors import MinirunError
from minirun.home import Home
from minirun.kernel import files, jsonfile, tree
from minirun.network import address, cable, egressclaim, egressdenials, egresselements, egressrules, firewall
from minirun.network.address import Subnet
from minirun.network.egresslink import Link
from minirun.network.egresslist import GATEWAY, services
from minirun.network.egressrules import Group
from minirun.network.record import DEFAULT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from minirun.network.lease import Lease
    from minirun.network.record import Network

_FIRST_LOG_GROUP, _LOG_GROUPS = 1024, 60000


def guard(home: Home, network: Network, lease: Lease, interface: str, bridge: str) -> None:
    """Hold a container to its list on one more interface, which nothing goes through yet.

    Args:
        home: the store.
        network: which it leads to.
        lease: what the container has there.
        interface: the end on the host.
        bridge: the hardware address of the network's bridge.

    Raises:
        MinirunError: nft is not there, or the kernel refuses the rules.
    """
    ends = [[lease.address, network.subnet, network.gateway]]
    if lease.address6:
        ends.append([lease.address6, network.subnet6, network.gateway6])
    lock = egressclaim.hold(home, lease.container)
    if lock < 0:
        raise MinirunError(_attempt(lease.container), "what it may reach was taken away meanwhile", "start it again")
    try:
        value = {"mac": lease.mac, "bridge": bridge, "ends": ends}
        if network.name == DEFAULT:
            value["default"] = network.interface
        jsonfile.write(f"{egressclaim.folder(home, lease.container)}/{interface}", value, durable=False)
        _apply(home, lease.container)
    finally:
        os.close(lock)


def restore(home: Home, container_id: str, *, wait: bool = True) -> bool:
    """Put the rules of a container in force again, if they are not; whether they were not.

    Raises:
        MinirunError: nft is not there, or the kernel refuses.
        BlockingIOError: somebody holds the claim, and *wait* is false.
    """
    lock = egressclaim.hold(home, container_id, wait=wait)
    if lock < 0:
        return False
    try:
        if egresselements.is_there(container_id):
            return False
        return _apply(home, container_id)
    finally:
        os.close(lock)


def let_go(home: Home, container_id: str, interface: str) -> None:
    """A container has left a network: nothing is kept of its cable there, which is gone. Idempotent.

    Args:
        home: the store.
        container_id: whose.
        interface: the end on the host.

    Raises:
        MinirunError, OSError: the kernel refuses.
    """
    lock = egressclaim.hold(home, container_id)
    if lock < 0:
        return
    path = f"{egressclaim.folder(home, container_id)}/{interface}"
    try:
        if os.path.exists(path):
            egresselements.ask_no_more(Link(interface, **jsonfile.read(path)).asking)
            _apply(home, container_id, [interface])
            files.remove(path)
    finally:
        os.close(lock)


def _apply(home: Home, container_id: str, gone: Sequence[str] = ()) -> bool:
    """Put the rules in force, without those of interfaces that are gone; the claim is held. False: it has none."""
    links = _links(home, container_id)
    if not links and not gone:
        return False
    told = egressclaim.read(home, container_id)
    gateways = [gateway for link in links for _, _, gateway in link.ends]
    groups = _groups(told["elements"], told["hosts"], gateways)
    rejects = not os.path.exists(_without_reject(home))
    try:
        _change(home, container_id, groups, links, gone, rejects=rejects)
    except MinirunError:
        if len(_links(home, container_id)) < len(links):
            return _apply(home, container_id, gone)  # one has just gone, and the rules name it
        if not rejects:
            raise
        _change(home, container_id, groups, links, gone, rejects=False)
        files.replace(_without_reject(home), b"", durable=False)
    return True


def _change(
    home: Home, container_id: str, groups: Sequence[Group], links: Sequence[Link], gone: Sequence[str], *, rejects: bool
) -> None:
    attempt = _attempt(container_id)
    script = egressrules.script(container_id, groups, links, log_group(home), rejects=rejects, gone=gone)
    try:
        firewall.change(script, attempt)
    except MinirunError as error:
        remedy = "it takes Linux 5.16, with hooks at ingress and egress (CONFIG_NETFILTER_EGRESS), and nfnetlink_log"
        raise type(error)(attempt, error.reason, f"{error.remedy}\n{remedy}") from None


def _without_reject(home: Home) -> str:
    """A file that is there where the kernel was found to have no `reject` at ingress; gone at boot."""
    return f"{home.runtime}/egress.unrejected"


def _attempt(container_id: str) -> str:
    return f"hold container {container_id[:12]} to what it may reach"


def _links(home: Home, container_id: str) -> list[Link]:
    """The interfaces that are there."""
    found = []
    for link in _noted(egressclaim.folder(home, container_id)):
        try:
            if_nametoindex(link.interface)
        except OSError:
            continue  # it is gone
        found.append(link)
    return found


def _noted(directory: str) -> list[Link]:
    """The interfaces that were written down."""
    names = sorted(name for name in os.listdir(directory) if cable.is_host_end(name))
    return [Link(name, **jsonfile.read(f"{directory}/{name}")) for name in names]


def _groups(elements: Sequence[str], hosts: Sequence[Sequence[str]], gateways: Sequence[str]) -> list[Group]:
    groups = []
    for service, those in services(elements).items():
        blocks = [element.block for element in those if element.block]
        own = [where for name, where in hosts if any(element.means(name.lower()) for element in those)]
        if any(element.name == GATEWAY for element in those):
            own.append(GATEWAY)
        for where in own:
            blocks += [_single(one) for one in (gateways if where == GATEWAY else [where])]
        named = any(element.name and element.name != GATEWAY for element in those)
        groups.append(Group(service, blocks, named=named))
    return groups


def _single(where: str) -> Subnet:
    """The block that is one address."""
    bits = address.width(where)
    return Subnet(address.parse(where), bits, bits)


def log_group(home: Home) -> int:
    """The group of nfnetlink_log that denials are told to: one a store, for a group has one reader, its attendant."""
    from binascii import crc32

    there = os.stat(home.runtime)  # by whatever path
    return _FIRST_LOG_GROUP + crc32(f"{there.st_dev} {there.st_ino}".encode()) % _LOG_GROUPS


def release(root: str, runtime: str, container_id: str) -> None:
    """Have a container that has ended be held no more, and keep what it was denied. An undo of the journal: idempotent.

    Raises:
        OSError: the kernel refused.
    """
    home = Home(root, runtime)
    directory = egressclaim.folder(home, container_id)
    ending = directory + egressclaim.ENDING
    lock = egressclaim.hold(home, container_id)
    if lock >= 0:
        try:
            egressdenials.finish(home, container_id)
        except (OSError, ValueError):
            pass  # a full disk; what was denied keeps nobody from ending
        try:
            tree.remove(ending)
            os.rename(directory, ending)  # from now on nobody makes its rules again
        finally:
            os.close(lock)
    elif not os.path.isdir(ending):
        return
    egresselements.ask_no_more([pair for link in _noted(ending) for pair in link.asking])
    if egressclaim.is_shared(ending):
        _unplug(ending)
    egresselements.remove(container_id)
    tree.remove(ending)


def _unplug(directory: str) -> None:
    """Take away its cables: whoever shares its network and is alive still goes nowhere."""
    from minirun.network import netlink

    speaker = netlink.speak()
    try:
        for name in os.listdir(directory):
            try:
                if_nametoindex(name)
                netlink.ask(speaker, [netlink.remove_link(name)])
            except OSError:
                continue  # no interface, or just gone
    finally:
        speaker.close()
