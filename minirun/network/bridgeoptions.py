"""--opt of the driver bridge, under Docker's names: mtu, icc, the name of the bridge."""

from __future__ import annotations

from _socket import if_nameindex

from minirun.errors import BadInput, Conflict, Unsupported
from minirun.network.record import DEFAULT, MTU

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from minirun.network.record import Network

MTU_KEYS = ("com.docker.network.driver.mtu", "mtu")
INTERFACE_BYTES = 15  # IFNAMSIZ, without the NUL
_ICC = ("com.docker.network.bridge.enable_icc", "icc")
_INTERFACE = ("com.docker.network.bridge.name",)
_LEAST_MTU, _LEAST_MTU6, _MOST_MTU = 68, 1280, 65535


def read(
    attempt: str, options: Mapping[str, str], name: str, network_id: str, known: Sequence[Network], *, ipv6: bool
) -> dict[str, Any]:
    """Read what is said of a new bridge.

    Args:
        attempt: for the refusal.
        options: as they were given.
        name: of the network.
        network_id: of it.
        known: every other network.
        ipv6: whether it has IPv6.

    Returns:
        interface, icc and mtu, as in its record.

    Raises:
        BadInput, Unsupported: one has no meaning, or is not there.
        Conflict: the host has an interface of that name.
    """
    icc, size, interface = True, MTU, ""
    for key, value in options.items():
        if key in _ICC:
            if value.lower() not in ("true", "1", "false", "0"):
                raise BadInput(attempt, f"--opt {key}={value} is neither true nor false")
            icc = value.lower() in ("true", "1")
        elif key in MTU_KEYS:
            size = mtu(attempt, key, value, ipv6=ipv6)
        elif key in _INTERFACE:
            interface = value
        else:
            raise Unsupported(
                attempt, f"there is no option {key}",
                "there are mtu, icc and com.docker.network.bridge.name, under Docker's long names, too",
            )  # fmt: skip
    return {"interface": _interface(attempt, interface, name, network_id, known), "icc": icc, "mtu": size}


def mtu(attempt: str, key: str, value: str, *, ipv6: bool, most: int = _MOST_MTU) -> int:
    """Read a number of bytes that a packet may have.

    Raises:
        BadInput: it is none.
    """
    least = _LEAST_MTU6 if ipv6 else _LEAST_MTU
    if not value.isdecimal() or not least <= int(value) <= most:
        raise BadInput(attempt, f"--opt {key}={value} is no number of bytes from {least} to {most}")
    return int(value)


def _interface(attempt: str, wanted: str, name: str, network_id: str, known: Sequence[Network]) -> str:
    """The name of the bridge: what is wanted, minirun0 for the default network, or some of the network's id."""
    there = {link for _, link in if_nameindex()} | {network.interface for network in known}
    if wanted:
        if not 0 < len(wanted.encode()) <= INTERFACE_BYTES or not _is_plain(wanted):
            raise BadInput(attempt, f"{wanted!r} is no name for a bridge: it is 1 to 15 letters, digits, . _ or -")
        if wanted in there:
            raise Conflict(attempt, f"the host has an interface {wanted}", "take another name for the bridge")
        return wanted
    if name != DEFAULT:
        return f"br-{network_id[:12]}"
    number = 0
    while f"minirun{number}" in there:  # another store's
        number += 1
    return f"minirun{number}"


def _is_plain(name: str) -> bool:
    return name[0].isalnum() and all(c.isascii() and (c.isalnum() or c in "._-") for c in name)
