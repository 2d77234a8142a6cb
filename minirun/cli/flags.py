"""The flags of `run`, `create` and `exec`, once: the fast parser below reads these tables, and click has them, too.

Importing click takes longer than starting a container. So `run` reads its own flags, by Docker's rules: flags come
before the image, what follows is the command's; short flags can be joined (-it), and values to them (-eA=b).
"""

from __future__ import annotations

from minirun.errors import BadInput, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


class Flag:
    """One flag.

    Attributes:
        name: the long form, without dashes.
        short: the short form, one letter, or empty.
        metavar: what its value is called; empty for a switch.
        many: whether it can be given several times.
        help: one line.
    """

    __slots__ = ("help", "many", "metavar", "name", "short")

    def __init__(self, name: str, short: str, metavar: str, help: str, *, many: bool = False) -> None:  # noqa: A002 - click calls it so
        self.name = name
        self.short = short
        self.metavar = metavar
        self.many = many
        self.help = help


# what `update` changes, too
LIMITS = (
    Flag("blkio-weight", "", "10-1000", "Its part of a busy disk, beside others"),
    Flag("cgroup-conf", "", "FILE=VALUE", "Set a control file of cgroup v2: memory.high=256m", many=True),
    Flag("cpu-period", "", "US", "With --cpu-quota: the microseconds that it is a part of"),
    Flag("cpu-quota", "", "US", "Limit processor time: microseconds in each --cpu-period; -1 is no limit"),
    Flag("cpu-shares", "c", "N", "Its part of busy processors, beside others: 2 to 262144 (1024)"),
    Flag("cpus", "", "N", "Limit processor time: 1.5 is one and a half processors"),
    Flag("cpuset-cpus", "", "LIST", "Limit it to these processors: 0-2,4"),
    Flag("cpuset-mems", "", "LIST", "Limit it to these memory nodes"),
    Flag("memory", "m", "BYTES", "Limit memory: 512m, 2g"),
    Flag("memory-reservation", "", "BYTES", "Memory that is taken from it last, when the host runs short"),
    Flag("memory-swap", "", "BYTES", "Limit memory and swap together; -1 is no limit (twice --memory)"),
    Flag("pids-limit", "", "N", "Limit processes and threads (2048); -1 is no limit"),
)
RESTART = Flag("restart", "", "POLICY", "Start it again when it ended: no, on-failure[:N], always, unless-stopped (no)")
CREATE = (
    *LIMITS,
    Flag("add-host", "", "NAME:IP", "Put a name into its /etc/hosts; IP may be host-gateway", many=True),
    Flag("cap-add", "", "NAME", "Leave it this capability, too: NET_ADMIN, ALL", many=True),
    Flag("cap-drop", "", "NAME", "Take this capability from it: CHOWN, ALL", many=True),
    Flag("cgroup-parent", "", "PATH", "Make its cgroup below this one: a name of yours, or /a/group that is there"),
    Flag("cgroupns", "", "private|host", "Which cgroup is the root that it sees: its own, or the host's (private)"),
    Flag("cidfile", "", "FILE", "Write the container's id to FILE, which must not exist"),
    Flag("device", "", "PATH[:TARGET][:rwm]", "Give it a device of the host, or all in a directory", many=True),
    Flag("device-cgroup-rule", "", "RULE", "Let devices open that it makes: 'c 10:229 rw'", many=True),
    Flag(
        "device-read-bps", "", "DEVICE:BYTES", "Limit reading from a disk, in bytes a second: /dev/sda:1mb", many=True
    ),
    Flag("device-read-iops", "", "DEVICE:N", "Limit reading from a disk, in operations a second", many=True),
    Flag("device-write-bps", "", "DEVICE:BYTES", "Limit writing to a disk, in bytes a second", many=True),
    Flag("device-write-iops", "", "DEVICE:N", "Limit writing to a disk, in operations a second", many=True),
    Flag("dns", "", "IP", "Ask this name server, not the host's", many=True),
    Flag("dns-option", "", "WORD", "Set an option of resolv.conf(5): ndots:2", many=True),
    Flag("dns-search", "", "DOMAIN", "Look for names in this domain, too; a dot: in none", many=True),
    Flag("dry-run", "", "", "Print every host operation and system call with its reason, and do nothing"),
    Flag("entrypoint", "", "COMMAND", "Replace the image's Entrypoint"),
    Flag("env", "e", "NAME[=VALUE]", "Set an environment variable, or pass on the caller's", many=True),
    Flag("env-file", "", "FILE", "Set the environment variables of FILE, one a line", many=True),
    Flag("expose", "", "PORT[/PROTOCOL]", "Say that the container listens there; -P publishes it", many=True),
    Flag("group-add", "", "GROUP", "Another group of its user's, by name or number", many=True),
    Flag("health-cmd", "", "COMMAND", "Check its health by this: exit code 0 means healthy; none: do not"),
    Flag("health-interval", "", "TIME", "How long between two checks (30s)"),
    Flag("health-on-failure", "", "none|kill|restart|stop", "What to do when it is not healthy any more (none)"),
    Flag("health-retries", "", "N", "How many checks in a row have to fail (3)"),
    Flag("health-start-interval", "", "TIME", "How long between two checks within --health-start-period (5s)"),
    Flag("health-start-period", "", "TIME", "How long after its start failures do not count (0s)"),
    Flag("health-timeout", "", "TIME", "When a check has failed that has not ended (30s)"),
    Flag("hostname", "h", "NAME", "The container's host name (its id's first 12 digits)"),
    Flag("init", "", "", "Run a reaper as PID 1 that forwards signals, and the command as its child"),
    Flag("interactive", "i", "", "Let the command read standard input"),
    Flag("ip", "", "IP", "Its IPv4 address on its network (the next that is free)"),
    Flag("ip6", "", "IP", "Its IPv6 address on its network"),
    Flag("ipc", "", "MODE", "Its IPC and /dev/shm: private, shareable, none, host, or container:NAME's (private)"),
    Flag("label", "l", "KEY[=VALUE]", "Put a label on the container", many=True),
    Flag("link", "", "CONTAINER", "Refused: on a network of yours containers find each other by name", many=True),
    Flag("log-driver", "", "json-file|journald|none", "Where what it prints is kept (json-file)"),
    Flag("log-opt", "", "NAME=VALUE", "Limits of its log, and what goes with each line: max-size=10m", many=True),
    Flag("mac-address", "", "MAC", "The hardware address of its interface"),
    Flag("memory-swappiness", "", "0|-1", "0: its memory is not swapped; -1: as the host does (-1)"),
    Flag("mount", "", "KEY=VALUE,…", "Attach as type=bind, volume or tmpfs: source=…,target=…,readonly", many=True),
    Flag("name", "", "NAME", "The container's name (a random one)"),
    Flag(
        "network", "", "NETWORK", "none, host, pasta, slirp4netns, a network, or container:NAME's (bridge)", many=True
    ),
    Flag("network-alias", "", "NAME", "Another name by which others on its network find it", many=True),
    Flag(
        "network-egress",
        "",
        "allow=HOST|CIDR[:PORT],…",
        "Let it reach these hosts and addresses alone (everything)",
        many=True,
    ),
    Flag("no-healthcheck", "", "", "Do not check its health, whatever the image says"),
    Flag("oom-kill-disable", "", "", "Refused: cgroup v2 cannot switch the OOM killer off"),
    Flag("oom-score-adj", "", "N", "Its place in the OOM killer's order: -1000 last, 1000 first"),
    Flag("pid", "", "MODE", "The processes that it sees: private, host, or container:NAME's (private)"),
    Flag("privileged", "", "", "Give it every capability and device, and hide, filter and protect nothing"),
    Flag(
        "publish", "p", "[IP:][HOST:]PORT[/PROTOCOL]", "Lead a port of the host to one of its own: 8080:80", many=True
    ),
    Flag("publish-all", "P", "", "Lead some port of the host to each that the image, or --expose, exposes"),
    Flag("pull", "", "missing|always|never", "When to pull the image: if it is not stored, each time, never (missing)"),
    Flag("read-only", "", "", "Make the root file system read-only"),
    RESTART,
    Flag("rm", "", "", "Remove the container when its command ends"),
    Flag("security-opt", "", "OPTION", "seccomp=FILE, no-new-privileges, mask=PATH, unmask=PATH …", many=True),
    Flag("shm-size", "", "BYTES", "Size of /dev/shm (64m)"),
    Flag("stop-signal", "", "SIGNAL", "The signal that asks the command to end"),
    Flag("stop-timeout", "", "SECONDS", "How long it has after that signal before it is killed; -1: for ever (10)"),
    Flag("sysctl", "", "NAME=VALUE", "Set a parameter of its namespaces: net.ipv4.ip_forward=1", many=True),
    Flag("timeout", "", "SECONDS", "Kill it when it has run for so long"),
    Flag("tmpfs", "", "PATH[:OPTIONS]", "Mount fresh memory at PATH: /run:size=64m,exec", many=True),
    Flag("tty", "t", "", "Give it a terminal"),
    Flag("ulimit", "", "NAME=SOFT[:HARD]", "Set a limit of setrlimit(2): nofile=1024:2048; -1 is no limit", many=True),
    Flag("user", "u", "USER[:GROUP]", "Run as this user of the image, by name or number"),
    Flag("userns", "", "MODE", "Its user ids: host, auto[:size=N], INSIDE:HOST:COUNT, or container:NAME's (host)"),
    Flag("uts", "", "private|host", "Whose host name it has (private)"),
    Flag(
        "volume", "v", "[SOURCE:]TARGET[:OPTIONS]", "Attach a path of the host, or a volume: ro, O, nocopy …", many=True
    ),
    Flag("volumes-from", "", "CONTAINER[:ro]", "Attach what that container has attached", many=True),
    Flag("workdir", "w", "PATH", "The command's working directory"),
)
RUN = (
    *CREATE,
    Flag("detach", "d", "", "Run it in the background, and print its id"),
    Flag("detach-keys", "", "KEYS", "With -t: what is typed to leave it running (ctrl-p,ctrl-q)"),
    Flag("sig-proxy", "", "", "Pass signals on to the command; --sig-proxy=false takes them ourselves (true)"),
    Flag("trace", "", "", "When the command has ended, print what each operation took in microseconds"),
)
# not among those of the fast parser: see `bring` in engine/platforms.py, which may have to pull an image first
PLATFORM = Flag("platform", "", "OS/ARCH[/VARIANT]", "Take, or pull, the image for this platform (this host's)")


EXEC = (
    Flag("detach", "d", "", "Leave it running, without input and output"),
    Flag("detach-keys", "", "KEYS", "With -it: what is typed to leave it running (ctrl-p,ctrl-q)"),
    Flag("env", "e", "NAME[=VALUE]", "Set an environment variable, or pass on the caller's", many=True),
    Flag("env-file", "", "FILE", "Set the environment variables of FILE, one a line", many=True),
    Flag("interactive", "i", "", "Let the command read standard input"),
    Flag("privileged", "", "", "Let the command keep every capability"),
    Flag("tty", "t", "", "Give it a terminal"),
    Flag("user", "u", "USER[:GROUP]", "Run as this user of the container, by name or number (the container's)"),
    Flag("workdir", "w", "PATH", "The command's working directory (the container's)"),
)


def parse(args: Sequence[str], flags: Sequence[Flag], command: str = "minirun run") -> tuple[dict[str, Any], list[str]]:
    """Read flags up to the first argument that is none.

    Args:
        args: what follows the command.
        flags: those it has.
        command: what it is called, for refusals.

    Returns:
        (values by long name, the remaining arguments). A switch is True or False, a flag of many a list.

    Raises:
        BadInput: an unknown flag, one without its value, or a switch with one.
        Unsupported: a flag of Docker's that is not built.
    """
    names = {f"--{flag.name}": flag for flag in flags} | {f"-{flag.short}": flag for flag in flags if flag.short}
    values: dict[str, Any] = {}
    rest = list(args)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        word = rest.pop(0)
        if word == "--":
            break
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            flag = _known(names, name, command)
            if not flag.metavar:
                values[flag.name] = _switch(name, value) if equals else True
            else:
                _put(values, flag, value if equals else _next(name, rest))
            continue
        letters = word[1:]
        while letters:
            name, letters = f"-{letters[0]}", letters[1:]
            flag = _known(names, name, command)
            if flag.metavar:
                _put(values, flag, letters.removeprefix("=") or _next(name, rest))
                break
            values[flag.name] = True
    return values, rest


def _known(names: dict[str, Flag], name: str, command: str) -> Flag:
    if name not in names:
        from minirun.cli.catalog import FLAGS_ELSEWHERE, FLAGS_NOT_BUILT

        if (usual := FLAGS_ELSEWHERE.get(name, "")) in names:
            return names[usual]
        if name in FLAGS_NOT_BUILT:
            reason = "it is one of Docker's that is not built in this version"
            raise Unsupported(f"use the flag {name}", reason, f"`{command} --help` lists those that are")
        raise BadInput(f"read the flag {name}", "there is none of that name", f"`{command} --help` lists them")
    return names[name]


def _next(name: str, rest: list[str]) -> str:
    if not rest:
        raise BadInput(f"read the flag {name}", "it needs a value")
    return rest.pop(0)


def _put(values: dict[str, Any], flag: Flag, value: str) -> None:
    if flag.many:
        values.setdefault(flag.name, []).append(value)
    else:
        values[flag.name] = value


def _switch(name: str, value: str) -> bool:
    if value.lower() in ("true", "1", "t"):
        return True
    if value.lower() in ("false", "0", "f"):
        return False
    raise BadInput(f"read the flag {name}={value}", "a switch is true or false")
