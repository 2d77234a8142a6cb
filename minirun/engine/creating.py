"""create, and the first half of run: flags, an image and a command become a container on disk.

flags ─▶ options ┐
name  ─▶ image ──┴─▶ record ─▶ volumes ─▶ its directory, its name, its id for the caller
"""

from __future__ import annotations

import fcntl
import os

from minirun import events
from minirun.container import create as creation
from minirun.container import options, start
from minirun.container import record as records
from minirun.engine import open_home
from minirun.errors import Attempt, BadInput, NotFound
from minirun.image import find as images
from minirun.journal import Operation, Step
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

_NATIVE = (("amd64", "x86_64"), ("arm64", "aarch64"))  # as OCI and as uname(2) call it; others take a longer look


class Order:
    """What `run` and `create` were asked to make a container of.

    Attributes:
        flags: by long name, as cli/flags.py has them.
        image: the name of a stored image, or a directory.
        command: replaces the image's Cmd, if it is not empty.
        progress: told of what is unpacked: see image/source.py.
        warn: told what was left out of a layer.
        fetch: brings the image of a name here from its registry, where --pull wants that; told whether that is because
            it is missing. Without it only what is stored can be run.
    """

    __slots__ = ("command", "fetch", "flags", "image", "progress", "warn")

    def __init__(
        self,
        flags: Mapping[str, Any],
        image: str,
        command: Sequence[str],
        progress: Progress | None = None,
        warn: Warn | None = None,
        fetch: Callable[[str, bool], object] | None = None,
    ) -> None:
        self.flags = flags
        self.image = image
        self.command = command
        self.progress = progress
        self.warn = warn
        self.fetch = fetch


def create(order: Order) -> str:
    """Make a container that does not run yet.

    Returns:
        Its id.
    """
    home = open_home()
    with Attempt(f"create a container of {order.image}"), Operation(home) as operation:
        box, held = make(home, operation, order, None)
        os.close(held)
        return box.id


def make(home: Home, operation: Operation, order: Order, trace: Trace | None) -> tuple[Record, int]:
    """Put a container on disk that does not run yet.

    Args:
        home: the store.
        operation: what that is part of.
        order: what it is made of.
        trace: takes each step and its microseconds.

    Returns:
        It, and the descriptor that holds it since it is there: see record.hold.
    """
    held: list[int] = []
    # held until the record names the image: from then on it is in use, and nobody deletes it
    lock = files.lock(home.lock, exclusive=False)
    try:
        wanted = read(home, order.flags)
        image = _find(home, order, lock)
        check_platform(image, order)
        box = describe(image, order, wanted)
        if "ports" in wanted and wanted["network"] == "host" and order.warn:
            order.warn("with --network host no port is published: the host's own are the container's")
        volumes = hold_volumes(home, box, image)
        try:
            operation.carry_out(creation.steps(home, box, named="name" in order.flags, held=held), trace)
        finally:
            if volumes >= 0:
                os.close(volumes)
        if path := order.flags.get("cidfile"):
            operation.carry_out([_cidfile(path, box)], trace)
        events.emit(home, "container", "create", box.id, box.told())
        return box, held[0]
    except BaseException:
        for descriptor in held:
            os.close(descriptor)
        raise
    finally:
        os.close(lock)


def hold_volumes(home: Home, box: Record, image: Image) -> int:
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


def _find(home: Home, order: Order, lock: int) -> Image:
    """The image that is wanted, from its registry first if --pull says that."""
    name, fetch, pull = order.image, order.fetch, order.flags.get("pull") or "missing"
    if pull != "always":
        try:
            return images.find(home, name, progress=order.progress, warn=order.warn, lock=lock)
        except NotFound:
            if pull == "never" or fetch is None or not images.is_fetchable(name):
                raise
    elif fetch is None or not images.is_fetchable(name):
        return images.find(home, name, progress=order.progress, warn=order.warn, lock=lock)
    # who wants the lock for himself does not wait for a registry
    fcntl.flock(lock, fcntl.LOCK_UN)
    fetch(name, pull == "missing")
    fcntl.flock(lock, fcntl.LOCK_SH)
    return images.find(home, name, progress=order.progress, warn=order.warn, lock=lock)


def check_platform(image: Image, order: Order) -> None:
    """Refuse an image of another platform than was asked for, and warn of one that is not this host's."""
    said = (image.config.raw.get("architecture"), os.uname().machine)
    if "platform" in order.flags or (said[0] and said not in _NATIVE):
        from minirun.engine import platforms

        platforms.check(image, order.image, order.flags.get("platform") or "", order.warn)


def read(home: Home, flags: Mapping[str, Any]) -> dict[str, Any]:
    """Check every flag, before an image is looked for: a bad one leaves no unpacked layers behind."""
    pull = flags.get("pull") or "missing"
    if pull not in ("missing", "always", "never"):
        raise BadInput(f"use --pull {pull}", "it is missing, always or never", "leave it out: missing is the default")
    if (name := flags.get("name")) is not None:
        records.check_name(name)
    wanted = options.read(flags)
    # here as well as at the start: a limit that cannot be held leaves no unpacked layers behind
    start.cgroup("", wanted)
    if wanted["network"] not in ("none", "host"):
        from minirun.container import endpoint

        endpoint.check(home, wanted)
    if "security" in wanted:
        from minirun.container import securityflags

        securityflags.check(home, wanted)
    if not options.SHARED.isdisjoint(wanted):
        from minirun.container import sharing

        sharing.check(home, wanted)
    if "userns" in wanted:
        from minirun.container import userns

        userns.check(home, wanted)
    return wanted


def describe(image: Image, order: Order, wanted: dict[str, Any]) -> Record:
    """The record of a container, which is nowhere yet; *wanted* is of `read`."""
    name, remove = order.flags.get("name"), bool(order.flags.get("rm"))
    return creation.describe(image, order.image, order.command, wanted, name, remove=remove)


def _cidfile(path: str, box: Record) -> Step:
    path = os.path.abspath(path)
    return Step(
        f"write {path}", lambda: records.write_cidfile(path, box.id), ("remove_cidfile", path, box.id), "--cidfile"
    )
