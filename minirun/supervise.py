"""The first line of the supervisor: ``python supervise.py SYS.PATH``, with its lock held by descriptor 3.

A keeper starts it (launch/keeper.c), which knows no more of Python than this command: see container/supervisor.py.
"""

from __future__ import annotations

import os
import sys

# this file's directory is no place to import from; what found the modules of whoever started the container is
sys.path[:] = sys.argv[1].split(os.pathsep)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.container.record import Record
    from minirun.home import Home


class Verbs:
    """What children of the supervisor do; they import the engine, and it does not."""

    @staticmethod
    def start_again(home: Home, container_id: str) -> None:
        """Start a container whose restart policy wants it, unless that has changed meanwhile."""
        from minirun.engine import background

        background.start_again(home, container_id)

    @staticmethod
    def remove(home: Home, box: Record) -> None:
        """Remove a container that ended and was made with --rm."""
        from minirun.engine import background

        background.remove(home, box)

    @staticmethod
    def check(home: Home, container_id: str) -> None:
        """Check the health of a container, write down what came of it, and do what is asked for then."""
        from minirun.engine import healthcheck

        healthcheck.check(home, container_id)

    @staticmethod
    def expire(home: Home, container_id: str) -> None:
        """Kill a container whose --timeout is over."""
        from minirun.container import deadline, record

        deadline.expire(home, record.read(home, container_id))


def main() -> None:
    """Look after containers until there are none."""
    from minirun import caller
    from minirun.container import supervisor

    if caller.ROOTLESS:
        from minirun.container import rootless
        from minirun.home import Home

        rootless.register(Home.of_environment().runtime, os.getpid())
    supervisor.main(lock=3, verbs=Verbs)


if __name__ == "__main__":
    main()
