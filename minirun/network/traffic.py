"""Bytes that went through the interfaces of a container's network namespace.

    /proc/<pid>/net/dev
    Inter-|   Receive                            …  |  Transmit
     face |bytes    packets errs drop fifo frame …  |bytes    packets …
      eth0:  128310     874    0    0    0     0        94018     611
             └ field 0                                  └ field 8

See proc_pid_net(5).
"""

from __future__ import annotations

import os

_RECEIVED, _SENT = 0, 8


def read(pid: int) -> tuple[int, int] | None:
    """Bytes received and sent through what interfaces the process *pid* sees, without the loopback.

    Returns:
        (0, 0) for a process in our own network namespace: what goes through the host's interfaces is not the
        container's alone. None if the process has ended.
    """
    try:
        if os.path.samestat(os.stat(f"/proc/{pid}/ns/net"), os.stat("/proc/self/ns/net")):
            return 0, 0
        with open(f"/proc/{pid}/net/dev") as file:
            lines = file.readlines()[2:]
    except OSError:
        return None
    received = sent = 0
    for line in lines:
        name, _, counters = line.rpartition(":")
        if name.strip() != "lo":
            fields = counters.split()
            received += int(fields[_RECEIVED])
            sent += int(fields[_SENT])
    return received, sent
