"""run, create and start: a container comes into being, and its command runs."""

from __future__ import annotations

import fcntl
import os
import time

from minirun import events, journal
from minirun.cgroup import group
from minirun.container import create as creation
from minirun.container import options, start, state
from minirun.container import record as records
from minirun.engine import open_home
from minirun.errors import Attempt, BadInput, Conflict, MinirunError, NotFound
from minirun.image import find as images
from minirun.journal import Operation
from minirun.kernel import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from minirun.container.record import Record
    from minirun.home import Home
    from minirun.image.source import Progress, Warn
    from minirun.image.store import Image

    Trace = list[tuple[str, float]]
    # brings the image of a name here from its registry; told whether that is because it is missing
    Fetch = Callable[[str, bool], object]

_NATIVE = (("amd64", "x86_64"), ("arm64", "aarch64"))  # as OCI and as uname(2) call it; others take a longer look


def run(
    flags: Mapping[str, Any],
    image_name: str,
    command: Sequence[str],
    progress: Progress | None = None,
    warn: Warn | None = None,
    fetch: Fetch | None = None,
) -> int:
    """Make a container and run its command to the end, as `docker run` does.

    A container whose command could not begin leaves nothing behind.

    Args:
        flags: by long name, as cli/flags.py has them.
        image_name: a stored image, or a directory.
        command: replaces the image's Cmd, if it is not empty.
        progress: told of what is unpacked: see image/source.py.
        warn: told what was left out of a layer.
        fetch: brings an image here, where --pull wants that; without it only what is stored can be run.

    Returns:
        The command's exit code.

    Raises:
        MinirunError: anything that kept it from running.
    """
    protect_interpreter()
    if flags.get("tty") and flags.get("interactive") and not os.isatty(0):
        raise BadInput("use -it", "the input device is not a TTY", "leave -t out, or run it from a terminal or with -d")
    home = open_home()
    if flags.get("dry-run"):
        return _dry_run(home, flags, image_name, command)
    trace: Trace | None = [] if flags.get("trace") else None
    with Attempt(f"run {image_name}"), Operation(home) as operation:
        box = make(home, operation, flags, image_name, command, trace, progress, warn, fetch)
        lock = records.hold(home, box)
        try:
            code = _run(home, box, operation, lock, flags, stdin=box.options["stdin"], trace=trace, warn=warn)
        except BaseException:
            events.emit(home, "container", "destroy", box.id, box.told())
            raise
    if trace is not None:
        from minirun.container.report import print_trace

        print_trace(trace)
    return code


def start_attached(name: str, flags: Mapping[str, Any], *, stdin: bool) -> int:
    """Run the command of a container that was created, or has ended, to its end.

    Args:
        name: the container's name, id or the beginning of its id.
        flags: detach-keys and sig-proxy, where they are given.
        stdin: whether the command may read our descriptor 0; it must have been created with -i as well.

    Returns:
        The command's exit code.

    Raises:
        NotFound, Conflict: there is no such container, or it runs.
    """
    protect_interpreter()
    home = open_home()
    box, lock = records.find_and_hold(home, name)
    with Attempt(f"start container {box.name}"), Operation(home) as operation:
        from minirun.engine import background

        before = background.settled(home, box, lock)
        if before.alive:
            raise Conflict(f"start container {box.name}", f"it is {before.status}")
        return _run(home, box, operation, lock, flags, stdin=stdin and box.options["stdin"], before=before)


def _run(
    home: Home,
    box: Record,
    operation: Operation,
    lock: int,
    flags: Mapping[str, Any],
    *,
    stdin: bool,
    before: state.State | None = None,
    trace: Trace | None = None,
    warn: Warn | None = None,
) -> int:
    if not box.remove or box.options["tty"] or "health" in box.options:
        # what is to be known of it afterwards, or looked after meanwhile, or can be left and come back to, has a keeper
        from minirun.engine import background

        return background.stay(home, box, operation, lock, flags, stdin=stdin, before=before, trace=trace, warn=warn)
    cgroup = start.cgroup(box.id, box.options)
    if before is not None:
        operation.will("settle", home.root, box.id, cgroup)
    operation.carry_out(start.steps(home, box, cgroup), trace)
    running = start.launch(home, box, cgroup, stdin=stdin, trace=trace)
    now = state.running(home, box, before or state.State(), running.process.pid, cgroup)
    state.tell_volumes(home, box, "mount")
    events.emit(home, "container", "start", box.id, box.told())
    # Our end is not the container's: it goes on, and whoever finds it ended later on tidies up.
    undos = start.undos_while_running(home, box, cgroup)
    operation.restart([*undos, ["tell_gone", home.root, box.id]])
    operation.undos = undos  # we tell of its end ourselves
    os.close(lock)
    # what removes it, imported while the command runs and not after
    from minirun.kernel import tree  # noqa: F401

    if "timeout" in box.options:
        from minirun.container import deadline

        deadline.guard(home, box, now, running.process.pidfd)
    code = running.wait()
    _tell_end(home, box, now, code)
    try:
        operation.undo()
        events.emit(home, "container", "destroy", box.id, box.told())
    except (OSError, MinirunError) as error:
        # The command ran, and its exit code is what there is to know.
        operation.leave()
        if warn:
            warn(f"what is left of container {box.name} waits for the next command: {error}")
    return code


def _tell_end(home: Home, box: Record, now: state.State, code: int) -> None:
    if code == 137 and group.oom_kills(now.cgroup):
        events.emit(home, "container", "oom", box.id, box.told())
    lasted_s = int(time.time() - now.started)
    events.emit(home, "container", "die", box.id, box.told(execDuration=str(lasted_s), exitCode=str(code)))
    state.tell_volumes(home, box, "unmount")


def protect_interpreter() -> None:
    """Have no container write to this interpreter, where no stub keeps it out of sight."""
    if not start.stub():
        from minirun.launch import unwritable

        unwritable.ensure()


def create(
    flags: Mapping[str, Any],
    image_name: str,
    command: Sequence[str],
    progress: Progress | None = None,
    warn: Warn | None = None,
    fetch: Fetch | None = None,
) -> str:
    """Make a container that does not run yet; the arguments are those of `run`.

    Returns:
        Its id.
    """
    home = open_home()
    with Attempt(f"create a container of {image_name}"), Operation(home) as operation:
        return make(home, operation, flags, image_name, command, None, progress, warn, fetch).id


def make(
    home: Home,
    operation: Operation,
    flags: Mapping[str, Any],
    image_name: str,
    command: Sequence[str],
    trace: Trace | None,
    progress: Progress | None,
    warn: Warn | None,
    fetch: Fetch | None,
) -> Record:
    """Put a container on disk that does not run yet; the arguments are those of `run`, and what it is part of."""
    # held until the record names the image: from then on it is in use, and nobody deletes it
    lock = files.lock(home.lock, exclusive=False)
    try:
        wanted = _read(flags)
        image = _find(home, image_name, flags.get("pull") or "missing", lock, progress, warn, fetch)
        _check_platform(image, image_name, flags, warn)
        box = _describe(image, image_name, command, wanted, flags)
        volumes = _hold_volumes(home, box, image)
        try:
            operation.carry_out(creation.steps(home, box, named="name" in flags), trace)
        finally:
            if volumes >= 0:
                os.close(volumes)
        if path := flags.get("cidfile"):
            operation.carry_out([_cidfile(path, box)], trace)
        events.emit(home, "container", "create", box.id, box.told())
        return box
    finally:
        os.close(lock)


def _hold_volumes(home: Home, box: Record, image: Image) -> int:
    """Complete what is attached, and have nobody make or remove a volume; -1: nothing is attached."""
    if not (box.options["volumes"] or image.config.volumes or "volumes_from" in box.options):
        return -1
    from minirun.container import mounts, volumes

    held = volumes.hold(home)
    try:
        mounts.complete(home, box.options, image.config.volumes)
    except BaseException:
        os.close(held)
        raise
    return held


def _find(
    home: Home,
    name: str,
    pull: str,
    lock: int,
    progress: Progress | None,
    warn: Warn | None,
    fetch: Fetch | None,
) -> Image:
    """The image that *name* means, from its registry first if *pull* wants that."""
    if pull != "always":
        try:
            return images.find(home, name, progress=progress, warn=warn, lock=lock)
        except NotFound:
            if pull == "never" or fetch is None or not images.is_fetchable(name):
                raise
    elif fetch is None or not images.is_fetchable(name):
        return images.find(home, name, progress=progress, warn=warn, lock=lock)
    # who wants the lock for himself does not wait for a registry
    fcntl.flock(lock, fcntl.LOCK_UN)
    fetch(name, pull == "missing")
    fcntl.flock(lock, fcntl.LOCK_SH)
    return images.find(home, name, progress=progress, warn=warn, lock=lock)


def _check_platform(image: Image, image_name: str, flags: Mapping[str, Any], warn: Warn | None) -> None:
    said = (image.config.raw.get("architecture"), os.uname().machine)
    if "platform" in flags or (said[0] and said not in _NATIVE):
        from minirun.engine import platforms

        platforms.check(image, image_name, flags.get("platform") or "", warn)


def _read(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Check every flag, before an image is looked for: a bad one leaves no unpacked layers behind."""
    pull = flags.get("pull") or "missing"
    if pull not in ("missing", "always", "never"):
        raise BadInput(f"use --pull {pull}", "it is missing, always or never", "leave it out: missing is the default")
    if (name := flags.get("name")) is not None:
        records.check_name(name)
    wanted = options.read(flags)
    # here as well as at the start: a limit that cannot be held leaves no unpacked layers behind
    start.cgroup("", wanted)
    return wanted


def _describe(
    image: Image, image_name: str, command: Sequence[str], wanted: dict[str, Any], flags: Mapping[str, Any]
) -> Record:
    name, remove = flags.get("name"), bool(flags.get("rm"))
    return creation.describe(image, image_name, command, wanted, name, remove=remove)


def _cidfile(path: str, box: Record) -> journal.Step:
    path = os.path.abspath(path)
    return journal.Step(
        f"write {path}", lambda: records.write_cidfile(path, box.id), ("remove_cidfile", path, box.id), "--cidfile"
    )


def _dry_run(home: Home, flags: Mapping[str, Any], image_name: str, command: Sequence[str]) -> int:
    from minirun.container.report import plan_lines
    from minirun.image.preview import preview

    wanted = _read(flags)
    image, unpacked_first = preview(home, image_name)
    _check_platform(image, image_name, flags, None)
    box = _describe(image, image_name, command, wanted, flags)
    if (volumes := _hold_volumes(home, box, image)) >= 0:
        os.close(volumes)
    print("\n".join(plan_lines(home, box, unpacked_first)))  # noqa: T201 - this is what was asked for
    return 0
