"""Everything that nobody needs goes: containers that ended, images without a name or a container, volumes, gc's finds.

    until=24h  until=2026-01-31T12:00  until=1769860800      made before that, or as long ago
    label=KEY[=VALUE]                                        has all of these
    label!=KEY[=VALUE]                                       has none of these

What goes is chosen without a lock, and looked at again when it is held: that it was started, named or removed meanwhile
is no error. Removing itself is what `rm` and `rmi` do.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from minirun import events
from minirun.container import record as records
from minirun.container import state
from minirun.container import volumes as stored
from minirun.container.record import Record
from minirun.container.state import State
from minirun.engine import containers as container_verbs
from minirun.engine import filters as filtering
from minirun.engine import networks as network_verbs
from minirun.engine import open_home, system
from minirun.engine import volumes as volume_verbs
from minirun.engine.imageremoval import Turn
from minirun.errors import Attempt, BadInput, Conflict, MinirunError, NotFound
from minirun.home import Home
from minirun.image.history import seconds
from minirun.image.store import Image, Images
from minirun.kernel import jsonfile, tree
from minirun.network import store as network_store
from minirun.network.record import DEFAULT

T = TypeVar("T", tuple[Record, State], tuple[Image, list[str]])


@dataclass(frozen=True, slots=True)
class Chosen:
    """What filters let through.

    Attributes:
        before: seconds since 1970: what was made earlier.
        labels: ``KEY[=VALUE]``: what has all of them.
        other_labels: ``KEY[=VALUE]``: what has none of them.
    """

    before: float = float("inf")
    labels: Sequence[str] = ()
    other_labels: Sequence[str] = ()

    def made(self, when: float) -> bool:
        """Whether what was made at *when* is old enough."""
        return when < self.before


@dataclass(slots=True)
class Pruned:
    """What went.

    Attributes:
        containers: ids.
        images: `rmi`'s lines.
        volumes: names.
        networks: names.
        remains: how many layers, operations and others `gc` took, by its words.
        freed_bytes: how much that freed.
        unread: why a record could not be read: of something that may be among what should have gone, or need it.
        refusals: what should have gone, and could not be removed.
    """

    containers: list[str] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    volumes: list[str] = field(default_factory=list)
    networks: list[str] = field(default_factory=list)
    remains: dict[str, int] = field(default_factory=dict)
    freed_bytes: int = 0
    unread: list[MinirunError] = field(default_factory=list)
    refusals: list[MinirunError] = field(default_factory=list)


def choose(filters: Sequence[str]) -> Chosen:
    """Read filters.

    Raises:
        BadInput: one is none.
    """
    values = filtering.read(filters, ("until", "label", "label!"))
    times = values.get("until", [])
    if len(times) > 1:
        raise BadInput("filter by until", "it was given several times", "give one: the longest ago")
    before = filtering.moment(times[0]) if times else float("inf")
    return Chosen(before, values.get("label", []), values.get("label!", []))


def everything(chosen: Chosen, *, named: bool, with_volumes: bool = False) -> Pruned:
    """Remove containers that do not run, images as `images` does, and what `gc` frees, which no filter keeps.

    Args:
        chosen: which of them.
        named: also images that have a name.
        with_volumes: also anonymous volumes.
    """
    pruned = containers(chosen)
    less = networks(chosen)
    pruned.networks = less.networks
    pruned.refusals += less.refusals
    pruned.unread += less.unread
    if with_volumes:
        gone = volumes(chosen, named=False)
        pruned.volumes = gone.volumes
        pruned.refusals += gone.refusals
        pruned.freed_bytes += gone.freed_bytes
        pruned.unread += gone.unread
    more = images(chosen, named=named)
    pruned.images = more.images
    pruned.refusals += more.refusals
    pruned.freed_bytes += more.freed_bytes
    pruned.unread = list({str(error): error for error in (*pruned.unread, *more.unread)}.values())
    if pruned.unread:
        reason, remedy = "nobody knows what these records need", "`minirun system check` tells what to do with them"
        pruned.refusals.append(MinirunError("free what nothing needs", reason, remedy))
        return pruned
    freed = system.gc()
    pruned.freed_bytes += freed.pop("BytesFreed")
    pruned.remains = {word: count for word, count in freed.items() if count}
    return pruned


def containers(chosen: Chosen) -> Pruned:
    """Remove containers that do not run."""
    home, pruned = open_home(), Pruned()
    found = [(box, state.read(home, box)) for box in records.list_all(home, pruned.unread.append)]
    idle = [pair for pair in found if not pair[1].alive and chosen.made(pair[0].created)]
    idle = _by_label(idle, chosen, lambda pairs, filters: filtering.containers(home, pairs, filters))
    # looked up after the containers: what is not among these now has been started, or is done
    starting = _being_made(home)
    for box, _ in idle:
        if box.id in starting:
            continue
        size = _written(home, box)
        for outcome in container_verbs.remove([box.id]):
            if not isinstance(outcome, MinirunError):
                pruned.containers.append(box.id)
                pruned.freed_bytes += size
            elif not isinstance(outcome, Conflict | NotFound):
                pruned.refusals.append(outcome)
    return _tell(home, "container", pruned)


def volumes(chosen: Chosen, *, named: bool) -> Pruned:
    """Remove volumes that no container has.

    Args:
        chosen: which of them.
        named: also those that somebody gave a name.
    """
    home, pruned = open_home(), Pruned()
    used = volume_verbs.used(home, pruned.unread.append)
    if pruned.unread:
        return pruned  # any volume may be the one that such a container has
    for volume in stored.list_all(home, pruned.unread.append):
        own = volume_verbs.labels(volume)
        if volume.name in used or not (named or volume.anonymous) or not _lets_through(chosen, volume.created, own):
            continue
        size = volume_verbs.size(home, volume)
        try:
            volume_verbs.remove_one(home, volume.name)
        except (Conflict, NotFound):
            continue  # a container was made with it, or it went meanwhile
        except MinirunError as error:
            pruned.refusals.append(error)
            continue
        pruned.volumes.append(volume.name)
        pruned.freed_bytes += size
    return _tell(home, "volume", pruned)


def networks(chosen: Chosen) -> Pruned:
    """Remove networks that no container is on, but for the default one."""
    home, pruned = open_home(), Pruned()
    for network in network_store.list_all(home, pruned.unread.append):
        if network.name == DEFAULT or network_verbs.is_used(home, network):
            continue
        if not _lets_through(chosen, network.created, network.labels):
            continue
        try:
            network_verbs.remove_one(home, network.name)
        except (Conflict, NotFound):
            continue  # a container came onto it, or it went meanwhile
        except MinirunError as error:
            pruned.refusals.append(error)
            continue
        pruned.networks.append(network.name)
    return _tell(home, "network", pruned)


def _lets_through(chosen: Chosen, created: float, own: Mapping[str, str]) -> bool:
    def has(text: str) -> bool:
        key, equals, value = text.partition("=")
        return key in own and (not equals or own[key] == value)

    return chosen.made(created) and all(map(has, chosen.labels)) and not any(map(has, chosen.other_labels))


def _tell(home: Home, kind: str, pruned: Pruned) -> Pruned:
    events.emit(home, kind, "prune", "", {"reclaimed": str(pruned.freed_bytes)})
    return pruned


def _written(home: Home, box: Record) -> int:
    try:
        return tree.usage(f"{home.container(box.id)}/upper")[0]
    except FileNotFoundError:
        return 0  # a commit has it, or it went meanwhile


def _being_made(home: Home) -> set[str]:
    """Ids of containers whose `run` or `create` has not come to its end: the marks name their directories."""
    folder, found = home.folder("containers"), set()
    for key in os.listdir(home.folder("marks")):
        try:
            with open(home.mark(key), "rb") as file:
                lines = file.read().split(b"\n")[:-1]
        except FileNotFoundError:
            continue
        for line in lines:
            try:
                undo = jsonfile.loads(line.decode()) if b"\0" not in line else [""]
                if undo[0] == "remove_tree" and os.path.dirname(undo[1]) == folder:
                    found.add(os.path.basename(undo[1]))
            except (ValueError, TypeError, LookupError):
                continue  # a damaged one: `system check` tells
    return found


def images(chosen: Chosen, *, named: bool) -> Pruned:
    """Remove images of which there is no container.

    Args:
        chosen: which of them.
        named: also those that have a name.
    """
    home, pruned = open_home(), Pruned()
    used = {box.image for box in records.list_all(home, pruned.unread.append)}
    if pruned.unread:
        return pruned  # any image may be the one that such a container needs
    loose = [
        (image, tags)
        for image, tags in Images(home).list(pruned.unread.append)
        if image.id not in used and (named or not tags) and chosen.made(seconds(image.created))
    ]
    loose = _by_label(loose, chosen, lambda pairs, filters: filtering.images(home, pairs, filters))
    pending = [image.id for image, _ in reversed(loose)]
    while pending:
        try:
            with Attempt("prune images"), Turn(home) as turn:
                while pending and not turn.is_over:
                    _remove_image(turn, pending.pop(), pruned, named=named)
        except MinirunError as error:
            pruned.refusals.append(error)
            break
    return _tell(home, "image", pruned)


def _remove_image(turn: Turn, image_id: str, pruned: Pruned, *, named: bool) -> None:
    stock = turn.stock
    image = stock.found.get(image_id)
    if image is None or (not named and stock.tags.get(image_id)):
        return  # it went, or got a name
    attempt = f"remove image {image.short_id}"
    try:
        with Attempt(attempt):
            turn.check_unused(image, attempt)
            size = turn.size(stock.own(image_id))
            pruned.images += turn.remove(image)
            pruned.freed_bytes += size
    except Conflict:
        return  # somebody made a container of it, or mounted it
    except MinirunError as error:
        pruned.refusals.append(error)


def _by_label(found: list[T], chosen: Chosen, let: Callable[[list[T], list[str]], list[T]]) -> list[T]:
    """Those of *found* that have all labels wanted and none of those not wanted; *let* is what `ps` and `images` do."""
    kept = let(found, [f"label={label}" for label in chosen.labels])
    for label in chosen.other_labels:
        unwanted = {item[0].id for item in let(kept, [f"label={label}"])}
        kept = [item for item in kept if item[0].id not in unwanted]
    return kept
