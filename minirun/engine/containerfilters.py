"""What `ps --filter` lets through.

id=BEGINNING  name=REGEX  status=STATUS  exited=CODE  label=KEY[=VALUE]  ancestor=IMAGE  before=C  since=C
volume=NAME|PATH  network=NAME  health=WORD  publish=PORT[-PORT][/PROTOCOL]  expose=(the same)
"""

from __future__ import annotations

import re

from minirun.container import health
from minirun.container import record as records
from minirun.container.mounts import of as attached
from minirun.engine import ports
from minirun.engine.filters import has_label
from minirun.errors import BadInput, MinirunError, NotFound
from minirun.image.store import Images
from minirun.network import store as network_store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from minirun.container.record import Record
    from minirun.engine.filters import Container, Test
    from minirun.home import Home

# two of them are Docker's alone: what is removed here is gone at once
STATUSES = ("created", "running", "paused", "restarting", "removing", "exited", "dead")
HEALTH = ("starting", "healthy", "unhealthy", "none")
PROTOCOLS = ("tcp", "udp", "sctp")
_PORTS = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?(?:/(\w+))?")


def _by_id(_home: Home, value: str) -> Test:
    return lambda item: item[0].id.startswith(value)


def _by_name(_home: Home, value: str) -> Test:
    try:
        pattern = re.compile(value)
    except re.error as error:
        raise BadInput(f"filter by name={value}", f"it is no regular expression: {error}") from None
    # Docker looks at names with their slash, ^/x$, and without
    return lambda item: bool(pattern.search(item[0].name) or pattern.search(f"/{item[0].name}"))


def _by_status(_home: Home, value: str) -> Test:
    if value not in STATUSES:
        raise BadInput(f"filter by status={value}", "no container ever has that", f"these are: {', '.join(STATUSES)}")
    return lambda item: item[1].status == value


def _by_exit_code(_home: Home, value: str) -> Test:
    if not value.isdecimal():
        raise BadInput(f"filter by exited={value}", "it is not an exit code", "write a number, exited=0")
    return lambda item: item[1].status == "exited" and item[1].exit_code == int(value)


def _by_ancestor(home: Home, value: str) -> Test:
    try:
        ancestor = Images(home).get(value)
    except NotFound:
        return lambda _item: False  # a script that asks for containers of an image which is not here is told: none
    # of an image that cannot be read nothing is known
    known = {image.id: list(image.layers) for image, _ in Images(home).list(lambda _error: None)}
    below = list(ancestor.layers)
    return lambda item: item[0].image == ancestor.id or known.get(item[0].image, [])[: len(below)] == below


def _by_volume(_home: Home, value: str) -> Test:
    """By the volume's name, or what is attached from the host, or where it is in the container."""
    return lambda item: any(
        value in (mount.name or mount.source, mount.target) for mount in attached(item[0].options)
    )  # fmt: skip


def _by_network(home: Home, value: str) -> Test:
    """By the name of any of its networks, or the beginning of that one's id; a mode counts as a name."""
    try:
        name = network_store.get(home, value).name
    except MinirunError:
        name = value  # none, host; or one that was removed, and that containers name still
    return lambda item: name in networks_of(item[0])


def networks_of(box: Record) -> list[str]:
    """The names of the networks of a container; of one that has none of its own, whose it has."""
    if "networks" not in box.options:
        return [box.options["network"]]
    return [wanted["name"] for wanted in box.options["networks"]]


def _by_health(home: Home, value: str) -> Test:
    if value not in HEALTH:
        raise BadInput(f"filter by health={value}", "no container ever is that", f"these are: {', '.join(HEALTH)}")

    def test(item: Container) -> bool:
        found = health.now(home, *item)
        return value == (found.status if found else "none")

    return test


def _by_published(_home: Home, value: str) -> Test:
    """By the container's port, as in Docker."""
    wanted = _ports("publish", value)
    return lambda item: not wanted.isdisjoint(ports.published_names(item[0].options))


def _by_exposed(home: Home, value: str) -> Test:
    wanted = _ports("expose", value)
    exposed: dict[str, Collection[str]] = {}

    def test(item: Container) -> bool:
        image = item[0].image
        if image not in exposed:
            try:
                exposed[image] = (Images(home).get(image).config.raw.get("config") or {}).get("ExposedPorts") or ()
            except MinirunError:
                exposed[image] = ()  # it cannot be read: nothing is known
        names = [*exposed[image], *ports.exposed(item[0].options)]
        return not wanted.isdisjoint(port if "/" in port else f"{port}/tcp" for port in names)

    return test


def _ports(word: str, value: str) -> set[str]:
    """``{"80/tcp", "81/tcp"}`` of ``80-81``.

    Raises:
        BadInput: it is neither a port nor a range of them.
    """
    found = _PORTS.fullmatch(value)
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    protocol = (found[3] or "tcp").lower() if found else ""
    if not 0 < first <= last < 1 << 16 or protocol not in PROTOCOLS:
        raise BadInput(f"filter by {word}={value}", "it is no port", "write 80, 80/tcp, 8000-8010/udp")
    return {f"{port}/{protocol}" for port in range(first, last + 1)}


def _containers_before(home: Home, value: str) -> Test:
    created = records.find(home, value).created
    return lambda item: item[0].created < created


def _containers_since(home: Home, value: str) -> Test:
    created = records.find(home, value).created
    return lambda item: item[0].created > created


TESTS: dict[str, Callable[[Home, str], Test]] = {
    "id": _by_id,
    "name": _by_name,
    "status": _by_status,
    "exited": _by_exit_code,
    "label": lambda _home, value: lambda item: has_label(item[0].options["labels"], value),
    "ancestor": _by_ancestor,
    "before": _containers_before,
    "since": _containers_since,
    "volume": _by_volume,
    "network": _by_network,
    "health": _by_health,
    "publish": _by_published,
    "expose": _by_exposed,
}
