"""`cp`: files go into containers, out of them, from one into another; or through standard input and output as a tar.

                 ┌─ a path of the host ────┐             ┌─ a path of the host
    source ──────┼─ a path of a container ─┼─ transfer ──┼─ a path of a container ── target
                 │                         └─ archive ───┼─ - (a tar)
                 └─ - (a tar) ──────────────── untar ────┘

A container that runs, or is paused, is entered and left alone; one that does not is held, so that nobody starts it
meanwhile, and mounted where nobody else sees it. See container/inside.py.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, nullcontext
from errno import EDQUOT, EFBIG, ENOSPC

from minirun import events
from minirun.container import inside, rootdir, state
from minirun.container import record as records
from minirun.container.rootdir import Root
from minirun.engine import open_home
from minirun.engine.copypaths import Place, find_source, find_target
from minirun.engine.landing import Landing
from minirun.engine.transfer import Transfer
from minirun.engine.untar import Unpacking
from minirun.errors import BadInput, Conflict, MinirunError, describe
from minirun.kernel import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from minirun.container.record import Record
    from minirun.engine.copypaths import Source, Target
    from minirun.home import Home

_FULL = {ENOSPC, EDQUOT, EFBIG}
_ROOT_OWNER = 0, 0


def copy(
    source_text: str,
    target_text: str,
    *,
    archive: bool = False,
    follow: bool = False,
    told: Callable[[int], object] = lambda _far: None,
    warn: Callable[[str], object] = lambda _sentence: None,
) -> int:
    """Copy files as `docker cp` does.

    Args:
        source_text: ``CONTAINER:PATH``, a path of the host, or ``-``: a tar on standard input.
        target_text: the same; ``-``: a tar on standard output.
        archive: owners stay as they are; otherwise they become root's in a container, and the caller's on the host.
            A tar has its own.
        follow: of a source that is a symlink, copy what it leads to.
        told: called now and then with how many bytes have been copied.
        warn: told what was left out.

    Returns:
        How many bytes there were, as a tar.

    Raises:
        NotFound, Conflict, BadInput: it cannot be done.
        MinirunError: it went wrong on the way; what was copied before is there.
    """
    attempt = f"copy {source_text} to {target_text}"
    source, target = Place(source_text), Place(target_text)
    if not source.container and not target.container:
        raise BadInput(attempt, "must specify at least one container source", "a container's path is CONTAINER:PATH")
    home = open_home()
    try:
        with ExitStack() as undo:
            roots = _roots(home, [source, target], attempt, undo)
            copied, warnings = _copy(home, roots, source, target, attempt, archive=archive, follow=follow, told=told)
    except BrokenPipeError:
        raise  # who read it has gone, and knows
    except OSError as error:
        if error.errno not in _FULL:
            raise MinirunError(attempt, error) from error
        remedy = "free some space where it goes, and copy it again: what was copied before that is there"
        raise MinirunError(attempt, describe(error), remedy) from error
    for sentence in warnings:
        warn(sentence)
    return copied


class _Roots:
    """The root directories of both sides.

    Attributes:
        home: the store.
        boxes: the containers, by the words that name them.
        roots: by the same words; the host's by the empty one.
    """

    def __init__(self, home: Home) -> None:
        self.home = home
        self.boxes: dict[str, Record] = {}
        self.roots: dict[str, Root] = {}


def _roots(home: Home, places: list[Place], attempt: str, undo: ExitStack) -> _Roots:
    found = _Roots(home)
    by_id: dict[str, Root] = {}
    found.boxes = {place.container: records.find(home, place.container) for place in places if place.container}
    written = found.boxes.get(places[-1].container)
    # in one order everywhere, or two who copy in opposite directions would wait for each other
    for word, box in sorted(found.boxes.items(), key=lambda item: item[1].id):
        if box.id not in by_id:
            is_written = written is not None and written.id == box.id
            by_id[box.id] = _of_container(home, box, attempt, writes=is_written)
            undo.callback(by_id[box.id].close)
        found.roots[word] = by_id[box.id]
    if not all(place.container for place in places):
        found.roots[""] = rootdir.host()
        undo.callback(found.roots[""].close)
    return found


def _of_container(home: Home, box: Record, attempt: str, *, writes: bool) -> Root:
    lock = records.hold(home, box)
    try:
        box = records.read(home, box.id)  # as it is now that nobody else changes it
        now = state.read(home, box)
        while now.alive:
            try:
                root = inside.of_running(box, now)
            except ProcessLookupError:
                now = state.read(home, box)
                if now.alive:
                    raise Conflict(attempt, f"container {box.name} is about to end", "try again") from None
                break
            os.close(lock)
            lock = -1
            return root
        root = inside.of_stopped(home, box, lock, writes=writes)
        lock = -1
    finally:
        if lock >= 0:
            os.close(lock)
    return root


def _copy(
    home: Home, roots: _Roots, source: Place, target: Place, attempt: str, *,
    archive: bool, follow: bool, told: Callable[[int], object],
) -> tuple[int, list[str]]:  # fmt: skip
    """Copy, once the roots are there; returns bytes, and sentences about what was left out."""
    opened = _Opened()
    try:
        if not source.is_stream:
            opened.source = find_source(roots.roots[source.container], source, attempt, follow=follow)
        if target.is_stream:
            assert opened.source is not None
            return _write_tar(roots, source, opened.source, told)
        into = roots.roots[target.container]
        opened.target = find_target(into, target, attempt, source=opened.source)
        if target.container:
            _check_writable(into, opened.target, roots.boxes[target.container], attempt)
        if opened.source is None:
            return _read_tar(home, roots, target, attempt, told)
        owner = None if archive else _ROOT_OWNER if target.container else (os.geteuid(), os.getegid())
        landing = Landing(attempt, owner=owner, devices=archive or bool(target.container), owners=into.owners)
        transfer = Transfer(roots.roots[source.container], into, landing, told)
        with into.owners.root() if into.owners else nullcontext():
            transfer.copy(opened.source, opened.target)
        _tell(roots, source, "archive-path")
        _tell(roots, target, "extract-to-dir")
        return transfer.size, list(landing.warnings.sentences)
    finally:
        opened.close()


class _Opened:
    """What of both sides is open."""

    def __init__(self) -> None:
        self.source: Source | None = None
        self.target: Target | None = None

    def close(self) -> None:
        for side in (self.source, self.target):
            if side is not None:
                os.close(side.directory)


def _write_tar(roots: _Roots, place: Place, source: Source, told: Callable[[int], object]) -> tuple[int, list[str]]:
    from minirun.layer.archive import Archive

    root = roots.roots[place.container]
    archive = Archive(literal=True, is_walked=root.is_walked, owner=root.owners.of if root.owners else None)
    if source.name:
        chunks = archive.one(source.directory, source.name, source.base)
    else:
        chunks = archive.chunks(source.directory, source.base + b"/" if source.base else b"")
    size = 0
    for chunk in chunks:
        files.write_all(1, chunk)
        size += len(chunk)
        told(size)
    _tell(roots, place, "archive-path")
    return size, archive.warnings


def _read_tar(
    home: Home, roots: _Roots, place: Place, attempt: str, told: Callable[[int], object]
) -> tuple[int, list[str]]:
    root = roots.roots[place.container]
    landing = Landing(attempt, owner=None, devices=True, owners=root.owners)
    unpacking = Unpacking(root, place.path, landing, home.folder("tmp"))
    try:
        with root.owners.root() if root.owners else nullcontext():
            size = unpacking.unpack(0, told)
    finally:
        unpacking.close()
    _tell(roots, place, "extract-to-dir")
    return size, list(landing.warnings.sentences)


def _check_writable(root: Root, target: Target, box: Record, attempt: str) -> None:
    """Refuse what a read-only mount would refuse later, in Docker's words.

    Raises:
        Conflict: it is one.
    """
    if os.fstatvfs(target.directory).f_flag & os.ST_RDONLY:
        is_root = os.fstat(target.directory).st_dev == os.fstat(root.descriptor).st_dev
        reason = "container rootfs is marked read-only" if is_root else "mounted volume is marked read-only"
        raise Conflict(attempt, reason, f"`minirun inspect {box.name}` shows what of it can be written")


def _tell(roots: _Roots, place: Place, action: str) -> None:
    if place.container:
        box = roots.boxes[place.container]
        events.emit(roots.home, "container", action, box.id, box.told())
