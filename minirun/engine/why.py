"""`why`: why a container's process is told EPERM, EACCES or EROFS, and which flag has it otherwise.

    CONTAINER mount                ─▶ whycall.py: its filter, its capabilities
    CONTAINER /proc/sys/kernel/…   ─▶ whypath.py: a process of ours goes in and asks; its mounts, masks and devices

The first of the parts are the answer, the others what it comes of.
"""

from __future__ import annotations

from minirun.container import record as records
from minirun.container import state
from minirun.engine import open_home
from minirun.engine.explaining import Part
from minirun.errors import BadInput


def why(name: str, about: str, user: str | None) -> list[Part]:
    """Tell whether a container may do something, why not, and what lifts that.

    Args:
        name: of the container.
        about: a path, which has a slash in it or is ``.`` or ``..``; or else a system call.
        user: as whom, ``-u`` of `exec`; None for the container's own.

    Raises:
        NotFound: there is no such container.
        BadInput: there is no such call, or user.
        Conflict: a path, and it does not run.
    """
    if not about:
        raise BadInput(f"tell of {name}", "nothing was asked about", f"`minirun why {name} mount`, or a path")
    home = open_home()
    box = records.find(home, name)
    now = state.read(home, box)
    if "/" in about or about in (".", ".."):
        from minirun.engine import whypath

        return whypath.explain(home, box, now, about, user)
    from minirun.engine import whycall

    return whycall.explain(home, box, now, about, user)
