"""Names for a shell to complete, read from the store as it lies there: it is neither made, mended nor locked for it."""

from __future__ import annotations

import os

from minirun.home import Home

TYPE_CHECKING = False
if TYPE_CHECKING:
    import click


def containers(_context: click.Context, _parameter: click.Parameter, beginning: str) -> list[str]:
    """Names of containers that begin so."""
    return _beginning(beginning, _names("names"))


def images(_context: click.Context, _parameter: click.Parameter, beginning: str) -> list[str]:
    """Names of images that begin so; ``:latest`` is left out, as one would."""
    from minirun.image.reference import of_file_name

    return _beginning(beginning, [of_file_name(name).removesuffix(":latest") for name in _names("tags")])


def both(context: click.Context, parameter: click.Parameter, beginning: str) -> list[str]:
    """Names of containers and images."""
    return [*containers(context, parameter, beginning), *images(context, parameter, beginning)]


def _beginning(text: str, names: list[str]) -> list[str]:
    return sorted(name for name in names if name.startswith(text))


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(Home.of_environment().folder(folder))
    except OSError:
        return []  # nothing stored, or not root: there is nothing to offer
