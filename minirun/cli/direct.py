"""`load`, `save` and `commit` without click, whose import takes longer than they do; what is unusual is click's.

minirun save -o web.tar web                           ─▶ the flags below ─▶ the verb
minirun save web -o web.tar, --help, a wrong value    ─▶ click, by load.py, save.py and commit.py ─▶ the verb
"""

from __future__ import annotations

import gc
import sys

from minirun.cli import fast, screen
from minirun.cli.flags import Flag, parse
from minirun.errors import BadInput, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

_QUIET = Flag("quiet", "q", "", "")
_PLATFORM = Flag("platform", "", "OS/ARCH", "")
FLAGS = {
    "load": (Flag("input", "i", "FILE|DIR", ""), _PLATFORM, _QUIET),
    "save": (
        Flag("compression", "", "HOW", ""),
        Flag("format", "", "FORM", ""),
        Flag("output", "o", "FILE|DIR", ""),
        _PLATFORM,
        _QUIET,
    ),
    "commit": (
        Flag("author", "a", "TEXT", ""),
        Flag("change", "c", "INSTRUCTION", "", many=True),
        Flag("message", "m", "TEXT", ""),
        Flag("pause", "p", "", ""),
    ),
}
COMPRESSIONS = ("gzip", "zstd", "none")


def answer(command: str, args: Sequence[str]) -> int | None:
    """Do *command*, one of FLAGS.

    Returns:
        Its exit code, or None if click is to answer.
    """
    try:
        values, rest = parse(args, FLAGS[command], f"minirun {command}")
    except (BadInput, Unsupported):
        return None
    if any(word.startswith("-") for word in rest):
        return None  # flags after arguments, which click takes too
    gc.enable()  # the launcher turned it off for the sake of `run`
    return _ANSWERS[command](values, rest)


def load(path: str, platform: str | None, *, quiet: bool) -> None:
    """Store every image of an archive or a directory; prints their names."""
    if path == "-" and sys.stdin.isatty():
        raise BadInput("load from standard input", "it is a terminal, and no archive will come from it",
                       "name one: `minirun load -i FILE`")  # fmt: skip
    from minirun.engine import loading

    for loaded in loading.load(path, platform, progress=None if quiet else fast.show_layer, warn=fast.warn):
        for name, other in loaded.moved:
            told = f"The image {name} already exists, renaming the old one with ID sha256:{other} to empty string"
            screen.write(f"{told}\n")
        for name in loaded.names:
            screen.write(f"Loaded image: {name}\n")
        if not loaded.names:
            screen.write(f"Loaded image ID: sha256:{loaded.image.id}\n")


def _load(values: dict[str, Any], rest: list[str]) -> int | None:
    if rest:
        return None
    load(values.get("input", "-"), values.get("platform"), quiet=values.get("quiet", False))
    return 0


def save(
    names: Sequence[str], output: str | None, form: str, compression: str | None, platform: str | None, *, quiet: bool
) -> None:
    """Write images to an archive, or to a directory."""
    from minirun.engine import saving

    form = saving.ALIASES.get(form, form)
    if output is None and form not in saving.FOLDERS:
        screen.refuse_terminal(f"save {' '.join(names)}", "an archive")
    progress = None if quiet else fast.show_layer
    saving.save(
        names, output, form, compression=compression or "", platform=platform, progress=progress, warn=fast.warn
    )


def _save(values: dict[str, Any], rest: list[str]) -> int | None:
    from minirun.engine.saving import ALIASES, FORMS

    form, compression = values.get("format", "docker"), values.get("compression")
    if not rest or form not in (*FORMS, *ALIASES) or compression not in (None, *COMPRESSIONS):
        return None
    save(rest, values.get("output"), form, compression, values.get("platform"), quiet=values.get("quiet", False))
    return 0


def commit(
    container: str, image: str | None, *, author: str, message: str, changes: Sequence[str], pause: bool
) -> None:
    """Make an image of what a container wrote; prints its id."""
    from minirun.engine import containers

    made = containers.commit(container, image, author=author, message=message, changes=changes, pause=pause)
    screen.write(f"sha256:{made.id}\n")


def _commit(values: dict[str, Any], rest: list[str]) -> int | None:
    if not 1 <= len(rest) <= 2:
        return None
    commit(
        rest[0], rest[1] if rest[1:] else None, author=values.get("author", ""), message=values.get("message", ""),
        changes=values.get("change", ()), pause=values.get("pause", True),
    )  # fmt: skip
    return 0


_ANSWERS: dict[str, Callable[[dict[str, Any], list[str]], int | None]] = {
    "load": _load,
    "save": _save,
    "commit": _commit,
}
