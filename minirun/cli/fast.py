"""`minirun run` and `exec` without click: the same flags from the same tables, 26 ms sooner."""

from __future__ import annotations

from minirun.cli import flags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from minirun.engine.creating import Order


def run(args: Sequence[str]) -> int | None:
    """Run a container.

    Returns:
        Its exit code, or None if click is to answer: help was asked for, or the usage is wrong.
    """
    from minirun.errors import BadInput

    try:
        values, rest = flags.parse(args, flags.RUN)
    except BadInput:
        return None
    if not rest:
        return None
    return start(values, rest[0], rest[1:])


def start(values: Mapping[str, Any], image: str, command: Sequence[str]) -> int:
    """Run a container in the foreground, or start it in the background and print its id.

    Returns:
        The exit code for `run`.
    """
    if values.get("detach") and not values.get("dry-run"):
        import sys

        from minirun.engine import background

        sys.stdout.write(f"{background.run(order(values, image, command))}\n")
        return 0
    from minirun.engine import run as verbs

    return verbs.run(order(values, image, command))


def order(values: Mapping[str, Any], image: str, command: Sequence[str]) -> Order:
    """What the command line asks for, with what shows a person how far it is."""
    from minirun.engine.creating import Order

    return Order(values, image, command, show_layer, warn, fetch)


def execute(args: Sequence[str]) -> int | None:
    """Run a command in a container.

    Returns:
        Its exit code, or None if click is to answer: help was asked for, or the usage is wrong.
    """
    from minirun.errors import BadInput

    try:
        values, rest = flags.parse(args, flags.EXEC)
    except BadInput:
        return None
    if len(rest) < 2:
        return None
    from minirun.engine import execution

    return execution.execute(values, rest[0], rest[1:])


def ps(args: Sequence[str]) -> int | None:
    """List containers.

    Returns:
        0, or None if click is to answer: help was asked for, or the usage is wrong.
    """
    from minirun.cli import listing
    from minirun.errors import BadInput

    try:
        values, rest = flags.parse(args, listing.FLAGS)
    except BadInput:
        return None
    if rest:
        return None
    listing.show(values)
    return 0


def show_layer(name: str, total_bytes: int) -> Callable[[int], None]:
    """Begin the bar of a layer that is being unpacked: see progress.py, which a stored image needs not."""
    from minirun.cli.progress import BARS

    return BARS.layer(name, total_bytes)


def fetch(name: str, missing: bool) -> None:
    """Bring an image here that a container is wanted of: see bars.py."""
    from minirun.cli import bars

    bars.fetch(name, missing)


def warn(sentence: str) -> None:
    """Say what was left out of a layer, on standard error; the words are partly the layer's."""
    import sys

    from minirun.cli import screen

    sys.stderr.write(f"minirun: warning: {screen.clean(sentence)}\n")
