"""The first line of the supervisor: ``python supervise.py SYS.PATH``, with its lock held by descriptor 3.

A keeper starts it (launch/keeper.c), which knows no more of Python than this command: see container/supervisor.py.
"""

import os
import sys

# this file's directory is no place to import from; what found the modules of whoever started the container is
sys.path[:] = sys.argv[1].split(os.pathsep)


def main() -> None:
    """Look after containers until there are none."""
    from minirun.container import supervisor

    supervisor.main(lock=3)


if __name__ == "__main__":
    main()
