"""Operations on the host, each written down with its undo before it is done.

    marks/<key>     ["remove_tree", "/var/lib/minirun/tmp/4f…"]       a line is written, then the thing is made
                    ["remove_file", "/var/lib/minirun/names/demo"]
                    ["keep_while_alive", "/sys/fs/cgroup/…/4f…"]      while that cgroup has processes, nothing is undone
                    ↑ flock held by whoever does the operation

A mark whose lock is free belongs to a process that died in the middle: `recover`, which every command runs first,
undoes its lines from the last to the first. Every undo is idempotent and needs only what is on disk, so being killed
while undoing is no different. The kernel drops the lock however the holder ends, also at a reboot.

An undo that somebody is in the way of raises BlockingIOError; its mark stays, and the next command tries again. Whoever
is to do something with what another may just be undoing waits for that: `settle`.
"""

from __future__ import annotations

import os
from errno import EDQUOT, ENOSPC

from minirun import jsonrecord
from minirun.errors import Conflict, MinirunError
from minirun.kernel import files, jsonfile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType
    from typing import Any

    from minirun.home import Home

# Named, and imported only when something is undone: a start that recovers nothing pays nothing for them.
UNDO = {
    "remove_tree": "minirun.kernel.tree:remove",
    "remove_file": "minirun.kernel.files:remove",
    "remove_folder": "minirun.kernel.files:remove_folder",
    "discard_volume": "minirun.container.volumes:discard",
    "remove_cgroup": "minirun.cgroup.group:remove",
    "settle_limits": "minirun.container.place:settle_limits",
    "release_egress": "minirun.network.egress:release",
    "release_range": "minirun.container.ranges:release",
    "release_ports": "minirun.network.published:release",
    "remove_name": "minirun.container.record:release_last_name",
    "settle_name": "minirun.container.renaming:settle",
    "remove_cidfile": "minirun.container.record:remove_cidfile",
    "clamp_times": "minirun.container.reproducible:clamp",
    "finish_taking": "minirun.container.taking:undo",
    "thaw": "minirun.cgroup.group:thaw",
    "settle": "minirun.container.state:settle",
    "tell_gone": "minirun.container.state:tell_gone",
    "settle_again": "minirun.container.state:settle_again",
    "discard_network": "minirun.network.drivers:discard",
    "retire_bridge": "minirun.network.retiring:retire",
    "release_endpoints": "minirun.container.endpoint:release_cut_short",
    "settle_connections": "minirun.container.connection:settle",
    "end_usermode": "minirun.container.usermode:end",
    "forget_kept": "minirun.container.kept:forget",
    "end_keeper": "minirun.container.kept:end_keeper",
    "set_tags": "minirun.image.lifecycle:set_tags",
    "discard_image": "minirun.image.lifecycle:discard_image",
    "discard_layer": "minirun.image.lifecycle:discard_layer",
    "settle_lookup": "minirun.image.lookup:settle",
    "settle_mount": "minirun.engine.mountplace:settle",
    "discard_blob": "minirun.image.lifecycle:discard_blob",
}
KEEP_WHILE_ALIVE = "keep_while_alive"
_PATIENCE_S, _LOOK_S = 15.0, 0.005  # for somebody else to have undone something


class Step:
    """One thing done to the host, with its undo and its reason; `--dry-run` prints it, an Operation does it.

    Attributes:
        text: what is done, as a shell or a man page would write it.
        do: does it.
        undo: a name in UNDO and its arguments; empty where an earlier step's undo takes this one along.
        why: the reason, for the reader of a plan.
    """

    __slots__ = ("do", "text", "undo", "why")

    def __init__(self, text: str, do: Callable[[], object], undo: Sequence[str] = (), why: str = "") -> None:
        self.text = text
        self.do = do
        self.undo = list(undo)
        self.why = why


class Operation:
    """A change to the host that can be undone by whoever finds its mark.

    ::

        with Operation(home) as operation:
            operation.will("remove_tree", path)      # written down …
            os.mkdir(path)                           # … then done
        # left normally: the mark is gone and the change stays; by an exception: the change is undone
    """

    __slots__ = ("descriptor", "home", "key", "path", "undos")

    def __init__(self, home: Home, key: str | None = None, *, frees: bool = False) -> None:
        """Begin an operation.

        Args:
            home: whose mark is made.
            key: names the mark; by default a random one.
            frees: it removes things, and so may have the room that the store keeps for a full disk.

        Raises:
            OSError: the mark could not be made (ENOSPC, EROFS …); nothing was done.
        """
        self.key = key or os.urandom(16).hex()
        self.path = home.mark(self.key)
        self.undos: list[list[str]] = []
        self.home = home if frees else None
        try:
            self.descriptor = files.hold(self.path)
        except OSError as error:
            if not self._make_room(error):
                raise
            self.descriptor = files.hold(self.path)

    def _make_room(self, error: OSError) -> bool:
        return error.errno in (ENOSPC, EDQUOT) and self.home is not None and self.home.give_up_spare()

    def will(self, undo: str, *args: str) -> None:
        """Write down that what comes next is undone by *undo*, a name in UNDO, called with *args*."""
        self.will_all([[undo, *args]])

    def will_all(self, undos: list[list[str]]) -> None:
        """Write down several undos at once, in the order in which their things will be made."""
        lines = "".join(jsonfile.dumps(undo) + "\n" for undo in undos).encode()
        begun = os.fstat(self.descriptor).st_size
        try:
            files.write_all(self.descriptor, lines)
        except OSError as error:
            if not self._make_room(error):
                raise
            os.ftruncate(self.descriptor, begun)
            os.lseek(self.descriptor, begun, os.SEEK_SET)
            files.write_all(self.descriptor, lines)
        self.undos += undos

    def secure(self) -> None:
        """Have what is written down survive a power cut, for what comes next does; milliseconds on a disk."""
        os.fsync(self.descriptor)
        files.sync_folder(os.path.dirname(self.path))

    def carry_out(self, steps: Sequence[Step], times: list[tuple[str, float]] | None = None) -> None:
        """Write down the undos of *steps* and do them; *times* takes what each took, in microseconds."""
        self.will_all([step.undo for step in steps if step.undo])
        if times is None:
            for step in steps:
                step.do()
            return
        from time import perf_counter

        for step in steps:
            begun = perf_counter()
            step.do()
            times.append((step.text, (perf_counter() - begun) * 1e6))

    def restart(self, undos: list[list[str]]) -> None:
        """What was done so far stays; from now on *undos* hold instead, in one step."""
        descriptor = files.hold(self.path + ".next")
        try:
            files.write_all(descriptor, "".join(jsonfile.dumps(undo) + "\n" for undo in undos).encode())
            os.rename(self.path + ".next", self.path)
        except OSError:
            files.remove(self.path + ".next")
            os.close(descriptor)
            raise
        os.close(self.descriptor)
        self.descriptor, self.undos = descriptor, undos

    def done(self) -> None:
        """The change is whole: forget how to undo it. Idempotent."""
        if self.descriptor >= 0:
            files.remove(self.path)
            os.close(self.descriptor)
            self.descriptor = -1
            if self.home and not os.path.exists(self.home.spare):
                self.home.keep_spare()

    def undo(self) -> None:
        """Undo everything written down so far, newest first; where somebody is in the way the next command does it."""
        if self.descriptor >= 0:
            try:
                undo_all(self.undos)
            except BlockingIOError:
                self.leave()
            else:
                self.done()

    def leave(self) -> None:
        """Leave it to the next command to undo this."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def __enter__(self) -> Operation:
        return self

    def __exit__(self, kind: type[BaseException] | None, _e: BaseException | None, _t: TracebackType | None) -> None:
        if kind is None:
            self.done()
            return
        try:
            self.undo()
        except (OSError, MinirunError):
            self.leave()  # what went wrong first is what there is to tell


def undo_all(undos: list[list[str]]) -> None:
    """Call the undos from the last to the first."""
    for name, *args in reversed(undos):
        if name != KEEP_WHILE_ALIVE:
            _function(UNDO[name])(*args)


def recover(home: Home, *, insist: bool = False) -> int:
    """Undo what processes that are gone left unfinished.

    Args:
        home: whose marks.
        insist: raise what keeps an undo from being done. Without it the mark stays for the next command, and this
            one, which may have nothing to do with it, goes on.

    Returns:
        How many operations were undone. Two directory listings when there are none.
    """
    undone = 0
    # in order: what came before a restart is undone before what came after it
    for name in sorted(os.listdir(home.folder("marks"))):
        path = home.mark(name)
        descriptor = files.take_over(path)
        if descriptor >= 0:
            undone += _recover_mark(path, descriptor, insist=insist)
    jsonrecord.sweep(home)
    return undone


def settle(home: Home, container_id: str) -> None:
    """`recover`, and wait for others who are just undoing what was begun with a container.

    Whoever does something with a container holds it, and lets go before he undoes that, as the kernel does for one who
    was killed. So nobody else's mark names it for long, but for that of a `run` whose container is alive.

    Args:
        home: whose marks.
        container_id: of a container that the caller holds, and of which he has no mark yet.

    Raises:
        Conflict: somebody does not come to an end with it.
    """
    recover(home)
    if not _is_being_undone(home, container_id):
        return
    from time import monotonic, sleep

    end = monotonic() + _PATIENCE_S
    while _is_being_undone(home, container_id):
        if monotonic() > end:
            raise Conflict(
                f"use container {container_id[:12]}", "another command is undoing what it had begun with it",
                "try again when that has ended",
            )  # fmt: skip
        sleep(_LOOK_S)
        recover(home)


def _is_being_undone(home: Home, container_id: str) -> bool:
    """Whether somebody else has a mark that names a container; what was let go since `recover` is undone here."""
    for name in sorted(os.listdir(home.folder("marks"))):
        try:
            with open(home.mark(name), "rb", 0) as file:
                text = file.readall()
        except FileNotFoundError:
            continue
        if container_id.encode() not in text or _keeps(text):
            continue
        descriptor = files.take_over(home.mark(name))
        if descriptor < 0:
            return True
        _recover_mark(home.mark(name), descriptor)  # if it stays, nobody can for now
    return False


def _keeps(text: bytes) -> bool:
    """Whether a mark is of a container that is alive."""
    try:
        name, *args = jsonfile.loads(text.partition(b"\n")[0].decode())
    except ValueError:
        return False  # just being written, or damaged
    return name == KEEP_WHILE_ALIVE and bool(_function("minirun.cgroup.group:alive")(*args))


def _recover_mark(path: str, descriptor: int, *, insist: bool = False) -> bool:
    """Undo what the mark *path*, taken over as *descriptor*, has, and let go of it; see `recover`."""
    try:
        return _undo_mark(path, descriptor)
    except BlockingIOError:
        return False  # the next command tries again
    except (OSError, MinirunError):
        if insist:
            raise
        return False
    finally:
        os.close(descriptor)


def _undo_mark(path: str, descriptor: int) -> bool:
    size = os.fstat(descriptor).st_size
    # A line without its end was being written when its writer died: what it announces was never begun.
    lines = os.pread(descriptor, size, 0).split(b"\n")[:-1]
    # Nor was it, where a power cut left blocks of zeros: marks are not synced.
    try:
        undos = [jsonfile.loads(line.decode()) for line in lines if b"\0" not in line]
    except ValueError as error:
        raise MinirunError(
            f"undo what {path} has", f"it is damaged: {error}", "`minirun system check` says what is left over"
        ) from None
    for name, *args in undos:
        if name == KEEP_WHILE_ALIVE and _function("minirun.cgroup.group:alive")(*args):
            return False
    undo_all(undos)
    files.remove(path)
    return True


def _function(where: str) -> Callable[..., Any]:
    module, _, name = where.partition(":")
    __import__(module)
    import sys

    function: Callable[..., Any] = getattr(sys.modules[module], name)
    return function
