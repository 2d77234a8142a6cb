"""An ordinary user goes where he is root: a user namespace of his own, the one in which his containers are.

    inside     0   1 … 65536                       /etc/subuid, /etc/subgid:  alice:100000:65536
    outside  uid   100000 … 165535                 newuidmap(1), newgidmap(1) write that; nothing else is setuid

    command ── lock ── members/<pid>.<start>, one that is alive? ─┬─ yes: setns(2) into its user namespace
                                                                  └─ no: unshare(2), and a child has it mapped
            ── unshare(CLONE_NEWNS) ── members/<own pid>.<start> ── unlock

    <runtime>/members/812.4711     a process in the namespace: a command, the supervisor, the first one of a container

No process is there to hold the namespace alone: it is there as long as somebody is in it, and who finds nobody makes
another. It is the same process that goes on there, without a second start of the interpreter. The owner of a user
namespace has all capabilities in it, so he may enter it from outside: see user_namespaces(7). The mount namespace is
each command's own; what it mounts there is gone with it.
"""

from __future__ import annotations

import fcntl
import os
from stat import S_IMODE, S_ISDIR

from minirun import caller
from minirun.errors import MinirunError, Unsupported
from minirun.kernel import files, process
from minirun.kernel.call import Call
from minirun.kernel.names import CLONE_NEWNS, CLONE_NEWUSER
from minirun.launch import machine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.home import Home

    Range = tuple[int, int]  # the first id of the host, how many

_ATTEMPT = "use containers as an ordinary user"
_TOOLS = (("newuidmap", "/etc/subuid", "subuids"), ("newgidmap", "/etc/subgid", "subgids"))
_NS_GET_PARENT = 0xB702  # linux/nsfs.h: of a user namespace that which it was made in
_FEWEST = 65536  # the ids that an image may name


def enter(home: Home) -> None:
    """Be root in the user namespace of the caller's containers; he has one thread.

    Raises:
        Unsupported: there are no subordinate ids for him, or nothing that maps them.
        MinirunError: the kernel refuses, or the runtime directory is somebody else's.
    """
    if not os.path.isdir(f"{home.runtime}/members"):
        find_ids()  # who has no ids leaves nothing behind
    _check_runtime(home.runtime)
    lock = files.lock(f"{home.runtime}/namespace.lock", exclusive=True)
    try:
        _enter(home)
        os.environ.update(caller.environment())
        register(home.runtime, os.getpid())
    except OSError as error:
        raise MinirunError(_ATTEMPT, error, _remedy()) from None
    finally:
        os.close(lock)


def register(runtime: str, pid: int) -> None:
    """Have it known that the process is in the namespace, as long as it lives."""
    try:
        os.close(os.open(f"{runtime}/members/{pid}.{process.start_ticks(pid)}", os.O_CREAT | os.O_CLOEXEC, 0o600))
    except FileNotFoundError:
        pass  # somebody went in by himself, and nobody else has to find him


def _enter(home: Home) -> None:
    os.makedirs(f"{home.runtime}/members", 0o700, exist_ok=True)
    found = -1
    for name in os.listdir(f"{home.runtime}/members"):
        pid, _, start = name.partition(".")
        if pid.isdecimal() and start.isdecimal() and process.runs(int(pid), int(start)):
            found = _open(int(pid), int(start)) if found < 0 else found
        else:
            files.remove(f"{home.runtime}/members/{name}")  # nobody does at his own end
    if found < 0:
        _make()
    else:
        machine.run([Call("setns", found, CLONE_NEWUSER)])
        os.close(found)
    machine.run([Call("unshare", CLONE_NEWNS)])


def _open(pid: int, start: int) -> int:
    """The user namespace below ours that a process is in, or below which it is; -1 where it is gone.

    A container's first process may have gone into one of its own making, and what is mapped there is its own affair.
    """
    own = os.stat("/proc/self/ns/user").st_ino
    try:
        found = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return -1
    try:
        while process.runs(pid, start):  # looked at after it was opened: another may have its number by now
            above = fcntl.ioctl(found, _NS_GET_PARENT)
            if os.fstat(above).st_ino == own:
                os.close(above)
                return found
            os.close(found)
            found = above
    except OSError:
        pass  # EPERM: it is not below ours
    os.close(found)
    return -1


def _make() -> None:
    """Make a user namespace, and have a child that stays outside map it."""
    maps = find_ids()
    made, go = os.pipe2(os.O_CLOEXEC)
    said, saying = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if not child:
        os.close(go)
        os.close(said)
        _map(maps, made, saying)
    os.close(made)
    os.close(saying)
    try:
        machine.run([Call("unshare", CLONE_NEWUSER)])
        os.write(go, b"m")
    finally:
        os.close(go)
        with open(said, "rb", 0) as file:
            text = file.readall().decode(errors="replace").strip()
        _, status = os.waitpid(child, 0)
    if status:
        remedy = "`minirun doctor` looks at what is needed; see docs/rootless.md"
        raise MinirunError(_ATTEMPT, text.rpartition("\n")[2] or "the ids could not be mapped", remedy)


def _map(maps: list[list[str]], made: int, saying: int) -> None:
    """Run the programs on the parent; in the child, which does not return."""
    code = 1
    try:
        os.dup2(saying, 2)
        parent = str(os.getppid())
        if os.read(made, 1):  # or the parent could not, and says so
            code = 0
            for program, *words in maps:
                pid = os.posix_spawn(program, [program, parent, *words], os.environ)
                code = code or os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    finally:
        os._exit(1 if code else 0)


def find_ids() -> list[list[str]]:
    """The commands that map the caller's ids, but for the process that they are to map them for.

    Raises:
        Unsupported: he has none, or there is nothing that maps them.
    """
    return [_words(*tool) for tool in _TOOLS]


def _words(tool: str, table: str, flag: str) -> list[str]:
    """The program, and the mapping that it is to write: triples of inside, outside, how many."""
    own = os.geteuid() if table.endswith("uid") else os.getegid()
    name, ranges = _ranges(table)
    if sum(count for _, count in ranges) < _FEWEST:
        raise Unsupported(
            _ATTEMPT, f"{table} gives {name} " + ("fewer than 65536 ids" if ranges else "no ids"),
            f"have root give some: `usermod --add-{flag} 100000-165535 {name}`, a range that nobody else has",
        )  # fmt: skip
    folders = [folder for folder in (*os.get_exec_path(), "/usr/bin") if os.access(f"{folder}/{tool}", os.X_OK)]
    if not folders:
        raise Unsupported(_ATTEMPT, f"{tool} is not there", "have root install it: `apt-get install uidmap`")
    words = ["0", str(own), "1"]
    inside = 1
    for first, count in ranges:
        words += [str(inside), str(first), str(count)]
        inside += count
    return [f"{folders[0]}/{tool}", *words]


def _ranges(table: str) -> tuple[str, list[Range]]:
    """The caller's name, and what subuid(5) or subgid(5) gives him."""
    import pwd

    uid = os.geteuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = str(uid)
    found = []
    try:
        with open(table) as file:
            lines = file.read().splitlines()
    except FileNotFoundError:
        lines = []
    for line in lines:
        who, _, rest = line.partition(":")
        first, _, count = rest.partition(":")
        if who in (name, str(uid)) and first.isdecimal() and count.strip().isdecimal():
            found.append((int(first), int(count)))
    return name, found


def _check_runtime(path: str) -> None:
    """Make the runtime directory; nobody else may put anything there, or say what is there."""
    os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass
    status = os.lstat(path)
    if not S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or S_IMODE(status.st_mode) & 0o022:
        raise MinirunError(
            f"use the directory {path}", "it is not a directory of yours that nobody else can write to",
            "set XDG_RUNTIME_DIR, or MINIRUN_RUNTIME, to one that is",
        )  # fmt: skip


_SYSCTLS = (("kernel/unprivileged_userns_clone", "1"), ("kernel/apparmor_restrict_unprivileged_userns", "0"))


def _remedy() -> str:
    for path, wanted in _SYSCTLS:
        try:
            with open(f"/proc/sys/{path}") as file:
                if file.read().strip() != wanted:
                    name = path.replace("/", ".")
                    return f"this host keeps user namespaces from ordinary users: `sysctl {name}={wanted}`, as root"
        except FileNotFoundError:
            continue
    return "`sysctl user.max_user_namespaces` says how many user namespaces there may be"
