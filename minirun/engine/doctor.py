"""What this host has of what containers need, found by trying it; each probe leaves the host as it was.

    PROBES = (privileges, python, store, …)        one function a subject, in the order in which they are shown
                 └─▶ yields findings: what, state, what it means, what to do

    ok         it is there
    degraded   containers run; something is refused, or slower
    missing    no container runs

A probe asks the kernel instead of its version, which says little: distributions port back, and sandboxes take away.
What it makes it writes down first, as every operation does, so that not even a killed doctor leaves anything.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from minirun import caller, journal
from minirun.cgroup import group, hierarchy
from minirun.container import rootless
from minirun.engine import useroffering
from minirun.engine.finding import Finding, Patient, operation
from minirun.engine.installation import compiled, privileges, python, store
from minirun.engine.networkoffering import networks
from minirun.engine.offering import cgroups, limits, mapped, namespaces, scopes, stacked
from minirun.errors import MinirunError
from minirun.home import Home
from minirun.journal import Operation

PROBES: tuple[Callable[[Patient], Iterator[Finding]], ...] = (
    privileges, python, compiled, store, stacked, namespaces, mapped, networks, cgroups, limits, scopes,
)  # fmt: skip


def examine() -> list[Finding]:
    """Probe everything.

    Who cannot be root, not even in a user namespace of his own, can try little: then only that is said, and what can be
    read is read.
    """
    patient = Patient(Home.of_environment())
    if caller.ROOTLESS:
        return _of_user(patient)
    with operation(patient.home) as made:
        if made:
            journal.recover(patient.home)
            patient.group = _make_group(made)
        return [finding for probe in PROBES for finding in probe(patient)]


def _of_user(patient: Patient) -> list[Finding]:
    probes: tuple[Callable[[Patient], Iterator[Finding]], ...] = (useroffering.namespace, python)
    if os.geteuid():
        try:
            rootless.enter(patient.home)
        except MinirunError:
            return [finding for probe in probes for finding in probe(patient)]
    with operation(patient.home) as made:
        if made:
            journal.recover(patient.home)
        probes = (*probes, compiled, store, stacked, useroffering.networks, useroffering.group)
        return [finding for probe in probes for finding in probe(patient)]


def _make_group(made: Operation) -> str:
    try:
        path = hierarchy.path(made.key + made.key)  # as long as a container's
        made.will("remove_cgroup", path)
        group.create(path)
    except (MinirunError, OSError):
        made.done()  # nothing to undo: a hierarchy that is mounted read-only would refuse that, too
        return ""  # the probe of groups tries again, and says why
    return path
