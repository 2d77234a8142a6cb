"""Whether the host passes packets on: switched on for the first network that needs it, and set back after the last.

    <runtime>/networks/forwarding    what was there before; written first, and gone when it is set back
    {"namespace": 4026531840,                            the network namespace that it is true of
     "ipv4": {"accept_redirects": "1", "on": []},        ip_forward was 0; interfaces that were on all the same
     "ipv6": {"on": [], "listening": ["eth0"]},          accept_ra was 1 there
     "others": ["ip nat", "ip legacy filter"]}           tables of others that say what is passed on

It is not set back where somebody else has changed it, or may rely on it by now: he has got such a table since, or the
host's configuration has it switched on. To be wrong there would cut off somebody who never heard of minirun.

Writing ip_forward sets conf/*/forwarding, too, and conf/all/accept_redirects to the opposite: inet_forward_change in
net/ipv4/devinet.c. See Documentation/networking/ip-sysctl.rst.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from glob import glob

from minirun.kernel import files, jsonfile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minirun.home import Home

SWITCH4, SWITCH6 = "/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding"
_CONF4, _CONF6 = "/proc/sys/net/ipv4/conf", "/proc/sys/net/ipv6/conf"
# sysctl.d(5)
_CONFIGURED = ("/etc/sysctl.conf", "/etc/sysctl.d/*.conf", "/run/sysctl.d/*.conf", "/usr/*/sysctl.d/*.conf")


def path(home: Home) -> str:
    """Where it is noted."""
    return f"{home.runtime}/networks/forwarding"


def switch_on(home: Home, *, ipv6: bool) -> None:
    """Let the host pass on packets, if it does not: without that, nothing gets from a bridge to anywhere.

    Raises:
        OSError: it could not be noted, or switched on.
    """
    note = noted(home) or {"namespace": _namespace(), "others": None}
    is_new = False
    for family, switch, look in (("ipv4", SWITCH4, _look4), ("ipv6", SWITCH6, _look6)):
        if (family == "ipv4" or ipv6) and _read(switch) == "0":
            note[family], is_new = look(), True
    if not is_new:
        return
    if note["others"] is None:
        note["others"] = others()
    files.replace(path(home), jsonfile.dumps(note).encode(), durable=False)
    if "ipv4" in note and _read(SWITCH4) == "0":
        _write(SWITCH4, "1")
    if "ipv6" in note and _read(SWITCH6) == "0":
        # A host that forwards takes no router's word any more, and would lose its own way out, unless told to take it:
        # ip-sysctl.rst, accept_ra
        _each(_CONF6, note["ipv6"]["listening"], "accept_ra", "1", "2")
        _write(SWITCH6, "1")


def _look4() -> dict[str, Any]:
    return {"accept_redirects": _read(f"{_CONF4}/all/accept_redirects"), "on": _on(_CONF4)}


def _look6() -> dict[str, Any]:
    on = _on(_CONF6)
    others = [name for name in _names(_CONF6) if name != "default" and name not in on]
    return {"on": on, "listening": [name for name in others if _read(f"{_CONF6}/{name}/accept_ra") == "1"]}


def _on(folder: str) -> list[str]:
    return [name for name in _names(folder) if _read(f"{folder}/{name}/forwarding") == "1"]


def _names(folder: str) -> list[str]:
    """The interfaces, and ``default`` for those to come."""
    return sorted(set(os.listdir(folder)) - {"all"})


def noted(home: Home) -> dict[str, Any] | None:
    """What was there before we switched it on in this network namespace; None if we did not."""
    try:
        note: dict[str, Any] = jsonfile.read(path(home))
    except (OSError, ValueError):
        return None
    return note if note.get("namespace") == _namespace() else None


def set_back(home: Home) -> None:
    """Undo what `switch_on` did; the caller knows that no network needs it any more. Idempotent.

    Raises:
        OSError: it could not be set back.
    """
    note = noted(home)
    if note is None:
        return
    if not set(others()) - set(note["others"]):
        if "ipv4" in note and _read(SWITCH4) == "1" and not is_configured("net.ipv4.ip_forward"):
            _write(SWITCH4, "0")
            _write(f"{_CONF4}/all/accept_redirects", note["ipv4"]["accept_redirects"])
            _each(_CONF4, note["ipv4"]["on"], "forwarding", "0", "1")
        if "ipv6" in note and _read(SWITCH6) == "1" and not is_configured("net.ipv6.conf.all.forwarding"):
            _write(SWITCH6, "0")
            _each(_CONF6, note["ipv6"]["on"], "forwarding", "0", "1")
            _each(_CONF6, note["ipv6"]["listening"], "accept_ra", "2", "1")
    files.remove(path(home))


def _each(folder: str, names: list[str], key: str, now: str, then: str) -> None:
    """Set *key* of interfaces to *then*, where it is *now*; they may have gone."""
    for name in names:
        place = f"{folder}/{name}/{key}"
        if _read(place) == now:
            with suppress(FileNotFoundError):
                _write(place, then)


def others() -> list[str]:
    """The tables, but minirun's, that say what is passed on or translated: ``ip nat``, ``ip legacy filter``."""
    from minirun.network import strangers

    return sorted({f"{chain.family} {chain.table}" for chain in strangers.chains()})


def is_configured(name: str) -> bool:
    """Whether a file of sysctl.d(5) sets *name* to 1."""
    wanted = re.compile(rf"^\s*-?{name.replace('.', '[./]')}\s*=\s*1\s*$", re.MULTILINE)
    return any(wanted.search(_read(file)) for pattern in _CONFIGURED for file in glob(pattern))


def _namespace() -> int:
    return os.stat("/proc/thread-self/ns/net").st_ino


def _read(path: str) -> str:
    try:
        with open(path, errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""  # no IPv6, or an interface that has just gone


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)
