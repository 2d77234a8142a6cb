"""A network of the benchmark's own: what contestants do to the host's interfaces and rules they do in a namespace.

    unshare(CLONE_NEWNET) ─▶ loopback is up ─▶ … ─▶ setns: where we came from; what they have made is gone

Whatever is started within it is there, too. What CNI and iproute2 keep below /var/lib and /run is in memory meanwhile.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from pathlib import Path
from types import TracebackType

from bench.contest import Failure

CLONE_NEWNET = 0x40000000  # linux/sched.h
COVERED = ("/run/netns", "/var/lib/cni")
_libc = ctypes.CDLL(None, use_errno=True)


class Island:
    """That network, within the ``with``; mounts are already of our own: see scratch.py."""

    def __enter__(self) -> Island:
        """Make it, and go there.

        Raises:
            Failure: the kernel refuses.
        """
        self._before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        if _libc.unshare(CLONE_NEWNET):
            raise Failure("a network namespace could not be made")
        _do("ip", "link", "set", "lo", "up")
        for place in COVERED:
            if Path(place).is_dir():
                _do("mount", "-t", "tmpfs", "tmpfs", place)
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Go back."""
        for place in COVERED:
            if os.path.ismount(place):
                _do("umount", "--lazy", "--recursive", place)
        if _libc.setns(self._before, CLONE_NEWNET):
            raise Failure("the way back to the host's network is gone")
        os.close(self._before)


def _do(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failure(f"{words[0]}: {done.stderr.strip()}")
