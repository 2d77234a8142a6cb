"""What a container is told about a path: asked in there by container/asking.py, and what that comes of.

answer    read write execute make      EROFS   the mount, or its mask          --security-opt unmask=, -v without ro …
                                       EACCES  owner and mode, noexec, nodev   -u, --cap-add DAC_OVERRIDE, --device
                                       EPERM   the device filter, the kernel   --device, --device-cgroup-rule
facts     mount, file, layer, link, profile, user
"""

from __future__ import annotations

import os
from errno import EACCES, ENOENT, EPERM, EROFS, errorcode
from stat import S_IMODE, S_ISBLK, S_ISCHR, S_ISDIR, S_ISREG, filemode

from minirun import caller
from minirun.container import asking
from minirun.container.firstprocess import FirstProcess
from minirun.engine import execution, whymount
from minirun.engine.explaining import ALLOWED, Part
from minirun.errors import Conflict
from minirun.kernel.names import AT_FDCWD, O_RDONLY, O_WRONLY
from minirun.layer import stack as layers
from minirun.security import capabilities, seccompreasons, seccomprun, seccomptree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from minirun.container.asking import Asked
    from minirun.container.record import Record
    from minirun.container.state import State
    from minirun.home import Home
    from minirun.launch.enter import Entry
    from minirun.security.seccomp import Filter

_OPENAT, _EXECVE = 257, 59  # asm/unistd_64.h
_BITS = {"read": 4, "write": 2, "execute": 1, "make": 2}
_TAKES = {"/proc/kmsg": "SYSLOG"}  # files that take a capability to open
_OVERFLOW = 65534  # who has no number in a user namespace: see user_namespaces(7)
_OVERRIDE = 1 << capabilities.NAMES.index("DAC_OVERRIDE")
_PTRACE = 1 << capabilities.NAMES.index("SYS_PTRACE")


def explain(home: Home, box: Record, now: State, path: str, user: str | None) -> list[Part]:
    """Tell what becomes of reading, writing and executing a path, then what it is.

    Raises:
        Conflict: the container does not run, or is paused.
        BadInput: it has no such user.
    """
    attempt = f"ask in container {box.name}"
    if now.status == "paused":
        raise Conflict(attempt, "it is paused", f"`minirun unpause {box.name}` lets it go on")
    if not now.alive:
        raise Conflict(attempt, "it does not run", f"`minirun start {box.name}`; of system calls it can be told always")
    first = FirstProcess.open(box, now)
    try:
        entry = execution.entry(home, box, now, first, {} if user is None else {"user": user}, (), ())
        found = entry.seccomp
        entry.seccomp, entry.labels, entry.stub = None, (), ""  # they come with an exec
        place = os.path.join(box.options["cwd"], path)
        asked = asking.ask(entry, now.cgroup, _of_first(now, place), hidden=bool(entry.capabilities & _PTRACE))
    finally:
        first.close()
    told = _Told(box, asked, entry, found, path)
    return [*told.answers(), *told.facts(home)]


def _of_first(now: State, path: str) -> str:
    """The path of the first process's directory in place of /proc/self, which would be that of who asks."""
    if path != "/proc/self" and not path.startswith("/proc/self/"):
        return path
    with open(f"/proc/{now.pid}/status", encoding="ascii", errors="replace") as file:
        number = next(line.split()[-1] for line in file if line.startswith("NSpid:"))
    return f"/proc/{number}{path.removeprefix('/proc/self')}"


class _Told:
    """What the kernel said, with all that explains it."""

    def __init__(self, box: Record, asked: Asked, entry: Entry, found: Filter | None, path: str) -> None:
        self._options: dict[str, Any] = box.options
        self._box = box
        self._asked = asked
        self._entry = entry
        self._filter = found
        self._path = path
        self._is_device = S_ISCHR(asked.mode) or S_ISBLK(asked.mode)

    def answers(self) -> Iterator[Part]:
        """Reading, writing and executing it; or that it is not there, or cannot be come to."""
        asked = self._asked
        if asked.failed:
            yield self._not_found()
        mask = whymount.hidden(self._options, asked.mount) if asked.mount and not asked.failed else None
        for name in ("read", "write", "execute", "make"):
            if name not in asked.answers or self._is_pointless(name):
                continue
            if mask and name == "read":
                yield Part("path", name, "hidden", f"what is there is empty: {mask[0]}", mask[1])
                continue
            state, why, change = self._answer(name)
            yield Part("path", name, state, why, change)

    def _is_pointless(self, name: str) -> bool:
        """Whether nobody would ask: nobody executes a device, and nobody makes files where the kernel makes them up."""
        if name == "execute":
            return not (S_ISREG(self._asked.mode) or S_ISDIR(self._asked.mode))
        return name == "make" and self._asked.mount is not None and self._asked.mount.kind in ("proc", "sysfs")

    def _not_found(self) -> Part:
        asked = self._asked
        if asked.failed == ENOENT:
            return Part("path", self._path, "missing", f"there is nothing of that name in {asked.at}")
        state = f"denied: {errorcode.get(asked.failed, asked.failed)}"
        if asked.failed == EACCES:
            return Part("path", self._path, state, *self._by_mode("execute", f"{asked.at} cannot be entered: "))
        return Part("path", self._path, state, f"{os.strerror(asked.failed).lower()}, beyond {asked.at}")

    def _answer(self, name: str) -> tuple[str, str, str]:
        asked, mount = self._asked, self._asked.mount
        if (by_filter := self._by_filter(name)) is not None:
            return by_filter
        if mount and self._is_device and "nodev" in mount.options:
            return f"denied: {errorcode[EACCES]}", *whymount.no_devices(self._options, mount, self._number())
        error = asked.answers[name]
        if error and mount and "ro" in mount.options and S_ISDIR(asked.mode) and not asked.answers.get("execute"):
            # whoever makes a name in a directory is told so before its mode is looked at
            error = EROFS if name in ("write", "make") else error
        if not error and name in ("read", "write") and (more := asked.answers.get("open", 0)):
            needed = _TAKES.get(asked.at, "")
            why = "its mode allows it, but the kernel looks at more" + (f": it asks for {needed}" if needed else "")
            return f"denied: {errorcode.get(more, more)}", why, f"--cap-add {needed}" if needed else ""
        if not error:
            return ALLOWED, self._allowed(name), ""
        return f"denied: {errorcode.get(error, error)}", *self._denied(name, error)

    def _by_filter(self, name: str) -> tuple[str, str, str] | None:
        """What its filter says of the call that this takes, if not that it is allowed."""
        if self._filter is None:
            return None
        flags = O_RDONLY if name == "read" else O_WRONLY
        call, arguments = (_EXECVE, ()) if name == "execute" else (_OPENAT, (AT_FDCWD & (1 << 64) - 1, None, flags))
        program = seccomptree.decode(self._filter.program)
        said = {
            seccompreasons.state(one)
            for one in seccomprun.answers(program, seccomprun.ARCH_X86_64, call, arguments)
        }  # fmt: skip
        if any(one.startswith(ALLOWED) for one in said):
            return None
        calls = "execve" if name == "execute" else "openat"
        return said.pop(), f"its filter has no {calls}", f"--security-opt seccomp=FILE, with {calls}"

    def _denied(self, name: str, error: int) -> tuple[str, str]:
        asked, mount = self._asked, self._asked.mount
        if error == EROFS and mount:
            return whymount.read_only(self._options, mount)
        if error == EPERM and self._is_device:
            access = "r" if name == "read" else "w"
            return (
                "its device filter has not got it",
                f"--device {asked.at}, or --device-cgroup-rule '{self._number()} {access}'",
            )
        if error == EPERM and name in ("write", "make"):
            return "it is marked as not to be changed, whoever asks", "chattr -i, by the host's root"
        if error == EACCES:
            if name == "execute" and mount and S_ISREG(asked.mode) and "noexec" in mount.options and self._executes():
                return whymount.no_programs(mount)
            return self._by_mode(name, "")
        return os.strerror(error).lower(), ""

    def _executes(self) -> bool:
        """Whether it has an x bit for who asks."""
        bits = S_IMODE(self._asked.mode)
        return bool(bits & 0o111) if self._has_override() else bool(bits >> self._class()[1] & 1)

    def _has_override(self) -> bool:
        return not self._entry.user.uid and bool(self._entry.capabilities & _OVERRIDE)

    def _class(self) -> tuple[str, int]:
        """Whose bits of the mode count, and how far they are shifted."""
        asked, who = self._asked, self._entry.user
        if who.uid == asked.uid:
            return "its owner", 6
        return ("its group", 3) if asked.gid in (who.gid, *who.groups) else ("who is neither", 0)

    def _by_mode(self, name: str, begin: str) -> tuple[str, str]:
        """Why owner and mode deny, and what would not be denied."""
        asked, who = self._asked, self._entry.user
        mode, (whose, shift), bit = S_IMODE(asked.mode), self._class(), _BITS[name]
        letter = {4: "r", 2: "w", 1: "x"}[bit]
        described = f"{begin}it is {asked.uid}:{asked.gid}'s, {filemode(asked.mode)}"
        if name == "execute" and S_ISREG(asked.mode) and not mode & 0o111:
            return f"{described}: no x at all, so nobody executes it", "chmod +x"
        is_mapped = "userns" in self._options or caller.ROOTLESS
        if is_mapped and _OVERFLOW in (asked.uid, asked.gid) and who.uid != asked.uid:
            own = self._options.get("userns")
            reason = "that is nobody of its user namespace, whose root has no power over it"
            return f"{described}: {reason}", f"without --userns {own['mode']}" if own else "sudo minirun"
        if mode >> shift & bit:
            return f"{described}: that allows it, and something else does not", ""
        changes = [f"-u {asked.uid}"] if mode >> 6 & bit and who.uid != asked.uid else []
        if mode >> 3 & bit and asked.gid not in (who.gid, *who.groups):
            changes.append(f"--group-add {asked.gid}")
        if not self._entry.capabilities & _OVERRIDE:
            changes.append("--cap-add DAC_OVERRIDE" if not who.uid else "")
        elif who.uid and asked.uid:
            changes.append("-u 0")
        return f"{described}: {whose} has no {letter}", ", ".join(filter(None, changes))

    def _allowed(self, name: str) -> str:
        """Why it is not denied, where that is no matter of its mode."""
        mode, shift = S_IMODE(self._asked.mode), self._class()[1]
        if mode >> shift & _BITS[name]:
            return "by its mode"
        return "by DAC_OVERRIDE, whatever its mode is" if self._has_override() else "by the kernel"

    def _number(self) -> str:
        device = self._asked.device
        return f"{'b' if S_ISBLK(self._asked.mode) else 'c'} {os.major(device)}:{os.minor(device)}"

    def facts(self, home: Home) -> Iterator[Part]:
        """What it is, on which mount, and who asks."""
        asked, who, mount = self._asked, self._entry.user, self._asked.mount
        if asked.target:
            yield Part("fact", "link", f"→ {asked.target}", f"it leads to {asked.at}" if not asked.failed else "")
        kind = "directory" if S_ISDIR(asked.mode) else f"device {self._number()}" if self._is_device else "file"
        yield Part("fact", kind, f"{filemode(asked.mode)} {asked.uid}:{asked.gid}", asked.at)
        if mount:
            meaning, change = whymount.source(self._options, mount)
            yield Part("fact", "mount", f"{mount.point}: {','.join(mount.options)}", meaning, change)
            if mount.point == "/" and not asked.failed:
                yield from self._layer(home)
        root = "" if not who.uid else ", without any capability"
        groups = f" groups {','.join(map(str, who.groups))}" if who.groups else ""
        yield Part("fact", "user", f"{who.uid}:{who.gid}", f"who asks{root}{groups and ',' + groups}", "-u USER")
        if profile := self._options.get("security", {}).get("apparmor"):
            meaning = "decides as well; it comes with an exec, and so was not asked"
            yield Part("fact", "AppArmor", profile, meaning, "without --security-opt apparmor=…")

    def _layer(self, home: Home) -> Iterator[Part]:
        """Which layer a file of the root is of; of a directory several are."""
        stack = [home.diff(name) for name in self._box.stack]
        upper = f"{home.container(self._box.id)}/upper"
        found = layers.find([*stack, upper], self._asked.at)
        if found is None or S_ISDIR(self._asked.mode):
            return
        if found.path.startswith(f"{upper}/"):
            yield Part("fact", "layer", "its own", "the container wrote it, or changed it")
            return
        place = next((place for place, below in enumerate(stack, 1) if found.path.startswith(f"{below}/")), 0)
        meaning = "of the image: written to, it is copied into the container's own first"
        yield Part("fact", "layer", f"{place} of {len(stack)}", meaning)
