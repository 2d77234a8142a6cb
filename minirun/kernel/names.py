"""Numbers of the kernel's headers, each with its name, so that a plan prints as a man page would say it."""

from __future__ import annotations


class Named(int):
    """A flag or constant that prints as the kernel's headers call it; flags are joined by ``|``."""

    text: str

    def __new__(cls, text: str, value: int) -> Named:
        """Make the number *value*, called *text*."""
        self = super().__new__(cls, value)
        self.text = text
        return self

    def __or__(self, other: int) -> Named:
        """Join two flags, and their names."""
        return Named(f"{self!r}|{other!r}", int(self) | int(other))

    def __repr__(self) -> str:
        """The header's name."""
        return self.text


def mode(bits: int) -> Named:
    """Permissions, printed as everybody writes them: in octal."""
    return Named(f"{bits:#o}", bits)


# fcntl.h
AT_FDCWD = Named("AT_FDCWD", -100)
AT_EMPTY_PATH = Named("AT_EMPTY_PATH", 0x1000)
AT_RECURSIVE = Named("AT_RECURSIVE", 0x8000)
O_WRONLY = Named("O_WRONLY", 0o1)
O_RDONLY = Named("O_RDONLY", 0)
O_RDWR = Named("O_RDWR", 0o2)
O_CREAT = Named("O_CREAT", 0o100)
O_DIRECTORY = Named("O_DIRECTORY", 0o200000)
O_CLOEXEC = Named("O_CLOEXEC", 0o2000000)
O_PATH = Named("O_PATH", 0o10000000)
F_SETFD = Named("F_SETFD", 2)

# linux/openat2.h
RESOLVE_NO_XDEV = Named("RESOLVE_NO_XDEV", 0x01)
RESOLVE_NO_MAGICLINKS = Named("RESOLVE_NO_MAGICLINKS", 0x02)
RESOLVE_NO_SYMLINKS = Named("RESOLVE_NO_SYMLINKS", 0x04)
RESOLVE_BENEATH = Named("RESOLVE_BENEATH", 0x08)
RESOLVE_IN_ROOT = Named("RESOLVE_IN_ROOT", 0x10)

# sched.h
CLONE_PIDFD = Named("CLONE_PIDFD", 0x1000)
CLONE_VFORK = Named("CLONE_VFORK", 0x4000)
CLONE_NEWNS = Named("CLONE_NEWNS", 0x00020000)
CLONE_NEWCGROUP = Named("CLONE_NEWCGROUP", 0x02000000)
CLONE_NEWUTS = Named("CLONE_NEWUTS", 0x04000000)
CLONE_NEWUSER = Named("CLONE_NEWUSER", 0x10000000)
CLONE_NEWIPC = Named("CLONE_NEWIPC", 0x08000000)
CLONE_NEWPID = Named("CLONE_NEWPID", 0x20000000)
CLONE_NEWNET = Named("CLONE_NEWNET", 0x40000000)
CLONE_INTO_CGROUP = Named("CLONE_INTO_CGROUP", 0x200000000)

# linux/mount.h
MS_RDONLY = Named("MS_RDONLY", 0x1)
MS_NODEV = Named("MS_NODEV", 0x4)
MS_REC = Named("MS_REC", 0x4000)
MS_PRIVATE = Named("MS_PRIVATE", 0x40000)
MS_SLAVE = Named("MS_SLAVE", 0x80000)
MS_SLAVE = Named("MS_SLAVE", 0x80000)
MNT_DETACH = Named("MNT_DETACH", 2)
FSOPEN_CLOEXEC = Named("FSOPEN_CLOEXEC", 1)
FSMOUNT_CLOEXEC = Named("FSMOUNT_CLOEXEC", 1)
FSCONFIG_SET_FLAG = Named("FSCONFIG_SET_FLAG", 0)
FSCONFIG_SET_STRING = Named("FSCONFIG_SET_STRING", 1)
FSCONFIG_CMD_CREATE = Named("FSCONFIG_CMD_CREATE", 6)
MOUNT_ATTR_NONE = Named("0", 0)
MOUNT_ATTR_RDONLY = Named("MOUNT_ATTR_RDONLY", 0x1)
MOUNT_ATTR_NOSUID = Named("MOUNT_ATTR_NOSUID", 0x2)
MOUNT_ATTR_NODEV = Named("MOUNT_ATTR_NODEV", 0x4)
MOUNT_ATTR_NOEXEC = Named("MOUNT_ATTR_NOEXEC", 0x8)
MOUNT_ATTR_STRICTATIME = Named("MOUNT_ATTR_STRICTATIME", 0x20)
MOUNT_ATTR_IDMAP = Named("MOUNT_ATTR_IDMAP", 0x100000)
MOVE_MOUNT_F_EMPTY_PATH = Named("MOVE_MOUNT_F_EMPTY_PATH", 0x4)
MOVE_MOUNT_T_SYMLINKS = Named("MOVE_MOUNT_T_SYMLINKS", 0x10)
MOVE_MOUNT_T_EMPTY_PATH = Named("MOVE_MOUNT_T_EMPTY_PATH", 0x40)
OPEN_TREE_CLONE = Named("OPEN_TREE_CLONE", 1)
OPEN_TREE_CLOEXEC = Named("OPEN_TREE_CLOEXEC", 0o2000000)
S_IFREG = Named("S_IFREG", 0o100000)
S_IFCHR = Named("S_IFCHR", 0o020000)
S_IFBLK = Named("S_IFBLK", 0o060000)

# sys/prctl.h, linux/seccomp.h, linux/keyctl.h, linux/close_range.h
PR_SET_DUMPABLE = Named("PR_SET_DUMPABLE", 4)
PR_SET_CHILD_SUBREAPER = Named("PR_SET_CHILD_SUBREAPER", 36)
PR_SET_KEEPCAPS = Named("PR_SET_KEEPCAPS", 8)
PR_CAPBSET_DROP = Named("PR_CAPBSET_DROP", 24)
PR_SET_SECUREBITS = Named("PR_SET_SECUREBITS", 28)
PR_SET_NO_NEW_PRIVS = Named("PR_SET_NO_NEW_PRIVS", 38)
PR_CAP_AMBIENT = Named("PR_CAP_AMBIENT", 47)
PR_CAP_AMBIENT_CLEAR_ALL = Named("PR_CAP_AMBIENT_CLEAR_ALL", 4)
SECBIT_NO_SETUID_FIXUP = Named("SECBIT_NO_SETUID_FIXUP", 4)
SECCOMP_SET_MODE_FILTER = Named("SECCOMP_SET_MODE_FILTER", 1)
KEYCTL_JOIN_SESSION_KEYRING = Named("KEYCTL_JOIN_SESSION_KEYRING", 1)
CLOSE_RANGE_CLOEXEC = Named("CLOSE_RANGE_CLOEXEC", 4)
SIG_SETMASK = Named("SIG_SETMASK", 2)

# sys/socket.h, sys/ioctl.h
AF_INET = Named("AF_INET", 2)
SOCK_DGRAM_CLOEXEC = Named("SOCK_DGRAM|SOCK_CLOEXEC", 0o2000002)
SIOCSIFFLAGS = Named("SIOCSIFFLAGS", 0x8914)
TIOCSCTTY = Named("TIOCSCTTY", 0x540E)
TIOCGPTPEER = Named("TIOCGPTPEER", 0x5441)
TIOCSPTLCK = Named("TIOCSPTLCK", 0x40045431)

# asm/unistd_64.h: the calls that plans are made of
SYSCALLS = {
    "write": 1,
    "close": 3,
    "rt_sigaction": 13,
    "rt_sigprocmask": 14,
    "ioctl": 16,
    "madvise": 28,
    "socket": 41,
    "execve": 59,
    "fcntl": 72,
    "chdir": 80,
    "fchdir": 81,
    "umask": 95,
    "setsid": 112,
    "setgroups": 116,
    "setresuid": 117,
    "setresgid": 119,
    "capset": 126,
    "pivot_root": 155,
    "prctl": 157,
    "mount": 165,
    "umount2": 166,
    "sethostname": 170,
    "keyctl": 250,
    "ioprio_set": 251,
    "ioprio_get": 252,
    "openat": 257,
    "mkdirat": 258,
    "mknodat": 259,
    "fchownat": 260,
    "symlinkat": 266,
    "unshare": 272,
    "dup3": 292,
    "prlimit64": 302,
    "setns": 308,
    "seccomp": 317,
    "execveat": 322,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "clone3": 435,
    "close_range": 436,
    "openat2": 437,
    "pidfd_getfd": 438,
    "faccessat2": 439,
    "mount_setattr": 442,
}
