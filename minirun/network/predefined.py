"""The networks that nobody has to make: bridge, host and none, which are listed like all others.

bridge   driver bridge   its record is written when it is first needed; before that its name and its id are known
host     driver host     the host's own: there is no record
none     driver null     a loopback interface and nothing else: there is no record
"""

from __future__ import annotations

import hashlib
import os

from minirun.network.record import DEFAULT, MTU, Network

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.home import Home

DRIVERS = {DEFAULT: "bridge", "host": "host", "none": "null"}
_MACHINE = "/etc/machine-id"  # machine-id(5)


def identity(home: Home, name: str) -> str:
    """The id of such a network: always the same in one store, and another in each."""
    try:
        with open(_MACHINE) as file:
            machine = file.read().strip()
    except OSError:
        machine = os.uname().nodename
    return hashlib.sha256(f"minirun network {name} of {home.root} on {machine}".encode()).hexdigest()


def unwritten(home: Home) -> list[Network]:
    """Those of them that have no record: host and none, and bridge until it is first needed."""
    return [_network(home, name) for name in DRIVERS if name != DEFAULT or not os.path.exists(home.network(DEFAULT))]


def _network(home: Home, name: str) -> Network:
    fields = dict.fromkeys(Network.__slots__, "")
    told = {"driver": DRIVERS[name], "id": identity(home, name), "name": name}
    try:
        created = os.stat(home.lock).st_mtime  # made with the store, and never written to
    except FileNotFoundError:
        created = 0.0  # no store yet
    more = {"created": created, "internal": False, "icc": True, "mtu": MTU}
    return Network(**{**fields, **{key: {} for key in ("auxiliary", "options", "labels")}, **told, **more})
