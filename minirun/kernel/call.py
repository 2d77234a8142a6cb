"""A system call as data: what is called, with which arguments, and why.

    Call("fsmount", fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NODEV, why="…", save=root)
                    ↑ a Slot: the result of an earlier call    ↑ and a Slot for this one's

Lists of these are plans. They are printed by `--dry-run`, run here or in a new process by launch/machine.py, and
timed by `--trace`; whoever yields one decides policy, whoever runs it knows none.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeAlias

    Argument: TypeAlias = int | str | bytes | "Slot" | "Vector" | "Struct"

SLOTS = 240  # how many results a plan can hold; launch/_plan.c has the same number


class Slot:
    """Where the result of one call waits for another: a descriptor, mostly."""

    __slots__ = ("index", "name")

    def __init__(self, index: int, name: str) -> None:
        self.index = index
        self.name = name

    def __repr__(self) -> str:
        """The name, as plans print it."""
        return self.name


class Vector:
    """A NULL-terminated array of strings: argv or envp."""

    __slots__ = ("strings",)

    def __init__(self, strings: Sequence[str | bytes]) -> None:
        self.strings = strings

    def __repr__(self) -> str:
        """Like strace: the strings, the first few only."""
        shown = ", ".join(map(_quote, self.strings[:8]))
        return f"[{shown}, …]" if len(self.strings) > 8 else f"[{shown}]"


class Struct:
    """A C structure, packed, that prints as what it means.

    Attributes:
        pointed: (offset of a pointer in the structure, the bytes it points to), for the one structure that has one.
    """

    __slots__ = ("data", "pointed", "text")

    def __init__(self, text: str, data: bytes, pointed: tuple[int, bytes] | None = None) -> None:
        self.text = text
        self.data = data
        self.pointed = pointed

    def __repr__(self) -> str:
        """What the fields mean."""
        return f"{{{self.text}}}"


class Call:
    """One system call of a plan.

    Attributes:
        name: a key of names.SYSCALLS.
        args: up to six; strings and Structs are passed by address, Slots by what they hold.
        why: the reason, for the reader of a plan.
        save: the slot that takes the result.
        tolerate: errnos that are no failure, at most two. Then *skip* following calls are left out.
        skip: see *tolerate*.
    """

    __slots__ = ("args", "name", "save", "skip", "tolerate", "why")

    def __init__(
        self,
        name: str,
        *args: Argument,
        why: str = "",
        save: Slot | None = None,
        tolerate: tuple[int, ...] = (),
        skip: int = 0,
    ) -> None:
        self.name = name
        self.args = args
        self.why = why
        self.save = save
        self.tolerate = tolerate
        self.skip = skip

    def __repr__(self) -> str:
        """The call as strace would print it, with the slot that takes its result."""
        shown = ", ".join(_quote(arg) if isinstance(arg, (str, bytes)) else repr(arg) for arg in self.args)
        return f"{self.name}({shown})" + (f" → {self.save!r}" if self.save else "")


def _quote(text: str | bytes) -> str:
    if isinstance(text, bytes):
        text = text.decode(errors="backslashreplace")
    text = text if len(text) <= 256 else text[:256] + "…"
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\x1b", "\\x1b") + '"'
