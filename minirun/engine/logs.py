"""logs: what a container printed, and with -f what it prints, from where its log driver keeps it."""

from __future__ import annotations

import os
import re
import time
from itertools import takewhile

from minirun.container import output, state
from minirun.container import record as records
from minirun.engine import filters, open_home
from minirun.errors import Attempt, BadInput, NotFound, Unsupported
from minirun.log import driver, follower
from minirun.log.entries import stamp
from minirun.log.reader import Reader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from minirun.container.record import Record
    from minirun.home import Home
    from minirun.log.entries import Entry

_ALIVE = ("running", "restarting")
_BEGINNING_S = 1.0  # until the supervisor has begun the log of a container that was just started
_LOOK_S = 0.01
# a date, or seconds since 1970, with a fraction: more digits of it than a float has
_FRACTION = re.compile(r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d|-?\d+)\.(\d{1,9})(Z|[+-]\d\d:?\d\d|)")


def read(
    name: str,
    *,
    follow: bool = False,
    since: str = "",
    until: str = "",
    tail: str = "all",
    listeners: Sequence[int] = (),
    warn: Callable[[str], object] | None = None,
) -> Iterator[list[Entry]]:
    """The entries of a container's log.

    Args:
        name: the container's name, id or the beginning of its id.
        follow: also those that come, until the container ends.
        since: those from then on, see `moment`; empty: all.
        until: those until then.
        tail: how many lines at the end, or ``all``.
        listeners: see follower.follow.
        warn: told what cannot be read.

    Raises:
        NotFound, Conflict: no container, or several, are meant.
        BadInput: a time or a number is none.
        Unsupported: what it prints is not kept, or not where it can be read.
        BrokenPipeError: nobody reads *listeners* any more.
    """
    begin, end = moment("since", since), moment("until", until)
    lines = _lines(tail)
    home = open_home()
    box = records.find(home, name)
    log = output.log_of(box)
    attempt = f"read the log of container {box.name}"
    if log["driver"] == "none":
        raise Unsupported(
            attempt, "it is not kept: its log driver is none",
            f"`minirun attach {box.name}` shows what comes; `run --log-driver json-file` keeps what was",
        )  # fmt: skip
    if log["driver"] == "journald":
        from minirun.log import journalctl

        found = journalctl.read(box.id, lambda: _ended(home, box), follow=follow, begin=begin, end=end, lines=lines)
    else:
        path = driver.path(log, box.id, f"{home.container(box.id)}/log", home.kept(box.id))
        with Attempt(attempt):
            reader = _open(attempt, home, box, path, begin, lines)
        found = _from_files(home, box, reader, follow=follow, listeners=listeners, warn=warn)
    return _between(found, begin, end)


def _open(attempt: str, home: Home, box: Record, path: str, begin: str, lines: int | None) -> Reader:
    end = time.monotonic() + _BEGINNING_S
    while not os.path.exists(path) and (status := state.written(home, box).status) != "created":
        if time.monotonic() > end or status not in _ALIVE:
            raise Unsupported(
                attempt, "it has none: it was started in the foreground, and what it prints goes there",
                "start it with -d, or with -t",
            )  # fmt: skip
        time.sleep(_LOOK_S)  # it may have been started just now
    reader = Reader(path)
    if lines is not None:
        reader.skip_to_tail(lines)
    elif begin:
        reader.skip_until(filters.moment(begin) - 1)
    return reader


def _from_files(
    home: Home,
    box: Record,
    reader: Reader,
    *,
    follow: bool,
    listeners: Sequence[int],
    warn: Callable[[str], object] | None,
) -> Iterator[list[Entry]]:
    try:
        if follow:
            directory = home.container(box.id)
            yield from follower.follow(reader, lambda: _ended(home, box), beside=directory, listeners=listeners)
        else:
            while found := reader.read():
                yield found
    finally:
        reader.close()
        if warn and reader.damaged:
            warn(f"{reader.damaged} lines of the log of container {box.name} are damaged and were left out")
        if warn and reader.lost:
            warn(f"a part of the log of container {box.name} was removed before it was read: the disk was full")


def _between(found: Iterator[list[Entry]], begin: str, end: str) -> Iterator[list[Entry]]:
    for some in found:
        if end and some[-1][1] > end:
            if last := [entry for entry in takewhile(lambda entry: entry[1] <= end, some) if entry[1] >= begin]:
                yield last
            return
        if wanted := [entry for entry in some if entry[1] >= begin] if begin else some:
            yield wanted


def _ended(home: Home, box: Record) -> bool:
    """Whether all that it will print is in its log: its end is written down after that."""
    try:
        records.read(home, box.id)
    except NotFound:
        return True
    return state.written(home, box).status not in _ALIVE


def _lines(text: str) -> int | None:
    if text in ("all", "-1"):
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise BadInput(f"show the last {text} lines", "it is no number", "write `-n 100`, or `-n all`")
    return int(text)


def moment(flag: str, text: str) -> str:
    """A time as it is in logs.

    Args:
        flag: ``since`` or ``until``, for the refusal.
        text: a date, a length of time ago, or seconds since 1970, as filters.moment reads them; empty: no time.

    Raises:
        BadInput: it is none.
    """
    if not text:
        return ""
    split = _FRACTION.fullmatch(text)
    try:
        if split:
            whole = int(filters.moment(f"{split[1]}{split[3]}"))
            return stamp(whole * 1_000_000_000 + int(split[2].ljust(9, "0")))
        return stamp(int(filters.moment(text) * 1e9))
    except BadInput as error:
        raise BadInput(f"show logs with --{flag} {text}", error.reason, error.remedy) from None
    except (ValueError, OverflowError, OSError):
        raise BadInput(f"show logs with --{flag} {text}", "it is a year that there is not") from None
