"""The processes of a container, as the host's `ps` shows them.

    ps -ef -q 71,74        ps itself looks at these only: whatever its columns are, each row is the container's
    ps -ef --forest        options that ps does not take together with -q: it shows all that they ask for, and of that
    UID    PID  PPID  …    the rows are kept whose PID is one of the container's
            └ above the number's end; where a wide cell moved that, the number is in the column of the same count

See ps(1); `docker top` does the same.
"""

from __future__ import annotations

import os
import re
import subprocess

from minirun import events
from minirun.cgroup import group
from minirun.container import record as records
from minirun.container import state
from minirun.engine import open_home
from minirun.errors import BadInput, Conflict, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

DEFAULT = ("-ef",)
# What ps heeds of an environment; a PS_FORMAT or PS_PERSONALITY of the user's would change what the options mean.
_KEPT = ("PATH", "TZ")
_PID = re.compile(r"(?<!\S)PID(?!\S)")
_RENAMED = re.compile(r"\b(?!pid=)(\w+)=\s*PID\b")  # -o ppid=PID: another column under that title
_WORD_BYTES = 100_000  # of an argument; execve(2) takes 128 KiB


def top(name: str, options: Sequence[str] = DEFAULT) -> list[str]:
    """The lines that `ps` with *options* has for a container, the title first.

    Args:
        name: the container's name, id or the beginning of its id.
        options: of ps; one alone with blanks in it is several, as it is for Docker.

    Raises:
        NotFound, Conflict: no container, or several, are meant; or it does not run.
        BadInput: ps does not take the options, or shows no PIDs with them.
        Unsupported: there is no ps.
    """
    home = open_home()
    box = records.find(home, name)
    now = state.read(home, box)
    pids = group.processes(now.cgroup) if now.alive else []
    if not pids:
        raise Conflict(
            f"show the processes of container {box.name}", "it is not running", "`minirun ps` lists those that are"
        )
    events.emit(home, "container", "top", box.id, box.told())
    words = options[0].split() if len(options) == 1 else list(options)
    attempt = f"show the processes of container {box.name} by `{' '.join(['ps', *words])}`"
    if renamed := next(filter(None, map(_RENAMED.search, words)), None):
        raise BadInput(attempt, f"it calls {renamed[1]} PID, by which rows are found", "give it another title")
    quick = f"-q{','.join(map(str, pids))}"
    if len(quick) < _WORD_BYTES and (shown := _ps(attempt, [*words, quick])).returncode == 0:
        lines = shown.stdout.splitlines()
        _pid_column(attempt, lines)
        return lines
    shown = _ps(attempt, words)
    said = [line.strip() for line in shown.stderr.splitlines() if line.strip()]
    if not shown.stdout:
        said = said or [f"it ended with {shown.returncode}, and without a word"]
    if shown.returncode != 0 and said:  # 1, a title and no complaint: no process is what was asked for
        raise BadInput(attempt, f"ps does not take that: {said[0]}", "`ps --help all` lists its options")
    lines = shown.stdout.splitlines()
    return [lines[0], *_rows(lines[1:], _pid_column(attempt, lines), set(pids))]


def _ps(attempt: str, words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    # C.UTF-8: titles and dates as the documents have them, and arguments with the letters that they have
    environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
    try:
        return subprocess.run(
            ["ps", *words],
            env={**environment, "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            check=False,
        )
    except FileNotFoundError:
        raise Unsupported(attempt, "this host has no ps", "install it: `apt install procps`") from None


def _pid_column(attempt: str, lines: Sequence[str]) -> tuple[int, int]:
    """Where the title has PID: which column it is, and where that ends."""
    title = lines[0] if lines else ""
    found = _PID.search(title)
    if not found:
        raise BadInput(attempt, "it shows no column PID, by which rows are found", "add it: `-o pid,…`")
    return len(title[: found.start()].split()), found.end()


def _rows(lines: Sequence[str], column: tuple[int, int], pids: Collection[int]) -> Iterator[str]:
    ours = False
    for line in lines:
        text = _pid(line, *column)
        # m and -m show threads in rows without a PID, after that of their process
        ours = ours if text == "-" else text.isdigit() and int(text) in pids
        if ours:
            yield line


def _pid(line: str, number: int, end: int) -> str:
    """The PID in a row; empty if there is none."""
    cell = line[:end].split()[-1:] if line[end : end + 1] in ("", " ") else []
    if cell and line[:end].endswith(cell[0]) and (cell[0].isdigit() or cell[0] == "-"):
        return cell[0]
    words = line.split()
    return words[number] if number < len(words) and (words[number].isdigit() or words[number] == "-") else ""
