"""A container's record becomes a specification, in which there is nothing left to look up: see launch/spec.py."""

from __future__ import annotations

import os

from minirun import caller
from minirun.container import environment, etc
from minirun.errors import Unsupported
from minirun.launch import ending
from minirun.launch.spec import Spec
from minirun.rootfs import special
from minirun.rootfs.overlay import Overlay
from minirun.rootfs.volumes import Tmpfs, Volume
from minirun.security import capabilities, labels, masks, seccomp, user

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from minirun.container.record import Record
    from minirun.container.terminal import Terminal
    from minirun.home import Home
    from minirun.launch.userns import UserNamespace
    from minirun.rootfs.devices import Device
    from minirun.security.user import User


def specify(
    home: Home,
    record: Record,
    *,
    stdin: bool,
    status: int,
    terminal: Terminal | None,
    who: User | None = None,
    namespace: int | None = None,
    shared: Mapping[str, int | None] | None = None,
    userns: UserNamespace | None = None,
) -> Spec:
    """Resolve everything that the record names: the user in the image, the kinds of the volumes' sources.

    Raises:
        BadInput: the image has no such user.
    """
    options = record.options
    directory = home.container(record.id)
    stack = [home.diff(name) for name in record.stack]
    if os.path.isdir(upper := f"{directory}/upper"):
        stack.append(upper)
    who = who or user.find(options["user"], stack, options.get("group_add", ()))
    if options["init"] and not ending.stub():
        raise Unsupported("use --init", "its reaper was not compiled", "install a C compiler and run `make setup`")
    keep = capabilities.kept(options)
    diffs, tty = home.folder("diffs"), special.TTY
    if "userns" in options:
        from minirun.container import userns as usernamespaces

        usernamespaces.check_user(options, who.uid, (who.gid, *who.groups))
        userns = userns or usernamespaces.describe(home, options)
        diffs, tty = f"{home.attach_point}/diffs", usernamespaces.terminals(options, special.TTY)
    return Spec(
        overlay=Overlay(
            diffs,
            record.stack,
            f"../containers/{record.id}/upper",
            f"../containers/{record.id}/work",
            volatile=record.remove,
        ),
        attach_point=home.attach_point,
        read_only=options["read_only"],
        hostname=options["hostname"],
        network=options["network"],
        network_namespace=namespace,
        shared=shared or {},
        sysctls=[*options.get("sysctls", {}).items()],
        files=etc.volumes(directory, read_only=options["read_only"]),
        volumes=_attached(home, record),
        terminal=terminal and (terminal.devpts, terminal.slave),
        stdin=stdin,
        redirects=(),
        devices=_devices(options),
        makes_devices=not caller.ROOTLESS and ("device_rules" in options or "privileged" in options),
        privileged="privileged" in options,
        masks=masks.of(options),
        user=who,
        capabilities=keep,
        cwd=options["cwd"],
        argv=options["argv"],
        env=environment.complete(
            options["env"], hostname=options["hostname"], home=who.home, terminal=terminal is not None
        ),
        init=options["init"],
        labels=labels.of(options),
        seccomp=seccomp.find(home, options, keep),
        no_new_privileges=seccomp.forbids_new_privileges(options),
        stub=ending.stub(),
        shm_bytes=options["shm_bytes"],
        has_cgroup=True,
        cgroup_namespace=options["cgroupns"] == "private",
        rlimits=[(resource, soft, hard) for _, resource, soft, hard in options["ulimits"]],
        oom_score_adj=options["oom_score_adj"],
        status=status,
        userns=userns,
        tty=tty,
    )


def _devices(options: Mapping[str, Any]) -> list[Device]:
    if caller.ROOTLESS or ("devices" not in options and "privileged" not in options):
        return []
    from minirun.container import privileges

    return privileges.nodes(options)


def _attached(home: Home, record: Record) -> Sequence[Volume | Tmpfs]:
    """What is attached, in order; most containers have nothing that attaching.py would be needed for."""
    if record.options["volumes"]:
        from minirun.container import attaching

        found: Sequence[Volume | Tmpfs] = attaching.attach(home, record)
    else:
        found = [Tmpfs(target, given, attributes) for target, given, attributes in record.options["tmpfs"]]
    if "userns" in record.options:
        from minirun.container import userns

        for one in found:
            if isinstance(one, Tmpfs):
                one.options = userns.owners(record.options, one.options)
    return found
