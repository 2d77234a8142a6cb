"""--network-egress: a container that reaches what it is allowed to reach, and nothing else.

    read      ─ the flag                                            ─▶ options["egress"]: the elements; none: nothing
    check     ─ its networks have cables to hold it by
    steps     ─ its claim, with the undo, before it has a lease     ─▶ network/egress.py
    guard     ─ its rules, for each of its cables before that is up

The attendant answers the container's questions for names, and lets it reach what it was told: see attendant/egress.py.
"""

from __future__ import annotations

from minirun.errors import BadInput, Unsupported
from minirun.journal import Step
from minirun.network import egress, egressclaim, egresslist
from minirun.network.cable import host_end
from minirun.network.record import DEFAULT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    from minirun.container.record import Record
    from minirun.home import Home
    from minirun.network.lease import Lease
    from minirun.network.record import Network


def read(given: Sequence[str], options: Mapping[str, Any]) -> list[str]:
    """Turn what --network-egress was given into elements, for a container with these *options*.

    Raises:
        BadInput: it has no meaning, or the container has no network of its own.
    """
    if "networks" not in options:
        mode = options["network"]
        reason = "it reaches nothing as it is" if mode == "none" else "its network is not its own"
        remedy = "give that container the list" if ":" in mode else f"`--network {DEFAULT}` gives it one that is"
        raise BadInput(f"use --network-egress with --network {mode}", reason, remedy)
    return egresslist.read(given)


def check(networks: Iterable[Network]) -> None:
    """Refuse networks whose containers are connected past the host.

    Raises:
        Unsupported: one of them is of that kind.
    """
    for network in networks:
        if network.driver != "bridge":
            raise Unsupported(
                f"use --network-egress on network {network.name}",
                f"it is of driver {network.driver}: what its containers send does not come by the host",
                "`minirun network create` makes one that is a bridge",
            )  # fmt: skip


def steps(home: Home, record: Record, network: Callable[[], Network]) -> list[Step]:
    """List what comes before a container has addresses.

    Args:
        home: the store.
        record: the container.
        network: finds the first that it is on.
    """
    options = record.options
    allowed = ", ".join(options["egress"]) or "nothing"

    def claim() -> None:
        egressclaim.write(home, record.id, record.name, options["egress"], options.get("add_hosts", ()), network())

    return [
        Step(
            f"write {egressclaim.folder(home, record.id)}: {allowed}", claim, undos(home, record)[0],
            "what nft(8) holds it to, on its cable, before that is up",
        )
    ]  # fmt: skip


def undos(home: Home, record: Record) -> list[list[str]]:
    """What whoever finds it ended must do."""
    return [["release_egress", home.root, home.runtime, record.id]]


def let_go(home: Home, lease: Lease) -> None:
    """It has left a network while it runs: its cable there is gone. Idempotent."""
    egress.let_go(home, lease.container, host_end(lease))


def guard(home: Home, network: Network, lease: Lease) -> Callable[[str], None]:
    """What is called with the host's end of one of its cables, before that is up."""
    from minirun.network.bridge import hardware_address

    return lambda interface: egress.guard(home, network, lease, interface, hardware_address(network))
