"""What a person sees and what a pipe gets: bytes as they are for a pipe; on a terminal no byte that would command it.

Names of files, labels and histories come out of images, which anyone may have made. An escape code among them could
retitle a terminal, hide a line, or type an answer.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.errors import MinirunError

GREEN, RED, YELLOW, DIM = "32", "31", "33", "2"
_SHORT = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}


def is_terminal() -> bool:
    """Whether a person reads standard output."""
    return sys.stdout.isatty()


def refuse_terminal(attempt: str, what: str) -> None:
    """Refuse *attempt* if *what* would go to a terminal.

    Raises:
        BadInput: standard output is one.
    """
    if is_terminal():
        from minirun.errors import BadInput

        reason = f"standard output is a terminal, and {what} is no text"
        raise BadInput(attempt, reason, "use -o FILE, or a pipe")


def write(text: str) -> None:
    """Write *text* to standard output, for a pipe byte by byte: surrogates are the bytes that they stand for."""
    if is_terminal():
        text = clean(text, keep="\n\t")
    write_styled(text)


def write_styled(text: str) -> None:
    """Write *text*, which has been cleaned, to standard output with the escape codes in it."""
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape"))


def refuse(error: MinirunError) -> int:
    """Tell a refusal after which the command goes on.

    Returns:
        Its exit code.
    """
    sys.stdout.flush()
    sys.stderr.write(refusal(error))
    sys.stderr.flush()
    return error.exit_code


def refusal(error: MinirunError) -> str:
    """The lines that tell a refusal."""
    return f"minirun: {clean(str(error), keep=chr(10))}\n"


def clean(text: str, *, keep: str = "") -> str:
    r"""Escape what is not printable, ``\x1b``, but for the characters *keep*; a stray byte becomes ``\xff``."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() or sign in keep else _escape(sign) for sign in text)


def quote(text: str) -> str:
    """Text in double quotes, as Go's %q writes it."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{clean(escaped)}"'


def paint(text: str, colour: str) -> str:
    """Text in a colour, where standard output is a terminal and nobody asked for none (https://no-color.org)."""
    return f"\x1b[{colour}m{text}\x1b[0m" if text and colour and colours() else text


def colours() -> bool:
    """Whether standard output shows colours."""
    return is_terminal() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _escape(sign: str) -> str:
    number = ord(sign)
    if 0xDC80 <= number <= 0xDCFF:
        number -= 0xDC00  # surrogateescape: a byte that was no UTF-8
    elif sign in _SHORT:
        return _SHORT[sign]
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
