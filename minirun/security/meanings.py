"""What the parts of a container's isolation are for, in a sentence each, and which flag of `run` changes them.

Sources: capabilities(7), namespaces(7), and the manual page of each.
"""

from __future__ import annotations

# kind, as below /proc/PID/ns → (what it makes the container's own, the flag that shares it)
NAMESPACES = {
    "mnt": ("what is mounted where: nothing of the host has a path in it", ""),
    "pid": ("its processes: it neither sees nor signals others, and all end with its first", "--pid host"),
    "net": ("interfaces, addresses, ports, routes, firewall", "--network host"),
    "ipc": ("System V's IPC, POSIX queues, /dev/shm", "--ipc host"),
    "uts": ("the host name", "--uts host"),
    "cgroup": ("the root of the cgroups that it sees: not where its group is", "--cgroupns host"),
    "user": ("user and group ids, and all power of root's", "--userns auto"),
    "time": ("the clocks since boot", ""),
}

# what each lets root do, in the kernel's order: as security/capabilities.py, NAMES
CAPABILITIES = {
    "CHOWN": "give files to other users",
    "DAC_OVERRIDE": "read, write and execute files whatever their mode says",
    "DAC_READ_SEARCH": "read files and directories whatever their mode says, and open them by number",
    "FOWNER": "change modes, times and attributes of others' files",
    "FSETID": "keep setuid and setgid bits of files that it changes",
    "KILL": "send signals to processes of other users",
    "SETGID": "take any group",
    "SETUID": "become any user",
    "SETPCAP": "give capabilities up, and pass them on",
    "LINUX_IMMUTABLE": "mark files as not to be changed",
    "NET_BIND_SERVICE": "listen on ports below 1024",
    "NET_BROADCAST": "nothing: no kernel asks for it",
    "NET_ADMIN": "change interfaces, addresses, routes and firewall rules of its network",
    "NET_RAW": "send and receive packets of any form: ping, and pretending to be a neighbour",
    "IPC_LOCK": "keep any amount of memory from being swapped",
    "IPC_OWNER": "use System V's IPC of other users",
    "SYS_MODULE": "load code into the host's kernel",
    "SYS_RAWIO": "reach ports and memory of the machine's devices",
    "SYS_CHROOT": "change its root directory",
    "SYS_PTRACE": "look into processes of other users",
    "SYS_PACCT": "account for what every process does",
    "SYS_ADMIN": "mount, make namespaces, and some hundred things more: it is half of root",
    "SYS_BOOT": "reboot, and start another kernel",
    "SYS_NICE": "raise priorities, and choose processors and memory for others",
    "SYS_RESOURCE": "go past quotas and limits",
    "SYS_TIME": "set the host's clock",
    "SYS_TTY_CONFIG": "hang up terminals, and configure virtual ones",
    "MKNOD": "make device nodes; whether they open is another matter",
    "LEASE": "be told before others open a file",
    "AUDIT_WRITE": "write into the kernel's audit log",
    "AUDIT_CONTROL": "change what is audited",
    "SETFCAP": "give capabilities to files",
    "MAC_OVERRIDE": "go past mandatory access control (Smack)",
    "MAC_ADMIN": "change mandatory access control (Smack)",
    "SYSLOG": "read the kernel's log, and addresses of the kernel in /proc",
    "WAKE_ALARM": "wake the host from sleep",
    "BLOCK_SUSPEND": "keep the host from sleeping",
    "AUDIT_READ": "read the audit log",
    "PERFMON": "measure the kernel and all processes",
    "BPF": "load programs into the kernel",
    "CHECKPOINT_RESTORE": "choose pids, and look into processes to save them",
}

# path that is hidden or read-only → what is there; see security/masks.py
PATHS = {
    "/proc/interrupts": "which devices of the host work, and when: keystrokes can be told by it",
    "/proc/kcore": "the memory of the host",
    "/proc/keys": "keys of the host",
    "/proc/latency_stats": "where processes of the host wait",
    "/proc/sched_debug": "every process of the host",
    "/proc/timer_list": "timers of the host, and addresses in its kernel",
    "/proc/timer_stats": "timers of the host",
    "/proc/acpi": "power of the machine",
    "/proc/asound": "its sound cards",
    "/proc/scsi": "its disks: removing one can be written there (CVE-2017-16539)",
    "/sys/devices/virtual/powercap": "what the processor uses: keys can be told by it (CVE-2020-8694)",
    "/sys/firmware": "tables of the machine's firmware",
    "/proc/bus": "devices of the machine",
    "/proc/fs": "settings of file systems",
    "/proc/irq": "which processor serves which device",
    "/proc/sys": "settings of the host's kernel",
    "/proc/sysrq-trigger": "commands to the host's kernel, a crash among them",
}
