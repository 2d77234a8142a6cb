"""What may go from where to where: one table of nftables that is minirun's own, and nothing outside of it is touched.

    table inet minirun
    ├── set bridges        every bridge of ours              set internal   those without a way out
    ├── set same           bridge . the same bridge          set apart      those whose containers are apart
    ├── set names          those whose gateway is asked for names: see nameserver.py, portrules.py
    ├── chain user         yours: made empty, jumped to first, never changed again
    ├── chain forward      hook forward, priority filter - 5: before the chains that people make at priority filter
    │     jump user
    │     same, and not apart: accept         one network; the kernel shows us that only where br_netfilter is
    │     through a published port: accept    also from another network of ours, by an address of the host
    │     apart: drop
    │     bridges to bridges: drop            networks do not reach each other
    │     internal, in or out: drop
    │     to a bridge: what was asked for; else drop
    └── chain masquerade-minirun0   hook postrouting: what leaves the bridge's addresses through another interface has
                                    that one's

An accept here ends this chain only: whatever else the host has of rules is asked after it. Read and changed by nft(8),
as one transaction; whether it is there still, by a message that is encoded here.
"""

from __future__ import annotations

import os
from _socket import AF_NETLINK, SOCK_CLOEXEC, SOCK_RAW, socket
from errno import ENOENT
from struct import pack, unpack_from

from minirun.errors import MinirunError, Unsupported
from minirun.kernel import files
from minirun.network.record import DEFAULT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.network.record import Network

TABLE = "minirun"
_NETFILTER, _INET = 12, 1
_REQUEST = 0x1
_GETCHAIN, _GETSETELEM = 10 << 8 | 4, 10 << 8 | 13  # NFNL_SUBSYS_NFTABLES, NFT_MSG_GETCHAIN, NFT_MSG_GETSETELEM
_CHAIN_TABLE, _CHAIN_NAME = 1, 3
# attributes, those of sets as in portelements.py: linux/netfilter/nf_tables.h
_LIST_TABLE, _LIST_SET, _LIST_ELEMENTS, _LIST_ELEM, _KEY, _VALUE = 1, 2, 3, 1, 1, 1
_NESTED = 0x8000
_ERROR = 2

_RULES = """\
add table inet minirun
add set inet minirun bridges {{ type ifname; }}
add set inet minirun internal {{ type ifname; }}
add set inet minirun same {{ type ifname . ifname; }}
add set inet minirun apart {{ type ifname . ifname; }}
add set inet minirun names {{ type ifname; }}
add chain inet minirun user
add chain inet minirun forward {{ type filter hook forward priority filter - 5; policy accept; }}
flush chain inet minirun forward
add rule inet minirun forward jump user
add rule inet minirun forward iifname . oifname @same iifname . oifname != @apart accept
add rule inet minirun forward iifname != @internal oifname != @internal oifname @bridges ct status dnat accept
add rule inet minirun forward iifname . oifname @apart drop
add rule inet minirun forward iifname @bridges oifname @bridges drop
add rule inet minirun forward iifname @internal drop
add rule inet minirun forward oifname @internal drop
add rule inet minirun forward oifname @bridges ct state established,related accept
add rule inet minirun forward oifname @bridges drop
add element inet minirun bridges {{ "{interface}" }}
add element inet minirun same {{ "{interface}" . "{interface}" }}
"""
_APART = 'add element inet minirun apart {{ "{interface}" . "{interface}" }}\n'
_INTERNAL = 'add element inet minirun internal {{ "{interface}" }}\n'
_NAMES = 'add element inet minirun names {{ "{interface}" }}\n'
_CHAIN = """\
add chain inet minirun {chain} {{ type nat hook postrouting priority srcnat; policy accept; }}
flush chain inet minirun {chain}
"""
_MASQUERADE = 'add rule inet minirun {chain} {family} saddr {subnet} oifname != "{interface}" masquerade\n'


def is_there() -> bool:
    """Whether the table is there, with what keeps networks apart."""
    return _has(_GETCHAIN, _attribute(_CHAIN_TABLE, b"minirun\0") + _attribute(_CHAIN_NAME, b"forward\0"))


def is_in_force(network: Network) -> bool:
    """Whether the rules of a network are: somebody may have flushed all, and another store put back its own."""
    key = _attribute(_KEY | _NESTED, _attribute(_VALUE, pack("16s", network.interface.encode())))
    asked = _attribute(_LIST_ELEMENTS | _NESTED, _attribute(_LIST_ELEM | _NESTED, key))
    return _has(_GETSETELEM, _attribute(_LIST_TABLE, b"minirun\0") + _attribute(_LIST_SET, b"bridges\0") + asked)


def _attribute(kind: int, data: bytes) -> bytes:
    return pack("<HH", 4 + len(data), kind) + data + bytes(-len(data) & 3)


def _has(kind: int, attributes: bytes) -> bool:
    """Whether nftables has what is asked for."""
    body = pack("<BBH", _INET, 0, 0) + attributes
    speaker = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, _NETFILTER)
    try:
        speaker.bind((0, 0))
        speaker.send(pack("<IHHII", 16 + len(body), kind, _REQUEST, 0, 0) + body)
        data = speaker.recv(4096)
    finally:
        speaker.close()
    if unpack_from("<IH", data, 0)[1] != _ERROR:
        return True
    error = -unpack_from("<i", data, 16)[0]
    if error != ENOENT:
        raise OSError(error, "nftables")
    return False


def admit(network: Network) -> None:
    """Put the rules of a network in force; idempotent, and nothing in between is seen.

    Raises:
        MinirunError: nft is not there, or the kernel refuses them.
    """
    words = {"interface": network.interface, "chain": f"masquerade-{network.interface}"}
    script = _RULES.format(**words)
    if not network.icc:
        script += _APART.format(**words)
    if network.name != DEFAULT:
        script += _NAMES.format(**words)
    if network.internal:
        script += _INTERNAL.format(**words)
    else:
        script += _CHAIN.format(**words)
        for family, subnet in (("ip", network.subnet), ("ip6", network.subnet6)):
            if subnet:
                script += _MASQUERADE.format(**words, family=family, subnet=subnet)
    change(script, f"put the rules of network {network.name} in force")


def dismiss(network: Network) -> None:
    """Take the rules of a network away; idempotent.

    Raises:
        MinirunError: the kernel refuses.
    """
    if not is_there():
        return
    words = {"interface": network.interface, "chain": f"masquerade-{network.interface}"}
    # what is added first can be deleted, whether it was there or not
    script = "".join(part.format(**words) for part in (_RULES, _APART, _NAMES, _INTERNAL, _CHAIN))
    name = network.interface
    script += f"delete chain inet minirun masquerade-{name}\n"
    of_one = ("bridges", "internal", "names")
    script += "".join(f'delete element inet minirun {group} {{ "{name}" }}\n' for group in of_one)
    script += "".join(
        f'delete element inet minirun {group} {{ "{name}" . "{name}" }}\n' for group in ("same", "apart")
    )  # fmt: skip
    change(script, f"take the rules of network {network.name} away")


def change(script: str, attempt: str) -> None:
    """Let nft(8) do what *script* says, all of it or nothing.

    Raises:
        Unsupported: it is not installed.
        MinirunError: it refuses.
    """
    try:
        status, said = _nft(script.encode())
    except FileNotFoundError:
        remedy = "install it, `apt-get install nftables`; `--network none` does without"
        raise Unsupported(attempt, "nft is not there", remedy) from None
    if status:
        raise MinirunError(
            attempt, f"nft says: {said.splitlines()[0] if said else f'status {status}'}",
            "look whether this kernel has nftables with NAT: `nft list ruleset`",
        )  # fmt: skip


def _nft(script: bytes) -> tuple[int, str]:
    """Its exit code, and what it said. Without the module subprocess, whose import takes three times as long as nft.

    Raises:
        FileNotFoundError: it is not there.
    """
    given = told = -1
    try:
        given, told = os.memfd_create("rules"), os.memfd_create("said")
        files.write_all(given, script)
        os.lseek(given, 0, os.SEEK_SET)
        actions = [(os.POSIX_SPAWN_DUP2, given, 0), *((os.POSIX_SPAWN_DUP2, told, place) for place in (1, 2))]
        pid = os.posix_spawnp("nft", ["nft", "-f", "-"], os.environ, file_actions=actions)
        _, status = os.waitpid(pid, 0)
        return os.waitstatus_to_exitcode(status), os.pread(told, 1 << 16, 0).decode(errors="replace").strip()
    finally:
        for descriptor in (given, told):
            if descriptor >= 0:
                os.close(descriptor)
