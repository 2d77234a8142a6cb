"""A specification becomes a plan: every system call between the birth of a container and its command, in order.

    clone3(NEWNS NEWPID NEWIPC NEWUTS [NEWNET], into the container's cgroup)
      │  network ─ private mounts ─ overlay ─ sources of volumes ─ stub the host's paths still mean something
      ▼  pivot_root                                                   ── from here on no path can name the host ──
      │  /dev ─ /sys ─ volumes and memory ─ mount points ─ /proc ─ masks
      │  loopback ─ hostname ─ terminal ─ working directory
      ▼  keyring ─ rlimits ─ bounding set ─ user ─ capabilities       from here on there is nothing to give away
      execveat(stub) ─▶ the command

The order is the security of it; each step says what binds it to its place.
"""

from __future__ import annotations

from minirun import caller
from minirun.kernel.call import Call
from minirun.kernel.names import (
    CLONE_NEWCGROUP,
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUTS,
    MNT_DETACH,
    MOUNT_ATTR_NOSUID,
    MOUNT_ATTR_RDONLY,
    MS_PRIVATE,
    MS_REC,
    O_CLOEXEC,
    O_RDWR,
    PR_SET_CHILD_SUBREAPER,
    TIOCSCTTY,
)
from minirun.launch import ending
from minirun.launch.spec import NULL_DEVICE
from minirun.network import loopback
from minirun.rootfs import attach, overlay, special, volumes
from minirun.rootfs.attach import DEV, ROOT, SCRATCH, SHM, STUB
from minirun.security import masks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from minirun.launch.spec import Spec
    from minirun.rootfs.volumes import Tmpfs, Volume


def namespaces(spec: Spec) -> int:
    """The CLONE_NEW* flags of a container; its cgroup namespace is unshared later, see `plan`."""
    flags = CLONE_NEWNS
    for kind, flag in (("pid", CLONE_NEWPID), ("ipc", CLONE_NEWIPC), ("uts", CLONE_NEWUTS)):
        if kind not in spec.shared and not (spec.userns and flag & spec.userns.kinds):
            flags = flags | flag
    if spec.userns and spec.userns.owns_network:
        return flags
    return flags if spec.network == "host" or spec.network_namespace is not None else flags | CLONE_NEWNET


def plan(spec: Spec, *, by_options: bool = False) -> list[Call]:
    """List the calls that make *spec* a process.

    Args:
        spec: the container.
        by_options: mount the overlay the way of Linux before 6.8.
    """
    return [*_root(spec, by_options=by_options), *_inside(spec), *_process(spec), *ending.become(spec)]


def _root(spec: Spec, *, by_options: bool) -> Iterator[Call]:
    yield Call("setsid", why="a session of its own: no terminal of the host controls it, nor it one")
    yield Call("umask", 0, why="modes below mean what they say")
    if spec.cgroup_namespace:
        # clone3 takes the root of a new cgroup namespace from the parent, so it is made only now, inside the cgroup
        yield Call("unshare", CLONE_NEWCGROUP, why="its own cgroup is the root it sees")
    if spec.userns:
        from minirun.launch import userns

        yield from userns.become_owner(spec.userns.uid, spec.userns.gid)
        yield from userns.join(spec.userns)
    if spec.network_namespace is not None:
        # before /sys is mounted, which shows the interfaces of where it was
        yield Call("setns", spec.network_namespace, CLONE_NEWNET, why="its network, which is there already")
    if "ipc" in spec.shared:
        from minirun.launch import joined

        yield from joined.ipc(spec.shared["ipc"])
    if spec.sysctls:
        from minirun.launch import sysctls

        yield from sysctls.write(spec.sysctls)
    if spec.oom_score_adj is not None:
        from minirun.launch import resources

        yield from resources.oom_score(spec.oom_score_adj)
    attached = _attached(spec)
    # before it is made private: from then on it has no peers on the host that it could be joined to
    idmap = spec.userns.descriptor if spec.userns else None
    yield from volumes.take(attached, joined=True, by_options=by_options, idmap=idmap)
    yield Call("mount", 0, "/", 0, MS_REC | MS_PRIVATE, 0, why="nothing mounted here reaches the host, or back")
    yield from volumes.take(attached, by_options=by_options, idmap=idmap)
    if caller.ROOTLESS:
        yield from special.take(**_kernels(spec), hosts_network=spec.network == "host")
    if spec.stub:
        yield attach.clone(spec.stub, save=STUB, why="the program that becomes the command")
        attributes = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID
        yield attach.allow(STUB, attributes, why="no /proc/PID/exe is writable (CVE-2019-5736)")
    if spec.userns:
        from minirun.launch import userns

        yield from userns.attach_store(spec.userns, spec.attach_point)
    mount = overlay.mount_by_options if by_options else overlay.mount
    yield from mount(spec.overlay, spec.attach_point)
    if spec.makes_devices:
        from minirun.rootfs import devices

        yield from devices.open_made()
    yield Call("fchdir", ROOT)
    yield Call("pivot_root", ".", ".", why="the container's root is the root")
    yield Call("umount2", ".", MNT_DETACH, why="and the host's is gone")
    yield Call("chdir", "/")


def _attached(spec: Spec) -> list[Volume | Tmpfs]:
    """All that is attached, what is nearer to the root first; of one place what is the user's is on top."""
    every = [*spec.files, *spec.volumes]
    return sorted(every, key=lambda one: one.target.count("/")) if spec.volumes else every


def _inside(spec: Spec) -> Iterator[Call]:
    shm = SHM if "ipc" in spec.shared else None if "shm" in spec.shared else spec.shm_bytes
    yield from special.dev(
        spec.terminal, shm, spec.devices, opens=spec.makes_devices, taken=caller.ROOTLESS, tty=spec.tty
    )
    if spec.userns:
        from minirun.launch import userns

        yield from userns.own_devices(spec.userns, queues="ipc" not in spec.shared)
    yield from special.sys(**_kernels(spec), taken=caller.ROOTLESS)
    yield from volumes.give(_attached(spec))
    # before /proc is there: a path through it could lead to a descriptor of ours
    if not spec.cwd.startswith("/proc/"):  # nothing can be made there, and here it would be made below the mount
        yield from volumes.make_target(spec.cwd, directory=True)
    yield from special.proc(taken=caller.ROOTLESS)
    yield from masks.masks(spec.masks)
    if spec.network != "host" and spec.network_namespace is None:
        yield from loopback.up()
    if "uts" not in spec.shared:
        yield Call("sethostname", spec.hostname, len(spec.hostname.encode()), why="the name it has for itself")
    if spec.read_only:
        yield attach.allow(ROOT, MOUNT_ATTR_RDONLY, why="--read-only, now that every mount point is there")


def _kernels(spec: Spec) -> dict[str, bool]:
    """What of the kernel's own file systems it may change, and whether it has a group to see."""
    read_only, cgroup_read_only = not spec.privileged, not spec.masks.writable_cgroup
    return {"read_only": read_only, "cgroup_read_only": cgroup_read_only, "has_cgroup": spec.has_cgroup}


def _process(spec: Spec) -> Iterator[Call]:
    yield from _streams(spec)
    yield from attach.working_directory(spec.cwd)
    if spec.init and "pid" in spec.shared:
        yield Call("prctl", PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0, why="orphans come to the reaper, which is no PID 1")
    if spec.userns:
        from minirun.launch import userns

        yield from ending.confine(spec, userns.begin(spec.userns, spec.capabilities))
    else:
        yield from ending.confine(spec)


def _streams(spec: Spec) -> Iterator[Call]:
    if spec.terminal:
        for descriptor in (0, 1, 2):
            yield Call("dup3", spec.terminal[1], descriptor, 0, why="its terminal")
        yield Call("ioctl", 0, TIOCSCTTY, 0, why="which controls its session")
        return
    nulls = [place for descriptor, place in spec.redirects if descriptor == NULL_DEVICE]
    if not spec.stdin:
        nulls.insert(0, 0)
    if nulls:
        yield Call("openat", DEV, "null", O_RDWR | O_CLOEXEC, 0, save=SCRATCH, why="its null device, not the host's")
    for place in nulls:
        yield Call("dup3", SCRATCH, place, 0, why="without -i nothing is read" if place == 0 else "")
    for descriptor, place in spec.redirects:
        if descriptor != NULL_DEVICE:
            yield Call("dup3", descriptor, place, 0, why="a pipe in place of a file of the host's")
