"""What `ps --filter` and `images --filter` let through; the words are Docker's.

    ps       see containerfilters.py
    images   reference=GLOB  dangling=true|false  label=KEY[=VALUE]  before=IMAGE  since=IMAGE  until=TIME

Several values of one word: any of them will do; of `label`, all are wanted. Several words: all are wanted.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any, TypeVar

from minirun.container.record import Record
from minirun.container.state import State
from minirun.errors import BadInput
from minirun.home import Home
from minirun.image.history import seconds
from minirun.image.store import Image, Images

_ALL_WANTED = ("label",)

Container = tuple[Record, State]
Listed = tuple[Image, list[str]]
T = TypeVar("T", Container, Listed)
Test = Callable[[Any], bool]

_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?")
_NUMBER = re.compile(r"\d+(\.\d+)?")


def read(given: Iterable[str], known: Iterable[str]) -> dict[str, list[str]]:
    """Take filters, ``WORD=VALUE`` each, apart: word → its values.

    Raises:
        BadInput: one is of another form, or its word is not one of *known*.
    """
    values: dict[str, list[str]] = {}
    for text in given:
        word, equals, value = text.partition("=")
        word = word.strip().lower()
        if not equals or word not in known:
            reason = "there is no filter of that name" if equals else "it is not of the form NAME=VALUE"
            raise BadInput(f"filter by {text!r}", reason, f"these are: {', '.join(known)}")
        values.setdefault(word, []).append(value.strip())
    return values


def moment(text: str) -> float:
    """Seconds since 1970, of a date in this host's time zone unless it names another, or of a length of time ago.

    Raises:
        BadInput: *text* is neither.
    """
    if _NUMBER.fullmatch(text):
        return float(text)
    length = _DURATION.fullmatch(text)
    if text and length:
        hours, minutes, rest = (float(part or 0) for part in length.groups())
        return time.time() - hours * 3600 - minutes * 60 - rest
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        remedy = "write 24h, 1h30m, 2026-01-31, 2026-01-31T12:00:00Z, or seconds since 1970"
        raise BadInput(f"filter by until={text}", "it is neither a length of time nor a date", remedy) from None


def containers(home: Home, found: Sequence[Container], given: Iterable[str]) -> list[Container]:
    """Those of *found* that the filters *given* let through.

    Raises:
        BadInput: a filter that is none.
        NotFound, Conflict: it names no container or image, or several.
    """
    from minirun.engine.containerfilters import TESTS

    return _through(found, read(given, TESTS), TESTS, home)


def images(home: Home, found: Sequence[Listed], given: Iterable[str]) -> list[Listed]:
    """Those of *found* that the filters *given* let through; with ``reference``, only the names that match.

    Raises:
        BadInput: a filter that is none.
        NotFound, Conflict: it names no image, or several.
    """
    values = read(given, _IMAGES)
    patterns = values.get("reference")
    kept = _through(found, values, _IMAGES, home)
    if not patterns:
        return kept
    wanted = [(image, [tag for tag in tags if any(_matches(tag, one) for one in patterns)]) for image, tags in kept]
    return [(image, tags) for image, tags in wanted if tags]


def _through(
    found: Sequence[T], values: Mapping[str, list[str]], makers: Mapping[str, Callable[[Home, str], Test]], home: Home
) -> list[T]:
    for word, given in values.items():
        tests = [makers[word](home, value) for value in given]
        enough = all if word in _ALL_WANTED else any
        found = [item for item in found if enough(test(item) for test in tests)]
    return list(found)


def has_label(labels: Mapping[str, str], value: str) -> bool:
    """Whether there is a label ``KEY``, or ``KEY=VALUE``."""
    key, equals, wanted = value.partition("=")
    return key in labels and (not equals or labels[key] == wanted)


def _images_before(home: Home, value: str) -> Test:
    created = seconds(Images(home).get(value).created)
    return lambda item: seconds(item[0].created) < created


def _images_since(home: Home, value: str) -> Test:
    created = seconds(Images(home).get(value).created)
    return lambda item: seconds(item[0].created) > created


def _images_until(_home: Home, value: str) -> Test:
    before = moment(value)
    return lambda item: seconds(item[0].created) < before


def _by_dangling(_home: Home, value: str) -> Test:
    if value.lower() not in ("true", "1", "false", "0"):
        raise BadInput(f"filter by dangling={value}", "it is true or false")
    wanted = value.lower() in ("true", "1")
    return lambda item: wanted is not bool(item[1])


def _by_reference(_home: Home, value: str) -> Test:
    return lambda item: any(_matches(tag, value) for tag in item[1])


def _matches(tag: str, pattern: str) -> bool:
    """Whether a name, with its tag or without, is what *pattern* says; a star stops at a slash, as in Docker."""
    name = tag.rpartition(":")[0]
    return any(
        text.count("/") == pattern.count("/")
        and all(fnmatchcase(*pair) for pair in zip(text.split("/"), pattern.split("/"), strict=True))
        for text in (name, tag)
    )


_IMAGES: dict[str, Callable[[Home, str], Test]] = {
    "reference": _by_reference,
    "dangling": _by_dangling,
    "label": lambda _home, value: lambda item: has_label(item[0].config.labels, value),
    "before": _images_before,
    "since": _images_since,
    "until": _images_until,
}
