"""Examples of a document, taken out of its console blocks, run, and compared.

    ```console                                      differs from run to run, and counts as equal
    $ sudo minirun ps -a                            -------------------------------------------------------------
    CONTAINER ID   IMAGE     CREATED          …     ids: 12 to 64 hexadecimal digits
    3d5f0c9e1b42   busybox   2 seconds ago    …     times: 2 seconds ago, About a minute, 2026-11-22T06:27:59Z
    $ echo $?                                       sizes and what something took: 4.1kB, 210MB, 12.3 µs
    0                                               columns: two blanks and more are one
    ```

``…`` in a line of a document stands for any text; a line of ``…`` alone for any lines, or none. A reader types the
commands in rootfs-fixtures/out, and has the store that the text speaks of; a test has its own of both.
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path

from tests.command import LAUNCHER, Minirun

STORE, RUNTIME = "/var/lib/minirun", "/run/minirun"
OMISSION = "…"
OLDER = tuple(map(int, os.uname().release.split(".")[:2])) < (6, 8)
_VARYING = (
    (re.compile(r"\b[0-9a-f]{12,64}\b"), "ID"),
    (re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z| UTC)?"), "DATE"),
    (re.compile(r"(?:Less than a|About an?|\b\d+) (?:second|minute|hour|day|week|month|year)s?\b"), "TIME"),
    (re.compile(r"\b\d+(?:\.\d+)? ?[kMGT]?i?B\b"), "SIZE"),
    (re.compile(r"\b\d+(?:\.\d+)? µs"), "TOOK"),
    (re.compile(r"/sys/fs/cgroup/unified"), "/sys/fs/cgroup"),
    (re.compile(r" {2,}"), " "),
)


@dataclass(frozen=True, slots=True)
class Example:
    """A command, and what it prints."""

    line: int  # in the document
    command: str
    output: str


def examples(document: str) -> list[Example]:
    """Return the examples in the console blocks of *document*, in their order."""
    found = []
    inside, line, command, output = False, 0, "", ""
    for number, text in enumerate([*document.splitlines(), "```"], 1):
        if command and (text.startswith(("$ ", "```"))):
            found.append(Example(line, command, output))
            command = output = ""
        if text.startswith("```"):
            inside = text == "```console"
        elif inside and text.startswith("$ "):
            line, command = number, text[2:]
        elif inside:
            output += text + "\n"
    return found


def constant(text: str) -> str:
    """Replace what differs from run to run, in each line of *text*, by what does not."""
    lines = []
    for line in text.splitlines():
        for pattern, name in _VARYING:
            line = pattern.sub(name, line)  # noqa: PLW2901 - one pattern after the other
        lines.append(line.strip())
    return "".join(f"{line}\n" for line in lines)


def matches(shown: str, printed: str) -> bool:
    """Whether a document that shows *shown* is right about a command that printed *printed*."""
    pattern = ""
    for line in constant(shown).splitlines():
        if line == OMISSION:
            pattern += r"(?:[^\n]*\n)*?"
        else:
            pattern += "[^\n]*".join(map(re.escape, line.split(OMISSION))) + "\n"
    return re.fullmatch(pattern, constant(printed)) is not None


class Reader:
    """Somebody who types what a document shows.

    Args:
        minirun: with which store.
        directory: where; what the examples need is there.
    """

    def __init__(self, minirun: Minirun, directory: Path) -> None:
        self.minirun = minirun
        self.directory = directory
        self.status = 0
        commands = directory / ".bin"
        commands.mkdir()
        for name, words in (("sudo", '"$@"'), ("minirun", f'"{LAUNCHER}" "$@"')):
            (commands / name).write_text(f"#!/bin/sh\nexec {words}\n")
            (commands / name).chmod(0o755)
        self.path = f"{commands}:{os.environ['PATH']}"

    def type(self, command: str) -> str:
        """Run *command* in a shell; return what it prints, with the document's store in the place of ours."""
        own = ((STORE, str(self.minirun.root)), (RUNTIME, str(self.minirun.runtime)))
        for theirs, ours in own:
            command = command.replace(theirs, ours)
        script = f"(exit {self.status})\n{command}"
        result = subprocess.run(
            ["bash", "-c", script],
            cwd=self.directory,
            env={**self.minirun.environment({"MINIRUN_NETWORK": ""}), "PATH": self.path, "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            timeout=120,
            check=False,
        )
        self.status = result.returncode
        printed = result.stdout
        for theirs, ours in own:
            printed = printed.replace(ours, theirs)
        return printed

    def check(self, example: Example) -> str:
        """Run *example*; return what is wrong with it, or nothing."""
        printed = self.type(example.command)
        # the overlay is shown as Linux 6.8 and later mount it; before, --dry-run shows another way
        if matches(example.output, printed) or ("lowerdir+" in example.output and OLDER):
            return ""
        sides = constant(example.output).splitlines(), constant(printed).splitlines()
        difference = "\n".join(unified_diff(*sides, "shown", "printed", lineterm=""))
        return f"line {example.line}: $ {example.command}\n{difference}\n\nprinted:\n{printed}"
