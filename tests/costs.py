"""What a command costs, counted and not timed: by strace, and by what Python has imported when it ends.

    strace -ff ─▶ a file a process ─┬─▶ calls     {system call: how often}, of all processes
                                    ├─▶ files     paths that were opened, numbers in them replaced by *
                                    ├─▶ clones    processes and threads
                                    ├─▶ written   bytes, to whatever it was
                                    └─▶ mounts    that were made or moved
    sys.modules at the end ────────────▶ modules

``python -m tests.costs`` prints tests/budget.toml as it would be today; read the difference before you keep it.
"""

from __future__ import annotations

import marshal
import re
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap
from typing import Any

from minirun import hot
from tests.command import LAUNCHER, Minirun
from tests.running import running

BUDGET = Path(__file__).with_name("budget.toml")
PROJECT = LAUNCHER.parents[2]
# what is measured → the command
COMMANDS: Mapping[str, Sequence[str]] = {
    "run": ("run", "--rm", "--network", "none", "busybox", "true"),
    "run-bridge": ("run", "--rm", "--network", "bridge", "busybox", "true"),
    "run-detached": ("run", "-d", "--rm", "--network", "none", "busybox", "true"),
    "exec": ("exec", "idle", "true"),
}
# how often they are called depends on who is quicker, and on the allocator
UNSTEADY = ("brk", "clock_nanosleep", "futex", "mmap", "mprotect", "munmap", "poll", "restart_syscall", "sched_yield")
_CLONES = ("clone", "clone3", "fork", "vfork")
_MOUNTS = ("fsmount", "mount", "move_mount", "open_tree")
_WRITES = ("pwrite64", "sendmsg", "sendto", "splice", "write", "writev")
_CALL = re.compile(r"^(\w+)\((.*)\)\s+= (-?\d+)", re.ASCII)
_OPENED = re.compile(r"^open(?:at2?)?$")
_PATH = re.compile(r'"((?:[^"\\]|\\.)*)"')
_VARIES = re.compile(
    r"(?<=builtin-)\S+|(?<=supervision-)\S+|[0-9a-f]{12,}|(?<=/proc/)\d+|(?<=names/)\w+|(?<=fd/)\d+|\d+(?=\.tmp)"
)
_AT_END = """
import os, sys
def end(code, end=os._exit):
    open({file!r}, "w").write(" ".join(sys.modules))
    end(code)
os._exit = end
sys.argv[:1] = [{launcher!r}]
exec(compile(open({launcher!r}).read(), {launcher!r}, "exec"))
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one command cost."""

    modules: frozenset[str]
    files: frozenset[str]
    calls: Mapping[str, int]
    clones: int
    written: int
    mounts: int

    def numbers(self) -> dict[str, int]:
        """What is held against the budget as a number."""
        steady = sum(count for name, count in self.calls.items() if name not in UNSTEADY)
        return {
            "modules": len(self.modules), "files": len(self.files), "syscalls": steady, "clones": self.clones,
            "bytes_written": self.written, "mounts": self.mounts,
        }  # fmt: skip


def measure(store: Minirun, name: str) -> Cost:
    """Run a command of COMMANDS twice: under strace, and with an eye on its modules."""
    with tempfile.TemporaryDirectory() as folder:
        prefix = Path(folder) / "strace"
        command: list[str | Path] = ["strace", "-ff", "-qq", "-s", "4096", "-e", "signal=none", "-o", prefix]
        _run(store, [*command, *store.command(COMMANDS[name])])
        lines = [line for file in sorted(Path(folder).iterdir()) for line in _calls(file)]
        listed = Path(folder) / "modules"
        shebang = LAUNCHER.read_text().splitlines()[0].removeprefix("#!").split()
        script = _AT_END.format(file=str(listed), launcher=str(LAUNCHER))
        _run(store, [*shebang, "-c", script, *COMMANDS[name]])
        modules = frozenset(listed.read_text().split())
    counts = Counter(call for call, _, _ in lines)
    opened = (found for call, words, result in lines if _OPENED.match(call) and result >= 0 for found in _path(words))
    return Cost(
        modules,
        frozenset(_general(path, store) for path in opened),
        dict(counts),
        sum(counts[call] for call in _CLONES),
        sum(_written(store, words, result) for call, words, result in lines if call in _WRITES),
        sum(counts[call] for call in _MOUNTS),
    )


def _run(store: Minirun, command: Sequence[str | Path]) -> None:
    subprocess.run(command, env=store.environment(None), stdin=subprocess.DEVNULL, capture_output=True,
                   check=True, timeout=60)  # fmt: skip


def _calls(file: Path) -> Iterator[tuple[str, str, int]]:
    """Each system call of one process: its name, its arguments, its result; execve and exit are no calls of ours."""
    for line in file.read_text(errors="replace").splitlines():
        if match := _CALL.match(line):
            yield match[1], match[2], int(match[3])


def _written(store: Minirun, words: str, result: int) -> int:
    """Bytes of a write, as if the store's directories had names of four letters."""
    longer = sum(words.count(str(place)) * (len(str(place)) - 4) for place in (store.root, store.runtime))
    return max(result - longer, 0)


def _path(words: str) -> Iterator[str]:
    if match := _PATH.search(words):
        yield match[1]


def _general(path: str, store: Minirun) -> str:
    """*path* as it is on other machines, and in other runs."""
    for place, word in ((store.root, "ROOT"), (store.runtime, "RUNTIME"), (PROJECT, "PROJECT")):
        path = path.replace(str(place), word)
    path = re.sub(r"^/sys/fs/cgroup/(?:unified/)?", "CGROUP/", path)
    return _VARIES.sub("*", re.sub(r"cpython-\d+[\w-]*", "cpython", path))


def is_bundle_fresh() -> bool:
    """Whether a start reads its modules from one file: otherwise it does, and so costs, something else."""
    try:
        _, entries = marshal.loads(Path(hot.path()).read_bytes())
    except FileNotFoundError:
        return False
    now = ((Path(source).stat(), mtime_ns, size) for _, source, mtime_ns, size, _ in entries.values())
    return all((status.st_mtime_ns, status.st_size) == (mtime_ns, size) for status, mtime_ns, size in now)


@contextmanager
def ready(store: Minirun) -> Iterator[None]:
    """Have done what only the first start of a boot does, and a container `idle` and a supervisor there."""
    for name in ("run", "run-bridge"):
        store(*COMMANDS[name], check=True)
    store("run", "-d", "--name", "resident", "busybox", "sleep", "1000", check=True)
    try:
        with running(store, "idle", "sleep", "1000"):
            yield
    finally:
        store("rm", "-f", "resident", check=True)


def budget() -> dict[str, dict[str, Any]]:
    """The numbers that are kept; names are sets."""
    kept = tomllib.loads(BUDGET.read_text())
    for entry in kept.values():
        for name in ("imports", "opens"):
            entry[name] = set(entry[name].split())
    return kept


def written(costs: Mapping[str, Cost]) -> str:
    """*costs* as BUDGET has them."""
    parts = [_HEAD]
    for name, cost in costs.items():
        lines = [f"[{name}]  # minirun {' '.join(COMMANDS[name])}"]
        lines += [f"{what} = {number}" for what, number in cost.numbers().items()]
        for what, names in (("imports", cost.modules), ("opens", cost.files)):
            wrapped = wrap(" ".join(sorted(names)), 116, break_long_words=False, break_on_hyphens=False)
            lines += [f"{what} = '''", *wrapped, "'''"]
        counts = [f"{call} = {count}" for call, count in sorted(cost.calls.items()) if call not in UNSTEADY]
        lines += [f"[{name}.calls]", *counts]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


_HEAD = """\
# What a start may cost: tests/integration/test_budget.py holds every start against this, with a small margin.
# Counted by strace and from sys.modules, never timed. It was measured with Python 3.11 on Linux 6.18; another
# interpreter opens other files before the first line of ours. Names are here so that a failure can say what is new.
# `sudo .venv/bin/python -m tests.costs` prints this file as it would be today.
"""


def main() -> None:
    """Print the budget as it would be."""
    from tests.conftest import built

    if not is_bundle_fresh():
        sys.exit("a source is newer than the bundle that a start reads: `sudo make setup`")
    with tempfile.TemporaryDirectory() as folder:
        store = Minirun(Path(folder) / "root", Path(folder) / "runtime")
        store("import", built("busybox-layers"), "busybox", check=True)
        with ready(store):
            print(written({name: measure(store, name) for name in COMMANDS}), end="")  # noqa: T201 - asked for


if __name__ == "__main__":
    main()
