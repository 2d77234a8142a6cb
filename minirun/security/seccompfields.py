"""Fields of a seccomp profile, each taken as what it must be: what is something else is refused with its place.

syscalls[3].args[0].op: 'EQ' is none of SCMP_CMP_NE, …
"""

from __future__ import annotations

from minirun.errors import BadInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, NoReturn


class Fields:
    """An object of a profile, and where it is; its keys are known in any case."""

    def __init__(self, name: str, place: str, value: Any) -> None:
        if not isinstance(value, dict):
            refuse(name, place, "it is no object")
        self._name = name
        self._place = place
        self._fields = {key.lower(): one for key, one in value.items()}

    def at(self, key: str) -> str:
        """Where *key* of it is."""
        return f"{self._place}.{key}" if self._place else key

    def refuse(self, key: str, reason: str) -> NoReturn:
        """Refuse the profile for what *key* says."""
        refuse(self._name, self.at(key), reason)

    def text(self, key: str) -> str:
        """A string; empty where there is none."""
        value = self._fields.get(key.lower())
        if value is None:
            return ""
        if not isinstance(value, str):
            self.refuse(key, "it is no string")
        return value

    def number(self, key: str, most: int) -> int | None:
        """A number from 0 to *most*; None where there is none."""
        value = self._fields.get(key.lower())
        if value is None:
            return None
        if type(value) is not int or not 0 <= value <= most:
            self.refuse(key, f"it is no whole number from 0 to {most}")
        return value

    def texts(self, key: str) -> list[str]:
        """A list of strings; empty where there is none."""
        values = self._list(key)
        for index, one in enumerate(values):
            if not isinstance(one, str):
                self.refuse(f"{key}[{index}]", "it is no string")
        return values

    def objects(self, key: str) -> Iterator[Fields]:
        """A list of objects; nothing where there is none."""
        for index, one in enumerate(self._list(key)):
            yield Fields(self._name, self.at(f"{key}[{index}]"), one)

    def object(self, key: str) -> Fields:
        """An object; an empty one where there is none."""
        value = self._fields.get(key.lower())
        return Fields(self._name, self.at(key), {} if value is None else value)

    def count(self, key: str) -> int:
        """How long a list is; -1 where there is none."""
        return -1 if self._fields.get(key.lower()) is None else len(self._list(key))

    def _list(self, key: str) -> list[Any]:
        value = self._fields.get(key.lower())
        if value is None:
            return []
        if not isinstance(value, list):
            self.refuse(key, "it is no list")
        return value


def refuse(name: str, place: str, reason: str) -> NoReturn:
    """Refuse the profile that is called *name* for what is at *place* of it, or as a whole."""
    said = f"{place}: {reason}" if place else reason
    raise BadInput(
        f"use the seccomp profile {name}", said, "mend it, or leave it out: a container without it has the default one"
    )
