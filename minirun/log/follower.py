"""A log while it is written: what is there, and then what comes, until the container has ended.

    position(path)  ─▶ Reader at the end      taken before a container starts, say: nothing that it prints is missed
    follow(reader, ended)                     … entries as they come, all of them, whatever is rotated meanwhile
    output(reader, ended)                     … as (stream, bytes)

Who follows and is slow stops nobody: what it has not read stays there for it.
"""

from __future__ import annotations

import os
import select

from minirun.kernel import inotify
from minirun.log.reader import Reader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType

    from minirun.log.entries import Entry

_PATIENCE_S = 0.5  # until one looks whether the container has ended, if nothing has told
_IMPATIENCE_S = 0.05  # the same without inotify: the host has as many watches as it allows
_CHANGES = inotify.IN_MODIFY | inotify.IN_CREATE | inotify.IN_MOVED_TO | inotify.IN_DELETE


def position(path: str) -> Reader:
    """A reader of what is written from now on; a log that does not exist yet is read from its beginning.

    Args:
        path: of the log's youngest file.
    """
    reader = Reader(path)
    reader.skip_to_end()
    return reader


def follow(
    reader: Reader,
    ended: Callable[[], bool],
    *,
    beside: str = "",
    listeners: Sequence[int] = (),
    wake: Sequence[int] = (),
) -> Iterator[list[Entry]]:
    """Entries as they come.

    Args:
        reader: where to begin. It is not closed.
        ended: whether all that the container will ever print is in the log.
        beside: a directory; when something changes in it, *ended* is asked, and twice a second anyway.
        listeners: descriptors that somebody reads what we write to.
        wake: descriptors that become readable when *ended* is to be asked: a pidfd.

    Raises:
        BrokenPipeError: nobody reads *listeners* any more.
    """
    with _Waiting(reader.path, beside, listeners, wake) as waiting:
        look = True
        while True:
            # asked before the log is read to its end, or what is written in between would be missed
            over = look and ended()
            while found := reader.read():
                yield found
            if over:
                return
            look = waiting.wait()


def output(
    reader: Reader,
    ended: Callable[[], bool],
    *,
    beside: str = "",
    listeners: Sequence[int] = (),
    wake: Sequence[int] = (),
) -> Iterator[tuple[str, bytes]]:
    """What comes, as (stream, bytes), what is of one stream together; see `follow`."""
    for found in follow(reader, ended, beside=beside, listeners=listeners, wake=wake):
        yield from together(found)


def together(found: Sequence[Entry]) -> Iterator[tuple[str, bytes]]:
    """Entries as (stream, bytes), what is of one stream together."""
    begin = 0
    for place, entry in enumerate(found):
        if entry[0] != found[begin][0]:
            yield found[begin][0], b"".join(one[2] for one in found[begin:place])
            begin = place
    if found:
        yield found[begin][0], b"".join(one[2] for one in found[begin:])


class _Waiting:
    """Waits until there may be more in a log."""

    def __init__(self, path: str, beside: str, listeners: Sequence[int], wake: Sequence[int]) -> None:
        self._folder, self._name = os.path.split(path)
        self._beside = beside
        self._listeners = frozenset(listeners)
        self._wake = set(wake)
        self._poll = select.poll()
        for descriptor in listeners:
            self._poll.register(descriptor, 0)  # of POLLERR one is told always
        for descriptor in wake:
            self._poll.register(descriptor, select.POLLIN)
        self._watch: inotify.Watch | None = None
        self._begin()

    def _begin(self) -> None:
        try:
            watch = inotify.Watch(self._folder, _CHANGES)
        except OSError:
            return  # the log is not there yet, or the host has as many watches as it allows: one looks again and again
        try:
            if self._beside:
                watch.add(self._beside, _CHANGES)
        except OSError:
            pass  # removed, or too many; it is asked all the same
        self._watch = watch
        self._poll.register(watch.descriptor, select.POLLIN)

    def wait(self) -> bool:
        """Wait; whether to ask for the end."""
        if self._watch is None:
            self._begin()
            if self._watch is not None:
                return True  # what was written before it was watched is to be read first
        ready = self._poll.poll((_PATIENCE_S if self._watch else _IMPATIENCE_S) * 1000)
        for descriptor, happened in ready:
            if descriptor in self._listeners and happened & select.POLLERR:
                raise BrokenPipeError
            if descriptor in self._wake:
                self._poll.unregister(descriptor)  # a pidfd stays readable
                self._wake.discard(descriptor)
                return True
        changed = self._watch.names() if self._watch else []
        return not changed or any(not name.startswith(self._name) for name in changed)

    def __enter__(self) -> _Waiting:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, t: TracebackType | None) -> None:
        if self._watch is not None:
            self._watch.__exit__(kind, error, t)
