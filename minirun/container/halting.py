"""Containers are stopped because the host goes down, and not because somebody wants them stopped.

    <runtime>/halting   flock: while somebody holds it, no restart policy starts what ends
    <runtime>/booted    the id of the boot in which those were started that start with the host

So they are found as they were, and start at the next boot. See engine/boot.py.
"""

from __future__ import annotations

import fcntl
import os

from minirun.kernel import files, process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.home import Home


def hold(home: Home) -> int:
    """Keep restart policies from starting what ends; closing the descriptor lets them."""
    return files.lock(f"{home.runtime}/halting", exclusive=True)


def under_way(home: Home) -> bool:
    """Whether somebody holds that."""
    try:
        descriptor = os.open(f"{home.runtime}/halting", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def is_booted(home: Home) -> bool:
    """Whether what starts with the host was started since it did."""
    try:
        with open(f"{home.runtime}/booted", encoding="ascii") as file:
            return file.read() == process.boot_id()
    except (FileNotFoundError, UnicodeDecodeError):
        return False


def mark_booted(home: Home) -> None:
    """Write down that it was, or need not be."""
    files.replace(f"{home.runtime}/booted", process.boot_id().encode(), durable=False)


def forget_boot(home: Home) -> None:
    """Have it started again by the next who asks. Idempotent."""
    files.remove(f"{home.runtime}/booted")
