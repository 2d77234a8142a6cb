"""Whether the store is sound, and mending what can be mended without losing anything.

    examine   ── lock held exclusively: nobody adds, makes or removes images, layers and containers
      │          what goes on all the same (a start, an `rm`) has a mark, and what its mark names is passed over
      ▼
    folders · operations · load ─▶ links: layers, images, containers, names; blobs ─▶ remains; networks
      │                                                                    └ only if all records were read
      ▼  lock given back: what blobs have in them, unless --quick
      ▼  --repair
    directories, names ─▶ gc, if nothing else is damaged ─▶ examine: what is not found any more is mended

It does not run the recovery that all other commands begin with: without --repair nothing changes.

Whether the files of a layer are those that were unpacked is not asked. A diff id is the digest of a tar, and one tree
has as many as there are programs that write tars: packing it again would accuse every layer that pack.py did not write.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from minirun.cgroup import group
from minirun.container import record as records
from minirun.engine import blobcheck, damage, links, networkcheck, remains, system
from minirun.engine.damage import Damage
from minirun.engine.fault import OfNetworks
from minirun.engine.mountplace import MountPlace
from minirun.errors import Attempt, Conflict, MinirunError
from minirun.home import Home
from minirun.image import lookup
from minirun.image.reference import is_digest, is_id
from minirun.journal import KEEP_WHILE_ALIVE
from minirun.kernel import files, jsonfile
from minirun.layer.blobs import ZSTD, Blobs

LATER_S = 0.1  # nobody who is not stopped takes so long from one call of the kernel to the next


@dataclass(frozen=True, slots=True)
class Examined:
    """A store.

    Attributes:
        damage: what is wrong.
        images, layers, containers: how many there are whose records could be read.
    """

    damage: list[Damage]
    images: int = 0
    layers: int = 0
    containers: int = 0


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check found, and did.

    Attributes:
        now: the store as it is at the end.
        mended: what was wrong with it before.
        refusal: why not all was mended that could be.
    """

    now: Examined
    mended: list[Damage]
    refusal: MinirunError | None = None


def check(*, repair: bool = False, quick: bool = False) -> Checked:
    """Examine the store of this command.

    Args:
        repair: mend what can be mended without losing anything, and examine it again.
        quick: do not read blobs.

    Raises:
        MinirunError: it could not be read.
    """
    home = Home.of_environment()
    if os.geteuid():
        from minirun.container import rootless

        rootless.enter(home)
    with Attempt(f"check the store {home.root}"):
        before = examine(home)
        altered = [] if quick or not os.path.isdir(home.folder("blobs")) else list(blobcheck.altered(home))
        before.damage.extend(altered)
        if not repair:
            return Checked(before, [])
        wrong = [*before.damage, *_make_folders(home)]
        refusal = _mend(home, wrong)
        now = examine(home)
        now.damage.extend(one for one in altered if os.path.exists(one.where))
    return Checked(now, [one for one in wrong if one not in now.damage], refusal)


def examine(home: Home) -> Examined:
    """Look for everything that is wrong with a store; it is not changed.

    Some of what others are in the midst of looks wrong for a moment, whatever they lock: a mark is made before its lock
    is held. So what is found is wrong if it is so a little later, too.
    """
    found = _look(home)
    if not found.damage:
        return found
    time.sleep(LATER_S)
    again = _look(home)
    return replace(again, damage=[one for one in again.damage if one in found.damage])


def _look(home: Home) -> Examined:
    if not os.path.isdir(home.root):
        return Examined([])  # a store begins with the first command that needs one
    lock = files.lock(home.lock, exclusive=True)
    try:
        found = list(damage.folders(home))
        if found:
            return Examined(found)  # mended first: whatever has been there is looked for then
        busy, cut_short = operations(home)
        stored = damage.load(home, busy)
        unread = any(one.state == damage.DAMAGED for one in stored.damage)
        found = [*cut_short, *stored.damage]
        blobs = (blobcheck.missing, blobcheck.manifests)
        for probe in (links.layers, links.images, links.containers, links.names, *blobs):
            found += probe(stored)
        if not unread:
            found += remains.find(stored)
            found += blobcheck.remains(stored)
        found += networkcheck.found(home)
        busy |= operations(home)[0]  # also what began meanwhile
        found = [one for one in found if one.where not in busy]
        return Examined(found, len(stored.images), len(stored.layers), len(stored.boxes))
    finally:
        os.close(lock)


def operations(home: Home) -> tuple[set[str], list[Damage]]:
    """Look at the marks.

    Returns:
        The paths of all things that operations have announced, and the operations that were cut short.
    """
    busy: set[str] = set()
    found = []
    for key in sorted(os.listdir(home.folder("marks"))):
        path = home.mark(key)
        try:
            with open(path, "rb") as file:
                lines = file.read().split(b"\n")[:-1]
            undos = [jsonfile.loads(line.decode()) for line in lines if b"\0" not in line]
            alive = any(undo[0] == KEEP_WHILE_ALIVE and group.alive(*undo[1:]) for undo in undos)
            for undo in undos:
                busy.update(place for word in undo[1:] for place in _places(home, word))
                if undo[0] == "discard_volume":
                    busy.add(home.volume(undo[3]))
        except FileNotFoundError:
            continue  # done meanwhile
        except (ValueError, TypeError, IndexError) as error:
            meaning = f"what its maker had begun cannot be undone, and no other command works: {error}"
            found.append(Damage(damage.DAMAGED_MARK, path, meaning, "remove that file, and check again"))
            continue
        descriptor = -1 if alive else files.take_over(path)
        if descriptor >= 0:
            os.close(descriptor)
            meaning = "what it had begun is still there"
            remedy = "the next command that changes something undoes it; so does `minirun system check --repair`"
            found.append(Damage("operation that was cut short", path, meaning, remedy, damage.REMAINS))
    return busy, found


def _places(home: Home, word: str) -> Iterator[str]:
    """The paths that an argument of an undo means."""
    if word.startswith("/") and word != home.root:
        yield word
    elif is_digest(word):
        yield from (Blobs(home).path(word), Blobs(home).path(word) + ZSTD, *lookup.paths(home, word))
    elif is_id(word):
        yield from (home.container(word), home.layer(word), home.image(word), home.diff(word))
        yield from (home.diff(f"{word}-mounts"), f"{home.folder('images')}/{word}.config", home.alias(word))
        yield from lookup.paths(home, word)
        yield from (MountPlace(home, word).path, MountPlace(home, word).root)
        # what a commit is about to take away, or to bring back
        yield from (f"{home.container(word)}/{name}" for name in ("upper", "work", "container.json"))


def _make_folders(home: Home) -> list[Damage]:
    """Make the store's directories that are missing; what else is wrong, which nobody could look for without them."""
    missing = [one.where for one in damage.folders(home)] if os.path.isdir(home.root) else []
    for path in missing:
        os.mkdir(path, 0o700)
    return examine(home).damage if missing else []


def _mend(home: Home, wrong: list[Damage]) -> MinirunError | None:
    """Mend what loses nothing, and free what `gc` frees; why not, if that cannot be done."""
    if not wrong:
        return None
    lock = files.lock(home.lock, exclusive=True)
    try:
        for one in wrong:
            if one.what == damage.STALE_NAME:
                records.release_name(one.where, os.path.basename(os.readlink(one.where)))
        for one in wrong:
            if one.what == damage.LOST_NAME:
                box = records.read(home, os.path.basename(one.where))
                try:
                    records.reserve_name(home, box.name, box.id)
                except Conflict:
                    continue  # another container has it
        if any(isinstance(one, OfNetworks) for one in wrong):
            networkcheck.repair(home)
    except FileNotFoundError:
        pass  # removed meanwhile
    finally:
        os.close(lock)
    if any(_may_have_needed(home, one) for one in wrong):
        # what nothing leads to may be what a lost record led to
        reason, remedy = "what is damaged may have needed it", "do what is said of that first, and check again"
        return MinirunError("free what nothing needs", reason, remedy) if _to_free(wrong) else None
    try:
        with Attempt("free what nothing needs"):
            system.gc()
    except MinirunError as error:
        return error
    return None


def _may_have_needed(home: Home, one: Damage) -> bool:
    """Whether something leads nowhere because of what is damaged; a blob leads to nothing."""
    mended = one.remedy in (damage.GC, damage.REPAIR) or os.path.dirname(one.where) == home.folder("blobs")
    mended = mended or isinstance(one, OfNetworks)
    return one.state == damage.DAMAGED and not mended


def _to_free(wrong: list[Damage]) -> bool:
    return any(one.remedy == damage.GC for one in wrong)
