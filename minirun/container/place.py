"""Where in the cgroup tree a container with limits is to be, and how groups there get their controllers.

    --cgroup-parent web      minirun/web/<id>                    ours: controllers are enabled from the root down
    --cgroup-parent /a/b     a/b/<id>                            somebody's: it must have the controllers
    a group given to us      work.service/<id>                   controllers are enabled in it
    systemd is PID 1         machine.slice/minirun-….scope/<id>  a scope of its own, made by systemd and given to us
    anywhere else            minirun/<id>                        ours
    an ordinary user         a group given to him/<id>, a scope of his manager's, or none: see cgroup/absent.py

A container without limits needs no controller: it is in ``minirun/<id>`` everywhere, which nobody has to be asked for.
"""

from __future__ import annotations

import os

from minirun import caller
from minirun.cgroup import absent, control, delegation, group, hierarchy, limits, requirement, scope, shares
from minirun.container import record as records
from minirun.errors import NotFound, Unsupported
from minirun.home import Home
from minirun.journal import Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from minirun.cgroup.control import Setting


def find(container_id: str, parent: str, needed: Mapping[str, str]) -> str:
    """The directory of the group that a container is to have.

    Args:
        container_id: whose.
        parent: its --cgroup-parent; empty without one.
        needed: the controllers that its limits need, with the flags: see limits.needed.

    Raises:
        Unsupported: a controller is not to be had there.
        BadInput: *parent* is not there.
    """
    if caller.ROOTLESS:
        return _of_user(container_id, parent, needed)
    if not parent and needed and os.path.isdir(delegation.BOOTED):
        if given := delegation.delegated():
            return f"{given}/{container_id}"
        requirement.require(needed, hierarchy.own())
        return f"{scope.path(container_id)}/{container_id}"
    path = hierarchy.path(container_id, parent)
    requirement.require(needed, os.path.dirname(path))
    return path


def _of_user(container_id: str, parent: str, needed: Mapping[str, str]) -> str:
    if parent:
        raise Unsupported(
            f"use --cgroup-parent {parent}", "an ordinary user's groups are where he was given one",
            "leave it out: `systemd-run --user --scope -p Delegate=yes minirun run …` gives one",
        )  # fmt: skip
    try:
        if given := delegation.delegated():
            return f"{given}/{container_id}"
    except Unsupported:
        if needed:
            raise
    if not needed:
        return absent.path(Home.of_environment().runtime, container_id)
    if os.path.isdir(delegation.BOOTED):
        return f"{scope.path(container_id)}/{container_id}"
    raise Unsupported(
        f"limit {next(iter(needed))}",
        "no cgroup was given to you, and an ordinary user can make none by himself",
        "run it without limits, or have root give you one: see docs/rootless.md",
    )


def steps(path: str, limited: Mapping[str, Any], why: str) -> list[Step]:
    """List what makes the group at *path*, which `find` gave, with its limits; each with its undo."""
    settings, needed = limits.settings(limited), limits.needed(limited)
    return [
        Step(f"mkdir {path}", lambda: _make(path, settings, needed), ("remove_cgroup", path), why),
        *(
            Step(f"write {path}/{name} {text}", lambda: None, (), "written with the cgroup, before the command starts")
            for _, name, text in settings
        ),
    ]


def _make(path: str, settings: Sequence[Setting], needed: Mapping[str, str]) -> None:
    parent, container_id = os.path.split(path)
    if hierarchy.is_scope(parent):
        scope.create(container_id, needed)
        group.create(path)
    else:
        group.create(path)
        enable(needed, parent)
    apply(path, settings)


def apply(path: str, settings: Sequence[Setting]) -> None:
    """Write *settings* into the group *path*, and what counts beside others also where those are.

    Raises:
        MinirunError: see control.apply and shares.pass_on.
    """
    control.apply(path, settings)
    shares.pass_on(path, settings)


def enable(needed: Mapping[str, str], parent: str) -> None:
    """Make sure that groups in *parent* have the controllers *needed*.

    Raises:
        Unsupported: one is not to be had there.
    """
    if not hierarchy.is_own(parent):
        if hierarchy.is_scope(parent) or delegation.marked(parent) or caller.ROOTLESS:
            scope.enable(needed, parent)
        requirement.require(needed, parent)
        return
    requirement.require(needed, parent)
    if not needed.keys() <= set(control.read(parent, "cgroup.subtree_control").split()) and os.path.isdir(
        delegation.BOOTED
    ):
        raise Unsupported(
            f"limit {next(iter(needed))}",
            f"the tree above {hierarchy.own()}, where a container is that was started without limits, is systemd's",
            "give it the limit while it does not run: its next start gets a scope, where controllers can be enabled",
        )
    hierarchy.enable(needed, parent)


def settle_limits(root: str, container_id: str, path: str, *before: str) -> None:
    """Make the group *path* agree with the record of its container. An undo of the journal: idempotent.

    Args:
        root: of the store.
        container_id: whose record says what it is limited to.
        path: its group; perhaps gone.
        before: what control.before found, for files that the record does not name.
    """
    try:
        record = records.read(Home(root, root), container_id)
    except NotFound:
        return  # `rm -f` was quicker
    control.restore(path, *before)
    if os.path.exists(path):
        apply(path, limits.settings(record.options["limits"]))
