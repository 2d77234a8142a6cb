"""Run one command of minirun many times, some at a time: `python -m tests.vm.burst TIMES AT_ONCE run --rm IMAGE true`.

Each run is a fork of this process, which has imported everything already: where starting Python takes a second, 200
starts would take minutes, and it is not Python that is tested. Prints how many groups there were more than before, at
most, and how many runs failed.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from minirun import __main__ as command
from minirun.cgroup import hierarchy
from minirun.cli import fast
from minirun.container import place
from minirun.engine import run
from minirun.kernel import descent, tree

IMPORTED = (fast, run, place, descent, tree)  # what `run` imports when it begins, when there are limits, and at its end


def main() -> None:
    """Do what the command line says."""
    times, at_once, arguments = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    before = groups()
    most = failed = running = 0
    for _ in range(times):
        if running == at_once:
            failed += os.wait()[1] != 0
            running -= 1
        if os.fork() == 0:
            sys.argv[1:] = arguments
            command.main()
        running += 1
        most = max(most, groups() - before)
    for _ in range(running):
        failed += os.wait()[1] != 0
    sys.stdout.write(f"{most} {failed}\n")


def groups() -> int:
    """How many groups there are in the whole tree: ``nr_descendants 12``."""
    return int((Path(hierarchy.mount_point()) / "cgroup.stat").read_text().split()[1])


if __name__ == "__main__":
    main()
