"""Who has a port of the host: from the kernel's tables of sockets, and the descriptors of processes.

    /proc/net/tcp    sl  local_address  rem_address    st  …  uid  timeout  inode
                      0: 0100007F:1F90  00000000:0000  0A  …    0        0  40917     0A: it listens
    /proc/<pid>/fd/5 → socket:[40917]

See proc_pid_net(5). Sockets that are bound and do not listen, as ours, are in no table: of those the claims of
containers tell, see published.py.
"""

from __future__ import annotations

import os

_LISTENS = "0A"
_UNCONNECTED = "07"


def find(protocol: str, port: int) -> str:
    """The process that has a port, ``nginx (pid 812)``; empty if that cannot be seen.

    Args:
        protocol: ``tcp`` or ``udp``; of others nothing is known.
        port: of the host.
    """
    inodes = {
        inode
        for table in (protocol, f"{protocol}6")
        for inode in _inodes(table, port, _LISTENS if protocol == "tcp" else _UNCONNECTED)
    }
    if not inodes:
        return ""
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        try:
            for name in os.listdir(f"/proc/{pid}/fd"):
                if os.readlink(f"/proc/{pid}/fd/{name}").removeprefix("socket:") in inodes:
                    with open(f"/proc/{pid}/comm", errors="replace") as file:
                        return f"{file.read().strip()} (pid {pid})"
        except OSError:
            continue  # it has ended, or closed that
    return ""


def _inodes(table: str, port: int, state: str) -> list[str]:
    """``[40917]`` of each socket in /proc/net/*table* that is in *state* at *port*."""
    try:
        with open(f"/proc/net/{table}") as file:
            lines = file.readlines()[1:]
    except OSError:
        return []  # the kernel has no such sockets
    fields = (line.split() for line in lines)
    return [f"[{one[9]}]" for one in fields if one[3] == state and int(one[1].rpartition(":")[2], 16) == port]
