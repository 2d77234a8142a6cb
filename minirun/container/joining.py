"""A command joins a container that runs: its streams, its birth, its end. The caller is the parent.

-t     pty of the container's own devpts ── terminal.py ── caller's terminal
-i     descriptor 0, or a pipe in place of a file: relay.py; else a null device
-d     null devices; with -t, what the command writes is read by nobody: Terminal.drain
"""

from __future__ import annotations

import os
import select
from errno import EAGAIN, EBUSY, ECHILD, ENODEV, ENOENT, ENOMEM, EOPNOTSUPP, ESRCH

from minirun.cgroup import group as cgroups
from minirun.container import wait
from minirun.container.firstprocess import not_running
from minirun.container.relay import Relay, give
from minirun.errors import Conflict, MinirunError
from minirun.launch import enter
from minirun.launch.machine import CallFailed
from minirun.launch.spec import NULL_DEVICE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.container.detachkeys import DetachKeys
    from minirun.container.firstprocess import FirstProcess
    from minirun.container.record import Record
    from minirun.container.terminal import Terminal
    from minirun.launch.enter import Entry
    from minirun.launch.machine import Process

_STANDARD = (0, 1, 2)
_ENDING_S = 0.5  # for a container to have ended whose processes are being killed


class Joined:
    """A command in a container, and what it has as 0, 1 and 2.

    Attributes:
        entry: the command.
        process: of it, once it has begun.
        terminal: what joins it to the caller's, with -t.
        relay: what copies between it and files of the host.
        stdin: whether it may read our descriptor 0.
    """

    __slots__ = ("entry", "process", "relay", "stdin", "terminal")

    process: Process

    def __init__(self, first: FirstProcess, entry: Entry, *, stdin: bool, tty: bool, detach: bool) -> None:
        """Make the streams of *entry*, which is given its terminal, or what takes the place of our descriptors."""
        self.entry = entry
        self.stdin = stdin
        self.terminal: Terminal | None = None
        self.relay: Relay | None = None
        if tty:
            from minirun.container.terminal import Terminal

            self.terminal = Terminal.within(first.open_terminals(), entry.owner)
            entry.terminal = self.terminal.slave
            return
        if not detach:
            self.relay = Relay.open(stdin=stdin)
        redirects = [*self.relay.redirects] if self.relay else []
        nulls = _STANDARD if detach else (0,) if not stdin else ()
        redirects += [(NULL_DEVICE, place) for place in nulls]
        if any(descriptor == NULL_DEVICE for descriptor, _ in redirects):
            null = first.open_null()
            redirects = [(null if descriptor == NULL_DEVICE else descriptor, place) for descriptor, place in redirects]
        entry.redirects = redirects
        if entry.mapped:
            give(redirects, entry.owner, stdin=stdin and not detach)

    def begin(self, box: Record, *groups: str) -> None:
        """Make the process, and wait until it is the command; signals that come meanwhile are passed on to it.

        Args:
            box: the container.
            groups: paths of cgroups, in the first of which that takes it the process is born.

        Raises:
            CommandNotFound, CommandNotExecutable: the command could not begin.
            Conflict: the container has ended, or has as many processes as it may have.
        """
        report, self.entry.status = os.pipe2(os.O_CLOEXEC)
        wait.hold()
        try:
            try:
                self.process = _spawn(box, self.entry, groups)
            finally:
                os.close(self.entry.status)
            wait.forward(self.process)
            error = _failure(report, self.process)
        except BaseException:
            wait.release()
            self._close()
            raise
        finally:
            os.close(report)
        if error:
            os.waitpid(self.process.pid, 0)
            self._close()
            from minirun.launch.refusal import not_executed

            raise not_executed(self.entry.argv[0], error)
        if self.relay:
            self.relay.start()

    def wait(self, keys: DetachKeys | None) -> int:
        """Pass signals and bytes on until the command ends, or the keys are typed; return its exit code."""
        if self.terminal:
            return self.terminal.relay(self.process, stdin=self.stdin, keys=keys)
        code = wait.wait(self.process)
        if self.relay:
            self.relay.finish()
        return code

    def abandon(self) -> None:
        """Leave it alone with its terminal, which somebody has to read, or it would stand still one day."""
        if self.terminal:
            self.terminal.drain(self.entry.stub)

    def _close(self) -> None:
        if self.terminal:
            self.terminal.close()
        if self.relay:
            self.relay.close()


def _failure(report: int, process: Process) -> int:
    """The errno by which the stub failed; 0 if it has become the command, or was killed before it could.

    The exec of the command closes the stub's end of the pipe. Should somebody in the container have got hold of that,
    the end of the process ends the wait.
    """
    poll = select.poll()
    poll.register(report, select.POLLIN)
    poll.register(process.pidfd, select.POLLIN)
    if not any(descriptor == report for descriptor, _ in poll.poll()):
        return 0
    return int.from_bytes(os.read(report, 4), "little")


def _ends(first: int) -> bool:
    """Whether the first process of a container is gone, or going; by its pidfd, for another has its group by then."""
    from minirun.kernel import process

    return process.wait([first], _ENDING_S)


def _spawn(box: Record, entry: Entry, groups: tuple[str, ...]) -> Process:
    attempt = f"make a process in container {box.name}"
    for group in groups:
        try:
            directory = cgroups.birthplace(group)
        except FileNotFoundError:
            raise not_running(box) from None
        try:
            return enter.spawn(entry, directory)
        except CallFailed as failure:
            if failure.errno == ESRCH and failure.call.name == "setns":
                raise not_running(box) from None
            from minirun.launch.refusal import refusal

            raise refusal(entry, failure, "enter the container") from None
        except OSError as error:
            # what a container has moved into groups below its own leaves none that takes processes: cgroup-v2.rst,
            # "No Internal Process Constraint"
            if error.errno in (EBUSY, EOPNOTSUPP) and group != groups[-1]:
                continue
            if error.errno == EAGAIN:
                raise Conflict(
                    attempt, "EAGAIN: it has as many processes as it may have",
                    f"`minirun update --pids-limit N {box.name}` allows more",
                ) from None  # fmt: skip
            # so says clone(2), too, when the first process of the pid namespace has ended: pid_namespaces(7); or that
            # the group has gone since it was opened; or who was to fork the command was ended with the container
            if error.errno in (ENOMEM, ENOENT, ENODEV, ECHILD) and _ends(entry.pidfd):
                raise not_running(box) from None
            raise MinirunError(attempt, error, "run as root; see `minirun info`") from None
        finally:
            if directory >= 0:
                os.close(directory)
    raise not_running(box)
