"""The variables of a command: of the image, of -e and --env-file, and what Docker gives one that says nothing.

image's ENV ─▶ --env-file ─▶ -e            later ones win; NAME alone passes the caller's on, or takes it away
PATH HOSTNAME TERM HOME                    where none of them has it
"""

from __future__ import annotations

import os

from minirun.errors import BadInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_FILE_BYTES = 1 << 20


def read(given: Sequence[str], files: Sequence[str]) -> list[str]:
    """Read -e and --env-file; what has no ``=`` in it is to be taken away.

    Args:
        given: the values of -e; they win.
        files: those of --env-file.

    Raises:
        BadInput: a variable has no name, or a file cannot be read.
    """
    lines = [line for path in files for line in _file(path)]
    env = {}
    for text in [*lines, *given]:
        name, value = pair("-e", text, "\0")
        if value != "\0":
            env[name] = text
        elif name in os.environ:  # NAME alone passes the caller's on
            env[name] = f"{name}={os.environ[name]}"
        elif text in given:  # and if the caller has none, not even the image's is left, as in Docker
            env[name] = name
    return list(env.values())


def pair(flag: str, text: str, default: str) -> tuple[str, str]:
    """Take ``NAME=VALUE`` apart; the value is *default* where there is no ``=``.

    Raises:
        BadInput: it has no name.
    """
    name, equals, value = text.partition("=")
    if not name or "\0" in text:
        raise BadInput(f"read {flag} {text!r}", "it has no name", f"write it as {flag} NAME=VALUE")
    return name, value if equals else default


def merge(*lists: Sequence[str]) -> list[str]:
    """Join *lists* of variables; of those with one name the last wins, and one without ``=`` takes it away."""
    env = {}
    for text in (entry for entries in lists for entry in entries):
        env[text.partition("=")[0]] = text
    return [text for text in env.values() if "=" in text]


def complete(env: Sequence[str], *, hostname: str, home: str, terminal: bool) -> list[str]:
    """Add to *env* what Docker gives a command that has it not.

    Args:
        env: ``NAME=value``.
        hostname: of the container.
        home: of the user.
        terminal: whether the command has one.
    """
    names = {text.partition("=")[0] for text in env}
    defaults = [PATH, f"HOSTNAME={hostname}", *(["TERM=xterm"] if terminal else []), f"HOME={home}"]
    return [*(text for text in defaults if text.partition("=")[0] not in names), *env]


def _file(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8") as file:
            lines = file.read(_FILE_BYTES).split("\n")
    except OSError as error:
        raise BadInput(f"read --env-file {path}", error) from None
    except UnicodeDecodeError:
        raise BadInput(f"read --env-file {path}", "it is not UTF-8 text") from None
    names = [line.lstrip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    for line in names:
        if any(character.isspace() for character in line.partition("=")[0]):
            raise BadInput(f"read --env-file {path}", f"the name in {line!r} has white space in it")
    return names
