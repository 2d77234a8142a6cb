"""What a container is to be, in words that need no more looking up: every name resolved, every path absolute."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from minirun.launch.userns import UserNamespace
    from minirun.rootfs.devices import Device
    from minirun.rootfs.overlay import Overlay
    from minirun.rootfs.volumes import Tmpfs, Volume
    from minirun.security.labels import Label
    from minirun.security.masks import Masks
    from minirun.security.seccomp import Filter
    from minirun.security.user import User


NULL_DEVICE = -1  # in place of a descriptor


class Spec:
    """One container, ready to be planned.

    Attributes:
        overlay: its root file system.
        attach_point: empty directory of the host on which the root is attached, in a mount namespace of its own.
        read_only: whether the root is.
        hostname: for its uts namespace.
        network: ``none`` (a namespace with loopback), ``host``, or the name of what *network_namespace* is on.
        network_namespace: descriptor of one that is there already, to be entered; None: as *network* says.
        shared: kinds of namespaces that it has not for itself, ``ipc``, ``pid``, ``uts``: None for the host's, or a
            pidfd, whose they are; ``shm``: None, for no /dev/shm.
        sysctls: (name, value): what is set in its namespaces.
        files: hostname, hosts and resolv.conf, left out where the image has no place for them.
        volumes: what the user attaches, memory among it, in the order to attach it.
        terminal: descriptors (devpts, slave) of the caller's pty; None: descriptors 0, 1 and 2 are the caller's own.
        stdin: whether descriptor 0 is passed on; if not, it is the null device.
        redirects: (descriptor, place) pairs: what takes the place of the caller's 0, 1 or 2; NULL_DEVICE is the
            container's null device.
        devices: those of the host that it has in /dev, beside what every container has.
        makes_devices: whether device nodes of its own making open.
        privileged: whether it sees, and may change, of /proc and /sys what root of the host does.
        masks: what of /proc and /sys, and what else, it does not see, or not change.
        user: who the command is.
        capabilities: the bits it keeps, for root; anybody else has them as the bound only.
        cwd: its working directory.
        argv: the command and its arguments.
        env: ``NAME=value``.
        init: whether a reaper is PID 1 and the command its child.
        labels: by which security modules know it: see security/labels.py.
        seccomp: what decides on its system calls; None: it may make all.
        no_new_privileges: whether no program that it executes gives it more than it has.
        stub: path of the program that becomes the command; empty where none was compiled.
        shm_bytes: size of /dev/shm.
        has_cgroup: whether it has a group; an ordinary user's may have none.
        cgroup_namespace: whether its own cgroup is the root of those that it sees.
        rlimits: (resource, soft, hard), by the kernel's numbers.
        oom_score_adj: its place in the OOM killer's order, -1000 to 1000; None for the caller's.
        status: write end of a pipe that takes the errno if the command cannot be executed.
        userns: the user namespace that it is to have for itself; None: the host's.
        tty: the group of terminals, as the host sees it.
    """

    __slots__ = (
        "argv", "attach_point", "capabilities", "cgroup_namespace", "cwd", "devices", "env", "files", "has_cgroup",
        "hostname", "init", "labels", "makes_devices", "masks", "network", "network_namespace", "no_new_privileges",
        "oom_score_adj", "overlay", "privileged", "read_only", "redirects", "rlimits", "seccomp", "shared", "shm_bytes",
        "status", "stdin", "stub", "sysctls", "terminal", "tty", "user", "userns", "volumes",
    )  # fmt: skip

    overlay: Overlay
    attach_point: str
    read_only: bool
    hostname: str
    network: str
    network_namespace: int | None
    shared: Mapping[str, int | None]
    sysctls: Sequence[tuple[str, str]]
    files: Sequence[Volume]
    volumes: Sequence[Volume | Tmpfs]
    terminal: tuple[int, int] | None
    stdin: bool
    redirects: Sequence[tuple[int, int]]
    devices: Sequence[Device]
    makes_devices: bool
    privileged: bool
    masks: Masks
    user: User
    capabilities: int
    cwd: str
    argv: Sequence[str]
    env: Sequence[str]
    init: bool
    labels: Sequence[Label]
    seccomp: Filter | None
    no_new_privileges: bool
    stub: str
    shm_bytes: int
    has_cgroup: bool
    cgroup_namespace: bool
    rlimits: Sequence[tuple[int, int, int]]
    oom_score_adj: int | None
    status: int
    userns: UserNamespace | None
    tty: int

    def __init__(self, **fields: object) -> None:
        """Take every attribute by keyword.

        Raises:
            TypeError: one is missing or unknown.
        """
        if missing := set(self.__slots__) - set(fields):
            raise TypeError(f"a Spec needs {', '.join(sorted(missing))}")
        for name, value in fields.items():
            setattr(self, name, value)
