"""What minirun changed on the host for networks, taken back when none needs it any more.

when the last bridge goes   forwarding is as it was (forwarding.py); the table of rules goes, unless somebody uses it
when `gc` is called         the default bridge goes, too, if no container is on it: nobody removes that network
"""

from __future__ import annotations

import os

from minirun.home import Home
from minirun.network import bridge, forwarding, lease, ruleset, store
from minirun.network.record import DEFAULT


def tidy(home: Home, but: str = "") -> None:
    """Set back what no bridge needs any more; the caller keeps others from making one.

    Args:
        home: the store.
        but: a network of it that does not count: it is just taken down.
    """
    own = [network for network in store.list_all(home, warn=lambda _error: None) if network.name != but]
    if any(bridge.made(home, network) and not network.internal for network in own):
        return
    rules = ruleset.read()
    if rules is None or not rules.passing_on:  # nor one of another store
        forwarding.set_back(home)
    if rules:
        ruleset.leave()


def is_needless(home: Home) -> bool:
    """Whether forwarding was switched on, and no network is there any more that needs it."""
    return forwarding.noted(home) is not None and not _up(home)


def is_up(home: Home) -> bool:
    """Whether something of the default network is on the host."""
    return DEFAULT in _up(home)


def _up(home: Home) -> list[str]:
    known = store.list_all(home, warn=lambda _error: None)
    return [network.name for network in known if bridge.is_noted(home, network)]


def retire(root: str, runtime: str) -> bool:
    """Take the default network from the host where no container is on it; the next one makes it again.

    An undo of the journal, too: idempotent.

    Returns:
        Whether its bridge was there.
    """
    home = Home(root, runtime)
    held = store.hold(home)
    leases = lock = -1
    try:
        network = store.find(home, DEFAULT)
        if network is None:
            lock = bridge.hold(home)
            tidy(home)
            return False
        leases = lease.hold(home, network.id)
        if lease.holders(home, network.id):
            return False
        lock = bridge.hold(home)
        index = bridge.made(home, network)
        if index and _has_ports(index):
            return False
        bridge.take_down(home, network)
        return index > 0
    finally:
        for descriptor in (held, leases, lock):
            if descriptor >= 0:
                os.close(descriptor)


def _has_ports(index: int) -> bool:
    """Whether somebody is on a bridge: also who shares the namespace of a container that has given back its lease."""
    from pyroute2 import IPRoute

    with IPRoute() as speaker:
        return any(dict(link["attrs"]).get("IFLA_MASTER") == index for link in speaker.get_links())
