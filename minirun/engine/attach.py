"""attach: what a container in the background prints comes here, and what is typed here goes to it.

    its log, from now on ─▶ standard output and error        whoever reads slowly stops nobody
    standard input ─▶ keys ─▶ FIFO, or the master of its pty

Nobody but its keeper has to be asked: see container/kept.py.
"""

from __future__ import annotations

import _thread
import os

from minirun import events
from minirun.container import kept, output, state, wait
from minirun.container import record as records
from minirun.container.detachkeys import DetachKeys
from minirun.container.rawterminal import RawTerminal, follow_size, typed
from minirun.container.watching import Watched
from minirun.engine import open_home
from minirun.errors import Attempt, BadInput, Conflict
from minirun.kernel import files
from minirun.launch.machine import Process
from minirun.log import driver, follower

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.container.record import Record
    from minirun.home import Home
    from minirun.log.reader import Reader

_PLACES = {"stdout": 1, "stderr": 2}


def attach(name: str, *, stdin: bool = True, proxy: bool = True, keys: str = "") -> int:
    """Join our standard streams to those of a container that runs, until it ends or the keys are typed.

    Args:
        name: the container's name, id or the beginning of its id.
        stdin: whether it may read our descriptor 0; it must have been made with -i as well.
        proxy: whether signals are passed on, without a terminal.
        keys: what is typed to leave a terminal; empty for Docker's.

    Returns:
        The container's exit code; 0 if it goes on without us.

    Raises:
        NotFound, Conflict: there is no such container, or it does not run.
    """
    keys_ = DetachKeys(keys)
    home = open_home()
    box = records.find(home, name)
    attempt = f"attach to container {box.name}"
    now = state.read(home, box)
    if now.status != "running":
        reason = f"it is {now.status}" if now.status != "exited" else "it is not running: it has exited"
        raise Conflict(attempt, reason, f"`minirun start -a {box.name}` starts it" if not now.alive else "")
    if not os.path.exists(f"{home.kept(box.id)}/stdout"):
        raise Conflict(
            attempt, "its output goes to where it was started from", "run it with -d, or with -t, to attach to it later"
        )  # fmt: skip
    stdin = stdin and box.options["stdin"]
    if stdin and box.options["tty"] and not os.isatty(0):
        raise BadInput(attempt, "the input device is not a TTY", "run it from a terminal, or with --no-stdin")
    with Attempt(attempt):
        reader = follower.position(
            driver.path(output.log_of(box), box.id, f"{home.container(box.id)}/log", home.kept(box.id))
        )
        watched = Watched(home, box, now)
        events.emit(home, "container", "attach", box.id, box.told())
        try:
            typing = _Typing(home, box, watched, keys_) if stdin else None
            if proxy and not box.options["tty"] and watched.pidfd >= 0:
                wait.forward(Process(now.pid, watched.pidfd))
            with RawTerminal(stdin=stdin and box.options["tty"]):
                _show(home, box, watched, reader, typing)
            if typing and typing.left:
                events.emit(home, "container", "detach", box.id, box.told())
                return 0
            return watched.code()
        finally:
            watched.close()


def _show(home: Home, box: Record, watched: Watched, reader: Reader, typing: _Typing | None) -> None:
    def ended() -> bool:
        # what it printed is in the log when its end is written down, or when it was removed
        return bool(typing and typing.left) or state.written(home, box).status != "running"

    wakes = [typing.over] if typing else []
    if watched.pidfd >= 0:
        wakes.append(watched.pidfd)
    try:
        for stream, data in follower.output(
            reader, ended, beside=home.container(box.id), listeners=(1, 2), wake=wakes
        ):  # fmt: skip
            files.write_all(_PLACES[stream], data)
    finally:
        reader.close()


class _Typing:
    """What is typed goes to the container, from a thread.

    Attributes:
        left: whether the keys were typed.
        over: a descriptor that becomes readable then.
    """

    def __init__(self, home: Home, box: Record, watched: Watched, keys: DetachKeys) -> None:
        self.left = False
        self.over, self._tell = os.pipe2(os.O_CLOEXEC)
        self._once = bool(box.options.get("stdin_once"))
        self._home, self._box, self._watched, self._keys = home, box, watched, keys
        if box.options["tty"]:
            self._target = kept.open_master(home, box.id)
            follow_size(self._target)
        else:
            path = f"{home.kept(box.id)}/stdin"
            self._target = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            os.set_blocking(self._target, True)
        _thread.start_new_thread(self._copy, ())

    def _copy(self) -> None:
        tty = self._box.options["tty"]
        try:
            while data := typed():
                if tty:
                    data = self._keys.scan(data)
                _write(self._target, data)
                if self._keys.found:
                    self.left = True
                    return
        except OSError:
            pass  # EPIPE: it reads no more
        finally:
            os.close(self._target)
            if tty or self.left:
                # a terminal of ours that was hung up leaves the container's alone
                self.left = True
                os.close(self._tell)
            elif self._once:
                kept.close_input(self._home, self._box.id)


def _write(descriptor: int, data: bytes) -> None:
    """Write all of *data* to a pty that whoever takes its output made non-blocking, or to a FIFO."""
    import select

    while data:
        try:
            data = data[os.write(descriptor, data) :]
        except BlockingIOError:
            poll = select.poll()
            poll.register(descriptor, select.POLLOUT)
            poll.poll()
