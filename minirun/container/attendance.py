"""Whoever starts a container that needs the attendant sees to it that there is one, and that it serves its network.

    minirun run --network web ──┬─ networks/<id>/names: somebody answers there ──▶ nothing to do
                                └─ else: binds port 53 ─▶ attendant.socket: the sockets, with the lock of `names`
                                         and, if nobody listens there, starts an attendant that does

    <runtime>/attendant           flock of the attendant, and its pid; gone when it ends by itself
    <runtime>/attendant.gate      flock of whoever does the above, and of the attendant while it ends
    <runtime>/attendant.socket    SOCK_SEQPACKET; a message is the name of a network, with descriptors (unix(7))

The attendant (attendant/process.py) needs nothing but these and the leases. Nobody waits for it: what it is given, and
what is asked of it before it has begun, waits in sockets. If it was killed, a command that finds its lock free starts
the next one, as does the supervisor.
"""

from __future__ import annotations

import os
from _socket import AF_UNIX, SCM_RIGHTS, SOCK_CLOEXEC, SOCK_SEQPACKET, SOL_SOCKET, socket
from struct import pack

from minirun.container import supervision
from minirun.kernel import files, process
from minirun.network import lease, nameserver, store
from minirun.network.record import DEFAULT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from minirun.container.supervisor import Supervisor
    from minirun.home import Home
    from minirun.network.record import Network

_BACKLOG = 128
_AGAIN_S = 0.2  # until one that was started has said who it is
_SOCKET = "attendant.socket"


def is_needed(network: Network, options: Mapping[str, Any]) -> bool:
    """Whether a container with these options is to have somebody who answers at the gateway of a network."""
    return network.driver == "bridge" and (network.name != DEFAULT or "egress" in options)


def ensure(home: Home, network: Network, index: int) -> None:
    """Have somebody answer on a network that a container has its lease of; nobody does on one without a bridge.

    Args:
        home: the store.
        network: what it has on the host is there.
        index: of the bridge.

    Raises:
        Conflict: another program has the port.
        MinirunError: the kernel refuses.
    """
    at = nameserver.where(index)
    if network.driver != "bridge" or nameserver.is_served(home, network.id, at):
        return
    gate = files.lock(home.attendant_gate, exclusive=True)
    try:
        if nameserver.is_served(home, network.id, at):
            return  # another start was quicker
        datagrams, stream = nameserver.bind(network)
        held = nameserver.note(home, network.id, at)
        try:
            _hand_over(home, network, [datagrams.fileno(), stream.fileno(), held])
        finally:
            datagrams.close()
            stream.close()
            if held >= 0:
                os.close(held)
    finally:
        os.close(gate)


def _hand_over(home: Home, network: Network, descriptors: Sequence[int]) -> None:
    """Give somebody the sockets of a network; the gate is held."""
    given = [descriptor for descriptor in descriptors if descriptor >= 0]
    speaker = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC)
    try:
        try:
            _at_its_socket(home, speaker.connect)
        except (FileNotFoundError, ConnectionRefusedError):
            _start(home)
            _at_its_socket(home, speaker.connect)
        rights = (SOL_SOCKET, SCM_RIGHTS, pack(f"{len(given)}i", *given))
        speaker.sendmsg([network.name.encode()], [rights])
    finally:
        speaker.close()


def _at_its_socket(home: Home, do: Any) -> None:
    """Call connect or bind with the address of its socket, whose path may be longer than addresses are."""
    folder = os.open(home.runtime, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        do(f"/proc/self/fd/{folder}/{_SOCKET}")
    finally:
        os.close(folder)


def _start(home: Home) -> None:
    """Start an attendant, who listens when we return; the gate is held."""
    lock = files.lock(home.attendant, exclusive=True)  # of one that was killed, it is free at once
    listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC)
    try:
        files.remove(f"{home.runtime}/{_SOCKET}")
        _at_its_socket(home, listener.bind)
        os.chmod(f"{home.runtime}/{_SOCKET}", 0o600)  # whatever the umask
        listener.listen(_BACKLOG)
        supervision.begin(home.root, home.runtime, "attend.py", [lock, listener.fileno()], supervision.ATTENDANT)
    finally:
        listener.close()
        os.close(lock)


def revive(home: Home) -> None:
    """Start an attendant again if there was one that was killed, and it is needed still. Idempotent.

    Raises:
        MinirunError: the record of a network cannot be read.
    """
    gate = files.lock(home.attendant_gate, exclusive=True)
    try:
        found = files.take_over(home.attendant)
        if found < 0:
            return
        os.close(found)
        if any(needing(home, network) for network in store.list_all(home, warn=lambda _error: None)):
            _start(home)
        else:
            close(home)
            supervision.tidy(home.runtime, supervision.ATTENDANT)
    finally:
        os.close(gate)


class Guard:
    """What starts the next attendant when one was killed, as long as there are containers in the background.

    Args:
        home: the store.
        supervisor: its loop tells of the end.
    """

    __slots__ = ("_home", "_pidfd", "_supervisor")

    def __init__(self, home: Home, supervisor: Supervisor) -> None:
        self._home = home
        self._supervisor = supervisor
        self._pidfd = -1

    def look(self) -> None:
        """Watch the attendant, if there is one and it is not watched yet."""
        if self._pidfd >= 0 or not os.path.exists(self._home.attendant):
            return
        pid, start = _who(self._home)
        self._pidfd = process.open_pidfd(pid, start)
        if self._pidfd >= 0:
            self._supervisor.watch(self._pidfd, self._ended)
        elif pid:
            self._start_next()
        else:
            self._look_again()  # it is just beginning

    def _ended(self) -> None:
        self._supervisor.unwatch(self._pidfd)
        os.close(self._pidfd)
        self._pidfd = -1
        self._start_next()

    def _start_next(self) -> None:
        self._supervisor.children.begin("attendant", lambda: revive(self._home))
        self._look_again()

    def _look_again(self) -> None:
        if self._supervisor.wards:
            self._supervisor.later("attendant", _AGAIN_S, self.look)


def _who(home: Home) -> tuple[int, int]:
    """The pid of the attendant, and when it started: see process.start_ticks; zeros: it has not said that yet."""
    try:
        with open(home.attendant, "rb", 0) as file:
            pid, start = file.read(64).split()
    except (OSError, ValueError):
        return 0, 0
    return int(pid), int(start)


def close(home: Home) -> None:
    """There is to be no attendant from now on; the gate is held."""
    files.remove(f"{home.runtime}/{_SOCKET}")
    files.remove(home.attendant)


def needing(home: Home, network: Network) -> list[str]:
    """The ids of the containers that have a lease of a network and need somebody who answers there."""
    if network.driver != "bridge":
        return []
    holders = lease.holders(home, network.id)
    return holders if network.name != DEFAULT else [one for one in holders if _is_limited(home, one)]


def _is_limited(home: Home, container_id: str) -> bool:
    from minirun.container import record as records
    from minirun.errors import MinirunError

    try:
        return "egress" in records.read(home, container_id).options
    except MinirunError:
        return False  # it is gone, or damaged
