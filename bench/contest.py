"""Contestants run in turn, and what their times say.

    round  -2 -1 | 0          1          2                 the rounds below 0 warm up and do not count
           A  B  | A B C      A B C      A B C
                   └─┴─┴─ pairs: A's time divided by B's and C's of the same round

Whatever the machine does meanwhile hits the contestants of one round alike, so the quotients say more than the times.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
SETTLE_S = 20.0
PIPE_BYTES = 1 << 20  # more than any contestant says


class Failure(Exception):
    """A contestant did not do its job; the text says what it said."""


def _nothing(_round: int) -> None:
    return


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """One program doing one job, over and over.

    Attributes:
        name: as the table shows it.
        command: round → arguments. A job that makes a tree makes another one each round: scratch.py says why.
        prepare: what must be there before; not timed.
        check: raises Failure if the job was not done; not timed.
        environment: variables in addition to ours.
    """

    name: str
    command: Callable[[int], Sequence[str | Path]]
    prepare: Callable[[int], None] = _nothing
    check: Callable[[int], None] = _nothing
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sample:
    """One run: by the clock, and on the processors by it and by all it waited for."""

    wall_s: float
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a contest showed.

    Attributes:
        samples: contestant → a sample a round; the contestants in their order.
        left_out: contestant → why it has no samples.
    """

    samples: dict[str, list[Sample]]
    left_out: dict[str, str]

    def wall_s(self, name: str) -> list[float]:
        """The times of *name* by the clock."""
        return [sample.wall_s for sample in self.samples[name]]

    def require(self, name: str) -> None:
        """Raise Failure if *name*, without which there is nothing to compare, was left out."""
        if name in self.left_out:
            raise Failure(f"{name}: {self.left_out[name]}")

    def cpu_s(self, name: str) -> list[float]:
        """The processor times of *name*."""
        return [sample.cpu_s for sample in self.samples[name]]

    def ratios(self, one: str, other: str) -> list[float]:
        """The times of *one* divided by the times of *other*, round by round."""
        return [a / b for a, b in zip(self.wall_s(one), self.wall_s(other), strict=True)]


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """First quartile, median, third quartile."""
    if len(values) < 2:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


class Stage:
    """Runs programs, one at a time, and leaves none of their helpers running.

    What a contestant leaves behind would run on the time of the next one: podman's cleanup process outlives `podman
    run`. So this process adopts orphans (PR_SET_CHILD_SUBREAPER, see prctl(2)) and waits for them, not timed.
    """

    def __init__(self) -> None:
        _adopt(orphans=True)
        # Standard error is a pipe: a container is not given a file of the host's, and to copy into one takes a thread.
        self._said, self._errors = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._said, False)  # what it leaves running may hold the other end open
        fcntl.fcntl(self._errors, fcntl.F_SETPIPE_SZ, PIPE_BYTES)

    def run(self, command: Sequence[str | Path], environment: Mapping[str, str], output: Path | None = None) -> Sample:
        """Run *command* to its end.

        Args:
            command: its first word is looked up in PATH.
            environment: variables in addition to ours.
            output: where its standard output goes.

        Raises:
            Failure: its exit status is not 0.
        """
        arguments = [os.fspath(word) for word in command]
        create = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        descriptors = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, os.fspath(output or os.devnull), create, 0o600),
            (os.POSIX_SPAWN_DUP2, self._errors, 2),
        ]
        all_variables = {**os.environ, **environment}
        began_s = time.perf_counter()
        # posix_spawn: what it costs does not grow with our memory, and is the same for all
        try:
            process = os.posix_spawnp(arguments[0], arguments, all_variables, file_actions=descriptors)
        except FileNotFoundError:
            raise Failure(f"{arguments[0]} is not installed") from None
        _, status, usage = os.wait4(process, 0)
        wall_s = time.perf_counter() - began_s
        self.settle()
        said = self._read_errors().strip().splitlines() or ["it said nothing"]
        if status:
            code = os.waitstatus_to_exitcode(status)
            raise Failure(f"`{Path(arguments[0]).name}` ended with {code}: {said[-1][:200]}")
        return Sample(wall_s, usage.ru_utime + usage.ru_stime)

    def leave_running(
        self, command: Sequence[str | Path], environment: Mapping[str, str], output: Path | None = None
    ) -> Sample:
        """Run *command* to its end, as `run` does; what it leaves running is not waited for, nor ended when we end.

        Raises:
            Failure: its exit status is not 0.
        """
        _adopt(orphans=False)
        try:
            return self.run(command, environment, output)
        finally:
            _adopt(orphans=True)

    def __enter__(self) -> Stage:
        """Nothing more: see __exit__."""
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """End what an interrupted contestant left: politely, and after two seconds not."""
        until_s = time.monotonic() + 2
        while children := _children():
            for child in children:
                os.kill(child, signal.SIGTERM if time.monotonic() < until_s else signal.SIGKILL)
            time.sleep(0.05)
            try:
                while os.waitpid(-1, os.WNOHANG)[0]:
                    continue
            except ChildProcessError:
                return

    def _read_errors(self) -> str:
        try:
            return os.read(self._said, PIPE_BYTES).decode(errors="replace")
        except BlockingIOError:
            return ""

    @staticmethod
    def settle() -> None:
        """Wait for every orphan.

        Raises:
            Failure: some are still there after SETTLE_S.
        """
        until_s = time.monotonic() + SETTLE_S
        while time.monotonic() < until_s:
            try:
                if os.waitpid(-1, os.WNOHANG)[0] == 0:
                    time.sleep(0.001)
            except ChildProcessError:
                return
        raise Failure(f"it left processes that had not ended {SETTLE_S:.0f} s later")

    def compete(
        self,
        contestants: Iterable[Contestant],
        rounds: int,
        warm_ups: int,
        *,
        sync: bool = False,
        leave: bool = False,
        tell: Callable[[str], None] = lambda _text: None,
    ) -> Outcome:
        """Let *contestants* run in turn; one that fails once is out.

        Args:
            contestants: in the order in which they run.
            rounds: how many count.
            warm_ups: how many come before.
            sync: write out before each run what the ones before it left in memory.
            leave: what they leave running is what they are to leave.
            tell: is told how far it is.
        """
        running = list(contestants)
        outcome = Outcome({contestant.name: [] for contestant in running}, {})
        for number in range(-warm_ups, rounds):
            tell(f"round {number + 1 + warm_ups} of {rounds + warm_ups}")
            for contestant in list(running):
                try:
                    contestant.prepare(number)
                    if sync:
                        os.sync()
                    _adopt(orphans=not leave)
                    try:
                        sample = self.run(contestant.command(number), contestant.environment)
                    finally:
                        _adopt(orphans=True)
                    contestant.check(number)
                except (Failure, OSError) as failure:
                    running.remove(contestant)
                    del outcome.samples[contestant.name]
                    outcome.left_out[contestant.name] = str(failure)
                    continue
                if number >= 0:
                    outcome.samples[contestant.name].append(sample)
        return outcome


def _adopt(*, orphans: bool) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, int(orphans), 0, 0, 0)


def _children() -> list[int]:
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text(errors="replace").rpartition(") ")[2].split()
        except OSError:
            continue  # it has ended meanwhile
        if int(fields[1]) == os.getpid():
            found.append(int(status.parent.name))
    return found
