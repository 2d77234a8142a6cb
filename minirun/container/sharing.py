"""Namespaces that a container does not have for itself, as the flags of `run` and `create` say it.

    --uts host                                        its name is the host's
    --pid host | container:NAME                       it sees, and is seen by, all processes there
    --ipc private | shareable | none                  its own; others may join it; without /dev/shm
    --ipc host | container:NAME                       System V's IPC, queues and /dev/shm of those

What is private is not in the record. Whose processes it shares, the container is nobody's pid 1, and the kernel does
not end what it leaves: whoever ends it kills its group.
"""

from __future__ import annotations

from minirun import caller
from minirun.container import record as records
from minirun.container import state
from minirun.container.firstprocess import FirstProcess
from minirun.errors import BadInput, Conflict, NotFound, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from minirun.container.record import Record
    from minirun.container.state import State
    from minirun.home import Home

JOINED = "container:"
KINDS = ("ipc", "pid", "uts")
_MODES = {"ipc": ("private", "shareable", "none", "host"), "pid": ("private", "host"), "uts": ("private", "host")}
_JOINABLE = ("ipc", "pid")


def read(flags: Mapping[str, Any]) -> dict[str, str]:
    """Turn the flags into options of the record; what is private is not among them.

    Raises:
        BadInput: a value has no meaning, or does not go with another.
    """
    found = {}
    for kind in KINDS:
        mode = flags.get(kind) or "private"
        joins = kind in _JOINABLE and mode.startswith(JOINED) and mode != JOINED
        if mode not in _MODES[kind] and not joins:
            known = ", ".join((*_MODES[kind], *([f"{JOINED}NAME"] if kind in _JOINABLE else [])))
            raise BadInput(f"use --{kind} {mode}", "there is no such mode", f"it is one of {known}")
        if mode != "private":
            found[kind] = mode
    if "uts" in found and flags.get("hostname") is not None:
        raise BadInput("use --hostname with --uts host", "the name there is the host's", "leave one of them out")
    if (found.get("ipc") in ("none", "host") or found.get("ipc", "").startswith(JOINED)) and "shm-size" in flags:
        raise BadInput(f"use --shm-size with --ipc {found['ipc']}", "it gets no /dev/shm of its own", "leave it out")
    return found


def check(home: Home, options: dict[str, Any]) -> None:
    """See that the containers are there that are to be joined, and put their ids in the place of their names.

    Raises:
        NotFound: there is none of that name.
        Conflict: it lets nobody into its IPC namespace.
    """
    for kind in _JOINABLE:
        mode = options.get(kind, "")
        if caller.ROOTLESS and mode and (kind == "pid" or mode == "host") and kind != "uts":
            raise Unsupported(
                f"use --{kind} {mode}", "an ordinary user's container ends with its own pid namespace, and has the "
                "message queues of its own IPC namespace alone", f"leave --{kind} out",
            )  # fmt: skip
        if mode.startswith(JOINED):
            other = records.find(home, mode.removeprefix(JOINED))
            if kind == "ipc" and other.options.get("ipc", "private") in ("private", "none"):
                raise Conflict(
                    f"use --ipc {mode}", "its IPC is its own", f"make {other.name} anew, with `--ipc shareable`"
                )
            options[kind] = f"{JOINED}{other.id}"


def places(options: Mapping[str, Any], joined: Callable[[str, str], int]) -> dict[str, int | None]:
    """Whose namespaces a container has: see launch/spec.py, Spec.shared.

    Args:
        options: of its record.
        joined: takes a kind and the id of a container, and gives what stands for it.
    """
    found: dict[str, int | None] = {}
    for kind in KINDS:
        mode = options.get(kind, "private")
        if mode.startswith(JOINED):
            found[kind] = joined(kind, mode.removeprefix(JOINED))
        elif mode in ("host", "none"):
            found[kind if mode == "host" else "shm"] = None
    return found


class Shared:
    """What a container shares, held for as long as its first process is being made.

    Attributes:
        places: see `places`; a pidfd for each container that is joined.
    """

    __slots__ = ("_held", "places")

    def __init__(self, home: Home, options: Mapping[str, Any]) -> None:
        """Take hold of it.

        Raises:
            NotFound, Conflict: a container is not there, or does not run.
        """
        self._held: list[FirstProcess] = []

        def joined(kind: str, wanted: str) -> int:
            self._held.append(first_process(home, wanted, f"join the {kind} namespace"))
            return self._held[-1].pidfd

        try:
            self.places = places(options, joined)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of it."""
        for first in self._held:
            first.close()


def first_process(home: Home, wanted: str, what: str) -> FirstProcess:
    """The first process of a container that is to be joined; for the rest see `running`."""
    return FirstProcess.open(*running(home, wanted, f"{what} of container {wanted[:12]}"))


def running(home: Home, wanted: str, attempt: str) -> tuple[Record, State]:
    """A container that is to be joined, and its state.

    Args:
        home: the store.
        wanted: the container's id.
        attempt: what is to be done: ``join the network of container 0123456789ab``.

    Raises:
        NotFound: the container was removed.
        Conflict: it does not run.
    """
    try:
        other = records.read(home, wanted)
    except NotFound:
        raise NotFound(attempt, "it was removed", "remove this one, too, and make it anew") from None
    now = state.read(home, other)
    if not now.alive:
        raise Conflict(attempt, f"it is {now.status}", f"start it first: `minirun start {other.name}`")
    return other, now
