"""Probes of minirun itself: who runs it, by what, what of it was compiled, and where it keeps what it stores."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

from minirun.engine.finding import DEGRADED, MISSING, OK, Finding, Patient
from minirun.engine.system import NEEDED
from minirun.errors import REMEDIES, describe
from minirun.launch import ending, machine

_NO_ROOM_BYTES, _LITTLE_ROOM_BYTES = 64 << 20, 1 << 30
_FEW_FILES = 20_000  # a small Debian has 10,000
_SETUP = "in the checkout: `sudo make setup`"


def privileges(_patient: Patient) -> Iterator[Finding]:
    """Root, and the capabilities that a sandbox around us may have taken away."""
    from minirun.kernel import privileges as held

    lacking = held.missing(NEEDED)
    if lacking:
        yield Finding(
            "capabilities", DEGRADED, f"without {' '.join(lacking)}: what needs them is refused by the kernel",
            "give them to whatever minirun runs in: `docker run --privileged`, CapabilityBoundingSet= of a unit",
        )  # fmt: skip
    else:
        yield Finding("capabilities", OK, f"root, with all {len(NEEDED)} that are used")


def python(_patient: Patient) -> Iterator[Finding]:
    """The interpreter, and how the launcher starts it."""
    name = f"Python {sys.version.split()[0]} at {sys.executable}"
    if not (sys.flags.isolated and sys.flags.no_site):
        yield Finding("python", DEGRADED, f"{name}, not by the launcher: each start takes longer", _SETUP)
    elif not any(getattr(finder, "__module__", "") == "minirun.hot" for finder in sys.meta_path):
        yield Finding(
            "python",
            DEGRADED,
            f"{name}; the modules of `run` are looked for one by one, and each start takes "
            f"longer: minirun/hot.*.bin is missing, or older than a source",
            _SETUP,
        )
    else:
        yield Finding("python", OK, name)


def compiled(_patient: Patient) -> Iterator[Finding]:
    """The two pieces of C."""
    remedy = f"`apt-get install gcc python3-dev`, and {_SETUP}"
    if machine.compiled():
        yield Finding("C extension", OK, "plans run in a child that shares our memory")
    else:
        yield Finding(
            "C extension", DEGRADED, "not compiled: plans run by fork and ctypes, and starts take longer", remedy
        )
    if ending.stub():
        yield Finding("stub", OK, ending.stub())
    else:
        yield Finding("stub", DEGRADED, "not compiled: --init is refused, and commands are found less well", remedy)


def store(patient: Patient) -> Iterator[Finding]:
    """Whether the store can be written, and how much goes in."""
    root = patient.home.root
    try:
        patient.home.create()
        descriptor = os.open(patient.home.folder("tmp"), os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        os.close(descriptor)
    except OSError as error:
        yield Finding(
            "store", MISSING, describe(error),
            REMEDIES.get(error.errno or 0, "let MINIRUN_ROOT name a directory on a disk of this host"),
        )  # fmt: skip
        return
    room = os.statvfs(root)
    free = room.f_bavail * room.f_frsize
    text = f"{free / 2**30:.1f} GiB free at {root}"
    remedy = "`minirun gc`, `minirun rm` and `minirun rmi` free some; MINIRUN_ROOT puts it elsewhere"
    if free < _NO_ROOM_BYTES:
        yield Finding("store", MISSING, f"{free >> 20} MiB free at {root}: no image fits", remedy)
    elif free < _LITTLE_ROOM_BYTES:
        yield Finding("store", DEGRADED, f"{text}: a large image does not fit", remedy)
    elif room.f_files > 0 and room.f_favail < _FEW_FILES:
        yield Finding("store", DEGRADED, f"{text}, but only {room.f_favail} files: an image has more", remedy)
    else:
        yield Finding("store", OK, text)
