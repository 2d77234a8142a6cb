"""The first line of the attendant: ``python attend.py SYS.PATH``, with its lock as descriptor 3 and its socket as 4.

Whoever starts a container that needs it starts it: see container/attendance.py.
"""

from __future__ import annotations

import os
import sys

# this file's directory is no place to import from; what found the modules of whoever started the container is
sys.path[:] = sys.argv[1].split(os.pathsep)


_LOG_BYTES = 1 << 20


def main() -> None:
    """Answer for the names of containers until nobody needs that."""
    from minirun.home import Home

    home = Home.of_environment()
    # first: that a library is not there is to be read somewhere, too
    log = os.open(f"{home.runtime}/attendant.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if os.fstat(log).st_size > _LOG_BYTES:
        os.ftruncate(log, 0)
    os.dup2(log, 2)
    os.close(log)
    import minirun.attendant.process

    minirun.attendant.process.main(home, lock=3, listener=4)


if __name__ == "__main__":
    main()
