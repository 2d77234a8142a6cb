"""The root file system of a container as a descriptor, whether it runs or not.

    it runs   a child enters its mount namespace: setns(2)        ┐   /proc/<child>/root    ─▶ the root
    not       a child makes one: overlay, volumes, pivot_root(2)  ┘   /proc/<child>/ns/mnt  ─▶ what keeps it mounted

The child ends as soon as both are open. The mounts go with the second descriptor, however we end, and the host never
sees them. Nothing of the image is executed, and nothing imported: all that the child does in there is to wait
(CVE-2019-14271). What is looked up from the root stays below it: see rootdir.py.
"""

from __future__ import annotations

import errno
import os
from struct import Struct as Form

from minirun.cgroup import group
from minirun.container import specification, wait
from minirun.container.rootdir import Root
from minirun.kernel.call import Call
from minirun.kernel.names import (
    CLONE_NEWNS,
    MNT_DETACH,
    MOUNT_ATTR_RDONLY,
    MS_PRIVATE,
    MS_REC,
)
from minirun.launch import machine
from minirun.rootfs import overlay, volumes
from minirun.rootfs.attach import ROOT, allow
from minirun.security.user import User

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

    from minirun.container.record import Record
    from minirun.container.state import State
    from minirun.home import Home
    from minirun.launch.spec import Spec

_FAILED = Form("<ii")  # which call, and its errno; nothing where all were made


def of_running(box: Record, now: State) -> Root:
    """The root of a container that runs or is paused, as it sees it itself.

    Raises:
        ProcessLookupError: it ended meanwhile.
        OSError: it could not be entered.
    """
    try:
        # whatever process has the number later, this descriptor is of the one that has it now
        process = os.open(f"/proc/{now.pid}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise _ended(box) from None
    try:
        if now.pid not in group.processes(now.cgroup):
            raise _ended(box)
        namespace = os.open("ns/mnt", os.O_RDONLY | os.O_CLOEXEC, dir_fd=process)
    except FileNotFoundError:
        raise _ended(box) from None
    finally:
        os.close(process)
    try:
        # not its first process's root, which that may have changed by chroot(2)
        root = _entered([Call("setns", namespace, CLONE_NEWNS, why="where its mounts are")])
    finally:
        os.close(namespace)
    if "userns" in box.options:
        from minirun.container import owners

        root.owners = owners.of(box.options)
    return root


def of_stopped(home: Home, box: Record, lock: int, *, writes: bool) -> Root:
    """The root of a container that does not run, with its volumes.

    Args:
        home: the store.
        box: the container.
        lock: what holds it, so that it is not started meanwhile; the root's from now on.
        writes: whether something is to be put there. To unmount what can be written is to write all that is cached
            of its disk, which who only reads need not wait for.

    Raises:
        MinirunError: what it is made of cannot be mounted: see specification.specify.
        OSError: the same.
    """
    spec = specification.specify(home, box, stdin=False, status=-1, terminal=None, who=User(0, 0, (), "/"))
    # what goes in is to survive a power cut, and the mark of a volatile overlay would keep it from being mounted again
    stack = spec.overlay
    stack.volatile = False
    stack.diffs = home.folder("diffs")  # with the ids on the disk, which are the container's own
    seen = overlay.Overlay(stack.diffs, [*stack.lower, stack.upper or ""], None, "", volatile=False)
    try:
        if not writes:
            try:
                return _of_mounted(spec, seen, lock)
            except machine.CallFailed as failure:
                # of a container that never ran, which lacks the mount point of a volume
                if failure.errno != errno.EROFS:
                    raise
        return _of_mounted(spec, stack, lock)
    except machine.CallFailed as failure:
        raise OSError(failure.errno, str(failure)) from None


def _of_mounted(spec: Spec, stack: overlay.Overlay, lock: int) -> Root:
    try:
        return _entered(_mounted(spec, stack, by_options=False), lock)
    except machine.CallFailed as failure:
        if not failure.may_lack_lowerdir_plus:
            raise
        return _entered(_mounted(spec, stack, by_options=True), lock)


def _mounted(spec: Spec, stack: overlay.Overlay, *, by_options: bool) -> list[Call]:
    """The calls that mount a container as launch/plan.py does, without what goes with its processes, such as tmpfs."""
    attached = [one for one in spec.volumes if isinstance(one, volumes.Volume)]
    attached.sort(key=lambda one: one.target.count("/"))
    mount = overlay.mount_by_options if by_options else overlay.mount
    return [
        Call("unshare", CLONE_NEWNS, why="what is mounted here goes with who holds this namespace"),
        Call("mount", 0, "/", 0, MS_REC | MS_PRIVATE, 0, why="and is nobody else's"),
        *volumes.take(attached, joined=True, by_options=by_options),
        *volumes.take(attached, by_options=by_options),
        *mount(stack, spec.attach_point),
        Call("fchdir", ROOT),
        Call("pivot_root", ".", ".", why="from here on no path can name the host"),
        Call("umount2", ".", MNT_DETACH),
        Call("chdir", "/"),
        *volumes.give(attached),
        *([allow(ROOT, MOUNT_ATTR_RDONLY, why="--read-only")] if spec.read_only else []),
    ]


def _entered(plan: Sequence[Call], *held: int) -> Root:
    """Have a child make the calls of *plan*, and take the root that it has then.

    Raises:
        CallFailed: one failed.
    """
    # signals are for us: a child that was told to end would print where it was, and look for the source of that
    wait.hold()
    try:
        told, ours = os.pipe2(os.O_CLOEXEC)
        theirs, release = os.pipe2(os.O_CLOEXEC)
        child = os.fork()
        if child == 0:
            os.close(release)
            _wait_there(plan, ours, theirs)
        os.close(ours)
        os.close(theirs)
        try:
            answer = os.read(told, _FAILED.size)
            if len(answer) == _FAILED.size:
                failed, code = _FAILED.unpack(answer)
                if failed >= 0:
                    raise machine.CallFailed(plan[failed], code)
                return _root_of(child, held)
            raise ChildProcessError(f"the process {child} that entered the container was ended")
        finally:
            os.close(told)
            os.close(release)
            os.waitpid(child, 0)
    finally:
        wait.release()


def _root_of(process: int, held: Sequence[int]) -> Root:
    namespace = os.open(f"/proc/{process}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    try:
        root = os.open(f"/proc/{process}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        os.close(namespace)
        raise
    return Root(root, [namespace, *held], confined=True)


def _wait_there(plan: Sequence[Call], told: int, release: int) -> NoReturn:
    """Make the calls, say so, and end when the parent lets go of *release* or ends itself."""
    try:
        failed = -1, 0
        try:
            machine.run(plan)
        except machine.CallFailed as failure:
            failed = plan.index(failure.call), failure.errno or 0
        os.write(told, _FAILED.pack(*failed))
        os.read(release, 1)
    finally:
        os._exit(0)


def _ended(box: Record) -> ProcessLookupError:
    return ProcessLookupError(errno.ESRCH, f"container {box.name} has ended")
