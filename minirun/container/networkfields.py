"""--network said at length: a network with what a container is to have on it.

name=NETWORK,alias=NAME,ip=IP,ip6=IP,mac-address=MAC,interface-name=NAME     as Docker writes it
NETWORK:alias=NAME,ip=IP,mac=MAC,interface_name=NAME                         as podman does
"""

from __future__ import annotations

from minirun.errors import BadInput, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# keys → what they are called in a record
_KEYS = {
    "name": "name", "alias": "aliases", "ip": "ip", "ip6": "ip6", "mac-address": "mac", "mac": "mac",
    "interface-name": "interface", "interface_name": "interface",
}  # fmt: skip
# Docker's option of an endpoint, and the others of Docker's and podman's → what to do without them
_IFNAME = "com.docker.network.endpoint.ifname="
_NOT_BUILT = {
    "driver-opt": f"`driver-opt={_IFNAME}eth7` is the one that is",
    "gw-priority": "the first network that leads out gives the default route: say that first",
    "host_interface_name": "the host's end of it has a name of minirun's",
    "link-local-ip": "the kernel gives each interface one of IPv6",
}
_INTERFACE_BYTES = 15  # IFNAMSIZ, without the NUL


def read(text: str) -> dict[str, Any]:
    """Take apart what says more than a name: it has an equals sign.

    Returns:
        name, ip, ip6, mac, empty where nothing is said; aliases; and interface, if one is named. Not looked at further
        but for the last.

    Raises:
        BadInput: it is of neither form.
        Unsupported: one of its keys is not built.
    """
    attempt = f"use --network {text!r}"
    found: dict[str, Any] = {"name": "", "ip": "", "ip6": "", "mac": "", "aliases": []}
    name, colon, rest = text.partition(":")
    if colon and "=" not in name:
        found["name"], text = name, rest
    for field in text.split(","):
        key, equals, value = field.partition("=")
        key = key.strip().lower()
        if key == "driver-opt" and value.startswith(_IFNAME):
            key, value = "interface-name", value.removeprefix(_IFNAME)
        if key in _NOT_BUILT:
            raise Unsupported(attempt, f"{key} is not built in this version", _NOT_BUILT[key])
        if key not in _KEYS:
            raise BadInput(attempt, f"there is no key {key!r}", "name=NETWORK,alias=,ip=,ip6=,mac-address=")
        if not equals or not value:
            raise BadInput(attempt, f"{field!r} is not of the form KEY=VALUE")
        word = _KEYS[key]
        if word == "aliases":
            found[word].append(value)
        elif found.get(word):
            raise BadInput(attempt, f"{key} is given twice", "leave one out")
        else:
            found[word] = value
    if not found["name"]:
        raise BadInput(attempt, "it names no network", "name=NETWORK,ip=10.1.0.5")
    if "interface" in found:
        _check_interface(attempt, found["interface"])
    return found


def _check_interface(attempt: str, name: str) -> None:
    """Refuse what the kernel would not take: see dev_valid_name in net/core/dev.c."""
    plain = name.isascii() and name.isprintable() and not set("/: %") & set(name)
    if not plain or len(name) > _INTERFACE_BYTES or name in (".", "..", "lo", "all", "default"):
        raise BadInput(attempt, f"{name!r} is no name for an interface: it is 1 to 15 letters, digits, - _ and dots")
