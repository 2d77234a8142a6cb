"""The entries of one layer tar, put on disk in overlayfs form.

layer tar               here                           on disk
----------------------  -----------------------------  ------------------------------------------------
.wh.<name>              DELETED                        char device 0:0, unless the layer has <name> too
.wh.<name> and <name>/  REPLACED                       directory with trusted.overlay.opaque = "y"
.wh..wh..opq inside     REPLACED                       the same, whatever the order
a hardlink below        LINKED, see needs.py           nothing yet
anything else           WRITTEN                        the entry itself; of equal names the last one stays

An ordinary user can make no device, which is left out, and give nothing to owners that his user namespace has not:
that is nobody's, 65534.
"""

from __future__ import annotations

import os
from stat import S_IFBLK, S_IFCHR, S_IFIFO, S_ISDIR, S_ISLNK

from minirun import caller
from minirun.kernel import tree, writeback
from minirun.layer import metadata, stack, tar
from minirun.layer.field import Malformed
from minirun.layer.folders import WHITEOUT, Folders, check_component, clean
from minirun.layer.needs import Needs

CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
NODE = {tar.CHARACTER: S_IFCHR, tar.BLOCK: S_IFBLK, tar.FIFO: S_IFIFO}
MAJOR_MAX, MINOR_MAX = 0xFFF, 0xFFFFF
_OPAQUE_MARK = b".wh..wh..opq"
# what AUFS kept in the root of a layer for itself, and Dockers of its time put into tars; nobody unpacks it
_AUFS = (b".wh..wh.aufs", b".wh..wh.orph", b".wh..wh.plnk")


_NOBODY = 65534


def _mapped() -> tuple[int, int]:
    """How many user and group ids the user namespace has, from 0 on: see rootless.py in container/."""
    counts = []
    for name in ("uid_map", "gid_map"):
        with open(f"/proc/self/{name}") as file:
            counts.append(sum(int(line.split()[2]) for line in file))
    return counts[0], counts[1]


class Extraction:
    """A layer's directory while entries are added to it.

    Args:
        root: descriptor of an empty directory; it stays the caller's.
        scratch: a directory for an unnamed temporary file.

    Attributes:
        needs: what depends on the layers below.
        has_root: the archive says what the root directory itself is like.
        warnings: sentences about what was left out.
    """

    def __init__(self, root: int, scratch: str) -> None:
        self.root = root
        self.needs = Needs()
        self.has_root = False
        self.warnings = metadata.Warnings()
        self._folders = Folders(root, self._made)
        self._own = os.geteuid(), os.getegid()
        self._ids = _mapped() if caller.ROOTLESS else None
        self._has_removed = False  # directories of its own: what was noted about one may be about another of its name
        self._directories = metadata.Directories(scratch, self.warnings)
        self._put = {
            tar.FILE: self._file,
            tar.SYMLINK: self._symlink,
            tar.DIRECTORY: self._directory,
            tar.HARDLINK: self._hardlink,
            tar.CHARACTER: self._node,
            tar.BLOCK: self._node,
            tar.FIFO: self._node,
        }
        os.fchmod(root, 0o700)
        os.fchown(root, *self._own)

    def close(self) -> None:
        """Give back descriptors and the temporary file; idempotent."""
        self._folders.forget()
        self._directories.close()

    def add(self, entry: tar.Entry, reader: tar.Reader) -> None:
        """Put *entry*, whose data *reader* is about to read, on disk.

        Raises:
            Malformed: the entry cannot be part of a layer.
            OSError: of the calls that make it.
        """
        name = entry.name
        if name[-1:] == b"/":
            name = name.rstrip(b"/")
        above, _, base = name.rpartition(b"/")
        folder = self._folders.known.get(above)
        if folder is None or base[:4] == WHITEOUT or base in (b"", b".", b".."):
            cleaned = clean(name)
            if not cleaned:
                self._root_entry(entry)
                return
            if cleaned[:12] in _AUFS and cleaned[12:13] in (b"", b"/"):
                self.warnings.add(f"{cleaned[:12].decode()} was dropped: it means something to AUFS alone")
                return
            parent, _, last = cleaned.rpartition(b"/")
            if last.startswith(WHITEOUT):
                self._mark(parent, last)
                return
            check_component(last)
            # by the name as written the next entry finds it again
            opened = self._folders.open(above if base == last else parent)
            base = last
            assert opened is not None  # only a search that revives nothing ends without a directory
            folder = opened
        descriptor, path = folder
        if self._ids is not None:
            self._give_to_nobody(entry, *self._ids)
        if self.needs.links or self.needs.implied:
            self._settle(path + b"/" + base if path else base)
        self._put[entry.kind](entry, reader, descriptor, path, base)

    def _give_to_nobody(self, entry: tar.Entry, uids: int, gids: int) -> None:
        if entry.uid >= uids or entry.gid >= gids:
            self.warnings.add(
                f"files of users and groups beyond {min(uids, gids) - 1} are of {_NOBODY}: you have no more ids"
            )
            entry.uid = entry.uid if entry.uid < uids else _NOBODY
            entry.gid = entry.gid if entry.gid < gids else _NOBODY

    def _settle(self, path: bytes) -> None:
        self.needs.links.pop(path, None)
        self.needs.implied.pop(path, None)

    def _root_entry(self, entry: tar.Entry) -> None:
        if entry.kind != tar.DIRECTORY:
            raise Malformed("the root of a layer must be a directory")
        if self._ids is not None:
            self._give_to_nobody(entry, *self._ids)
        self.has_root = True
        self._note(b"", entry, again=False)

    # --- entries, each in the directory *descriptor*, which has the path *path*, under the name *base*

    def _file(self, entry: tar.Entry, reader: tar.Reader, descriptor: int, path: bytes, base: bytes) -> None:
        uid, gid = (-1, -1) if (entry.uid, entry.gid) == self._own else (entry.uid, entry.gid)
        is_large = entry.size >= writeback.FROM_BYTES
        if not is_large and reader.make(entry, descriptor, base, uid, gid):
            return
        try:
            file = os.open(base, CREATE, 0o600, dir_fd=descriptor)
        except FileExistsError:
            self._clear(descriptor, path, base)
            file = os.open(base, CREATE, 0o600, dir_fd=descriptor)
        try:
            if entry.size:
                reader.copy(entry, file)
            # data, owner, mode, xattrs, time: write(2) and chown(2) take setuid and security.capability away
            if uid >= 0:
                os.fchown(file, uid, gid)
            os.fchmod(file, entry.mode)
            if entry.xattrs:
                metadata.set_xattrs(file, entry.xattrs, self.warnings)
            os.utime(file, ns=(entry.mtime_ns, entry.mtime_ns))
            if is_large:
                writeback.begin(file)
        finally:
            os.close(file)

    def _symlink(self, entry: tar.Entry, _reader: tar.Reader, descriptor: int, path: bytes, base: bytes) -> None:
        if not entry.link:
            raise Malformed("a symlink without a target")
        try:
            os.symlink(entry.link, base, dir_fd=descriptor)
        except FileExistsError:
            self._clear(descriptor, path, base)
            os.symlink(entry.link, base, dir_fd=descriptor)
        self._name_metadata(entry, descriptor, base)

    def _node(self, entry: tar.Entry, _reader: tar.Reader, descriptor: int, path: bytes, base: bytes) -> None:
        major, minor = (0, 0) if entry.kind == tar.FIFO else entry.device
        if entry.kind != tar.FIFO and (major, minor) == (0, 0):
            self.warnings.add("device 0:0 was dropped: it would be taken for a whiteout")
            return
        if not 0 <= major <= MAJOR_MAX or not 0 <= minor <= MINOR_MAX:
            raise Malformed(f"device {major}:{minor} is out of range")
        if caller.ROOTLESS and entry.kind != tar.FIFO:
            self._clear(descriptor, path, base)
            self.warnings.add("device nodes were left out: an ordinary user cannot make any")
            return
        mode = NODE[entry.kind] | 0o600
        try:
            os.mknod(base, mode, os.makedev(major, minor), dir_fd=descriptor)
        except FileExistsError:
            self._clear(descriptor, path, base)
            os.mknod(base, mode, os.makedev(major, minor), dir_fd=descriptor)
        self._name_metadata(entry, descriptor, base)

    def _name_metadata(self, entry: tar.Entry, descriptor: int, base: bytes) -> None:
        if (entry.uid, entry.gid) != self._own:
            os.chown(base, entry.uid, entry.gid, dir_fd=descriptor, follow_symlinks=False)
        if entry.kind != tar.SYMLINK:
            os.chmod(base, entry.mode, dir_fd=descriptor)
        if entry.xattrs:
            metadata.set_xattrs(b"/proc/self/fd/%d/%b" % (descriptor, base), entry.xattrs, self.warnings)
        os.utime(base, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=descriptor, follow_symlinks=False)

    def _hardlink(self, entry: tar.Entry, _reader: tar.Reader, descriptor: int, path: bytes, base: bytes) -> None:
        target = clean(entry.link)
        above, _, name = target.rpartition(b"/")
        own = path + b"/" + base if path else base
        if not target or target == own:
            raise Malformed("a hardlink to nothing, to the root or to itself")
        held = -1
        known = self._folders.known.get(above)
        try:
            if known is not None and known[1] == above:
                folder: int | None = known[0]
            else:
                descriptor = held = os.dup(descriptor)  # looking for the target may close the other one
                folder = self._target_folder(above)
            stat = None
            if folder is not None:
                try:
                    stat = os.stat(name, dir_fd=folder, follow_symlinks=False)
                except FileNotFoundError:
                    pass
            if folder is None or stat is None:
                self._link_below(own, target, descriptor, path, base)
            elif S_ISDIR(stat.st_mode):
                raise Malformed("a hardlink to a directory")
            elif stack.is_whiteout(stat):
                raise Malformed("a hardlink to a missing target")
            else:
                self._link(folder, name, descriptor, path, base)
        finally:
            if held >= 0:
                os.close(held)

    def _target_folder(self, path: bytes) -> int | None:
        try:
            return self._folders.real(path)
        except NotADirectoryError:
            raise Malformed("a hardlink through something that is not a directory") from None

    def _link(self, source: int, target: bytes, descriptor: int, path: bytes, base: bytes) -> None:
        try:
            os.link(target, base, src_dir_fd=source, dst_dir_fd=descriptor, follow_symlinks=False)
        except FileExistsError:
            source = os.dup(source)  # to make room may close the other one
            try:
                self._clear(descriptor, path, base)
                os.link(target, base, src_dir_fd=source, dst_dir_fd=descriptor, follow_symlinks=False)
            except FileNotFoundError:
                raise Malformed("a hardlink to what it replaces") from None
            finally:
                os.close(source)

    def _link_below(self, own: bytes, target: bytes, descriptor: int, path: bytes, base: bytes) -> None:
        further = self.needs.links.get(target)
        if further is None and self._folders.hides(target.rpartition(b"/")[0]):
            raise Malformed("a hardlink to a missing target")
        self._clear(descriptor, path, base)
        self.needs.add_link(own, further or target)

    def _directory(self, entry: tar.Entry, _reader: tar.Reader, descriptor: int, path: bytes, base: bytes) -> None:
        again = False
        try:
            os.mkdir(base, 0o700, dir_fd=descriptor)
        except FileExistsError:
            again = self._clear(descriptor, path, base, for_directory=True)
            if not again:
                os.mkdir(base, 0o700, dir_fd=descriptor)
                # what the layer had in its place, file or whiteout, hid the directory below
                self._make_opaque(descriptor, base)
        self._note(path + b"/" + base if path else base, entry, again=again)

    def _mark(self, above: bytes, base: bytes) -> None:
        """Heed a whiteout or an opaque mark; what kind of entry it is does not matter."""
        name = base[len(WHITEOUT) :]
        if base != _OPAQUE_MARK and (name in (b"", b".", b"..") or name.startswith(WHITEOUT)):
            raise Malformed("a whiteout of no possible name")
        check_component(name if base != _OPAQUE_MARK else b"")
        folder = self._folders.open(above, revive=False)
        if folder is None:
            return  # the layer whites a directory out, and then something in it
        descriptor, path = folder
        if base == _OPAQUE_MARK:
            os.setxattr(descriptor, stack.OPAQUE, b"y")
            self.needs.has_opaque = True
            return
        own = path + b"/" + name if path else name
        try:
            os.mknod(name, S_IFCHR, os.makedev(0, 0), dir_fd=descriptor)  # mode 0, as overlayfs makes them
        except FileExistsError:
            stat = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            if not S_ISDIR(stat.st_mode):
                return
            if not self.needs.is_hollow(own, b"/proc/self/fd/%d/%b" % (descriptor, name)):
                self._make_opaque(descriptor, name)
                # another directory than the one below, of which this one would have had owner and mode
                self.needs.implied.pop(own, None)
                return
            self._clear(descriptor, path, name)
            os.mknod(name, S_IFCHR, os.makedev(0, 0), dir_fd=descriptor)
        os.utime(name, ns=(0, 0), dir_fd=descriptor)
        self.needs.add_whiteout(own)

    # --- what stands in the way, and what is made on the way

    def _clear(self, descriptor: int, path: bytes, base: bytes, *, for_directory: bool = False) -> bool:
        """Take what the layer has under a name out of the way; True: it is a directory and may stay one."""
        try:
            stat = os.stat(base, dir_fd=descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return False
        if S_ISDIR(stat.st_mode):
            if for_directory:
                return True
            own = path + b"/" + base if path else base
            tree.remove_at(descriptor, base)
            self._has_removed = True
            self.needs.drop(own)
            self._folders.forget(keep=descriptor)
        else:
            os.unlink(base, dir_fd=descriptor)
            if S_ISLNK(stat.st_mode):
                self._folders.forget(keep=descriptor)
        return False

    def _make_opaque(self, descriptor: int, base: bytes) -> None:
        os.setxattr(b"/proc/self/fd/%d/%b" % (descriptor, base), stack.OPAQUE, b"y")
        self.needs.has_opaque = True

    def _made(self, path: bytes, revived: bool) -> None:
        """Note a directory that an entry's name goes through; `Folders` calls it."""
        if revived:
            self.needs.has_opaque = True
        else:
            self.needs.add_implied(path)
        self._directories.note(path, 0o755, 0, 0, 0, None, again=self._has_removed)

    def _note(self, path: bytes, entry: tar.Entry, *, again: bool) -> None:
        self._directories.note(
            path, entry.mode, entry.uid, entry.gid, entry.mtime_ns, entry.xattrs, again=again or self._has_removed
        )

    def finish(self) -> bool:
        """Give the directories what their entries say; the last thing to be done.

        Returns:
            Whether the root is opaque.
        """
        self._folders.forget()
        self.needs.prune(self.root)
        if not self.has_root:
            metadata.give_directory(self.root, 0o755, 0, 0, 0)
        self._directories.give(self._folders)
        return stack.is_opaque(self.root)
