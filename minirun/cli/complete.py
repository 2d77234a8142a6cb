"""Names for a shell to complete, read from the store as it lies there: it is neither made, mended nor locked for it."""

from __future__ import annotations

import os

from minirun.errors import MinirunError
from minirun.home import Home
from minirun.network.record import DEFAULT
from minirun.network.usermode import KINDS

_SHORT = 12

_ID_LENGTH = 64

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    import click
    from click.shell_completion import CompletionItem

    from minirun.container.record import Record


def containers(_context: click.Context, _parameter: click.Parameter, beginning: str) -> list[str]:
    """Names of containers that begin so, and their ids, where somebody has begun one."""
    return _beginning(beginning, _names("names")) + _ids(beginning, "containers")


def running(context: click.Context, parameter: click.Parameter, beginning: str) -> list[str]:
    """The same of those that have processes: what can be stopped, or entered."""
    return _in(("running", "paused", "restarting"), containers(context, parameter, beginning))


def going(context: click.Context, parameter: click.Parameter, beginning: str) -> list[str]:
    """The same of those that run and do not stand still: what can be paused."""
    return _in(("running",), containers(context, parameter, beginning))


def paused(context: click.Context, parameter: click.Parameter, beginning: str) -> list[str]:
    """The same of those that stand still."""
    return _in(("paused",), containers(context, parameter, beginning))


def calls(_context: click.Context, _parameter: click.Parameter, beginning: str) -> list[str]:
    """System calls that begin so; paths of a container are not looked at."""
    from minirun.security import callquestion

    return [] if "/" in beginning else _beginning(beginning, callquestion.calls())


def stopped(context: click.Context, parameter: click.Parameter, beginning: str) -> list[str]:
    """The same of those that can be started."""
    return _in(("created", "exited"), containers(context, parameter, beginning))


def container_paths(_context: click.Context, _parameter: click.Parameter, beginning: str) -> list[CompletionItem]:
    """Containers, each with the colon that a path follows, and files of the host."""
    from click.shell_completion import CompletionItem

    named = [CompletionItem(f"{name}:") for name in _beginning(beginning, _names("names"))]
    # what a container has is not looked at: it would have to be mounted; and what has a slash is no container
    return named if ":" in beginning else [*named, CompletionItem(beginning, type="file")]


def images(_context: click.Context, _parameter: click.Parameter, beginning: str) -> list[str]:
    """Names of images that begin so; ``:latest`` is left out, as one would."""
    from minirun.image.reference import of_file_name

    named = [of_file_name(name).removesuffix(":latest") for name in _names("tags")]
    return _beginning(beginning, named) + _ids(beginning, "images")


def volumes(_context: click.Context, _parameter: click.Parameter, beginning: str) -> list[str]:
    """Names of volumes that begin so; nobody types those of anonymous ones."""
    return _beginning(beginning, [name for name in _names("volumes") if len(name) != _ID_LENGTH or beginning])


def both(context: click.Context, parameter: click.Parameter, beginning: str) -> list[str]:
    """Names of containers and images, each once."""
    return list(dict.fromkeys([*containers(context, parameter, beginning), *images(context, parameter, beginning)]))


def networks(_context: click.Context, _parameter: click.Parameter, beginning: str) -> list[str]:
    """Names of networks that begin so."""
    return _beginning(beginning, [name.removesuffix(".json") for name in _names("networks")])


def on_network(context: click.Context, parameter: click.Parameter, beginning: str) -> list[str]:
    """Names of containers that are on the network that is typed already."""
    names = containers(context, parameter, beginning)
    return _filtered(names, lambda _home, box: context.params["network"] in _networks_of(box))


def off_network(context: click.Context, parameter: click.Parameter, beginning: str) -> list[str]:
    """The same of those that are not, and can be."""
    names = containers(context, parameter, beginning)
    return _filtered(
        names,
        lambda _home, box: "networks" in box.options and context.params["network"] not in _networks_of(box),
    )


def _networks_of(box: Record) -> list[str]:
    return [wanted["name"] for wanted in box.options.get("networks", ())]


def modes(context: click.Context, parameter: click.Parameter, beginning: str) -> list[str]:
    """What --network can be: none, host, the networks, processes that are one, and containers to join."""
    names = {"none", "host", *KINDS, DEFAULT, *networks(context, parameter, beginning)}
    joined = [f"container:{name}" for name in _names("names")] if beginning.startswith("c") else []
    return _beginning(beginning, [*names, *joined])


def sources(context: click.Context, parameter: click.Parameter, beginning: str) -> list[CompletionItem]:
    """What -v can begin with: volumes, and files of the host."""
    from click.shell_completion import CompletionItem

    if ":" in beginning:
        return []  # what the container has there is not looked at
    named = [CompletionItem(f"{name}:") for name in volumes(context, parameter, beginning)]
    return [*named, CompletionItem(beginning, type="file")]


def files(_context: click.Context, _parameter: click.Parameter, beginning: str) -> list[CompletionItem]:
    """Files of the host."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(beginning, type="file")]


def offer(flag: str, metavar: str) -> Callable[..., list[Any]] | None:
    """What offers values for a flag of flags.py; the words of a metavar are all that there are."""
    words = metavar.split("|")
    if len(words) > 1 and metavar == metavar.lower():
        return lambda _context, _parameter, beginning: _beginning(beginning, words)
    return _OFFERS.get(flag)


def _beginning(text: str, names: list[str]) -> list[str]:
    return sorted(name for name in names if name.startswith(text))


def _ids(text: str, folder: str) -> list[str]:
    """Ids that begin so, as short as commands print them; none before somebody has begun one."""
    if not text:
        return []
    found = {name[: max(_SHORT, len(text))] for name in _names(folder) if not name.endswith(".alias")}
    return _beginning(text, list(found))


def _in(statuses: tuple[str, ...], names: list[str]) -> list[str]:
    """Those of *names* whose containers have one of the statuses now."""
    from minirun.container import state

    return _filtered(names, lambda home, box: state.read(home, box).status in statuses)


def _filtered(names: list[str], test: Callable[[Home, Record], bool]) -> list[str]:
    """Those of *names* whose containers pass a test."""
    from minirun.container import record as records

    home = Home.of_environment()
    found = []
    for name in names:
        try:
            if test(home, records.find(home, name)):
                found.append(name)
        except (MinirunError, OSError):
            continue  # it went, or cannot be read
    return found


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(Home.of_environment().folder(folder))
    except OSError:
        return []  # nothing stored, or not root: there is nothing to offer


def _policies(_context: click.Context, _parameter: click.Parameter, beginning: str) -> list[str]:
    from minirun.container.restart import POLICIES

    return _beginning(beginning, list(POLICIES))


def _signals(_context: click.Context, _parameter: click.Parameter, beginning: str) -> list[str]:
    from minirun.container.options import SIGNALS

    whole = [f"SIG{name}" for name in SIGNALS] if beginning.startswith("SIG") else list(SIGNALS)
    return _beginning(beginning, whole)


_OFFERS: dict[str, Callable[..., list[Any]]] = {
    "cidfile": files,
    "env-file": files,
    "label-file": files,
    "network": modes,
    "restart": _policies,
    "stop-signal": _signals,
    "volume": sources,
    "volumes-from": containers,
}
