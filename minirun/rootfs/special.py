"""The file systems of the kernel that every container sees: /dev, /sys, /sys/fs/cgroup, /proc.

    /dev           tmpfs, 64 MiB, no device opens …
    ├── null …     … except through these six, each a mount of its own
    ├── pts        devpts, a new instance
    ├── shm        tmpfs
    ├── mqueue     the queues of the ipc namespace
    └── fd stdin stdout stderr ptmx core → links
    /sys           sysfs, read-only; /sys/fs/cgroup: cgroup2, read-only, the container's own group as its root
    /proc          last of all mounts, so that no mount of a user's can land on it

A container may make device nodes (CAP_MKNOD is one of Docker's), and may open none of them: every mount is ``nodev``
but those six. That holds without a device filter in the cgroup.

An ordinary user can make no node that opens: his containers have the host's own six, each cloned while the host's
paths still mean something. And the kernel gives him a /proc, a /sys or a tree of cgroups only while he sees a whole
one, which is on the host: `take` makes all these before that is gone, and what follows attaches them.
"""

from __future__ import annotations

from minirun.kernel.call import SLOTS, Call, Slot
from minirun.kernel.names import (
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID,
    MOUNT_ATTR_RDONLY,
    MOUNT_ATTR_STRICTATIME,
    MOVE_MOUNT_F_EMPTY_PATH,
    O_CLOEXEC,
    O_PATH,
    S_IFCHR,
    S_IFREG,
    mode,
)
from minirun.rootfs.attach import (
    BARRED,
    DEV,
    MOUNT,
    NULL,
    allow,
    attach,
    attach_at_real_directory,
    clone,
    filesystem,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from minirun.rootfs.devices import Device

DEVICES = (("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0))
LINKS = (
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
    ("core", "/proc/kcore"),
)
DEV_BYTES = 64 << 20  # Docker's
TTY = 5  # the gid of the group tty in Debian, Fedora and Docker


def devpts_options(tty: int = TTY) -> tuple[tuple[str, str], ...]:
    """What a devpts is mounted with; *tty*: the gid of that group. Since Linux 4.7 every one is a new instance."""
    return ("ptmxmode", "0666"), ("mode", "0620"), ("gid", str(tty))


PROC, SYS, CGROUP = (Slot(SLOTS - 1 - index, name) for index, name in enumerate(("proc", "sys", "cgroup")))


def take(*, read_only: bool, cgroup_read_only: bool, has_cgroup: bool, hosts_network: bool) -> Iterator[Call]:
    """Make what an ordinary user can only make before the root of the container is entered."""
    for index, (name, _, _) in enumerate(DEVICES):
        yield clone(f"/dev/{name}", save=_host(index), why="which an ordinary user cannot make")
    if hosts_network:
        why = "the host's, as its network namespace is"
        yield clone("/sys", recursive=True, save=SYS, why=why)
        yield allow(SYS, BARRED | MOUNT_ATTR_RDONLY, recursive=True, why=why)
    else:
        yield from _sysfs(SYS, read_only=read_only)
    if has_cgroup:
        yield from _cgroups(CGROUP, read_only=cgroup_read_only)
    yield from _processes(PROC)


def _host(index: int) -> Slot:
    return Slot(CGROUP.index - len(DEVICES) + index, DEVICES[index][0])


def dev(
    terminal: tuple[int, int] | None, shm: int | Slot | None, devices: Sequence[Device] = (), *, opens: bool = False,
    taken: bool = False, tty: int = TTY,
) -> Iterator[Call]:  # fmt: skip
    """Build /dev.

    Args:
        terminal: descriptors of a detached devpts and of a slave in it that becomes /dev/console; None makes a new
            devpts that nobody of ours holds.
        shm: size of /dev/shm, or a detached mount that becomes it; None for none.
        devices: more of the host's.
        opens: whether nodes that the container makes in it open.
        taken: whether the six are those of `take`.
        tty: what the group of terminals is on the host.
    """
    options = (("mode", "755"), ("size", str(DEV_BYTES)))
    yield from filesystem(
        "tmpfs", options, MOUNT_ATTR_NOSUID | MOUNT_ATTR_STRICTATIME, save=DEV, why="a /dev of its own"
    )
    yield from attach_at_real_directory("/dev", mount=DEV, keep=True, why="over whatever the image has there")
    for index, (name, major, minor) in enumerate(DEVICES):
        if taken:
            yield Call("mknodat", DEV, name, S_IFREG | mode(0o666), 0, why=f"/dev/{name}, the host's")
            yield from attach(name, mount=_host(index), at=DEV)
            continue
        yield Call("mknodat", DEV, name, S_IFCHR | mode(0o666), major << 8 | minor, why=f"/dev/{name}")
        yield clone(name, at=DEV, why="a mount of its own, through which the device opens")
        yield from attach(name, at=DEV)
    yield Call("openat", DEV, "null", O_PATH | O_CLOEXEC, 0, save=NULL, why="the null device that hides files later on")
    for name, target in LINKS:
        yield Call("symlinkat", target, DEV, name)
    yield from _terminals(terminal, tty)
    yield from _memory(shm)
    if devices:
        from minirun.rootfs.devices import nodes

        yield from nodes(devices, mounted=not opens)
    if not opens:
        yield allow(DEV, MOUNT_ATTR_NODEV, why="nodes that the container makes here open nothing")


def _terminals(terminal: tuple[int, int] | None, tty: int) -> Iterator[Call]:
    yield Call("mkdirat", DEV, "pts", mode(0o755))
    if terminal is None:
        yield from filesystem(
            "devpts", devpts_options(tty), MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, why="terminals of its own"
        )
        yield from attach("pts", at=DEV)
        return
    devpts, slave = terminal
    yield Call("move_mount", devpts, "", DEV, "pts", MOVE_MOUNT_F_EMPTY_PATH, why="the terminals, one of which is ours")
    yield Call("mknodat", DEV, "console", S_IFREG | mode(0o600), 0)
    # by descriptor: an image's /dev/pts can be a link to /proc (CVE-2025-52565)
    yield clone("", at=slave, why="the container's end of our terminal")
    yield from attach("console", at=DEV, why="/dev/console")


def _memory(shm: int | Slot | None) -> Iterator[Call]:
    if shm is not None:
        yield Call("mkdirat", DEV, "shm", mode(0o1777))
    if isinstance(shm, Slot):
        yield from attach("shm", mount=shm, at=DEV, why="POSIX shared memory, of others as well")
    elif shm is not None:
        yield from filesystem("tmpfs", (("mode", "1777"), ("size", str(shm))), BARRED, why="POSIX shared memory")
        yield from attach("shm", at=DEV)
    yield Call("mkdirat", DEV, "mqueue", mode(0o755))
    yield from filesystem("mqueue", (), BARRED, why="POSIX message queues of its ipc namespace")
    yield from attach("mqueue", at=DEV)


def sys(
    *, read_only: bool = True, cgroup_read_only: bool = True, has_cgroup: bool = True, taken: bool = False
) -> Iterator[Call]:
    """Mount /sys and, below it, the container's own part of the cgroup tree, or nothing where it has none."""
    if not taken:
        yield from _sysfs(MOUNT, read_only=read_only)
    yield from attach_at_real_directory("/sys", mount=SYS if taken else MOUNT, why="/sys is the host's")
    if not has_cgroup:
        yield from filesystem("tmpfs", (), BARRED | MOUNT_ATTR_RDONLY, why="it has no group of its own to see")
    elif not taken:
        yield from _cgroups(MOUNT, read_only=cgroup_read_only)
    yield from attach("/sys/fs/cgroup", mount=CGROUP if taken and has_cgroup else MOUNT)


def _sysfs(save: Slot, *, read_only: bool) -> Iterator[Call]:
    barred = BARRED | MOUNT_ATTR_RDONLY if read_only else BARRED
    yield from filesystem("sysfs", (), barred, save=save, why="devices as its network namespace sees them")


def _cgroups(save: Slot, *, read_only: bool) -> Iterator[Call]:
    barred = BARRED | MOUNT_ATTR_RDONLY if read_only else BARRED
    yield from filesystem("cgroup2", (), barred, save=save, why="its own cgroup as the root (CVE-2022-0492)")


def proc(*, taken: bool = False) -> Iterator[Call]:
    """Mount /proc."""
    if not taken:
        yield from _processes(MOUNT)
    mount = PROC if taken else MOUNT
    yield from attach_at_real_directory("/proc", mount=mount, why="last, so that no other mount can land on it")


def _processes(save: Slot) -> Iterator[Call]:
    yield from filesystem("proc", (), BARRED, save=save, why="processes of its pid namespace")
