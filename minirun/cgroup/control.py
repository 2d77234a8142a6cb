"""The control files of a cgroup: read, written, and a whole set of them written or none."""

from __future__ import annotations

import os
from errno import EINVAL, ENODEV, ENOENT, ERANGE

from minirun.errors import MinirunError, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    Setting = tuple[str, str, str]  # the flag that asks for it, the control file, what to write there


NO_LIMIT = "max"
_VALUE = "the kernel does not take this value: cgroup-v2.rst says which it takes"
_REMEDIES = {EINVAL: _VALUE, ERANGE: _VALUE, ENODEV: "the kernel limits whole disks only: `lsblk` lists them"}


def read(path: str, name: str) -> str:
    """What the file *name* of the group at *path* says.

    Raises:
        FileNotFoundError: the group is gone, or has no such file.
    """
    descriptor = os.open(f"{path}/{name}", os.O_RDONLY | os.O_CLOEXEC)
    parts = []
    try:
        while part := os.read(descriptor, 1 << 16):  # the kernel gives long lists a page at a time
            parts.append(part)
    except OSError as error:
        raise _gone(error, path, name) from None
    finally:
        os.close(descriptor)
    return b"".join(parts).decode()


def write(path: str, name: str, text: str) -> None:
    """Write *text* to the file *name* of the group at *path*.

    Raises:
        FileNotFoundError: the group is gone, or has no such file.
        OSError: the kernel does not take it.
    """
    # never O_CREAT: the kernel would say EACCES of a file that it has not got, instead of ENOENT
    descriptor = os.open(f"{path}/{name}", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    except OSError as error:
        raise _gone(error, path, name) from None
    finally:
        os.close(descriptor)


def _gone(error: OSError, path: str, name: str) -> OSError:
    """Make ENODEV, what a file says whose group was removed since it was opened, the ENOENT of the next open.

    The files of io say it, too, of what is no disk.
    """
    if error.errno != ENODEV or (name.startswith("io.") and os.path.exists(path)):
        return error
    return FileNotFoundError(ENOENT, os.strerror(ENOENT), f"{path}/{name}")


def apply(path: str, settings: Sequence[Setting]) -> None:
    """Write *settings* into the group at *path*; the first that the kernel refuses is the last that is tried.

    Raises:
        Unsupported: none of the files that a flag sets is there.
        MinirunError: the kernel refused a value.
        FileNotFoundError: the group is gone.
    """
    missing: dict[str, str] = {}
    held = set()
    for flag, name, text in settings:
        try:
            write(path, name, text)
        except FileNotFoundError:
            if not os.path.exists(path):
                raise
            if text != NO_LIMIT:  # what is not there limits nothing
                missing.setdefault(flag, name)
        except OSError as error:
            raise MinirunError(f"set {name} to {text!r}", error, _REMEDIES.get(error.errno or 0, "")) from None
        else:
            held.add(flag)
    for flag, name in missing.items():
        # memory.swap.max is missing where there is no swap, io.weight where there is bfq: one file is enough
        if flag not in held or flag == "cgroup-conf":
            raise Unsupported(f"use --{flag}", f"this kernel has no {name}", f"run without --{flag}")


def before(path: str, settings: Sequence[Setting]) -> list[str]:
    """What to give `restore` to have the files of *settings* as they are now: name, text, in turn."""
    found = []
    for _, name, text in settings:
        try:
            now = read(path, name).strip()
        except FileNotFoundError:
            continue
        if name == "io.max":
            device = text.partition(" ")[0]
            free = f"{device} rbps=max wbps=max riops=max wiops=max"
            now = next((line for line in now.split("\n") if line.startswith(f"{device} ")), free)
        found += [name, now or "\n"]  # an empty cpuset is the parent's
    return found


def restore(path: str, *pairs: str) -> None:
    """Write what `before` found. Idempotent, and done where the group is gone."""
    for name, text in zip(pairs[::2], pairs[1::2], strict=True):
        try:
            write(path, name, text)
        except FileNotFoundError:
            continue
