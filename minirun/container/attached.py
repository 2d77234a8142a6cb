"""Somebody starts a container and stays with it: a `run` or `start -a` in the foreground of one that has a keeper.

    without -t   its descriptors are ours: what it prints passes through nobody's hands, and is in no log
    with -t      our terminal, raw ── master of its pty ── FIFO ─▶ log, and what is in the log ─▶ our terminal

While we are there we do for it what the supervisor does for others. Should we be killed, or leave by the detach keys,
its keeper sees our end of a pipe close, and the supervisor takes it on.
"""

from __future__ import annotations

import os
import select

from minirun.cgroup import group
from minirun.container import ending, keeping, kept, state, wait
from minirun.container import record as records
from minirun.container.relay import Relay
from minirun.errors import NotFound
from minirun.kernel import files, process
from minirun.launch.machine import Process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.container.detachkeys import DetachKeys
    from minirun.container.output import Taker
    from minirun.container.record import Record
    from minirun.home import Home


class Attached:
    """A container whose command has begun, and that we stay with.

    Args:
        home: the store.
        box: the container: what `start.steps` and `keeping.steps` list was done.
        path: its group.
        stdin: whether the command may read our descriptor 0.
        trace: takes every call and its microseconds.

    Attributes:
        kept: its keeper.
        process: its first process, which is its keeper's child.

    Raises:
        CommandNotFound, CommandNotExecutable: the command could not begin.
        MinirunError: a call of the plan failed.
    """

    def __init__(
        self, home: Home, box: Record, path: str, *, stdin: bool, trace: list[tuple[str, float]] | None = None
    ) -> None:  # fmt: skip
        self.home = home
        self.box = box
        self._group = path
        self.stdin = stdin
        self._relay = None if box.options["tty"] else Relay.open(stdin=stdin)
        owner, self._present = os.pipe2(os.O_CLOEXEC)
        wait.hold()
        try:
            streams = keeping.Streams(owner, self._relay.redirects if self._relay else (), stdin=stdin)
            self.kept = keeping.launch(home, box, path, streams, trace)
        except BaseException:
            wait.release()
            if self._relay:
                self._relay.close()
            raise
        finally:
            os.close(owner)
        if self._relay:
            self._relay.start()
        self.process = Process(self.kept.pid, process.open_pidfd(self.kept.pid, self.kept.start))
        self._exit = kept.open_exit(home, box.id)  # to be read also when somebody has removed it

    def wait(self, keys: DetachKeys | None = None, *, proxy: bool = True) -> int | None:
        """Pass bytes and signals on until the command ends, or the keys are typed.

        Args:
            keys: looked for in what is typed, with a terminal.
            proxy: whether signals are passed on; without that they are for us.

        Returns:
            Its exit code, which is written down then; None if it goes on without us.
        """
        if proxy and self.process.pidfd >= 0:  # it could have ended by now
            wait.forward(self.process)
        else:
            wait.release()
        if self.box.options["tty"]:
            if self._join(keys):
                os.close(self._present)
                return None
        elif self.process.pidfd >= 0:
            process.wait([self.process.pidfd])
        if "pid" in self.box.options:
            group.kill(self._group)  # no pid namespace ends with it, and what it leaves may hold its output open
        if self._relay:
            self._relay.finish()
        return self._finish()

    def _finish(self) -> int:
        while not ending.is_known(self.home, self.box.id, self.process.pidfd):
            select.poll().poll(1)
        seen = kept.read_exit(self._exit)
        try:
            lock = records.hold(self.home, self.box)
            try:
                ending.finish(self.home, records.read(self.home, self.box.id))
            finally:
                os.close(lock)
        except NotFound:
            pass  # `rm -f` was quicker
        return state.exit_code(seen[0]) if seen else state.LOST

    def _join(self, keys: DetachKeys | None) -> bool:
        """Join our terminal and the container's until it ends; whether it goes on without us, since the keys say so.

        When our terminal is hung up, or nobody reads what we write, the container's is hung up, too.
        """
        from minirun.container import output, rawterminal

        screen = _Screen()
        taker = output.Taker(self.home, self.box, also=screen.show)
        try:
            master = taker.pumps[0].source
            rawterminal.follow_size(master)
            with rawterminal.RawTerminal(stdin=self.stdin):
                self._pump(taker, screen, keys)
                if keys and keys.found:
                    return True
                if screen.gone:
                    taker.close()
                    kept.close_input(self.home, self.box.id)
                    process.wait([self.process.pidfd])
                taker.drain()
            return False
        finally:
            taker.close()

    def _pump(self, taker: Taker, screen: _Screen, keys: DetachKeys | None) -> None:
        """Copy both ways until the container ends, our terminal is gone, or the keys are typed."""
        (pump,) = taker.pumps
        pending = b""  # typed, and not yet taken by the pty
        poll = select.poll()
        if self.process.pidfd < 0:
            return
        poll.register(self.process.pidfd, select.POLLIN)
        while True:
            if pump.ended:  # nobody in it has the terminal open; perhaps somebody will
                poll.register(pump.source, 0)
            else:
                poll.register(pump.source, select.POLLIN | (select.POLLOUT if pending else 0))
            if self.stdin:  # what is typed waits in our terminal while the container does not read
                poll.register(0, 0 if pending else select.POLLIN)
            ready = dict(poll.poll())
            if ready.get(pump.source, 0) & ~select.POLLOUT:
                pump.ready()
            if self.process.pidfd in ready or screen.gone:
                return
            if ready.get(0):
                typed = _typed()
                ended = ready[0] & select.POLLHUP or not typed
                if keys:
                    typed = keys.scan(typed) + (keys.rest() if ended else b"")
                pending += typed
                if ended:
                    screen.gone = True
                    return
            if pending:
                try:
                    pending = pending[os.write(pump.source, pending) :]
                except BlockingIOError:
                    pass
            if keys and keys.found:
                return


class _Screen:
    """Our standard output, as long as somebody looks at it."""

    def __init__(self) -> None:
        self.gone = False

    def show(self, _stream: int, data: bytes) -> None:
        """Write *data*, which is in the log."""
        if self.gone:
            return
        try:
            files.write_all(1, data)
        except OSError:
            self.gone = True  # EIO, EPIPE


def _typed() -> bytes:
    from minirun.container import rawterminal

    return rawterminal.typed()
