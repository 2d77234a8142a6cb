"""The networks of a store: found, listed, put there and taken away.

networks/              flock held by whoever makes or removes one
└── <name>.json        see record.py

Nobody gets onto a network while it is removed: see `removing`, and lease.py.
"""

from __future__ import annotations

import fcntl
import os

from minirun import events, jsonrecord
from minirun.errors import Conflict, MinirunError, NotFound
from minirun.kernel import files, jsonfile, tree
from minirun.network import lease
from minirun.network.record import Network

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from minirun.home import Home

_SUFFIX = ".json"
_HEX = frozenset("0123456789abcdef")


def hold(home: Home) -> int:
    """Keep everybody else from making and removing networks; closing the descriptor lets go."""
    descriptor = os.open(home.folder("networks"), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


def find(home: Home, name: str) -> Network | None:
    """The network of that name, or None.

    Raises:
        MinirunError: its record cannot be read.
    """
    path = home.network(name)
    try:
        network = Network(**jsonfile.read(path))
        if network.name != name:
            raise ValueError("it is of another name")  # noqa: TRY301 - told below, as all that is wrong with it
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise MinirunError(
            f"read network {name}", f"{path} is damaged: {error}",
            f"remove it: `rm {path}`, and make the network anew",
        ) from error  # fmt: skip
    return network


def get(home: Home, text: str, others: Sequence[Network] = ()) -> Network:
    """Find a network by name, id, or the beginning of its id, in Docker's order.

    Args:
        home: the store.
        text: what it is called.
        others: networks without a record that are meant as well: see predefined.py.

    Raises:
        NotFound: none is meant.
        Conflict: several are.
        MinirunError: a record cannot be read.
    """
    if text and "/" not in text and (network := find(home, text)):
        return network
    found = [network for network in others if network.name == text]
    if not found and text and _HEX.issuperset(text):
        found = [network for network in (*others, *list_all(home)) if network.id.startswith(text)]
    if len(found) > 1:
        raise Conflict(f"find network {text}", f"{len(found)} networks' ids begin so", "give more of the id")
    if not found:
        raise NotFound(f"find network {text}", "no such network", "`minirun network ls` lists them")
    return found[0]


def list_all(home: Home, warn: Callable[[MinirunError], object] | None = None) -> list[Network]:
    """Every network, by name.

    Args:
        home: whose.
        warn: told of each record that cannot be read, which is left out; without it that is raised.
    """
    found = []
    for entry in sorted(os.listdir(home.folder("networks"))):
        try:
            if entry.endswith(_SUFFIX) and (network := find(home, entry.removesuffix(_SUFFIX))):
                found.append(network)
        except MinirunError as error:
            if warn is None:
                raise
            warn(error)
    return found


def put(home: Home, network: Network) -> Network:
    """Put a network on disk; the folder is held, and there is none of its name."""
    jsonrecord.write(home, home.network(network.name), network.to_json())
    events.emit(home, "network", "create", network.id, network.told())
    return network


def take_away(home: Home, network: Network) -> None:
    """Take a network that nobody is on off the disk; the folder and its leases are held."""
    files.remove(home.network(network.name))
    files.sync_folder(home.folder("networks"))
    tree.remove(lease.folder(home, network.id))
    events.emit(home, "network", "destroy", network.id, network.told())
