"""What a container with a keeper prints, on its way into its log: see kept.py and log/pump.py."""

from __future__ import annotations

import os

from minirun import events
from minirun.container import kept
from minirun.kernel import files
from minirun.log import driver
from minirun.log.pump import Pump

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from minirun.container.record import Record
    from minirun.home import Home

JSON_FILE: dict[str, Any] = {"driver": "json-file", "options": {}}
_STDOUT, _STDERR = 1, 2


class Taker:
    """Takes the output of one container; nobody else does meanwhile.

    Args:
        home: the store.
        box: the container.
        also: called with (stream, bytes) of what is in the log now; stream is 1 or 2.

    Attributes:
        pumps: one a stream.

    Raises:
        BlockingIOError: somebody else takes it.
        FileNotFoundError: it has no keeper.
    """

    __slots__ = ("_lock", "_sink", "pumps")

    def __init__(self, home: Home, box: Record, also: Callable[[int, bytes], object] | None = None) -> None:
        directory = home.kept(box.id)
        descriptor = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        os.close(descriptor)  # or taking the lock would ask for a directory that nobody will make
        self._lock = files.lock(f"{directory}/lock", exclusive=True, wait=False)
        self.pumps: list[Pump] = []
        try:
            self._sink = driver.open(
                log_of(box), subject(box), f"{home.container(box.id)}/log", directory,
                lambda error: _tell_dropped(home, box, error),
            )  # fmt: skip
            for stream, source, fifo in _sources(home, box):
                self.pumps.append(Pump(source, stream, self._sink, fifo=fifo, also=_for(stream, also)))
        except BaseException:
            self.close()
            raise

    def drain(self) -> None:
        """Take all that is left, after the container's end."""
        for pump in self.pumps:
            pump.drain()

    def close(self) -> None:
        """Leave the output to others. Idempotent."""
        for pump in self.pumps:
            pump.close()
        self.pumps = []
        if sink := getattr(self, "_sink", None):
            sink.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def _for(stream: int, also: Callable[[int, bytes], object] | None) -> Callable[[bytes], object] | None:
    return None if also is None else lambda data: also(stream, data)


def _sources(home: Home, box: Record) -> list[tuple[int, int, int]]:
    """Open what the container writes to: (stream, source, FIFO in between or -1)."""
    directory = home.kept(box.id)
    if box.options["tty"]:
        fifo = os.open(f"{directory}/stdout", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            return [(_STDOUT, kept.open_master(home, box.id), fifo)]
        except ProcessLookupError:
            return [(_STDOUT, fifo, -1)]  # the terminal is gone, with its keeper; what it showed last is here
        except OSError:
            os.close(fifo)
            raise
    try:
        return [
            (stream, os.open(f"{directory}/{name}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), -1)
            for stream, name in ((_STDOUT, "stdout"), (_STDERR, "stderr"))
        ]
    except FileNotFoundError:
        return []  # what it prints goes where it was started: see attached.py


def log_of(box: Record) -> dict[str, Any]:
    """The log driver of a container and its options; records of before have none."""
    return box.options.get("log") or JSON_FILE


def subject(box: Record) -> driver.Subject:
    """The container as its log describes it."""
    options = box.options
    return driver.Subject(
        box.id, box.name, image_name=box.image_name, image_id=box.image, labels=options["labels"], env=options["env"]
    )  # fmt: skip


def _tell_dropped(home: Home, box: Record, error: OSError) -> None:
    events.emit(home, "container", "log_dropped", box.id, box.told(error=str(error)))
