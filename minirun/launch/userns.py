"""A user namespace for a container: made before its first process, owner of its namespaces, and entered last of all.

    here                                        the holder
    clone3(NEWUSER [NEWNET NEWIPC NEWUTS]) ──▶  is born in all of them, and reads until the other end is closed
    write uid_map, gid_map
    the plan of the container:
      securebits, setresgid, setresuid          what is made from here on is the container's root's; capabilities stay
      setns(holder, NET IPC UTS)                so these belong to the user namespace, and its root may rule them
      store ─ clone, idmapped, attached         an id on the disk is the container's own: 0 is its root
      … all is mounted by the host's root …
      setns(holder, NEWUSER), setresuid(0)      from here on no capability means anything on the host

Namespaces of mounts and processes are made by the clone3 of the container, and are the host's. So nobody in there
mounts anything, whatever he may do else, but where CAP_SYS_ADMIN was asked for: then it gets a copy of its mounts,
which the kernel locks, and adds to that. See user_namespaces(7), mount_setattr(2), mount_namespaces(7).
"""

from __future__ import annotations

import os
from errno import ESRCH

from minirun.kernel import files
from minirun.kernel.call import Call, Struct, Vector
from minirun.kernel.names import (
    AT_EMPTY_PATH,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWUSER,
    CLOSE_RANGE_CLOEXEC,
    MOUNT_ATTR_NONE,
    PR_SET_SECUREBITS,
    SECBIT_NO_SETUID_FIXUP,
    SIG_SETMASK,
    Named,
)
from minirun.launch import ending, machine
from minirun.rootfs.attach import DEV, SCRATCH, allow, attach, clone
from minirun.security import capabilities

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from minirun.launch.machine import Process

    Extents = Sequence[Sequence[int]]  # (first inside, first on the host, how many), as uid_map has them

UNMOVED = -1  # to setresuid(2): leave it
IDMAP = "its files, with the container's owners"


class UserNamespace:
    """The user namespace of a container that is being started.

    Attributes:
        pidfd: of a process in it, and in the others of *kinds*.
        descriptor: of it, for mounts to be mapped by.
        kinds: CLONE_NEW* of the namespaces that it owns, and that the container is to enter.
        users, groups: its maps.
        uid, gid: of its root, as the host sees them.
        store: the path whose clone becomes the container's view of the store.
    """

    __slots__ = ("_end", "_process", "descriptor", "gid", "groups", "kinds", "pidfd", "store", "uid", "users")

    def __init__(self, store: str, users: Extents, groups: Extents, kinds: int) -> None:
        """Describe one that is not there yet."""
        self.store = store
        self.users = users
        self.groups = groups
        self.kinds = kinds
        self.uid = host_id(users, 0)
        self.gid = host_id(groups, 0)
        self.pidfd: int = Named("holder", -1)
        self.descriptor: int = Named("userns", -1)
        self._process: Process | None = None
        self._end = -1

    def make(self, joined: int | None = None) -> None:
        """Make it, or enter that of a process.

        Args:
            joined: a pidfd, whose user namespace it is to be; None for a new one.

        Raises:
            OSError: the kernel refuses. ENOSPC: user.max_user_namespaces.
        """
        end, self._end = os.pipe2(os.O_CLOEXEC)
        try:
            self._process = _hold(end, self.kinds, joined)
        finally:
            os.close(end)
        pid = self._process.pid
        if joined is None:
            for name, extents in (("gid_map", self.groups), ("uid_map", self.users)):
                with open(f"/proc/{pid}/{name}", "wb", 0) as file:
                    # at once: a second write is refused
                    file.write("".join(f"{inside} {host} {size}\n" for inside, host, size in extents).encode())
        self.pidfd = self._process.pidfd
        self.descriptor = self._open("user")

    def host_user(self, uid: int) -> int:
        """What a uid of the container is on the host."""
        return host_id(self.users, uid)

    @property
    def owns_network(self) -> bool:
        """Whether the container's network namespace is one of those."""
        return bool(self.kinds & CLONE_NEWNET)

    def network(self) -> int:
        """A descriptor of the network namespace that it owns, which is the caller's."""
        return self._open("net")

    def _open(self, kind: str) -> int:
        assert self._process
        return os.open(f"/proc/{self._process.pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)

    def close(self) -> None:
        """Let it go: it stays while somebody is in it, or something is mapped by it. Idempotent."""
        if self._end >= 0:
            os.close(self._end)
            self._end = -1
        if self._process:
            os.waitpid(self._process.pid, 0)
            os.close(self._process.pidfd)
            self._process = None
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def host_id(extents: Extents, inside: int) -> int:
    """What an id of a container is on the host; -1: it is none of its own."""
    for first, host, size in extents:
        if first <= inside < first + size:
            return host + inside - first
    return -1


def become_owner(uid: int, gid: int) -> Iterator[Call]:
    """Have all that is made from here on be these ids'; what we may do stays what it is."""
    yield Call("prctl", PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0, why="capabilities do not go with the uid")
    yield Call("setresgid", UNMOVED, gid, UNMOVED)
    yield Call("setresuid", UNMOVED, uid, UNMOVED, why="what is made from here on is the container's root's")


def join(user: UserNamespace) -> Iterator[Call]:
    """Enter the namespaces that it owns."""
    if user.kinds:
        # before /sys is mounted, which shows the interfaces of where it was
        yield Call("setns", user.pidfd, user.kinds, why="namespaces that its root may rule")


def attach_store(user: UserNamespace, attach_point: str) -> Iterator[Call]:
    """Attach a clone of the store that shows the container's owners; its root goes on top of it, and it goes with ours.

    Attached, for a detached one is no layer of an overlay before Linux 6.15.
    """
    yield clone(user.store, save=SCRATCH, why=IDMAP)
    yield allow(SCRATCH, MOUNT_ATTR_NONE, idmap=user.descriptor, why=IDMAP)
    yield from attach(attach_point, mount=SCRATCH, why="from here its layers are taken")


def own_devices(user: UserNamespace, *, queues: bool) -> Iterator[Call]:
    """Give the container what the kernel has made in its /dev; *queues*: those of POSIX are its own."""
    for name in ("pts", "pts/ptmx", *(("mqueue",) if queues else ())):
        yield Call("fchownat", DEV, name, user.uid, user.gid, 0, why="its root's, who is not the host's")


def begin(user: UserNamespace, keep: int) -> list[Call]:
    """Enter it for the first time; *keep*: the capabilities that are left in the end."""
    calls = enter(user.pidfd)
    if keep & capabilities.SYS_ADMIN:
        why = "mounts that its root may add to; what is there, the kernel locks"
        calls.append(Call("unshare", CLONE_NEWNS, why=why))
    return calls


def enter(pidfd: int) -> list[Call]:
    """Enter the user namespace of a process, as its root."""
    return [
        Call("setns", pidfd, CLONE_NEWUSER, why="its ids; no capability means anything on the host from here on"),
        Call("setresgid", 0, 0, 0),
        Call("setresuid", 0, 0, 0, why="its root"),
    ]


def _hold(end: int, kinds: int, joined: int | None) -> Process:
    """Make a process in namespaces of its own that waits for the end of a pipe, and ends.

    Args:
        end: where it reads.
        kinds: CLONE_NEW* of what it has of its own.
        joined: whose user namespace it enters; None: a new one.
    """
    # those made by one call with a user namespace are that one's: see clone(2)
    flags = kinds | CLONE_NEWUSER if joined is None else 0
    before = [] if joined is None else [Call("setns", joined, CLONE_NEWUSER), Call("unshare", kinds)]
    if not (path := ending.stub()):
        return _hold_by_fork(end, flags, before)
    stub = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        return machine.spawn([*before, *_wait(stub, end)], flags, -1)
    finally:
        os.close(stub)


def _wait(stub: int, end: int) -> Iterator[Call]:
    yield Call("dup3", end, 0, 0)
    yield Call("close_range", 3, 0xFFFFFFFF, CLOSE_RANGE_CLOEXEC, why="it holds nothing of ours")
    yield Call("rt_sigprocmask", SIG_SETMASK, Struct("none", bytes(8)), 0, 8, why="they were blocked across the clone")
    yield Call("execveat", stub, "", Vector(["drain", "0"]), Vector([]), AT_EMPTY_PATH)


def _hold_by_fork(end: int, flags: int, before: Sequence[Call]) -> Process:
    """Where there is no program that does it, a copy of ourselves does."""
    told, ours = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if not child:
        try:
            machine.run([*before, *([Call("unshare", flags)] if flags else [])])
            files.close_but(end, ours)  # others wait for the end of a pipe, and would wait for ours
            os.write(ours, b"+")
            os.read(end, 1)
        except OSError as error:
            os.write(ours, bytes((error.errno or 1,)))
        finally:
            os._exit(0)
    os.close(ours)
    try:
        answer = os.read(told, 1)
        if answer != b"+":
            os.waitpid(child, 0)
            code = answer[0] if answer else ESRCH
            raise OSError(code, os.strerror(code))
        return machine.Process(child, os.pidfd_open(child))
    finally:
        os.close(told)
