"""Tasks that are done side by side by processes of our own, which end with us.

                  ┌ worker ◀─ number of a task ─┐
    run(count) ───┤                             ├─ whoever is free gets the next
                  └ worker ── how far, result ─▶┘

Threads would take turns: what unpacks layers is Python. A worker is a fork of this process, so that a task may use all
that is here, descriptors too. It must be forked while there is one thread. Nothing of the caller is cleaned up in it.
"""

from __future__ import annotations

import os
import select
import struct
from _signal import SIG_IGN, SIGHUP, SIGINT, SIGKILL, SIGTERM, signal

from minirun.kernel import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, NoReturn, TypeVar

    Result = TypeVar("Result")
    # takes the number of a task and what is told how far it is
    Task = Callable[[int, Callable[[int], None]], Result]

_TASK = struct.Struct("<i")
_FRAME = struct.Struct("<I")
_FAR, _RESULT, _FAILED = "far", "result", "failed"


def run(
    count: int, task: Task[Result], *, width: int, begun: Callable[[int], Callable[[int], None]] | None = None,
    ended: Callable[[int], object] = lambda _number: None,
) -> list[Result]:  # fmt: skip
    """Do the tasks 0 … *count* - 1.

    Args:
        count: how many there are.
        task: does one; called in a worker. What it returns or raises is pickled.
        width: how many workers there are at most; with one, or for one task, everything is done here.
        begun: called here with the number of each task that begins; what it returns is told how far the task is.
        ended: called here with the number of each task that is done.

    Returns:
        What each task returned, in the order of their numbers.

    Raises:
        Exception: what a task raised first; the others were ended.
        ChildProcessError: a worker died.
        OSError: there could be no worker.
    """
    told = begun or (lambda _number: lambda _far: None)
    if min(count, width) < 2:
        done = []
        for one in range(count):
            done.append(task(one, told(one)))
            ended(one)
        return done
    workers: list[_Worker] = []
    results: dict[int, Result] = {}
    waiting = iter(range(count))
    poll = select.poll()
    try:
        for _ in range(min(count, width)):
            workers.append(_Worker(task, [worker.tasks for worker in workers]))
            poll.register(workers[-1].answers, select.POLLIN)
        for worker in workers:
            worker.give(next(waiting), told)
        busy = {worker.answers: worker for worker in workers}
        while len(results) < count:
            for descriptor, _event in poll.poll():
                worker = busy[descriptor]
                answer = worker.answer()
                if answer is not None:
                    results[worker.number] = answer[0]
                    ended(worker.number)
                    number = next(waiting, None)
                    if number is not None:
                        worker.give(number, told)
    finally:
        for worker in workers:
            worker.end()
    return [results[number] for number in range(count)]


class _Worker:
    """A process that does one task after the other.

    Attributes:
        tasks: the end of a pipe that takes numbers.
        answers: the end of a pipe that gives what came of them.
        number: of the task that it does.
    """

    def __init__(self, task: Task[Any], others: Sequence[int]) -> None:
        self.number = -1
        theirs, self.tasks = os.pipe2(os.O_CLOEXEC)
        self.answers, back = os.pipe2(os.O_CLOEXEC)
        parent = os.getpid()
        self.process = os.fork()
        if self.process == 0:
            # while another worker has the end of a pipe of this one, its end is not seen
            for descriptor in (self.tasks, self.answers, *others):
                os.close(descriptor)
            _work(task, theirs, back, parent)
        os.close(theirs)
        os.close(back)
        self._told: Callable[[int], None] = lambda _far: None

    def give(self, number: int, told: Callable[[int], Callable[[int], None]]) -> None:
        self.number, self._told = number, told(number)
        os.write(self.tasks, _TASK.pack(number))

    def answer(self) -> tuple[Any] | None:
        """The result that is there to be read, in a tuple; None if the task is only somewhat further."""
        import pickle

        kind, value = pickle.loads(self._read(_FRAME.unpack(self._read(_FRAME.size))[0]))
        if kind == _FAR:
            self._told(value)
            return None
        if kind == _FAILED:
            raise value
        return (value,)

    def _read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = os.read(self.answers, count - len(data))
            if not more:
                raise ChildProcessError(f"the process {self.process} that did a part of it was ended")
            data += more
        return data

    def end(self) -> None:
        """End the process, whatever it does, and wait until it is gone."""
        os.kill(self.process, SIGKILL)
        os.waitpid(self.process, 0)
        os.close(self.tasks)
        os.close(self.answers)


def _work(task: Task[Any], tasks: int, answers: int, parent: int) -> NoReturn:
    """Do what *tasks* says until it ends; nothing returns from here, and nothing of the parent's is cleaned up."""
    import prctl

    try:
        # it is for the parent to end us at Ctrl-C, when it has seen to what it must not leave half done
        for number in (SIGINT, SIGTERM, SIGHUP):
            signal(number, SIG_IGN)
        prctl.set_pdeathsig(SIGKILL)
        while os.getppid() == parent and (wanted := os.read(tasks, _TASK.size)):
            _answer(answers, *_done(task, _TASK.unpack(wanted)[0], answers))
    finally:
        os._exit(0)


def _done(task: Task[Any], number: int, answers: int) -> tuple[str, object]:
    try:
        return _RESULT, task(number, lambda far: _answer(answers, _FAR, far))
    except Exception as error:  # noqa: BLE001 - raised again in the parent
        return _FAILED, error


def _answer(answers: int, kind: str, value: object) -> None:
    import pickle

    data = pickle.dumps((kind, value))
    files.write_all(answers, _FRAME.pack(len(data)) + data)
