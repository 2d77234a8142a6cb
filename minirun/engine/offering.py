"""Probes of the kernel, and of who keeps its groups: overlays, namespaces, cgroups, limits."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from errno import EPERM

from minirun.cgroup import bus, controllers, delegation, group, hierarchy, systemd
from minirun.container import ranges
from minirun.engine.finding import DEGRADED, MISSING, OK, Finding, Patient, operation
from minirun.errors import REMEDIES, MinirunError, Unsupported, describe
from minirun.home import Home
from minirun.journal import Operation
from minirun.kernel.call import Call, Vector
from minirun.kernel.names import (
    CLONE_NEWCGROUP,
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUTS,
    MS_PRIVATE,
    MS_REC,
)
from minirun.launch import ending, machine, userns
from minirun.rootfs import overlay

_SIGKILL = 9
_NAMESPACES = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET


def stacked(patient: Patient) -> Iterator[Finding]:
    """An overlay of two layers and one above, where containers have theirs, in a mount namespace that ends with it."""
    with operation(patient.home) as made:
        if made is None:
            return  # the store's probe has said so
        try:
            directory = _make_layers(patient.home, made)
        except OSError as error:
            yield Finding("overlay", MISSING, describe(error), REMEDIES.get(error.errno or 0, ""))
            return
        layers = overlay.Overlay(directory, ["one", "two"], "upper", "work", volatile=True)
        refused = _mounts(overlay.mount(layers, patient.home.attach_point))
        if refused is None:
            yield Finding("overlay", OK, "several layers, by lowerdir+")
            return
        older = _mounts(overlay.mount_by_options(layers, patient.home.attach_point))
    if older is None:
        yield Finding("overlay", OK, "several layers, by mount(2), since this kernel has no lowerdir+ (Linux 6.8)")
    else:
        yield Finding("overlay", MISSING, describe(older), _overlay_remedy(older.errno or 0, patient.home.root))


def _overlay_remedy(error: int, root: str) -> str:
    if error == EPERM:
        return "run it as root of the host, with CAP_SYS_ADMIN"
    if error in REMEDIES:
        return REMEDIES[error]
    return (
        f"`modprobe overlay`; and {root} must be on a file system that an overlay may write to, ext4, xfs or btrfs, "
        "and no overlay itself: `dmesg | tail` has the reason, MINIRUN_ROOT puts the store elsewhere"
    )


def _mounts(calls: Iterator[Call]) -> OSError | None:
    """Make *calls*, which mount something, in a child with mounts of its own; what the kernel refused, if it did."""
    plan = [
        Call("unshare", CLONE_NEWNS, why="what is mounted here goes with this process"),
        Call("mount", 0, "/", 0, MS_REC | MS_PRIVATE, 0, why="and is nobody else's"),
        *calls,
    ]
    pid = os.fork()
    if pid == 0:
        error = 255
        try:
            machine.run(plan)
            error = 0
        except OSError as refused:
            error = refused.errno or 255
        finally:
            os._exit(error)
    error = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return OSError(error, os.strerror(error), "overlay") if error else None


def namespaces(patient: Patient) -> Iterator[Finding]:
    """A process born in new namespaces and in a group, which becomes the stub, or where there is none this program."""
    reading, writing = os.pipe()  # the stub says on it that there is no such command
    try:
        if stub := ending.stub():
            command = Call("execve", stub, Vector(["exec", str(writing), "/nonexistent"]), Vector([]))
        else:
            command = Call("execve", sys.executable, Vector(["python", "-ISc", "raise SystemExit(127)"]), Vector([]))
        os.set_inheritable(writing, True)
        directory = os.open(patient.group or hierarchy.mount_point(), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            process = machine.spawn([Call("unshare", CLONE_NEWCGROUP), command], _NAMESPACES, directory)
        finally:
            os.close(directory)
        os.close(process.pidfd)
        code = os.waitstatus_to_exitcode(os.waitpid(process.pid, 0)[1])
    except (OSError, Unsupported) as error:
        yield Finding(
            "namespaces", MISSING, describe(error) if isinstance(error, OSError) else error.reason,
            "run it on the host, or in a container that may make containers: `docker run --privileged`",
        )  # fmt: skip
        return
    finally:
        os.close(reading)
        os.close(writing)
    if code == 127:
        yield Finding("namespaces", OK, "mnt, pid, ipc, uts, net and cgroup, entered by clone3 into a group")
    elif code == -_SIGKILL:
        # cgroup_post_fork compares how often the group was killed with how often that of the parent had been
        yield Finding(
            "namespaces", MISSING,
            "this kernel kills whoever is born from our group into another, as our own was ended by cgroup.kill before",
            "start minirun from a group that was not: from a new login, or by `systemd-run --scope`",
        )  # fmt: skip
    else:
        yield Finding("namespaces", MISSING, f"{command!r} ended with {code}", "in the checkout: `sudo make setup`")


def _make_layers(home: Home, made: Operation) -> str:
    """Make the directories that an overlay is mounted of, below the one that is returned."""
    directory = home.temporary(made.key)
    made.will("remove_tree", directory)
    for name in ("", "one", "two", "upper", "work"):
        os.mkdir(f"{directory}/{name}", 0o700)
    return directory


def mapped(patient: Patient) -> Iterator[Finding]:
    """A user namespace, and a directory of the store mounted by it below an overlay, as `--userns` has them."""
    what = "user namespaces"
    try:
        pool = ranges.pool()
    except MinirunError as error:
        yield Finding(what, DEGRADED, error.reason, "subuid(5) says how a line looks: minirun:600000:1048576")
        return
    size = min(pool.size, ranges.SIZE)
    own = userns.UserNamespace(patient.home.root, [[0, pool.uid, size]], [[0, pool.gid, size]], CLONE_NEWNET)
    with operation(patient.home) as made:
        if made is None:
            return  # the store's probe has said so
        try:
            _make_layers(patient.home, made)
            own.make()
            refused = _mapped(patient.home, own, f"tmp/{made.key}")
        except OSError as error:
            remedy = (
                "it takes CONFIG_USER_NS, and `sysctl user.max_user_namespaces` above 0; --userns host takes neither"
            )
            yield Finding(what, DEGRADED, describe(error), remedy)
            return
        finally:
            own.close()
    if refused:
        yield Finding(
            what, DEGRADED, f"its files cannot be mapped: {describe(refused)}",
            "--userns takes Linux 5.19, and a store on ext4, xfs, btrfs or, from 6.3 on, tmpfs",
        )  # fmt: skip
    else:
        yield Finding(
            what, OK, f"--userns auto: {pool.size // size} containers, of {size} ids each, from {pool.uid} on"
        )


def _mapped(home: Home, own: userns.UserNamespace, path: str) -> OSError | None:
    point = home.attach_point
    layers = overlay.Overlay(f"{point}/{path}", ["one", "two"], "upper", "work", volatile=True)
    before = [*userns.become_owner(own.uid, own.gid), *userns.attach_store(own, point)]
    refused = _mounts(iter([*before, *overlay.mount(layers, point)]))
    return refused and _mounts(iter([*before, *overlay.mount_by_options(layers, point)]))


def cgroups(patient: Patient) -> Iterator[Finding]:
    """The v2 hierarchy, and minirun's own group in it."""
    try:
        mount = hierarchy.mount_point()
    except Unsupported as refusal:
        yield Finding("cgroup v2", MISSING, refusal.reason, refusal.remedy)
        return
    yield Finding("cgroup v2", OK, f"mounted at {mount}")
    if os.geteuid():
        return
    # where the store takes no mark: of a fixed name, so that the next doctor would find it
    path = patient.group or hierarchy.path("0" * 64)
    try:
        group.create(path)
    except FileExistsError:
        pass
    except (OSError, MinirunError) as error:
        yield Finding(
            "cgroup of minirun", MISSING, describe(error) if isinstance(error, OSError) else str(error),
            f"`mount -o remount,rw {mount}`, or start whatever minirun runs in so that it may write there",
        )  # fmt: skip
        return
    yield Finding("cgroup of minirun", OK, f"groups can be made in {hierarchy.own()}")
    yield from _files(path)
    if not patient.group:
        group.remove(path)


def _files(path: str) -> Iterator[Finding]:
    if os.path.exists(f"{path}/cgroup.kill"):
        yield Finding("cgroup.kill", OK, "a container's processes end all at once")
    else:
        yield Finding(
            "cgroup.kill", DEGRADED, "a container's processes are killed one by one, until none is left",
            "boot Linux 5.14 or newer",
        )  # fmt: skip
    try:
        with open(f"{path}/cpu.pressure") as file:
            file.read()
    except OSError as error:
        yield Finding(
            "pressure", DEGRADED, f"`stats` shows no pressure (PSI): {describe(error)}",
            "boot with psi=1, or a kernel with CONFIG_PSI=y",
        )  # fmt: skip
    else:
        yield Finding("pressure", OK, "the kernel tells what a group waits for (PSI)")


def limits(_patient: Patient) -> Iterator[Finding]:
    """Each controller, with the flags that need it."""
    for one in controllers.list_all():
        refused = f"; refused: {' '.join(controllers.flags(one.name))}"
        state, more = (OK, "") if one.usable else (DEGRADED, refused)
        yield Finding(f"{one.name} controller", state, f"{one.where}{more}", one.remedy)


def scopes(_patient: Patient) -> Iterator[Finding]:
    """Where systemd keeps the tree: whether it can be asked for a scope, or gave us a group."""
    if not os.path.isdir(delegation.BOOTED):
        return
    try:
        given = delegation.delegated()
    except Unsupported as refusal:
        yield Finding("systemd", DEGRADED, f"limits are refused: {refusal.reason}", refusal.remedy)
        return
    if given:
        yield Finding("systemd", OK, f"containers with limits go into {given}, which is delegated")
        return
    try:
        version = systemd.version()
    except (OSError, bus.Refused) as error:
        reason = describe(error) if isinstance(error, OSError) else str(error)
        yield Finding(
            "systemd", DEGRADED, f"limits are refused, as no scope can be asked for: {reason}",
            "`apt-get install dbus`, and `systemctl start dbus`",
        )  # fmt: skip
    else:
        yield Finding("systemd", OK, f"version {version}: a container with limits gets a scope")
