r"""The keys that part a terminal from its container, found in what is typed.

    ctrl-p,ctrl-q       ─▶ 10 11       Docker's default
    ctrl-],x            ─▶ 1d 78       one character, or ctrl- and one of @ a–z [ \ ] ^ _; DEL; between them commas

    typed       a  10  10  11  b
    passed on   a      10              the rest of what was typed goes nowhere
    held back      10  10 ─▶ found     a beginning waits for the next key

Docker looks at one read(2) at a time, and only at those of a single byte. Here keys that come quickly are found, too,
and so is a sequence that begins within a false beginning.
"""

from __future__ import annotations

from minirun.errors import BadInput

DEFAULT = "ctrl-p,ctrl-q"
_CONTROL = "@abcdefghijklmnopqrstuvwxyz[\\]^_"  # in the order of ASCII, from 0


class DetachKeys:
    """Looks for the keys in what is typed.

    Attributes:
        found: whether they were typed; from then on nothing is passed on.
    """

    __slots__ = ("_held", "_keys", "found")

    def __init__(self, text: str = DEFAULT) -> None:
        """Look for the keys that *text* names; empty for Docker's default, as Docker has it.

        Raises:
            BadInput: *text* names none.
        """
        self._keys = bytes(_key(word, text) for word in (text or DEFAULT).split(","))
        self._held = b""
        self.found = False

    def scan(self, typed: bytes) -> bytes:
        """Take what was typed next; return what is to be passed on now."""
        if self.found:
            return b""
        data = self._held + typed
        place = data.find(self._keys)
        if place >= 0:
            self.found, self._held = True, b""
            return data[:place]
        # the longest end that could be the beginning
        longest = min(len(self._keys) - 1, len(data))
        held = next((n for n in range(longest, 0, -1) if data.endswith(self._keys[:n])), 0)
        self._held = data[len(data) - held :]
        return data[: len(data) - held]

    def rest(self) -> bytes:
        """What is held back when nothing more is typed."""
        held, self._held = self._held, b""
        return held


def _key(word: str, text: str) -> int:
    if len(word) == 1 and word.isascii():
        return ord(word)
    if len(word) == 6 and word.startswith("ctrl-") and word[5] in _CONTROL:
        return _CONTROL.index(word[5])
    if word == "DEL":
        return 0x7F
    raise BadInput(
        f"use --detach-keys {text!r}", f"{word!r} is no key",
        "a key is one character, or ctrl- and one of @ a-z [ \\ ] ^ _; commas between keys: ctrl-p,ctrl-q",
    )  # fmt: skip
