"""What a container needs on the host while it runs: its network, files of /etc, its cgroup; and what undoes that."""

from __future__ import annotations

from minirun import caller
from minirun.cgroup import group, hierarchy, processlimit
from minirun.container import etc
from minirun.errors import MinirunError
from minirun.journal import KEEP_WHILE_ALIVE, Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from minirun.container.record import Record
    from minirun.home import Home


def cgroup(container_id: str, options: Mapping[str, Any]) -> str:
    """The directory of the group that a container with these options would get now.

    Raises:
        Unsupported: this host has not got a controller that its limits need.
        BadInput: its --cgroup-parent is not there.
    """
    parent = options["cgroup_parent"]
    if not options["limits"] and not parent and not caller.ROOTLESS:
        return hierarchy.path(container_id)
    from minirun.cgroup import limits
    from minirun.container import place

    return place.find(container_id, parent, limits.needed(options["limits"]))


def process_limit(record: Record) -> int:
    """How many processes the container would get by itself; 0 for no limit, or where it cannot be started."""
    try:
        return processlimit.default(record.options["limits"], cgroup(record.id, record.options))
    except MinirunError:
        return 0


def steps(home: Home, record: Record, path: str) -> list[Step]:
    """List what a container needs on the host while it runs, each with its undo.

    Args:
        home: the store.
        record: the container.
        path: of its group: see `cgroup`.
    """
    directory = home.container(record.id)
    return [
        *_network_steps(home, record),
        Step(
            f"write {directory}/{{{','.join(etc.FILES)}}}",
            lambda: _write_etc(home, record), (),
            "files of /etc that are the container's own",
        ),
        *_overlay_steps(home, record),
        *_group_steps(path, record.options["limits"]),
        *_device_steps(path, record.options),
    ]  # fmt: skip


def _network_steps(home: Home, record: Record) -> list[Step]:
    if "usermode" in record.options:
        from minirun.container import usermode

        return usermode.steps(home, record)
    if "networks" not in record.options:
        return []
    from minirun.container import endpoint

    return endpoint.steps(home, record)


def entrance_steps(home: Home, record: Record) -> list[Step]:
    """List what makes the network that its first process enters; none, where that comes with the process."""
    if record.options["network"] in ("none", "host"):
        return []
    from minirun.container.entrance import Entrance

    return Entrance(home, record).steps


def _write_etc(home: Home, record: Record) -> None:
    options = record.options
    if options["network"] in ("none", "host") and "add_hosts" not in options and "dns" not in options:
        etc.write(home.container(record.id), options["hostname"], options["network"])
        return
    from minirun.container import nameservice

    nameservice.write(home, record)


def _overlay_steps(home: Home, record: Record) -> list[Step]:
    if not record.options["volumes"]:
        return []
    from minirun.container import attaching

    return attaching.overlay_steps(home, record)


def _group_steps(path: str, limited: Mapping[str, Any]) -> list[Step]:
    return [*_made(path, limited), *_counted(path, limited)]


def _made(path: str, limited: Mapping[str, Any]) -> list[Step]:
    why = "its processes, counted and killable as one"
    if not limited:
        return [Step(f"mkdir {path}", lambda: group.create(path), ("remove_cgroup", path), why)]
    from minirun.container import place

    return place.steps(path, limited, why)


def _counted(path: str, limited: Mapping[str, Any]) -> list[Step]:
    if not (most := processlimit.default(limited, path)):
        return []
    why = "what a container may have that nobody limits"
    return [Step(f"write {path}/{processlimit.FILE} {most}", lambda: processlimit.hold(path), (), why)]


def _device_steps(path: str, options: Mapping[str, Any]) -> list[Step]:
    if "devices" not in options and "device_rules" not in options:
        return []
    from minirun.container import privileges

    return privileges.filter_steps(options, path)


def undos_while_running(home: Home, record: Record, path: str) -> list[list[str]]:
    """What whoever finds this container without its parent must do, once the last process of its group is gone."""
    keep = [[KEEP_WHILE_ALIVE, path], *network_undos(home, record)]
    directory = home.container(record.id)
    if record.remove:
        name = home.name(record.name)
        own = [["remove_tree", directory], ["remove_name", name, record.id], ["remove_cgroup", path]]
        return [*keep, *volume_undos(home, record), *range_undos(home, record), *own]
    # undone from the last to the first: the group says how it ended, and then goes
    return [*keep, ["remove_cgroup", path], ["settle", home.root, record.id, path]]


def network_undos(home: Home, record: Record) -> list[list[str]]:
    """What takes it off its networks."""
    if "usermode" in record.options:
        from minirun.container import usermode

        return usermode.undos(home, record)
    if "networks" not in record.options:
        return []
    from minirun.container import endpoint

    return endpoint.undos(home, record)


def range_undos(home: Home, record: Record) -> list[list[str]]:
    """What gives its ids back."""
    if "userns" not in record.options:
        return []
    from minirun.container import userns

    return userns.undos(home, record)


def volume_undos(home: Home, record: Record) -> list[list[str]]:
    """What removes its anonymous volumes."""
    if not record.options["volumes"]:
        return []
    from minirun.container import mounts

    return mounts.discards(home, record)
