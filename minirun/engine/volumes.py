"""What is done with volumes: made, listed, looked at, removed; their contents written, read and copied in volumetar.py.

Who uses a volume is asked of the containers' records each time: see container/volumes.py.
"""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime

from minirun.container import record as records
from minirun.container import volumedriver, volumes
from minirun.container.volumes import Volume
from minirun.engine import open_home
from minirun.errors import Attempt, BadInput, Conflict, MinirunError
from minirun.home import Home
from minirun.journal import Operation
from minirun.kernel import tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any

ANONYMOUS = "com.docker.volume.anonymous"  # Docker's label
FILTERS = ("dangling", "driver", "label", "name")


def create(
    name: str | None, *, driver: str = "local", labels: Mapping[str, str] = {}, options: Mapping[str, str] = {}
) -> str:
    """Make a volume, as `docker volume create` does.

    Args:
        name: None for a random one, which makes it anonymous.
        driver: the only one is ``local``.
        labels: name to value.
        options: Docker's of that driver: ``type``, ``device``, ``o``.

    Returns:
        Its name. That there is one just like it is no error.

    Raises:
        BadInput, Unsupported: name, driver or options are none that can be used.
        Conflict: there is one of that name with other options.
    """
    attempt = f"create volume {name}" if name else "create a volume"
    if name is not None:
        volumedriver.check_name(name, attempt)
    if driver != "local":
        raise volumedriver.no_driver(attempt, driver)
    wanted = volumedriver.check_options(attempt, options)
    home = open_home()
    chosen = name or os.urandom(32).hex()
    with Attempt(attempt), Operation(home) as operation:
        held = volumes.hold(home)
        try:
            if there := volumes.find(home, chosen):
                if there.options != wanted:
                    raise Conflict(attempt, "there is one of that name, with other options",
                                   f"`minirun volume inspect {chosen}` shows them; choose another name")  # fmt: skip
                return chosen
            operation.will("discard_volume", home.root, home.runtime, chosen, operation.key, "made")
            volumes.begin(home, chosen)
            volumes.make_data(home, chosen)
            volumes.create(
                home, chosen, labels=labels, options=wanted, anonymous=name is None, made_for=operation.key
            )  # fmt: skip
        finally:
            os.close(held)
    return chosen


def listed(
    filters: Sequence[str] = (), warn: Callable[[MinirunError], object] | None = None
) -> list[tuple[Volume, int]]:
    """Volumes by name, each with the number of containers that have it.

    Args:
        filters: Docker's: ``dangling=true``, ``driver=local``, ``label=KEY[=VALUE]``, ``name=REGEX``.
        warn: told of each record that cannot be read, which is left out.

    Raises:
        BadInput: a filter that is none.
    """
    from minirun.engine.filters import read

    values = read(filters, FILTERS)
    home = open_home()
    counts = used(home, warn)
    found = [(volume, counts.get(volume.name, 0)) for volume in volumes.list_all(home, warn)]
    for word, given in values.items():
        tests = [_test(word, value) for value in given]
        enough = all if word == "label" else any
        found = [pair for pair in found if enough(test(*pair) for test in tests)]
    return found


def used(home: Home, warn: Callable[[MinirunError], object] | None = None) -> dict[str, int]:
    """How many containers have each volume that any has."""
    counts: dict[str, int] = {}
    for box in records.list_all(home, warn):
        for name in set(volumes.names(box)):
            counts[name] = counts.get(name, 0) + 1
    return counts


def labels(volume: Volume) -> dict[str, str]:
    """The labels, Docker's own for an anonymous volume among them."""
    return {**volume.labels, **({ANONYMOUS: ""} if volume.anonymous else {})}


def _test(word: str, value: str) -> Callable[[Volume, int], bool]:
    if word == "dangling":
        if value.lower() not in ("true", "1", "false", "0"):
            raise BadInput(f"filter by dangling={value}", "it is true or false")
        wanted = value.lower() in ("true", "1")
        return lambda _volume, count: wanted is not bool(count)
    if word == "driver":
        return lambda _volume, _count: value == "local"
    if word == "label":
        key, equals, text = value.partition("=")
        return lambda volume, _count: key in labels(volume) and (not equals or labels(volume)[key] == text)
    try:
        pattern = re.compile(value)
    except re.error as error:
        raise BadInput(f"filter by name={value}", f"it is no regular expression: {error}") from None
    return lambda volume, _count: bool(pattern.search(volume.name))


def inspect(name: str) -> dict[str, Any]:
    """Everything about one volume, as Docker's JSON has it.

    Raises:
        NotFound: there is none of that name.
    """
    home = open_home()
    volume = volumes.get(home, name)
    return {
        "CreatedAt": datetime.fromtimestamp(volume.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "Driver": "local",
        "Labels": labels(volume),
        "Mountpoint": volumes.data(home, volume.name),
        "Name": volume.name,
        "Options": volume.options,
        "Scope": "local",
    }


def remove(names: Sequence[str]) -> Iterator[str | MinirunError]:
    """Remove volumes one after the other; yields each name, or why it was not removed."""
    home = open_home()
    for name in names:
        try:
            remove_one(home, name)
            yield name
        except MinirunError as error:
            yield error


def remove_one(home: Home, name: str) -> None:
    """Remove a volume.

    Raises:
        NotFound, Conflict: there is none of that name, or a container has it.
    """
    with Attempt(f"remove volume {name}"), Operation(home, frees=True) as operation:
        temporary = home.temporary(operation.key)
        held = volumes.hold(home)
        try:
            volume = volumes.get(home, name)
            volumes.check_unused(home, name)
            operation.will("remove_tree", temporary)
            volumes.remove(home, volume, temporary)
        finally:
            os.close(held)
        tree.remove(temporary)


def size(home: Home, volume: Volume) -> int:
    """Bytes in a volume, as the lengths of its files have it; what is on the host or in memory is nothing of the store.

    What is removed meanwhile counts for nothing.
    """
    if volume.options:
        return 0
    try:
        return tree.usage(volumes.data(home, volume.name))[0]
    except FileNotFoundError:
        return 0
