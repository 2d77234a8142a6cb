"""Where the stub is missing, the interpreter itself executes a container's command; so it is made unwritable.

`#!/proc/self/exe` in an image then finds the host's interpreter, and what holds /proc/PID/exe open can write to it once
nobody executes it any more (CVE-2019-5736). Executed again through a read-only clone of its mount, it says EROFS.
"""

from __future__ import annotations

import os
import sys

from minirun.errors import MinirunError
from minirun.kernel.call import Call, Vector
from minirun.kernel.names import AT_EMPTY_PATH, MOUNT_ATTR_RDONLY
from minirun.launch import machine
from minirun.rootfs.attach import MOUNT, allow, clone

_EXECUTABLE = "/proc/self/exe"


def ensure() -> None:
    """Execute this command again, from its beginning, unless its interpreter is read-only already.

    To be called before anything is done: nothing but arguments and environment survives.

    Raises:
        MinirunError: the kernel refused.
    """
    if os.statvfs(_EXECUTABLE).f_flag & os.ST_RDONLY:
        return
    environment = Vector([f"{name}={value}" for name, value in os.environ.items()])
    plan = [
        clone(os.readlink(_EXECUTABLE), save=MOUNT, why="the interpreter"),
        allow(MOUNT, MOUNT_ATTR_RDONLY, why="unwritable for whoever finds it below /proc"),
        Call("execveat", MOUNT, "", Vector(sys.orig_argv), environment, AT_EMPTY_PATH),
    ]
    try:
        machine.run(plan)
    except OSError as error:
        raise MinirunError("execute the interpreter read-only", str(error), "compile the stub: `make setup`") from None
