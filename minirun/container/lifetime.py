"""How long a container is to live: --restart, --timeout, and how it is stopped.

Read from the flags when one of them is there; records made before these flags were have none of the keys, and no
container has those that were not given: see `of`.
"""

from __future__ import annotations

from minirun.container import restart
from minirun.errors import BadInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

FLAGS = frozenset(("restart", "stop-timeout", "timeout"))
STOP_S = 10  # Docker's
_LONGEST_S = 1 << 31


def read(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Turn the flags into options of a record: those that were given.

    Returns:
        restart: see restart.read; stop_timeout: seconds, -1 for ever; timeout: seconds, 0 for none.

    Raises:
        BadInput: a value has no meaning.
    """
    found: dict[str, Any] = {}
    if (policy := flags.get("restart")) is not None:
        found["restart"] = restart.read(policy)
        if flags.get("rm") and found["restart"] != restart.NO:
            raise BadInput(
                f"use --restart {policy} and --rm", "what is removed at its end cannot be started again",
                "leave one of them out",
            )  # fmt: skip
    if (text := flags.get("stop-timeout")) is not None:
        found["stop_timeout"] = seconds("--stop-timeout", text, lowest=-1)
    if (text := flags.get("timeout")) is not None:
        found["timeout"] = seconds("--timeout", text, lowest=0)
    return found


def seconds(flag: str, text: str, *, lowest: int) -> int:
    """Read a number of whole seconds.

    Raises:
        BadInput: it is none, or less than *lowest*.
    """
    if not (text.removeprefix("-").isdigit() and text.isascii() and lowest <= int(text) < _LONGEST_S):
        meaning = ", and -1 waits for ever" if lowest < 0 else ""
        raise BadInput(f"use {flag} {text}", f"it is not a number of seconds{meaning}")
    return int(text)


def stop_seconds(options: Mapping[str, Any]) -> int:
    """How long a container has after its stop signal, as its record says; -1: for ever."""
    given = options.get("stop_timeout")
    return STOP_S if given is None else int(given)
