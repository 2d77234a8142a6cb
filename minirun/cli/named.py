"""`start`, `stop`, `restart`, `kill`, `wait`, `rm` without click: what is done to containers by name, each in turn.

minirun stop -t 3 web db                              ─▶ the flags below ─▶ the verb
minirun stop web -t 3, --help, a wrong value          ─▶ click, by start.py, stop.py and rm.py ─▶ the verb
"""

from __future__ import annotations

from minirun.cli import screen
from minirun.cli.flags import Flag, parse
from minirun.errors import BadInput, MinirunError, NotFound, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Any

_STOPPING = (
    Flag("signal", "s", "SIGNAL", ""),
    Flag("time", "t", "SECONDS", ""),
    Flag("timeout", "", "SECONDS", ""),
)
FLAGS = {
    "kill": (Flag("signal", "s", "SIGNAL", ""),),
    "restart": _STOPPING,
    "rm": (Flag("force", "f", "", ""), Flag("volumes", "v", "", "")),
    "start": (),  # those that stay with a container are click's
    "stop": _STOPPING,
    "wait": (),
}


def answer(command: str, args: Sequence[str]) -> int | None:
    """Do *command*, one of FLAGS.

    Returns:
        Its exit code, or None if click is to answer.
    """
    try:
        values, names = parse(args, FLAGS[command], f"minirun {command}")
    except (BadInput, Unsupported):
        return None
    if not names or any(word.startswith("-") for word in names):
        return None
    outcomes = _OUTCOMES[command](names, values)
    return None if outcomes is None else each(outcomes, several=len(names) > 1)


def each(outcomes: Iterable[str | MinirunError], *, several: bool) -> int:
    """Print what became of each argument; a refusal does not keep the others from their turn.

    Args:
        outcomes: lines for standard output, and refusals.
        several: whether there were several arguments; the refusal of an only one is raised.

    Returns:
        The exit code.
    """
    code = 0
    for outcome in outcomes:
        if not isinstance(outcome, MinirunError):
            screen.write(f"{outcome}\n")
        elif several:
            code = screen.refuse(outcome)
        else:
            raise outcome
    return code


def found(outcomes: Iterable[str | MinirunError], force: bool) -> Iterator[str | MinirunError]:
    """*outcomes*, but for what by -f is told and no failure: that there was nothing of that name."""
    for outcome in outcomes:
        if force and isinstance(outcome, NotFound):
            screen.refuse(outcome)
        else:
            yield outcome


def codes(outcomes: Iterable[int | MinirunError]) -> Iterator[str | MinirunError]:
    """Exit codes, as `wait` prints them."""
    for code in outcomes:
        yield code if isinstance(code, MinirunError) else str(code)


def _start(names: Sequence[str], _values: dict[str, Any]) -> Iterator[str | MinirunError]:
    from minirun.engine import background

    return background.start_each(names)


def _stop(names: Sequence[str], values: dict[str, Any]) -> Iterator[str | MinirunError] | None:
    from minirun.engine import lifecycle

    seconds = _seconds(values)
    if seconds == _WRONG:
        return None
    return lifecycle.stop(names, seconds=seconds, signal=values.get("signal"))


def _restart(names: Sequence[str], values: dict[str, Any]) -> Iterator[str | MinirunError] | None:
    from minirun.engine import lifecycle

    seconds = _seconds(values)
    if seconds == _WRONG:
        return None
    return lifecycle.restart(names, seconds=seconds, signal=values.get("signal"))


_WRONG = -2


def _seconds(values: dict[str, Any]) -> int | None:
    text = values.get("time", values.get("timeout"))
    if text is None:
        return None
    return int(text) if text == "-1" or (text.isascii() and text.isdigit()) else _WRONG


def _kill(names: Sequence[str], values: dict[str, Any]) -> Iterator[str | MinirunError]:
    from minirun.engine import lifecycle

    return lifecycle.kill(names, values.get("signal", "KILL"))


def _wait(names: Sequence[str], _values: dict[str, Any]) -> Iterator[str | MinirunError]:
    from minirun.engine import lifecycle

    return codes(lifecycle.wait(names))


def _rm(names: Sequence[str], values: dict[str, Any]) -> Iterator[str | MinirunError]:
    from minirun.engine import containers

    force = values.get("force", False)
    return found(containers.remove(names, force=force, volumes=values.get("volumes", False)), force)


_OUTCOMES: dict[str, Callable[[Sequence[str], dict[str, Any]], Iterable[str | MinirunError] | None]] = {
    "kill": _kill,
    "restart": _restart,
    "rm": _rm,
    "start": _start,
    "stop": _stop,
    "wait": _wait,
}
