"""What is asked of systemd, over D-Bus: to make a scope, to change it, and to remove it.

    we  ─ StartTransientUnit(name, "fail", properties, []) ─▶  systemd     a job is queued …
    we  ◀─ job                                             ─   systemd
    we  ◀─ JobRemoved(id, job, name, "done")               ─   systemd     … and the scope is there

An ordinary user asks the manager of his own services, over his own bus. See org.freedesktop.systemd1(5) and
docs/decisions/0030-systemd-scope.md.
"""

from __future__ import annotations

from time import monotonic, sleep

from minirun import caller
from minirun.cgroup import bus
from minirun.errors import Conflict, MinirunError, Unsupported

_SYSTEM_BUS = "/run/dbus/system_bus_socket"
_MANAGER = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager")
_REMOVED = (
    "type='signal',sender='org.freedesktop.systemd1',path='/org/freedesktop/systemd1',"
    "interface='org.freedesktop.systemd1.Manager',member='JobRemoved'"
)
_UNLIMITED = (1 << 64) - 1
_PATIENCE_S = 20.0  # for an answer
_LINGER_S = 5.0  # for systemd to have done with a scope of the same name
_STEP_S = 0.02
_STOP_US = 10_000_000  # Docker's: what ends with the host has so long between SIGTERM and SIGKILL
SERVICE = "minirun.service"  # stops containers when the host goes down, each as it wants to be: engine/unit.py
DELEGATES = ("cpu", "cpuset", "io", "memory", "pids")  # the controllers that it knows
ELSEWHERE = "`--cgroup-parent` names a group that has the controllers, or run without the limit"


def start_scope(name: str, slice_: str, description: str, pid: int) -> None:
    """Have the scope *name* made in *slice_*, delegated to us, with the process *pid* in it.

    Raises:
        Unsupported: systemd is not to be reached.
        Conflict: there is a scope of that name.
        MinirunError: systemd refuses.
    """
    attempt = f"have systemd make {name}"
    properties = [
        ("Description", ("s", description)),
        ("Before", ("as", [SERVICE])),  # who is started before is stopped after
        ("Slice", ("s", slice_)),
        ("Delegate", ("b", True)),  # every controller: `update` may need more than the start does
        ("PIDs", ("au", [pid])),
        ("CollectMode", ("s", "inactive-or-failed")),  # keep no unit that failed
        ("TasksMax", ("t", _UNLIMITED)),  # the manager's default would be below many a --pids-limit
        ("TimeoutStopUSec", ("t", _STOP_US)),
    ]
    try:
        with _connect() as connection:
            connection.subscribe(_REMOVED)
            job = _queue(connection, name, properties)
            while (values := connection.signal().values())[1:2] != [job]:
                pass
    except OSError as error:
        raise Unsupported(
            attempt, error, f"start D-Bus, by which systemd is asked: `apt-get install dbus`; {ELSEWHERE}"
        ) from None
    except bus.Refused as refused:
        raise MinirunError(attempt, str(refused), f"`systemctl status {slice_}`; {ELSEWHERE}") from None
    if values[3] != "done":
        raise MinirunError(attempt, f"its job ended as {values[3]!r}", f"`journalctl -u {name}`; {ELSEWHERE}")


def set_properties(name: str, properties: list[tuple[str, tuple[str, object]]]) -> None:
    """Change what a scope is, for as long as it is there.

    Raises:
        MinirunError: systemd is not to be reached, or refuses.
    """
    attempt = f"have systemd change {name}"
    try:
        with _connect() as connection:
            connection.call(*_MANAGER, "SetUnitProperties", "sba(sv)", name, True, properties)
    except (OSError, bus.Refused) as error:
        reason = error if isinstance(error, OSError) else str(error)
        raise MinirunError(attempt, reason, f"`systemctl status {name}`; {ELSEWHERE}") from None


def stop_scope(name: str) -> None:
    """Have systemd remove a scope, as soon as it comes to it. Idempotent.

    Raises:
        MinirunError: systemd is not to be reached, or refuses.
    """
    try:
        with _connect() as connection:
            connection.call(*_MANAGER, "StopUnit", "ss", name, "replace")
    except (OSError, bus.Refused) as error:
        if isinstance(error, bus.Refused) and error.name == "org.freedesktop.systemd1.NoSuchUnit":
            return
        reason = error if isinstance(error, OSError) else str(error)
        raise MinirunError(f"have systemd remove {name}", reason, f"`systemctl stop {name}`") from None


def version() -> str:
    """What the manager that we would ask says that it is: that it answers is what matters.

    Raises:
        OSError, bus.Refused: it is not to be reached.
    """
    with _connect() as connection:
        reply = connection.call(*_MANAGER[:2], "org.freedesktop.DBus.Properties", "Get", "ss", _MANAGER[2], "Version")
        return str(reply.values()[0][1])


def _connect() -> bus.Bus:
    return bus.Bus(f"/run/user/{caller.UID}/bus" if caller.UID else _SYSTEM_BUS, _PATIENCE_S)


def _queue(connection: bus.Bus, name: str, properties: list[tuple[str, tuple[str, object]]]) -> str:
    """Ask for the scope; the object path of the job that makes it."""
    end = monotonic() + _LINGER_S
    while True:
        try:
            reply = connection.call(*_MANAGER, "StartTransientUnit", "ssa(sv)a(sa(sv))", name, "fail", properties, [])
        except bus.Refused as refused:
            if refused.name != "org.freedesktop.systemd1.UnitExists":
                raise
            if monotonic() > end:
                raise Conflict(f"have systemd make {name}", "it is there", f"`systemctl stop {name}`") from None
            sleep(_STEP_S)  # the container's last run has only just ended
        else:
            job: str = reply.values()[0]
            return job
