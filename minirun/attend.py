"""The first line of the attendant: ``python attend.py SYS.PATH``, with its lock as descriptor 3 and its socket as 4.

Whoever starts a container that needs it starts it: see container/attendance.py.
"""

from __future__ import annotations

import os
import sys

# this file's directory is no place to import from; what found the modules of whoever started the container is
sys.path[:] = sys.argv[1].split(os.pathsep)


def main() -> None:
    """Answer for the names of containers until nobody needs that."""
    import minirun.attendant.process

    minirun.attendant.process.main(lock=3, listener=4)


if __name__ == "__main__":
    main()
