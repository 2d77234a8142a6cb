"""Who runs minirun: root, or an ordinary user, who is root in a user namespace of his own and nowhere else.

                    root                      an ordinary user
    store           /var/lib/minirun          $XDG_DATA_HOME/minirun, or ~/.local/share/minirun
    runtime         /run/minirun              $XDG_RUNTIME_DIR/minirun, or /tmp/minirun-UID
    overlay says    trusted.overlay.*         user.overlay.*     see "userxattr" in overlayfs.rst

Told once, by one system call, when this is imported; what goes on in the namespace is told by MINIRUN_ROOTLESS, as
there everybody is 0. How he gets there: container/rootless.py.
"""

from __future__ import annotations

import os

VARIABLE = "MINIRUN_ROOTLESS"


def _uid() -> int:
    told = os.environ.get(VARIABLE, "")
    return os.geteuid() or (int(told) if told.isdecimal() else 0)


UID = _uid()  # the host's number of the user; 0 for root
ROOTLESS = UID != 0
OVERLAY = "user.overlay." if ROOTLESS else "trusted.overlay."  # the beginning of what overlayfs keeps in xattrs


def store() -> str:
    """Where an ordinary user's store is, unless MINIRUN_ROOT says otherwise."""
    data = os.environ.get("XDG_DATA_HOME", "")
    return f"{data if data.startswith('/') else os.path.expanduser('~/.local/share')}/minirun"


def runtime() -> str:
    """Where an ordinary user's runtime directory is, unless MINIRUN_RUNTIME says otherwise."""
    own = os.environ.get("XDG_RUNTIME_DIR", "")
    return f"{own}/minirun" if own.startswith("/") else f"/tmp/minirun-{UID}"  # noqa: S108 - rootless.py checks whose


def environment() -> dict[str, str]:
    """What a process of ours has to be told that knows only what it is given."""
    return {VARIABLE: str(UID)} if ROOTLESS else {}
