"""`events`: what happened and what happens, read from the files that minirun/events.py draws.

events.1   events            a follower holds both open: who was about to write when a file got its other name
   ╰────────╯                writes into it still. Each is read on from where it was read to.
    read to the end  ─▶  inotify says that one of them, or a newer one, has more  ─▶  …
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from minirun import events
from minirun.engine import filters as filtering
from minirun.engine import open_home
from minirun.errors import BadInput
from minirun.home import Home
from minirun.kernel import inotify, jsonfile

Event = dict[str, Any]
Test = Callable[[Event], bool]

_CHUNK_BYTES = 1 << 20
_KINDS = ("container", "image", "volume", "network")
_BEGUN = ("exec_create", "exec_start", "health_status")  # "exec_start: sh -c …"


def follow(
    *, since: str = "", until: str = "", filters: Sequence[str] = (), listeners: Sequence[int] = ()
) -> Iterator[list[Event]]:
    """Events, as they come; ends at *until*, else never.

    Args:
        since: from when on, as `events --since` takes it; empty: from now on, or with *until* all that are known.
        until: to when.
        filters: Docker's, ``container=web``; see `_tests`.
        listeners: see kernel/inotify.py.

    Yields:
        What came since the last time, at least one event, the oldest first.

    Raises:
        BadInput: a time or a filter is none.
        BrokenPipeError: nobody reads *listeners* any more.
    """
    begin_ns = _moment("since", since) if since else 0
    end_ns = _moment("until", until) if until else None
    if end_ns is not None and end_ns < begin_ns:
        raise BadInput(f"show events since {since} until {until}", "that is a time before", "exchange them")
    tests = _tests(filters)
    home = open_home()
    with inotify.Watch(home.runtime, inotify.IN_MODIFY | inotify.IN_CREATE | inotify.IN_MOVED_TO) as watch:
        log = _Log(home, past=bool(since or until))
        while True:
            now = time.time_ns()
            found = [
                event
                for event in log.read()
                if begin_ns <= event["timeNano"] and (end_ns is None or event["timeNano"] <= end_ns)
            ]
            if found := [event for event in found if all(test(event) for test in tests)]:
                yield found
            if end_ns is not None and now > end_ns:
                return  # what was read after the end was all that can be from before it
            left_s = float("inf") if end_ns is None else (end_ns - time.time_ns()) / 1e9 + 0.001
            watch.wait(time.monotonic() + left_s, listeners)
            watch.names()


class _Log:
    """The files, each read on from where it was read to.

    Args:
        home: whose.
        past: whether what they hold already is wanted.
    """

    def __init__(self, home: Home, *, past: bool) -> None:
        self.home = home
        self._files: list[_File] = []
        if past:
            self._open(events.older(home))
        self._open(events.path(home))
        if not past:
            for file in self._files:
                file.skip()

    def read(self) -> list[Event]:
        """What came since the last time."""
        found: list[Event] = []
        while True:
            for file in self._files:
                found += file.read()
            if not self._open(events.path(self.home)):
                return found

    def _open(self, path: str) -> bool:
        """Read the file of that name from now on, too; whether it is another than those that are."""
        try:
            file = _File(path)
        except FileNotFoundError:
            return False
        if any(file.is_same(known) for known in self._files):
            file.close()
            return False
        self._files.append(file)
        for known in self._files[:-2]:
            known.close()
        del self._files[:-2]
        return True


class _File:
    """One of the files."""

    def __init__(self, path: str) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._status = os.fstat(self._descriptor)
        self._rest = b""

    def close(self) -> None:
        os.close(self._descriptor)

    def is_same(self, other: _File) -> bool:
        return os.path.samestat(self._status, other._status)

    def skip(self) -> None:
        os.lseek(self._descriptor, 0, os.SEEK_END)

    def read(self) -> Iterator[Event]:
        while data := os.read(self._descriptor, _CHUNK_BYTES):
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                # one whose writer was killed has the next one in its line
                begins = line.rfind(events.BEGINNING)
                try:
                    event = jsonfile.loads(line[max(begins, 0) :].decode())
                    if isinstance(event["Actor"]["Attributes"], dict) and isinstance(event["timeNano"], int):
                        yield event
                except (ValueError, LookupError, TypeError):
                    continue


def _moment(flag: str, text: str) -> int:
    """Nanoseconds since 1970."""
    try:
        return int(filtering.moment(text) * 1e9)
    except BadInput as error:
        raise BadInput(f"show events with --{flag} {text}", error.reason, error.remedy) from None


def _tests(given: Sequence[str]) -> list[Test]:
    """What every event that is shown passes; several values of one word: any of them will do, but of labels all."""
    known = ("type", "event", "label", "scope", *_KINDS)
    tests: list[Test] = []
    for word, values in filtering.read(given, known).items():
        if word == "type":
            tests.append(lambda event, values=values: event["Type"] in values)  # type: ignore[misc]  # no type for a default of a lambda
        elif word == "scope":
            tests.append(lambda event, values=values: event["scope"] in values)  # type: ignore[misc]
        elif word == "event":
            tests.append(lambda event, values=values: _is_action(event["Action"], values))  # type: ignore[misc]
        elif word == "label":
            tests.append(lambda event, values=values: _has_labels(event, values))  # type: ignore[misc]
        elif word == "image":
            tests.append(lambda event, values=values: _is_of_image(event, values))  # type: ignore[misc]
        else:
            tests.append(lambda event, word=word, values=values: _is_of(event, word, values))  # type: ignore[misc]
    return tests


def _is_action(action: str, values: Sequence[str]) -> bool:
    return action in values or any(value in _BEGUN and action.startswith(f"{value}:") for value in values)


def _has_labels(event: Event, values: Sequence[str]) -> bool:
    attributes = event["Actor"]["Attributes"]
    pairs = (value.partition("=") for value in values)
    return all(key in attributes and (not equals or attributes[key] == wanted) for key, equals, wanted in pairs)


def _is_of(event: Event, kind: str, values: Sequence[str]) -> bool:
    """Whether it happened to one of the things of a kind, by its name or the beginning of its id or name, as Docker."""
    actor = event["Actor"]
    told = actor["Attributes"]
    if kind == "container" and event["Action"] == "deny":  # it happened on a network, to a container
        return any(text.startswith(value) for value in values for text in (told["container"], told["containerName"]))
    known = (actor["ID"], told.get("name", ""))
    return event["Type"] == kind and any(text.startswith(value) for value in values for text in known)


def _is_of_image(event: Event, values: Sequence[str]) -> bool:
    """Whether it happened to an image, or to a container of it; its tag can be left out."""
    actor = event["Actor"]
    named = actor["Attributes"].get("name" if event["Type"] == "image" else "image", "")
    known = {actor["ID"], named, _without_tag(actor["ID"]), _without_tag(named)}
    return any(value in known for value in values)


def _without_tag(name: str) -> str:
    return name[: name.rfind(":")] if name.rfind(":") > name.rfind("/") else name
