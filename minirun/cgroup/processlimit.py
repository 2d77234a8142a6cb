"""How many processes a container may have that nobody limited: 2048, podman's number, where that costs nobody anything.

    cgroup.controllers of the hierarchy      pids is there, in v2
    cgroup.subtree_control of its root       where systemd keeps the tree, it is given to groups already
    machine.slice/minirun-<id>.scope         or it comes with a scope that another limit needs
    pids.max of the container's group        2048

What is asked for by --pids-limit is held or refused; this is held or left. A controller of somebody else's tree is not
enabled for it, and no scope is asked for. See cgroup-v2.rst, "PID".
"""

from __future__ import annotations

import os

from minirun import caller
from minirun.cgroup import control, delegation, hierarchy
from minirun.errors import Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

DEFAULT = 2048
FILE = "pids.max"
_FLAG = "pids-limit"
_CONTROLLER = "pids"
_THERE, _GIVEN = "cgroup.controllers", "cgroup.subtree_control"


def default(limited: Mapping[str, Any], path: str) -> int:
    """The limit that a container gets by itself in a group at *path*; 0 for none.

    Args:
        limited: its limits, as its record has them.
        path: of its group, which need not be there yet.
    """
    if _FLAG in limited or FILE in limited.get("cgroup-conf", ()):
        return 0
    parent = os.path.dirname(path)
    try:
        if hierarchy.is_own(path):
            root = hierarchy.mount_point()
            has = _CONTROLLER in control.read(root, _THERE).split()
            if has and os.path.isdir(delegation.BOOTED):
                has = _CONTROLLER in control.read(root, _GIVEN).split()
        elif hierarchy.is_scope(parent):
            has = True  # systemd delegates it with each
        elif _is_given(parent):
            has = _CONTROLLER in control.read(parent, _THERE).split()
        else:
            has = _CONTROLLER in control.read(parent, _GIVEN).split()
    except (OSError, Unsupported):
        return 0  # there is no such group
    return DEFAULT if has else 0


def hold(path: str) -> None:
    """Give the group at *path*, of which `default` says so, that limit."""
    parent = os.path.dirname(path)
    try:
        if hierarchy.is_own(path):
            hierarchy.enable((_CONTROLLER,), parent)
        elif _is_given(parent):
            from minirun.cgroup import scope

            scope.enable((_CONTROLLER,), parent)
        control.write(path, FILE, str(DEFAULT))
    except (OSError, Unsupported):
        pass  # the root of what we see of the hierarchy has processes of its own: nobody gets controllers there


def _is_given(directory: str) -> bool:
    """Whether groups in another's group *directory* are for us to make, controllers and all."""
    return hierarchy.is_scope(directory) or delegation.marked(directory) or caller.ROOTLESS


def of_running(path: str) -> int | None:
    """The limit that holds in the group at *path*; -1 for none, None where nobody counts."""
    try:
        text = control.read(path, FILE).strip()
    except OSError:
        return None
    return -1 if text == control.NO_LIMIT else int(text)
