"""A container comes into being: its record, its name, its empty writable layer."""

from __future__ import annotations

import fcntl
import os
import time

from minirun.container import environment
from minirun.container import record as records
from minirun.container.names import random_name
from minirun.container.record import Record
from minirun.errors import BadInput, Conflict
from minirun.journal import Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from minirun.home import Home
    from minirun.image.store import Image


def describe(
    image: Image, image_name: str, command: Sequence[str], options: dict[str, Any], name: str | None, *, remove: bool
) -> Record:
    """Make the record of a container of *image*, with nothing on disk yet.

    Args:
        image: what it is made of.
        image_name: the image as the user named it.
        command: replaces the image's Cmd; empty for the image's own.
        options: from options.read.
        name: checked; None for a random one.
        remove: whether it goes when its command ends.

    Raises:
        BadInput: neither the user nor the image says what to run.
    """
    config = image.config
    entrypoint = options["entrypoint"]
    # an entrypoint of the user's makes the image's Cmd meaningless, as in Docker
    cmd = list(command) if command or entrypoint is not None else config.cmd
    entrypoint = config.entrypoint if entrypoint is None else entrypoint
    argv = [*(entrypoint or ()), *(cmd or ())]
    if not argv:
        raise BadInput(
            f"run {image_name}", "no command was given, and the image has no Entrypoint or Cmd",
            f"say what to run: `minirun run {image_name} /bin/sh`",
        )  # fmt: skip
    if any("\0" in argument for argument in argv):
        raise BadInput(f"run {image_name}", "an argument has a NUL byte in it")
    options = {
        **options,
        "entrypoint": entrypoint,
        "cmd": cmd,
        "argv": argv,
        "env": environment.merge(config.env, options["env"]),
        "cwd": options["cwd"] or config.working_dir or "/",
        "user": config.user if options["user"] is None else options["user"],
        "stop_signal": options["stop_signal"] or config.stop_signal or "SIGTERM",
        "labels": {**config.labels, **options["labels"]},
    }
    # an image's need be neither absolute nor plain
    options["cwd"] = os.path.normpath("/" + options["cwd"].lstrip("/"))
    if config.healthcheck or "health" in options:
        from minirun.container import health

        health.complete(options, config.healthcheck)
    if "ports" in options:
        from minirun.container import ports

        ports.complete(options, config.exposed_ports)
    container_id = records.new_id()
    options["hostname"] = options["hostname"] or (
        os.uname().nodename if "host" in (options["network"], options.get("uts")) else container_id[:12]
    )
    return Record(
        id=container_id,
        name=name or random_name(),
        created=time.time(),
        image=image.id,
        image_name=image_name,
        stack=list(image.stack),
        committed=[],
        options=options,
        remove=remove,
    )


def steps(home: Home, record: Record, *, named: bool, held: list[int] | None = None) -> list[Step]:
    """List what puts *record* on disk, each with its undo.

    Args:
        home: where.
        record: from `describe`.
        named: whether the user chose the name; a random one that is taken is replaced.
        held: gets the descriptor that holds the container: nobody else can do anything with it before its maker.
    """
    directory = home.container(record.id)
    return [
        Step(
            f"mkdir {directory}", lambda: _make_directory(directory, held), ("remove_tree", directory),
            "everything that belongs to this container alone",
        ),
        Step(
            f"mkdir {directory}/upper", lambda: make_upper(home, record), (),
            "the container layer: what is written lands here and nowhere else",
        ),
        Step(
            f"mkdir {directory}/work", lambda: os.mkdir(f"{directory}/work", 0o700), (),
            "overlayfs prepares files here",
        ),
        Step(
            f"symlink {home.name(record.name)}", lambda: _reserve(home, record, named=named),
            ("remove_name", home.name(record.name), record.id), "nobody else can have the name",
        ),
        *_mount_steps(home, record),
        *_range_steps(home, record),
        Step(f"write {directory}/container.json", lambda: records.write(home, record), (), "what the container is"),
    ]  # fmt: skip


def _make_directory(directory: str, held: list[int] | None) -> None:
    os.mkdir(directory, 0o700)
    if held is not None:
        held.append(os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        fcntl.flock(held[0], fcntl.LOCK_EX)


def _mount_steps(home: Home, record: Record) -> list[Step]:
    if not record.options["volumes"]:
        return []
    from minirun.container import copyup

    return copyup.steps(home, record)


def _range_steps(home: Home, record: Record) -> list[Step]:
    if "userns" not in record.options:
        return []
    from minirun.container import userns

    return userns.steps(home, record)


def make_upper(home: Home, record: Record) -> None:
    """Make an empty writable layer: its root looks like the root of the layer below, which it will hide."""
    upper = f"{home.container(record.id)}/upper"
    below = os.stat(home.diff(record.stack[-1]))
    os.mkdir(upper, 0o700)
    if below.st_uid or below.st_gid:
        os.chown(upper, below.st_uid, below.st_gid)
    os.chmod(upper, below.st_mode & 0o7777)


def _reserve(home: Home, record: Record, *, named: bool) -> None:
    try:
        records.reserve_name(home, record.name, record.id)
    except Conflict:
        if named:
            raise
        # The undo on disk names the first choice: should we be killed now, the second stays as a link to nothing, and
        # whoever wants that name takes it over.
        record.name = f"{record.name}_{record.id[:8]}"
        records.reserve_name(home, record.name, record.id)
