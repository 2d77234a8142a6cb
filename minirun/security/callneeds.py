"""Which capability the kernel itself asks for at a system call, whatever a filter says. See capabilities(7).

call ─▶ ("SYS_ADMIN",), ""              always
        ("MKNOD",), "to make a device"  then alone: whether it is so the arguments say, or what they point to
        ("BPF", "SYS_ADMIN"), …         any of them will do
"""

from __future__ import annotations

from socket import AF_INET, AF_INET6, AF_PACKET, SOCK_RAW

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.security.callquestion import Question

_ALWAYS = {
    "SYS_ADMIN": (
        "fsmount", "fsopen", "fspick", "lookup_dcookie", "mount", "mount_setattr", "move_mount", "pivot_root",
        "setdomainname", "sethostname", "setns", "swapoff", "swapon", "umount2",
    ),
    "DAC_READ_SEARCH": ("open_by_handle_at",),
    "SETGID": ("setgroups",),
    "SYS_BOOT": ("kexec_file_load", "kexec_load", "reboot"),
    "SYS_CHROOT": ("chroot",),
    "SYS_MODULE": ("delete_module", "finit_module", "init_module"),
    "SYS_PACCT": ("acct",),
    "SYS_TIME": ("clock_settime", "settimeofday"),
    "SYS_TTY_CONFIG": ("vhangup",),
}  # fmt: skip
_SOMETIMES = {
    "adjtimex": (("SYS_TIME",), "to change the clock"),
    "bind": (("NET_BIND_SERVICE",), "for ports below 1024"),
    "bpf": (("BPF", "SYS_ADMIN"), "for most of it, where kernel.unprivileged_bpf_disabled is not 0"),
    "capset": (("SETPCAP",), "to have what it could not have"),
    "chmod": (("FOWNER",), "for files of others"),
    "chown": (("CHOWN",), "to give files away"),
    "clock_adjtime": (("SYS_TIME",), "to change the clock"),
    "clone": (("SYS_ADMIN",), "for all new namespaces but that of users"),
    "fanotify_init": (("SYS_ADMIN",), "for more than to be told of files that it could read"),
    "fchmod": (("FOWNER",), "for files of others"),
    "fchmodat": (("FOWNER",), "for files of others"),
    "fchown": (("CHOWN",), "to give files away"),
    "fchownat": (("CHOWN",), "to give files away"),
    "ioperm": (("SYS_RAWIO",), "to be let at ports"),
    "iopl": (("SYS_RAWIO",), "to be let at ports"),
    "kill": (("KILL",), "for processes of other users"),
    "mknod": (("MKNOD",), "to make a device"),
    "mknodat": (("MKNOD",), "to make a device"),
    "mlock": (("IPC_LOCK",), "for more than its limit"),
    "mlockall": (("IPC_LOCK",), "for more than its limit"),
    "move_pages": (("SYS_NICE",), "for processes of other users"),
    "open_tree": (("SYS_ADMIN",), "with OPEN_TREE_CLONE"),
    "perf_event_open": (("PERFMON", "SYS_ADMIN"), "for more than kernel.perf_event_paranoid leaves to everybody"),
    "prlimit64": (("SYS_RESOURCE",), "to raise a hard limit"),
    "process_vm_readv": (("SYS_PTRACE",), "for processes of other users"),
    "process_vm_writev": (("SYS_PTRACE",), "for processes of other users"),
    "ptrace": (("SYS_PTRACE",), "for processes of other users, or what kernel.yama.ptrace_scope keeps to itself"),
    "quotactl": (("SYS_ADMIN",), "for quotas of others"),
    "sched_setattr": (("SYS_NICE",), "for priorities of real time, and others' processes"),
    "sched_setscheduler": (("SYS_NICE",), "for priorities of real time, and others' processes"),
    "setgid": (("SETGID",), "for a group that it is not in"),
    "setpriority": (("SYS_NICE",), "for a higher priority, and others' processes"),
    "setregid": (("SETGID",), "for a group that it is not in"),
    "setresgid": (("SETGID",), "for a group that it is not in"),
    "setresuid": (("SETUID",), "to be another user"),
    "setreuid": (("SETUID",), "to be another user"),
    "setrlimit": (("SYS_RESOURCE",), "to raise a hard limit"),
    "setuid": (("SETUID",), "to be another user"),
    "setxattr": (("SYS_ADMIN",), "for attributes in trusted., and security."),
    "socket": (("NET_RAW",), "for AF_PACKET, and SOCK_RAW of the internet"),
    "syslog": (("SYSLOG",), "where kernel.dmesg_restrict is not 0, and to change anything"),
    "userfaultfd": (("SYS_PTRACE",), "for faults of the kernel's own, where vm.unprivileged_userfaultfd is 0"),
    "unshare": (("SYS_ADMIN",), "for all new namespaces but that of users"),
}
# what the kernel asks of whoever has it on the host: in a user namespace of its own nobody has. See user_namespaces(7)
_OF_HOST = frozenset((
    "BPF", "DAC_READ_SEARCH", "IPC_LOCK", "LINUX_IMMUTABLE", "MKNOD", "PERFMON", "SYSLOG", "SYS_MODULE", "SYS_NICE",
    "SYS_PACCT", "SYS_RAWIO", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG",
))  # fmt: skip
_CALLS_OF_HOST = frozenset((
    "bpf", "fanotify_init", "kexec_file_load", "kexec_load", "lookup_dcookie", "quotactl", "reboot", "swapoff",
    "swapon", "userfaultfd",
))  # fmt: skip
_NEW_USER, _NEW_OTHERS = 0x10000000, 0x6E020080  # sched.h: CLONE_NEWUSER; CLONE_NEW* but that
_TYPE = 0xF  # of a socket, without its flags


def of(question: Question) -> tuple[tuple[str, ...], str] | None:
    """The capabilities, of which one will do, and for what of the call; empty for all of it; None: it takes none."""
    for name, calls in _ALWAYS.items():
        if question.name in calls:
            return (name,), ""
    found = _SOMETIMES.get(question.name)
    if found is None:
        return None
    taken = _is_taken(question)
    return found if taken is None else (found[0], "") if taken else None


def is_of_host(question: Question, name: str) -> bool:
    """Whether a capability that a container has in its own user namespace alone does not count for the call."""
    return name in _OF_HOST or question.name in _CALLS_OF_HOST


def _is_taken(question: Question) -> bool | None:
    """Whether it takes its capability with these arguments; None: they do not say."""
    first, second = question.argument(0), question.argument(1)
    if first is None:
        return None
    if question.name in ("unshare", "clone"):
        # with a new namespace of users come all capabilities, for what else is new
        return bool(first & _NEW_OTHERS) and not first & _NEW_USER
    if question.name == "socket":
        if first not in (AF_INET, AF_INET6):
            return first == AF_PACKET
        return None if second is None else second & _TYPE == SOCK_RAW
    return None
