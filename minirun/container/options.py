"""What `run` and `create` were asked for: flags are read once, here, and trusted from then on.

-e NAME[=VALUE]     -l KEY[=VALUE]     what is attached: see mountflags.py
"""

from __future__ import annotations

import os

from minirun import caller, hot
from minirun.container import environment
from minirun.errors import BadInput, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

# those that cgroup/limits.py reads, which is imported when one of them is there
LIMITS = frozenset(
    ("blkio-weight", "cgroup-conf", "cpu-period", "cpu-quota", "cpu-shares", "cpus", "cpuset-cpus", "cpuset-mems",
     "device-read-bps", "device-read-iops", "device-write-bps", "device-write-iops", "memory", "memory-reservation",
     "memory-swap", "memory-swappiness", "oom-kill-disable", "pids-limit")
)  # fmt: skip
# those that container/mountflags.py reads, likewise
MOUNTS = frozenset(("mount", "tmpfs", "volume", "volumes-from"))
LIFETIME = frozenset(("restart", "stop-timeout", "timeout"))  # the same of lifetime.py
HEALTH = frozenset(
    ("health-cmd", "health-interval", "health-on-failure", "health-retries", "health-start-interval",
     "health-start-period", "health-timeout", "no-healthcheck")
)  # fmt: skip
PORTS = frozenset(("expose", "publish", "publish-all"))  # the same of ports.py
# and of networkflags.py, which --network with anything but none and host needs as well
NETWORK = frozenset(
    ("add-host", "dns", "dns-option", "dns-search", "ip", "ip6", "link", "mac-address", "network-alias",
     "network-egress", "sysctl")
)  # fmt: skip
# and of privileges.py
PRIVILEGES = frozenset(("cap-add", "cap-drop", "device", "device-cgroup-rule", "group-add", "privileged"))
SHARED = frozenset(("ipc", "pid", "uts"))  # and of sharing.py
SHM_BYTES = 64 << 20  # Docker's
# asm/signal.h on x86_64
SIGNALS = {
    "HUP": 1, "INT": 2, "QUIT": 3, "ILL": 4, "TRAP": 5, "ABRT": 6, "BUS": 7, "FPE": 8, "KILL": 9, "USR1": 10,
    "SEGV": 11, "USR2": 12, "PIPE": 13, "ALRM": 14, "TERM": 15, "STKFLT": 16, "CHLD": 17, "CONT": 18, "STOP": 19,
    "TSTP": 20, "TTIN": 21, "TTOU": 22, "URG": 23, "XCPU": 24, "XFSZ": 25, "VTALRM": 26, "PROF": 27, "WINCH": 28,
    "IO": 29, "PWR": 30, "SYS": 31,
}  # fmt: skip


def read(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Turn the flags of `run` and `create` into the options that a container record keeps.

    Args:
        flags: by long name, as cli/flags.py declares them; absent ones are unset.

    Returns:
        entrypoint, env, cwd, user, hostname, tty, stdin, network, limits, ulimits, oom_score_adj, shm_bytes,
        cgroup_parent, cgroupns, volumes, tmpfs, read_only, init, stop_signal, labels, log; and, if they are given,
        volumes_from, health, ports, and what lifetime.read has.

    Raises:
        BadInput: a flag's value has no meaning.
        Unsupported: it has one that is not built, or that this host has not got.
    """
    get = flags.get
    entrypoint = get("entrypoint")
    network = _network(flags)
    return {
        "entrypoint": None if entrypoint is None else [entrypoint] if entrypoint else [],
        "env": environment.read(get("env") or (), get("env-file") or ()),
        "cwd": _absolute("-w", get("workdir")),
        "user": get("user"),
        "hostname": _hostname(get("hostname")),
        "tty": bool(get("tty")),
        "stdin": bool(get("interactive")),
        "detached": bool(get("detach")),
        # whether an end of what somebody types who attaches is the end of its input: not of one made with -d
        "stdin_once": bool(get("interactive")) and not get("detach"),
        **network,
        "limits": _limits(flags),
        "ulimits": _ulimits(get("ulimit")),
        "oom_score_adj": _oom_score_adj(get("oom-score-adj")),
        "shm_bytes": _shm_bytes(get("shm-size")),
        "cgroup_parent": _cgroup_parent(get("cgroup-parent")),
        "cgroupns": _cgroupns(get("cgroupns")),
        **_mounts(flags),
        "read_only": bool(get("read-only")),
        "init": bool(get("init")),
        "stop_signal": _signal(get("stop-signal")),
        "labels": dict(environment.pair("-l", text, "") for text in get("label") or ()),
        "log": _log(get("log-driver"), get("log-opt")),
        **_lifetime(flags),
        **_health(flags),
        **_ports(flags, network["network"]),
        **_privileges(flags),
        **_security(flags.get("security-opt")),
        **_shared(flags),
        **_userns(flags.get("userns")),
    }


def _log(driver: str | None, options: Sequence[str] | None) -> dict[str, Any]:
    if driver is None and not options:
        return {"driver": "json-file", "options": {}}
    from minirun.log import options as log

    return log.read(driver, options or ())


def _lifetime(flags: Mapping[str, Any]) -> dict[str, Any]:
    if LIFETIME.isdisjoint(flags):
        return {}
    from minirun.container import lifetime

    return lifetime.read(flags)


def _health(flags: Mapping[str, Any]) -> dict[str, Any]:
    if HEALTH.isdisjoint(flags):
        return {}
    from minirun.container import health

    return health.read(flags)


def _ports(flags: Mapping[str, Any], network: str) -> dict[str, Any]:
    if PORTS.isdisjoint(flags):
        return {}
    from minirun.container import ports

    return ports.read(flags, network)


def _privileges(flags: Mapping[str, Any]) -> dict[str, Any]:
    if PRIVILEGES.isdisjoint(flags):
        return {}
    from minirun.container import privileges

    return privileges.read(flags)


def _shared(flags: Mapping[str, Any]) -> dict[str, str]:
    if SHARED.isdisjoint(flags):
        return {}
    from minirun.container import sharing

    return sharing.read(flags)


def _userns(mode: str | None) -> dict[str, Any]:
    if mode is None:
        return {}
    from minirun.container import userns

    return userns.read(mode)


def _security(given: Sequence[str] | None) -> dict[str, Any]:
    if not given:
        return {}
    from minirun.container import securityflags

    return securityflags.read(given)


def _limits(flags: Mapping[str, Any]) -> dict[str, Any]:
    if LIMITS.isdisjoint(flags):
        return {}
    from minirun.cgroup import limits

    return limits.read(flags)


def _mounts(flags: Mapping[str, Any]) -> dict[str, Any]:
    if MOUNTS.isdisjoint(flags):
        return {"volumes": [], "tmpfs": []}
    from minirun.container import mountflags

    return mountflags.read(flags)


def _ulimits(given: Sequence[str] | None) -> list[list[Any]]:
    """Read --ulimit into [Docker's name, the kernel's number, soft, hard]; the last of a name wins."""
    if not given:
        return []
    from minirun.launch import resources

    return list({name: [name, *rest] for name, *rest in map(resources.read, given)}.values())


def _oom_score_adj(text: str | None) -> int | None:
    if text is None:
        return None
    from minirun.cgroup.amount import parse_whole

    return parse_whole("--oom-score-adj", text, -1000, 1000)


def _shm_bytes(text: str | None) -> int:
    if text is None:
        return SHM_BYTES
    from minirun.cgroup.amount import parse_bytes

    return parse_bytes("--shm-size", text)


def _cgroup_parent(text: str | None) -> str:
    if text is None:
        return ""
    attempt = f"use --cgroup-parent {text!r}"
    names = text.removeprefix("/").split("/")
    # a group's directory has the kernel's files beside the groups below it
    if any(name in ("", ".", "..") or not name.isprintable() for name in names):
        raise BadInput(
            attempt, "it is no path of a cgroup",
            "a name is a group of minirun's own; /a/path is one that is there, seen from the root of the hierarchy",
        )  # fmt: skip
    if text.endswith(".slice") and not text.startswith("/"):
        raise Unsupported(
            attempt, "slices are systemd's, and minirun makes none",
            "with limits a container has a scope of its own in machine.slice; /a.slice is a group that is there",
        )  # fmt: skip
    return text


def _cgroupns(text: str | None) -> str:
    if text not in (None, "private", "host"):
        raise BadInput(f"use --cgroupns {text}", "there are private, which is the default, and host")
    return text or "private"


def _absolute(flag: str, path: str | None) -> str | None:
    if path is None:
        return None
    if not path.startswith("/") or "\0" in path:
        raise BadInput(f"read {flag} {path!r}", "it is not an absolute path")
    return os.path.normpath(path)


def _hostname(text: str | None) -> str | None:
    if text is not None and (
        # a byte that is no UTF-8 is not printable either
        not text.isprintable() or not 0 < len(text.encode()) <= 64 or "/" in text or " " in text
    ):
        raise BadInput(
            f"read --hostname {text!r}", "a host name is 1 to 64 bytes, without spaces", "see sethostname(2)"
        )
    return text


def _network(flags: Mapping[str, Any]) -> dict[str, Any]:
    given = flags.get("network") or [os.environ.get("MINIRUN_NETWORK") or ("pasta" if caller.ROOTLESS else "bridge")]
    if NETWORK.isdisjoint(flags) and given in (["none"], ["host"]):
        return {"network": given[0]}
    hot.load("network")
    from minirun.container import networkflags

    return networkflags.read({**flags, "network": given})


def _signal(text: str | None) -> str | None:
    return None if text is None else signal_name(text)


def signal_number(text: str) -> int:
    """The number of a signal; see `signal_name` for how it may be written.

    Raises:
        BadInput: there is no such signal.
    """
    return SIGNALS[signal_name(text).removeprefix("SIG")]


def signal_name(text: str) -> str:
    """Read a signal as Docker does, ``SIGTERM``, ``term`` or ``15``, and give it as ``SIGTERM``.

    Raises:
        BadInput: there is no such signal.
    """
    name = text.upper().removeprefix("SIG")
    for known, number in SIGNALS.items():
        if name in (known, str(number)):
            return f"SIG{known}"
    raise BadInput(f"use the signal {text!r}", "there is none of that name or number", "`kill -l` lists them")
