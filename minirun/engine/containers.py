"""What is done with containers that are there: listed, looked at, committed, exported, removed."""

from __future__ import annotations

import os

from minirun import events
from minirun.container import record as records
from minirun.container import state
from minirun.engine import open_home
from minirun.errors import Attempt, BadInput, MinirunError
from minirun.journal import Operation
from minirun.kernel import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    from minirun.container.record import Record
    from minirun.container.state import State
    from minirun.home import Home
    from minirun.image.store import Image


def ps(
    *, everything: bool = False, filters: Sequence[str] = (), last: int = -1,
    warn: Callable[[MinirunError], object] | None = None,
) -> list[tuple[Record, State]]:  # fmt: skip
    """Containers and what is true of them now, the newest first.

    Args:
        everything: also those that do not run; a filter by status or exit code wants them too.
        filters: Docker's, ``status=exited``; see engine/filters.py.
        last: how many, if it is not negative.
        warn: told of each record that cannot be read, which is left out.

    Raises:
        BadInput: a filter that is none.
        NotFound, Conflict: a filter names no container or image, or several.
    """
    home = open_home()
    found = [(box, state.read(home, box)) for box in records.list_all(home, warn)]
    if filters:
        from minirun.engine import filters as filtering

        found = filtering.containers(home, found, filters)
        everything = everything or any(text.startswith(("status=", "exited=")) for text in filters)
    # one that waits to be started again counts as running, as in Docker
    found = [(box, now) for box, now in found if everything or now.alive or now.status == "restarting"]
    return found[:last] if last >= 0 else found


def command_line(box: Record) -> str:
    """A container's command as Docker shows it: arguments with a space in single quotes."""
    first, *rest = box.options["argv"]
    return " ".join([first, *(f"'{word}'" if " " in word else word for word in rest)])


def health(box: Record, now: State) -> str:
    """``starting``, ``healthy`` or ``unhealthy``; empty for a container without a health check."""
    from minirun.container import health as checked
    from minirun.home import Home

    found = checked.now(Home.of_environment(), box, now)
    return found.status if found else ""


def image_words(boxes: Sequence[Record]) -> list[str]:
    """What to call the image of each container: as the user did, if that still means it, else its id."""
    from minirun.image.store import Images

    tags = Images(open_home()).tags() if boxes else {}
    return [_image_word(box, tags.get(box.image, ())) for box in boxes]


def _image_word(box: Record, tags: Sequence[str]) -> str:
    from minirun.image.find import is_path
    from minirun.image.reference import parse

    name = box.image_name
    if is_path(name) or box.image.startswith(name.removeprefix("sha256:")):
        return name
    try:
        return name if parse(name).familiar in tags else box.image[:12]
    except BadInput:
        return name  # a directory whose path is no name of an image


def inspect(name: str, *, size: bool = False) -> dict[str, Any]:
    """Everything about one container, as Docker's JSON has it: see engine/containerdescription.py.

    Args:
        name: the container's name, id or the beginning of its id.
        size: measure it as well.

    Raises:
        NotFound, Conflict: no container, or several, are meant.
    """
    from minirun.engine import containerdescription

    home = open_home()
    box = records.find(home, name)
    return containerdescription.container(home, box, state.read(home, box), size=size)


def usage(box: Record) -> tuple[int, int]:
    """Measure a container: bytes that it wrote itself, and bytes with those of its image."""
    from minirun.engine import description

    return description.usage(open_home(), box)


def uppers(home: Home, box: Record) -> list[str]:
    """The directories that hold what a container wrote, bottom to top."""
    taken = box.stack[len(box.base) :]
    return [*(home.diff(name) for name in taken), f"{home.container(box.id)}/upper"]


def diff(name: str) -> list[tuple[str, str]]:
    """What a container changed since its image: (``A``, ``C`` or ``D``, path), sorted by path.

    Raises:
        NotFound, Conflict: no container, or several, are meant.
    """
    from minirun.layer.diff import changes

    home = open_home()
    # held, or a commit takes the writable layer away while we look at it
    box, lock = records.find_and_hold(home, name)
    try:
        with Attempt(f"compare container {box.name} with its image"):
            return list(changes(uppers(home, box), [home.diff(layer) for layer in box.base]))
    finally:
        os.close(lock)


def remove(names: Sequence[str], *, force: bool = False, volumes: bool = False) -> Iterator[str | MinirunError]:
    """Remove containers one after the other; yields each name, or why it was not removed.

    Args:
        names: of them.
        force: kill those that run.
        volumes: with their anonymous volumes, but for those that another container has.
    """
    from minirun.container.remove import remove as remove_container

    home = open_home()
    for name in names:
        try:
            box, lock = records.find_and_hold(home, name)
            try:
                with Attempt(f"remove container {box.name}"), Operation(home, frees=True) as operation:
                    remove_container(home, box, operation, force=force, volumes=volumes)
            finally:
                os.close(lock)
            yield name
        except MinirunError as error:
            yield error


def commit(
    name: str,
    image_name: str | None,
    *,
    author: str = "",
    message: str = "",
    changes: Sequence[str] = (),
    pause: bool = True,
) -> Image:
    """Make an image of a container, as `docker commit` does.

    Args:
        name: the container.
        image_name: what to call the image; None leaves it without a name.
        author: for its config and history.
        message: for its history.
        changes: Dockerfile instructions.
        pause: whether a running container stands still meanwhile.

    Raises:
        MinirunError: nothing was made, and the container is as it was.
    """
    from minirun.container.commit import commit as commit_container
    from minirun.image.reference import parse

    tags = [parse(image_name)] if image_name else []
    home = open_home()
    # Should it fail, both locks are let go before it is undone: an undo takes them itself, as a dead owner's does.
    with Attempt(f"commit container {name}"), Operation(home) as operation:
        box, lock = records.find_and_hold(home, name)
        shared = files.lock(home.lock, exclusive=False)
        try:
            made = commit_container(
                home, box, operation, tags, author=author, message=message, changes=changes, pause=pause
            )
            told = box.told(comment=message, imageID=f"sha256:{made.id}", imageRef=image_name or "")
            events.emit(home, "container", "commit", box.id, told)
            return made
        finally:
            os.close(shared)
            os.close(lock)


def export(name: str, output: int) -> None:
    """Write the whole root file system of a container to the descriptor *output*, as an uncompressed tar.

    Raises:
        MinirunError: no such container, or *output* takes no more.
    """
    from minirun.layer.pack import pack

    home = open_home()
    box, lock = records.find_and_hold(home, name)
    try:
        mount = _mount_view(home, [*(f"diffs/{layer}" for layer in box.stack), f"containers/{box.id}/upper"])
        # a mount's descriptor is O_PATH, which cannot be read
        root = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=mount)
        os.close(mount)
        try:
            pack(root, output, compression="none", literal=True)
        finally:
            os.close(root)
        events.emit(home, "container", "export", box.id, box.told())
    except BrokenPipeError:
        raise  # who read it has gone, and knows
    except OSError as error:
        raise MinirunError(f"export container {box.name}", error, "is there space where it is written to?") from None
    finally:
        os.close(lock)


def _mount_view(home: Home, stack: Sequence[str]) -> int:
    """Mount directories below the store's root, bottom to top, where nobody else sees them; the mount's descriptor."""
    from minirun.launch import machine
    from minirun.rootfs.overlay import view, view_by_options

    # short names for the kernel, wherever the store is: see rootfs/overlay.py
    store = os.open(home.root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return machine.run(list(view([f"/proc/self/fd/{store}/{name}" for name in stack])))
    except machine.CallFailed as failure:
        if not failure.may_lack_lowerdir_plus:
            raise
    finally:
        os.close(store)
    # whole names: a descriptor leads into the mount namespace that this leaves, whose mounts Linux 6.1 does not stack
    return machine.run(list(view_by_options([f"{home.root}/{name}" for name in stack], home.attach_point)))
