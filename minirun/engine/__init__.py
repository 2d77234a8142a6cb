"""The verbs. Each reads like the path of the data: image, layer, root file system, cgroup, launch, container."""

from __future__ import annotations

import fcntl
import os
from errno import ENXIO

from minirun import journal
from minirun.errors import MinirunError
from minirun.home import Home


def open_home() -> Home:
    """The store of this command: made where it is missing, mended where somebody was killed.

    Raises:
        MinirunError: the store cannot be made, or an ordinary user cannot be root in a namespace of his own.
    """
    home = Home.of_environment()
    if os.geteuid() != 0:
        from minirun.container import rootless

        rootless.enter(home)
    try:
        home.create()
    except OSError as error:
        raise MinirunError(
            f"open the store {home.root}", error, "set MINIRUN_ROOT to a directory that can be written"
        ) from None
    journal.recover(home)
    if _is_unattended(home):
        from minirun.container import reviving

        if reviving.is_needed(home):
            reviving.revive(home)
    if _has_lost_attendant(home):
        from minirun.container import attendance

        attendance.revive(home)
    return home


def _is_unattended(home: Home) -> bool:
    """Whether there are containers in the background, and no supervisor."""
    try:
        if not os.listdir(f"{home.runtime}/containers"):
            return False
        os.close(os.open(home.supervisor_wake, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC))
    except FileNotFoundError:
        return False
    except OSError as error:
        return error.errno == ENXIO
    return False


def _has_lost_attendant(home: Home) -> bool:
    """Whether there was an attendant, and it has not ended by itself."""
    try:
        descriptor = os.open(home.attendant, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True
