"""What limits need of a host, asked before anything is made; and the refusal that says where it is instead."""

from __future__ import annotations

from minirun.cgroup import hierarchy
from minirun.errors import BadInput, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def require(needed: Mapping[str, str], parent: str) -> None:
    """Refuse, before anything is made, a limit whose controller groups in *parent* have not got.

    Args:
        needed: controller → the flag that needs it: see limits.needed.
        parent: the directory in which the container's group is to be.

    Raises:
        Unsupported: naming the flag, the place and the remedy.
        BadInput: *parent* is not there, and not ours to make.
    """
    if not hierarchy.is_own(parent):
        _require_enabled(needed, parent)
        return
    root = hierarchy.mount_point()
    there = hierarchy.controllers(root)
    for controller, flag in needed.items():
        if controller not in there:
            raise Unsupported(
                f"limit {controller}",
                f"the {controller} controller is not in the cgroup v2 hierarchy at {root}",
                f"{_whereabouts(controller)}, or run without --{flag}",
            )


def _require_enabled(needed: Mapping[str, str], parent: str) -> None:
    try:
        enabled = _enabled(parent)
    except OSError as error:
        raise BadInput(
            f"use --cgroup-parent {parent.removeprefix(hierarchy.mount_point())}", error,
            f"make it first: `mkdir -p {parent}`; or give a name without a slash before it: minirun makes those itself",
        ) from None  # fmt: skip
    for controller, flag in needed.items():
        if controller not in enabled:
            raise Unsupported(
                f"limit {controller}",
                f"groups in {parent} have no {controller} controller",
                f"`echo +{controller} > {parent}/cgroup.subtree_control` gives it to them, "
                f"or run without --{flag} or --cgroup-parent",
            )


def _whereabouts(controller: str) -> str:
    """Where a controller is that cgroup v2 has not got, and how to get it there."""
    from minirun.cgroup.controllers import list_all

    found = next((one for one in list_all() if one.name == controller), None)
    if found is None:
        return "there is none of that name"
    if found.where.startswith("cgroup v1"):
        return "this host mounts it as cgroup v1 (hybrid); boot with systemd.unified_cgroup_hierarchy=1"
    return f"it is {found.where}: {found.remedy}"


def _enabled(directory: str) -> list[str]:
    with open(f"{directory}/cgroup.subtree_control") as file:
        return file.read().split()
