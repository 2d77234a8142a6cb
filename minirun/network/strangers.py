"""What others have of rules about packets that the host passes on: a drop of theirs is final, whatever ours say.

    nft list chains                       iptables-legacy, in a world of its own: nft does not see it
    table ip filter {                     /proc/net/ip_tables_names    filter
        chain FORWARD {                   iptables-legacy -S FORWARD   -P FORWARD DROP
            type filter hook forward priority filter; policy drop;

iptables itself is nft's, mostly: its tables are seen by both.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass

from minirun.network.firewall import TABLE

LEGACY = "legacy"
_NAMES = (("ip", "/proc/net/ip_tables_names"), ("ip6", "/proc/net/ip6_tables_names"))
_HOOK = re.compile(r"type (\w+) hook (\w+) .*?(?:policy (\w+))?;?$")
_ENDS_IN_DROP = re.compile(r"(counter )?(drop|reject.*)")


@dataclass(frozen=True, slots=True)
class Chain:
    """A base chain of somebody's.

    Attributes:
        family: ``ip``, ``ip6``, ``inet`` …
        table: its name; LEGACY and a space before it, where it is iptables-legacy's.
        name: of the chain.
        hook: ``forward``, ``postrouting`` …
        policy: ``accept`` or ``drop``.
    """

    family: str
    table: str
    name: str
    hook: str
    policy: str

    def drops(self) -> bool:
        """Whether it drops what none of its rules knows."""
        if self.policy == "drop":
            return True
        if self.table.startswith(LEGACY):
            return False
        said = _said("nft", "-s", "list", "chain", self.family, self.table, self.name)
        rules = [line.strip() for line in said.splitlines() if line.strip() != "}"]
        return bool(rules) and _ENDS_IN_DROP.fullmatch(rules[-1]) is not None

    def knows(self, interface: str) -> bool:
        """Whether a rule of the same table accepts what concerns an interface."""
        if self.table.startswith(LEGACY):
            rules = _said(_legacy(self.family), "-S")
            return any(f" {interface} " in line and "-j ACCEPT" in line for line in rules.splitlines())
        rules = _said("nft", "-s", "list", "table", self.family, self.table)
        return any(f'"{interface}"' in line and "accept" in line for line in rules.splitlines())


def chains() -> list[Chain]:
    """The base chains of all tables but minirun's, at hooks that what is passed on goes through."""
    found = []
    family = table = name = ""
    for line in _said("nft", "list", "chains").splitlines():
        words = line.split()
        if words[:1] == ["table"]:
            family, table = words[1:3]
        elif words[:1] == ["chain"]:
            name = words[1]
        elif (hook := _HOOK.match(line.strip())) and (family, table) != ("inet", TABLE):
            found.append(Chain(family, table, name, hook[2], hook[3] or "accept"))
    for family, place in _NAMES:
        for table in _read(place).split():
            if table == "filter":
                found.append(Chain(family, f"{LEGACY} filter", "FORWARD", "forward", _legacy_policy(family)))
            elif table == "nat":
                found.append(Chain(family, f"{LEGACY} nat", "POSTROUTING", "postrouting", "accept"))
    return [chain for chain in found if chain.hook in ("forward", "postrouting")]


def has_chain(chain: Chain, name: str) -> bool:
    """Whether there is a chain called *name* beside another one."""
    if chain.table.startswith(LEGACY):
        return f"-N {name}\n" in _said(_legacy(chain.family), "-S")
    return f"chain {name} {{" in _said("nft", "-s", "list", "table", chain.family, chain.table)


def _legacy_policy(family: str) -> str:
    return "drop" if "-P FORWARD DROP" in _said(_legacy(family), "-S", "FORWARD") else "accept"


def _legacy(family: str) -> str:
    return "iptables-legacy" if family == "ip" else "ip6tables-legacy"


def _said(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout
    except FileNotFoundError:
        return ""


def _read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""
