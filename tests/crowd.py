"""Many at once on one store, each running commands at random, and what was said that nobody should hear."""

from __future__ import annotations

import random
import re
import subprocess
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

from tests.command import Minirun


class Worker(threading.Thread, ABC):
    """Runs commands at random until *end*, kills one in *killing* (none: 0), and keeps what is a fault.

    A fault is a traceback, a refusal that is not *legitimate*, or a failure without a word.

    Attributes:
        legitimate: refusals that may happen to somebody who is not alone.
        environment: of each command.
        killed_within_s: of its beginning a command that is to be killed is.
        random: what decides; of the worker's own seed.
        faults: commands, with what they said.
        done: how often each verb succeeded.
    """

    legitimate: ClassVar[re.Pattern[str]]
    environment: ClassVar[Mapping[str, str]] = {}
    killed_within_s: ClassVar[float]

    def __init__(self, minirun: Minirun, seed: int, end: float, killing: int) -> None:
        super().__init__()
        self.minirun, self.end, self.killing = minirun, end, killing
        self.random = random.Random(seed)
        self.faults: list[str] = []
        self.done: Counter[str] = Counter()

    @abstractmethod
    def command(self) -> Sequence[str]:
        """Choose one."""

    def statuses(self, verb: str) -> Sequence[int]:
        """With which a command may end that says nothing."""
        return (0, 125)

    def run(self) -> None:
        """Work."""
        while time.monotonic() < self.end:
            arguments = self.command()
            if self.killing and self.random.randrange(self.killing) == 0:
                self.kill(arguments)
                continue
            result = self.minirun(*arguments, env=self.environment)
            verb = " ".join(arguments[: 1 + (arguments[0] in ("image", "system"))])
            self.done[verb] += result.returncode == 0
            said = [line for line in result.stderr.splitlines() if line.startswith("minirun:") or "Traceback" in line]
            unheard = any(not self.legitimate.match(line) for line in said)
            if unheard or (result.returncode not in self.statuses(verb) and not said):
                self.faults.append(f"{' '.join(arguments)}: status {result.returncode}\n{result.stderr}")

    def kill(self, arguments: Sequence[str]) -> None:
        """Start a command, and kill it somewhere on its way."""
        with self.minirun.start(*arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            time.sleep(self.random.random() * self.killed_within_s)
            process.kill()


TURNS = 6  # a machine that has other work may need so many times as long


def work(count: int, seconds: float, make: Callable[[int, float], Worker], wanted: Sequence[str]) -> None:
    """Have *count* workers work at once for some *seconds*, or longer: until each verb *wanted* has succeeded.

    It fails if a worker met a fault, or a verb succeeds in no turn.

    Args:
        count: of workers.
        seconds: after which none begins a command.
        make: makes a worker of a seed and the end of its time.
        wanted: verbs without which nothing was shown.
    """
    done: Counter[str] = Counter()
    for _ in range(TURNS):
        done += _turn(count, seconds, make)
        if all(done[verb] for verb in wanted):
            return
    raise AssertionError(f"not all of {wanted}: {done}")


def _turn(count: int, seconds: float, make: Callable[[int, float], Worker]) -> Counter[str]:
    seed = random.SystemRandom().randrange(1 << 32)
    end = time.monotonic() + seconds
    workers = [make(seed + number, end) for number in range(count)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    faults = [fault for worker in workers for fault in worker.faults]
    assert not faults, f"seed {seed}: {len(faults)} faults\n" + "\n".join(faults[:20])
    return sum((worker.done for worker in workers), Counter[str]())
