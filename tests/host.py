"""What a test may leave on the host: nothing. A snapshot before and one after, compared.

mounts               /proc/self/mountinfo             network namespaces   /run/netns, and /proc/*/ns/net
links                of our network namespace         nft rules            nft, where there is one
cgroups              the v2 tree                      descriptors          of this process
processes            ours: those that descend from this process, or have a path below *own* in their environment,
                     their command line, or (in another mount namespace) among their mounts

Other work goes on beside a test run, and is left out: mounts in the temporary directory that are not below *own*, and
what belongs only to processes whose ancestry leads past this one to something older than it.
"""

from __future__ import annotations

import errno
import functools
import os
import re
import shutil
import socket
import struct
import subprocess
import tempfile
import time
from dataclasses import dataclass, fields
from pathlib import Path

from minirun.cgroup.hierarchy import OWN, mount_point

INIT = 1
_NETLINK_NETFILTER = 12  # linux/netlink.h; Python has no name for it
# What somebody else may at any time take away again. A mount, a link or a rule that was there has to stay.
COMES_AND_GOES = ("network_namespaces", "cgroups", "processes")
# A container's cable goes with its namespace, which the kernel takes down a moment after the container has ended.
_CABLE = re.compile("mr[0-9a-f]{13}")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is there, each thing as the words by which it is reported."""

    mounts: frozenset[str]
    links: frozenset[str]
    network_namespaces: frozenset[str]
    nft_rules: frozenset[str]
    cgroups: frozenset[str]
    processes: frozenset[str]
    descriptors: frozenset[str]


@dataclass(frozen=True, slots=True)
class Process:
    """One line of the process table."""

    pid: int
    parent: int
    started_ticks: int  # since boot
    name: str
    marked: bool  # has a path of this test run about it


def process_table(own: Path) -> dict[int, Process]:
    """Return every process by its id; a process that ends meanwhile is left out."""
    table = {}
    for pid in map(int, filter(str.isdecimal, os.listdir("/proc"))):
        try:
            # pid (name) state parent …; the name may hold anything, also parentheses. See proc(5), /proc/pid/stat.
            head, _, tail = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")
            numbers = tail.split()
            marked = numbers[0] != "Z" and os.fsencode(own) in words_about(pid)
        except (FileNotFoundError, ProcessLookupError):
            continue
        table[pid] = Process(pid, int(numbers[1]), int(numbers[19]), head.partition("(")[2], marked)
    return table


def words_about(pid: int) -> bytes:
    """Return the environment and command line of *pid*, and its mounts where they are not ours as well."""
    about = Path(f"/proc/{pid}")
    try:
        words = (about / "environ").read_bytes() + (about / "cmdline").read_bytes()
        if (about / "ns/mnt").readlink() != Path("/proc/self/ns/mnt").readlink():
            words += (about / "mountinfo").read_bytes()
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EINVAL):  # EINVAL: it is ending
            raise
        return b""
    return words


def ancestors(process: Process, table: dict[int, Process]) -> list[Process]:
    """Return the ancestors of *process*, nearest first."""
    found = []
    while (parent := table.get(process.parent)) is not None:
        found.append(parent)
        process = parent
    return found


def is_ours(process: Process, table: dict[int, Process]) -> bool:
    """Whether *process* was started by this one, or works on its files."""
    if process.pid == os.getpid():
        return False
    return process.marked or any(parent.pid == os.getpid() for parent in ancestors(process, table))


def is_foreign(process: Process, table: dict[int, Process]) -> bool:
    """Whether *process* is somebody else's for certain: it, or who started it, was there before this process."""
    if process.pid == os.getpid() or is_ours(process, table):
        return False
    began = table[os.getpid()].started_ticks
    return any(one.started_ticks < began for one in (process, *ancestors(process, table)) if one.pid != INIT)


def mounts(own: Path) -> frozenset[str]:
    """Return mount points with their type and source."""
    found = set()
    temporary = f"{tempfile.gettempdir()}/"
    for line in Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines():
        left, _, right = line.partition(" - ")
        point = left.split()[4]
        if not point.startswith(temporary) or Path(point).is_relative_to(own):
            kind, source = right.split()[:2]
            found.add(f"{point} ({kind}, {source})")
    return frozenset(found)


def network_namespaces(table: dict[int, Process]) -> frozenset[str]:
    """Return named namespaces, and the inodes of those held by a process that is not foreign.

    But for those that we came from, which were there before: see tests/conftest.py.
    """
    named = Path("/run/netns")
    found = {str(path) for path in named.iterdir()} if named.is_dir() else set()
    before = ("", network_namespace(INIT), network_namespace(os.getppid()))
    for process in table.values():
        inode = network_namespace(process.pid)
        if inode not in before and not is_foreign(process, table):
            found.add(inode)
    return frozenset(found)


def network_namespace(pid: int) -> str:
    """Return the inode of the network namespace of *pid*; empty if it ended, or is not for us to see."""
    try:
        return str(Path(f"/proc/{pid}/ns/net").readlink())
    except OSError:
        return ""


def nft_rules() -> frozenset[str]:
    """Return the ruleset, a line each with its number, without counters."""
    if shutil.which("nft") is None or os.geteuid() != 0:  # nobody else may read them
        return frozenset()
    # nft takes 10 ms, twice a test. What packets add to a set, for a time, is no change that the kernel counts.
    return _nft_rules(network_namespace(os.getpid()), nft_generation())


def nft_generation() -> int:
    """Return how many times rules have been changed in our network namespace: NFT_MSG_GETGEN, NFTA_GEN_ID."""
    getgen, request, nftables = 16, 1, 10 << 8  # linux/netfilter/nf_tables.h, nfnetlink.h
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER) as asking:
        asking.send(struct.pack("=IHHIIBBH", 20, nftables | getgen, request, 0, 0, 0, 0, 0))
        answer = asking.recv(4096)
    # nlmsghdr (16), nfgenmsg (4), nlattr (4): NFTA_GEN_ID
    return int.from_bytes(answer[24:28], "big")


@functools.lru_cache(maxsize=1)
def _nft_rules(_namespace: str, _generation: int) -> frozenset[str]:
    rules = subprocess.run(["nft", "--stateless", "list", "ruleset"], check=True, capture_output=True, text=True).stdout
    return frozenset(f"{number}: {line.strip()}" for number, line in enumerate(rules.splitlines()))


_SYSTEMDS = re.compile(r"\.(slice|scope|service)(/|$)")


def cgroups(table: dict[int, Process], own: Path) -> frozenset[str]:
    """Return the groups of the v2 tree, without systemd's, without minirun's parent, without those of foreigners."""
    root = mount_point()
    found = set()
    for directory, _, _ in os.walk(root):
        if directory in (root, f"{root}/{OWN}") or (OWN not in directory and _SYSTEMDS.search(directory)):
            continue
        # of keepers and supervisors, named by their runtime directory: see minirun/container/supervision.py
        if "/supervision-" in directory and str(own).replace("/", "-") not in directory:
            continue
        try:
            members = [int(pid) for pid in Path(directory, "cgroup.procs").read_text().split()]
        except OSError:
            continue  # removed meanwhile, or a threaded group, whose members its parent has
        known = [table[pid] for pid in members if pid in table]
        if not known and "/supervision-" in directory and not leaves_root(root):
            continue
        if not known or not all(is_foreign(process, table) for process in known):
            found.add(directory)
    return frozenset(found)


def leaves_root(root: str) -> bool:
    """Whether a process may go to the root of the hierarchy, as the last does that leaves a group; or the group stays.

    Where the root that we see is a group below the kernel's, as in a lane, it takes none once it gives controllers to
    groups below: cgroup-v2.rst, "No Internal Process Constraint". See minirun/container/supervision.py, leave.
    """
    return not Path(root, "cgroup.type").exists() or not Path(root, "cgroup.subtree_control").read_text().strip()


def descriptors() -> frozenset[str]:
    """Return the open descriptors of this process."""
    found = set()
    for number in os.listdir("/proc/self/fd"):
        try:
            found.add(f"{number} ({Path('/proc/self/fd', number).readlink()})")
        except FileNotFoundError:
            continue  # the one by which the directory was read
    return frozenset(found)


def snapshot(own: Path) -> Snapshot:
    """Take stock of the host.

    Args:
        own: the directory below which this test run keeps everything.
    """
    table = process_table(own)
    ours = (process for process in table.values() if is_ours(process, table))
    return Snapshot(
        mounts=mounts(own),
        links=frozenset(name for _, name in socket.if_nameindex()),  # /sys shows those of where it was mounted
        network_namespaces=network_namespaces(table),
        nft_rules=nft_rules(),
        cgroups=cgroups(table, own),
        processes=frozenset(f"{process.pid} ({process.name})" for process in ours),
        descriptors=descriptors(),
    )


def difference(before: Snapshot, after: Snapshot) -> list[str]:
    """Say what was left behind and what is missing; empty when all is as it was."""
    found = []
    for field in fields(Snapshot):
        kind = field.name.replace("_", " ")
        old, new = getattr(before, field.name), getattr(after, field.name)
        found += [f"{kind}: {thing} was left behind" for thing in sorted(new - old)]
        if field.name not in COMES_AND_GOES:
            found += [f"{kind}: {thing} is gone" for thing in sorted(old - new) if not _CABLE.fullmatch(thing)]
    return found


def settled_difference(before: Snapshot, own: Path, patience_s: float = 2.0) -> list[str]:
    """Compare with now; what ends by itself within *patience_s* is no difference."""
    end = time.monotonic() + patience_s
    while (found := difference(before, snapshot(own))) and time.monotonic() < end:
        time.sleep(0.05)
    return found


def unmount_below(own: Path) -> None:
    """Detach every mount below *own*, so that removing the directory cannot reach through one."""
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for point in reversed(points):  # a later mount may lie in, or on, an earlier one
        plain = os.fsdecode(point.encode().decode("unicode_escape").encode("latin-1"))  # space is \040
        if Path(plain).is_relative_to(own):
            subprocess.run(["umount", "--lazy", plain], check=True)


def filesystem(path: Path) -> str:
    """The kind of the file system at *path*: ``tmpfs``, ``ext2/ext3``; see stat(1), -f."""
    told = subprocess.run(["stat", "-f", "-c", "%T", path], capture_output=True, text=True, check=True)
    return told.stdout.strip()
