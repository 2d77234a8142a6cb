"""A network on disk: what it is. What is made of it on the host is bridge.py's, who is on it lease.py's.

networks/<name>.json     written once
"""

from __future__ import annotations

from minirun.errors import BadInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DEFAULT = "bridge"  # what `--network bridge` means; made when it is first needed
RESERVED = ("none", "host", "default", "container", "pasta", "slirp4netns")
MTU = 1500
_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
_NAME_BYTES = 128


class Network:
    """A network; the attributes are the keys of its file.

    Attributes:
        name: unique in the store.
        id: 64 hex digits.
        created: seconds since 1970.
        driver: ``bridge``, ``macvlan`` or ``ipvlan``.
        interface: name of the bridge on the host, or of the parent of its containers' interfaces.
        subnet: of IPv4: ``10.90.0.0/16``.
        gateway: who passes on what goes further, in it: the bridge, or somebody outside; empty: nobody is asked.
        ip_range: the part of *subnet* that containers get addresses of; empty for all of it.
        subnet6: of IPv6; empty without.
        gateway6: the same in that.
        auxiliary: addresses that somebody else has: name to address.
        internal: whether there is no way out.
        icc: whether its containers reach each other.
        mtu: in bytes; 0 for that of the parent.
        options: as they were given: name to value.
        labels: name to value.
    """

    __slots__ = (
        "auxiliary", "created", "driver", "gateway", "gateway6", "icc", "id", "interface", "internal", "ip_range",
        "labels", "mtu", "name", "options", "subnet", "subnet6",
    )  # fmt: skip

    name: str
    id: str
    created: float
    driver: str
    interface: str
    subnet: str
    gateway: str
    ip_range: str
    subnet6: str
    gateway6: str
    auxiliary: dict[str, str]
    internal: bool
    icc: bool
    mtu: int
    options: dict[str, str]
    labels: dict[str, str]

    def __init__(self, **fields: Any) -> None:
        """Take every attribute by keyword."""
        fields.setdefault("auxiliary", {})  # a version without them wrote none
        for slot in self.__slots__:
            setattr(self, slot, fields[slot])

    def to_json(self) -> dict[str, Any]:
        """The attributes, as the file keeps them."""
        return {slot: getattr(self, slot) for slot in self.__slots__}

    def kept(self) -> dict[str, str]:
        """Addresses that no container gets, and what they are."""
        found = {own: f"that of {name}, by --aux-address," for name, own in self.auxiliary.items()}
        return found | {own: "the gateway" for own in (self.gateway, self.gateway6) if own}

    @property
    def shares_mac(self) -> bool:
        """Whether its containers have the hardware address of their parent."""
        return self.driver == "ipvlan" or self.options.get("macvlan_mode") == "passthru"

    def told(self, **more: str) -> dict[str, str]:
        """What events tell of it (see events.py), and *more*."""
        return {"name": self.name, "type": self.driver, **more}


def check_name(name: str) -> None:
    """Raise BadInput unless *name* is one that Docker allows."""
    if not 0 < len(name) <= _NAME_BYTES or not name[0].isalnum() or not _NAME_CHARACTERS.issuperset(name):
        raise BadInput(
            f"name a network {name!r}",
            "a name is up to 128 of the characters a-z A-Z 0-9 _ . - and begins with a letter or a digit",
        )
    if name in RESERVED:
        raise BadInput(f"name a network {name!r}", "that means something else to --network", "take another name")
