"""Probes of what an ordinary user has here: ids, a group to make others in, programs that are a network."""

from __future__ import annotations

import os
from collections.abc import Iterator

from minirun.cgroup import delegation
from minirun.container import rootless
from minirun.engine.finding import DEGRADED, MISSING, OK, Finding, Patient
from minirun.errors import MinirunError, Unsupported
from minirun.network import usermode


def namespace(_patient: Patient) -> Iterator[Finding]:
    """The user namespace in which he is root by now, or why he is in none: see doctor.examine."""
    what = "user namespace"
    if not os.geteuid():
        with open("/proc/self/uid_map") as file:
            count = sum(int(line.split()[2]) for line in file)
        yield Finding(what, OK, f"you are root in one of your own, with {count} ids")
        return
    try:
        rootless.find_ids()
    except MinirunError as refusal:
        yield Finding(what, MISSING, refusal.reason, f"{refusal.remedy}; or `sudo minirun doctor`")
    else:
        yield Finding(what, MISSING, "the kernel makes none for you", "docs/rootless.md; or `sudo minirun doctor`")


def group(_patient: Patient) -> Iterator[Finding]:
    """The cgroup that was given to him."""
    without = "limits, pause and stats are refused"
    try:
        given = delegation.delegated()
    except Unsupported as refusal:
        yield Finding("cgroup", DEGRADED, f"{refusal.reason}: {without}", refusal.remedy)
        return
    if given:
        yield Finding("cgroup", OK, f"groups can be made in {given}")
    else:
        remedy = "`systemd-run --user --scope -p Delegate=yes minirun …`, or see docs/rootless.md"
        yield Finding("cgroup", DEGRADED, f"none was given to you to make groups in: {without}", remedy)


def networks(_patient: Patient) -> Iterator[Finding]:
    """The programs that are a container's network."""
    for kind in usermode.KINDS:
        try:
            usermode.find(kind)
        except Unsupported as refusal:
            yield Finding(kind, DEGRADED, refusal.reason, refusal.remedy)
        else:
            open_to_all = os.access("/dev/net/tun", os.R_OK | os.W_OK)
            if open_to_all:
                yield Finding(kind, OK, "it connects containers, and ports lead in through it")
            else:
                remedy = "`chmod 666 /dev/net/tun` as root, which is what distributions have; or --network none"
                yield Finding(kind, DEGRADED, "/dev/net/tun is not open to you", remedy)
