"""The attendant: one process for all containers on networks of their own, there while there are such containers.

    attendant.socket  ◀── sockets of a network, from whoever starts the first container on it
    leases            ──▶ census.py: who is there        ──▶ nobody on a network: its sockets are closed, soon after
    port 53           ──▶ datagrams.py, connections.py   ──▶ resolver.py ──▶ answers
                          DUTIES: what else is to be done for containers; each registers with the loop and the resolver

It is asked nothing but names, and knows nothing that cannot be found out again: killed at any moment, the next one
serves what has leases. See container/attendance.py for how it comes to be.
"""

from __future__ import annotations

import _signal
import os
import socket
from importlib import import_module

from minirun.attendant.census import Census
from minirun.attendant.connections import Connections
from minirun.attendant.datagrams import Datagrams
from minirun.attendant.forwarding import Forwarding
from minirun.attendant.loop import Loop, attempt
from minirun.attendant.place import Place
from minirun.attendant.resolver import Resolver
from minirun.attendant.servers import HostServers
from minirun.container import attendance, supervision
from minirun.container.children import say
from minirun.errors import MinirunError
from minirun.home import Home
from minirun.kernel import descriptors, files, process
from minirun.network import bridge, lease, nameserver, store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.attendant.loop import Timer
    from minirun.network.record import Network

# module:function of whatever else is done; called with the Attendant before it serves anybody
DUTIES = ("minirun.attendant.egress:attend",)
_LINGER_S, _LONGEST_LINGER_S = 60.0, 86400.0  # a network without containers is served so long: see _changed
_BUSY_S = 0.02  # until a look whether somebody has let go of what we need
_PAUSE_S, _LONGEST_PAUSE_S = 0.02, 5.0  # until what failed is tried again: each time twice as long
_NAME_BYTES = 256
_GIVEN = 3  # descriptors of a message: datagrams, connections, and the lock unless we have it
_SIGHUP = 1


class Attendant:
    """The attendant.

    Attributes:
        home: the store.
        loop: what calls us.
        census: who is on the networks that are served; its `changed` is told of everybody who comes and goes.
        resolver: its `may_ask` and `learned` are for what has a say in names, or wants to know.
    """

    def __init__(self, home: Home, listener: int) -> None:
        self.home = home
        self.loop = Loop()
        self.census = Census(home)
        self.resolver = Resolver(self.census, Forwarding(self.loop, HostServers()))
        self._listener = socket.socket(fileno=listener)
        self._listener.setblocking(False)
        self._places: dict[str, Place] = {}
        self._ending: Timer | None = None
        self._retry: Timer | None = None
        self._pause_s = _PAUSE_S
        self._said: set[str] = set()
        self._linger_s = _linger_s()
        self.census.changed.append(self._changed)
        self.census.bridges.append(self._look_soon)

    def run(self) -> None:
        """Attend to containers until there are none."""
        for duty in DUTIES:
            module, _, name = duty.partition(":")
            getattr(import_module(module), name)(self)
        self.loop.watch(self._listener.fileno(), lambda _events: self._take_all())
        self.loop.watch(self.census.descriptor, lambda _events: self.census.look())
        self._take_all()
        self._look()
        self.loop.run()

    def _look_soon(self) -> None:
        if self._retry:
            self._retry.cancel()
        self._retry = self.loop.later(0, self._look)  # not now: a question may be just being answered

    def _look(self) -> None:
        """Serve what has containers and nobody who does: the one before us was killed, or a bridge was made anew."""
        self._retry = None
        try:
            # nobody else binds meanwhile
            gate = files.lock(self.home.attendant_gate, exclusive=True, wait=False)
        except BlockingIOError:
            self._retry = self.loop.later(_BUSY_S, self._look)
            return
        except FileNotFoundError:
            self.loop.stop()  # somebody has removed the runtime directory, and all with it
            return
        self._take_all()
        try:
            self._serve_what_is_needed()
        finally:
            os.close(gate)
        self._end_if_idle()

    def _serve_what_is_needed(self) -> None:
        for network in store.list_all(self.home, warn=lambda _error: None):
            needed, index = attendance.needing(self.home, network), bridge.made(self.home, network)
            is_ours = network.id in self._places
            made_anew = index and not nameserver.is_served(self.home, network.id, nameserver.where(index))
            if needed and (made_anew or not is_ours):
                attempt(lambda network=network: self._serve_again(network))  # type: ignore[misc]
            elif is_ours and not needed and not bridge.is_noted(self.home, network):
                self._close(network.id)  # it was taken down

    def _serve_again(self, network: Network) -> None:
        try:
            index = socket.if_nametoindex(network.interface)
            bound = nameserver.bind(network, tries=1)
        except (MinirunError, OSError) as error:
            if self._retry is None:
                self._retry = self.loop.later(self._pause_s, self._look)
                self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
            # the first times it may be of the one before us, who is just dying
            if self._pause_s == _LONGEST_PAUSE_S and str(error) not in self._said:
                self._said.add(str(error))
                say(str(error))
            return
        before = self._places.pop(network.id, None)
        own = before.close(keep_lock=True) if before else -1
        noted = nameserver.note(self.home, network.id, nameserver.where(index))
        self._serve(network, bound[0].detach(), bound[1].detach(), own if before else noted)

    def _take_all(self) -> None:
        """Take what whoever starts containers gives us."""
        while True:
            try:
                speaker, _ = self._listener.accept()
            except BlockingIOError:
                return
            speaker.setblocking(False)
            # he is about to say something; or he is killed, or stopped
            self.loop.watch(speaker.fileno(), lambda _events, speaker=speaker: self._take(speaker))  # type: ignore[misc]
            self._take(speaker)

    def _take(self, speaker: socket.socket) -> None:
        try:
            name, given, _, _ = socket.recv_fds(speaker, _NAME_BYTES, _GIVEN)
        except BlockingIOError:
            return
        self.loop.unwatch(speaker.fileno())
        speaker.close()
        network = store.find(self.home, name.decode()) if name else None
        if network is None or len(given) < _GIVEN - 1:
            for one in given:
                os.close(one)
            return
        before = self._places.pop(network.id, None)
        lock = before.close(keep_lock=len(given) < _GIVEN) if before else -1
        self._serve(network, given[0], given[1], given[2] if len(given) == _GIVEN else lock)

    def _serve(self, network: Network, datagrams: int, stream: int, lock: int) -> None:
        self._places[network.id] = Place(
            Datagrams(self.loop, self.resolver, network.id, socket.socket(fileno=datagrams)),
            Connections(self.loop, self.resolver, network.id, socket.socket(fileno=stream)),
            lock,
        )
        try:
            self.census.begin(network)
        except OSError:
            self._close(network.id)  # it was removed just now
            raise
        self._changed(network.id, "")

    def _changed(self, network_id: str, _container_id: str) -> None:
        """See whether a network has somebody whom it is served for; if not, the next one may be just coming.

        To start us takes more than a container does, and whoever starts one after the other would wait each time.
        """
        place = self._places.get(network_id)
        if place is None:
            return
        register = self.census.registers.get(network_id)
        if register is None:  # it was removed
            self._close(network_id)
            self._end_if_idle()
        elif any(attendance.is_needed(register.network, one.box.options) for one in register.members.values()):
            if place.idle:
                place.idle.cancel()
                place.idle = None
        elif place.idle is None:
            place.idle = self.loop.later(self._linger_s, lambda: self._retire(network_id))

    def _retire(self, network_id: str) -> None:
        """Serve a network no more that has nobody; who comes just now finds that he has to ask for it."""
        self._places[network_id].idle = None
        self.census.look()
        if network_id not in self.census.registers:
            return  # it was removed, and we with it
        try:
            held = lease.hold(self.home, network_id, make=False)
        except FileNotFoundError:  # it is just being removed
            self._close(network_id)
            self._end_if_idle()
            return
        try:
            is_idle = not attendance.needing(self.home, self.census.registers[network_id].network)
            if is_idle:
                self._close(network_id)
        finally:
            os.close(held)
        if is_idle:
            self._end_if_idle()
        else:
            self._changed(network_id, "")

    def _close(self, network_id: str) -> None:
        self._places.pop(network_id).close()
        self.census.end(network_id)

    def _end_if_idle(self) -> None:
        """End, if there is nothing to serve and nobody is just giving us something."""
        if self._places or self._ending or self._retry:
            return
        try:
            gate = files.lock(self.home.attendant_gate, exclusive=True, wait=False)  # it is held until we are gone
        except BlockingIOError:
            self._ending = self.loop.later(_BUSY_S, self._try_again)
            return
        except FileNotFoundError:
            self.loop.stop()  # somebody has removed the runtime directory, and all with it
            return
        self._take_all()
        if self._places:
            os.close(gate)
            return
        attendance.close(self.home)
        self.loop.stop()

    def _try_again(self) -> None:
        self._ending = None
        self._end_if_idle()


def _linger_s() -> float:
    """How long a network is served that has no containers: as the environment of whoever started us says."""
    said = os.environ.get(supervision.LINGER, "")
    if not said:
        return _LINGER_S
    if not said.replace(".", "", 1).isdecimal():
        say(f"{supervision.LINGER} is no number of seconds: {said}")
        return _LINGER_S
    return min(float(said), _LONGEST_LINGER_S)


def main(home: Home, lock: int, listener: int) -> None:
    """Be the attendant.

    Args:
        home: the store.
        lock: the descriptor that holds home.attendant.
        listener: of the socket at which sockets are given to us.
    """
    try:
        for descriptor in (lock, listener):
            os.set_inheritable(descriptor, False)
        _signal.signal(_SIGHUP, _signal.SIG_IGN)
        descriptors.allow_many()
        os.pwrite(lock, f"{os.getpid()} {process.start_ticks(os.getpid())}\n".encode(), 0)
        Attendant(home, listener).run()
    finally:
        supervision.leave(home.runtime, supervision.ATTENDANT)
