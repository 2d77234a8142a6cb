"""Docker's rules for the paths of `cp`: what is meant by a path, and where a copy lands.

    web:etc     the same as web:/etc
    web:/etc/   the directory etc; if that is a symlink, what it leads to, as with -L: a target's always is followed
    web:/etc/.  what is in it
    ./a:b /a:b  paths of the host that have a colon

source        target: a directory   target: another file       target: nothing                   target/: nothing
------------  --------------------  -------------------------  --------------------------------  --------------------
a file        target/<its name>     is replaced                is made, if its directory is there  no such directory
a directory   target/<its name>     cannot copy directory      is made, with what is in it       the same
directory/.   what is in it         cannot copy directory      is made, with what is in it       the same

See docs.docker.com/reference/cli/docker/container/cp, and pkg/archive/copy.go of moby, whose words the refusals are.
"""

from __future__ import annotations

import errno
import os
from stat import S_ISBLK, S_ISCHR, S_ISDIR, S_ISLNK

from minirun.container.rootdir import directory_at
from minirun.errors import BadInput, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.container.rootdir import Root

_HOPS = 40  # as path_resolution(7)
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY


class Place:
    """A path as somebody typed it, on one side of a copy.

    Attributes:
        text: as typed.
        container: which; empty for the host.
        path: absolute, without "." and "..", but with the "/" or "/." at its end that says that it is a directory.
        base: its last name; empty for what is in a directory, and for the root.
        asserts_directory: whether it ends in "/" or "/.".
    """

    __slots__ = ("asserts_directory", "base", "container", "path", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.container, path = split(text)
        path = path or "."
        # where it begins: "." is told apart by its end, so the directory is only put before it
        typed = os.fsencode(path if self.container or path.startswith("/") else f"{os.getcwd()}/{path}")
        last = typed.rstrip(b"/").rpartition(b"/")[2]
        is_contents = last in (b".", b"")
        self.path = b"/" + os.path.normpath(b"/" + typed).lstrip(b"/")
        self.base = b"" if is_contents else os.path.basename(self.path)
        self.asserts_directory = is_contents or typed.endswith(b"/")
        if self.asserts_directory and self.path != b"/":
            self.path += b"/." if is_contents else b"/"

    @property
    def is_stream(self) -> bool:
        """Whether it is standard input or output."""
        return self.text == "-"


def split(argument: str) -> tuple[str, str]:
    """The container that *argument* names, or nothing, and the path."""
    container, colon, path = argument.partition(":")
    if not colon or argument.startswith(("/", ".")):
        return "", argument
    return container, path


class Source:
    """What is to be copied.

    Attributes:
        directory: descriptor; of the directory itself, or of the one that has it; the caller closes it.
        name: in *directory*; empty where that is it.
        base: what a copy is called; empty for what is in a directory.
    """

    __slots__ = ("base", "directory", "name")

    def __init__(self, directory: int, name: bytes, base: bytes) -> None:
        self.directory = directory
        self.name = name
        self.base = base


class Target:
    """Where a copy goes.

    Attributes:
        directory: descriptor of the directory that is to have it; the caller closes it.
        name: what it is to be called there; empty for what is in a directory.
    """

    __slots__ = ("directory", "name")

    def __init__(self, directory: int, name: bytes) -> None:
        self.directory = directory
        self.name = name


def find_source(root: Root, place: Place, attempt: str, *, follow: bool) -> Source:
    """Find what is to be copied.

    Args:
        root: of the side that *place* is on.
        place: as typed.
        attempt: for refusals.
        follow: go to what a symlink leads to; the copy is called as the link.

    Raises:
        NotFound, BadInput: it is not there, or not what the path says.
    """
    try:
        found = root.open(place.path, os.O_PATH | (0 if follow else os.O_NOFOLLOW))
        if S_ISDIR(os.fstat(found).st_mode):
            source = Source(directory_at(found), b"", place.base)
        else:
            os.close(found)
            directory, name, _stat = _last(root, place.path, follow=follow)
            source = Source(directory, name, place.base)
    except OSError as error:
        raise _refusal(error, place, attempt) from None
    _check_real(root, source.directory, place, attempt)
    root.show(os.fstat(source.directory))
    return source


def find_target(root: Root, place: Place, attempt: str, *, source: Source | None) -> Target:
    """Find where *source*, or a tar's contents where that is None, is to go.

    Raises:
        NotFound, BadInput: it cannot go there.
    """
    try:
        directory = _directory(root, place.path)
    except OSError as error:
        raise _refusal(error, place, attempt) from None
    if directory >= 0:
        _check_real(root, directory, place, attempt)
        return Target(directory, source.base if source else b"")
    if source is None:
        raise BadInput(attempt, f'destination "{place.text}" must be a directory')
    is_directory = not source.name
    try:
        directory, name, stat = _last(root, place.path, follow=True)
    except FileNotFoundError:
        above = os.fsdecode(os.path.dirname(place.path.rstrip(b"/").removesuffix(b"/.")))
        if place.container:
            reason = f"could not find the file {above} in container {place.container}"
        else:
            reason = f'invalid output path: directory "{above}" does not exist'
        raise NotFound(attempt, reason) from None
    except OSError as error:
        raise _refusal(error, place, attempt) from None
    _check_real(root, directory, place, attempt)
    reason = _reason_against(place, stat, is_directory)
    if reason:
        os.close(directory)
        raise BadInput(attempt, reason)
    return Target(directory, name)


def _check_real(root: Root, directory: int, place: Place, attempt: str) -> None:
    """Refuse what the kernel makes up in a container; *directory* is then closed."""
    if root.confined and not root.is_real(directory, os.fstat(directory)):
        os.close(directory)
        reason = f"what is at {os.fsdecode(place.path)} is made up by the kernel for the process that looks"
        raise BadInput(attempt, reason, f"`minirun exec {place.container} …` reads and writes it")


def _reason_against(place: Place, stat: os.stat_result | None, is_directory: bool) -> str:
    """Why no copy can be made at *place*, which is no directory; empty if it can."""
    if place.asserts_directory:
        if stat is None:
            return "" if is_directory else "no such directory"
        if not place.container:
            return "not a directory"
        return f"cannot overwrite non-directory {place.text} with a directory" if is_directory else "no such directory"
    if stat is None:
        return ""
    if S_ISCHR(stat.st_mode) or S_ISBLK(stat.st_mode):
        return f'destination "{place.text}" must be a directory or a regular file'
    return "cannot copy directory" if is_directory else ""


def _directory(root: Root, path: bytes) -> int:
    """Open the directory that *path* leads to; -1 where there is none."""
    try:
        return directory_at(root.open(path, os.O_PATH))
    except (FileNotFoundError, NotADirectoryError):
        return -1


def _last(root: Root, path: bytes, *, follow: bool) -> tuple[int, bytes, os.stat_result | None]:
    """Find what has the last name of *path*, which is no directory.

    Args:
        root: where to look it up.
        path: of it.
        follow: look where it leads, if it is a symlink.

    Returns:
        A descriptor of its directory, its name there, and what is there: None for nothing.
    """
    for _hop in range(_HOPS):
        above, _, name = path.rstrip(b"/").removesuffix(b"/.").rpartition(b"/")
        if name in (b"", b".", b".."):  # a directory: found by who asked before, so somebody changes it now
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        directory = root.open(above or b"/", _DIRECTORY)
        try:
            stat = os.stat(name, dir_fd=directory, follow_symlinks=False)
            if not (follow and S_ISLNK(stat.st_mode)):
                return directory, name, stat
            link = os.readlink(name, dir_fd=directory)
        except FileNotFoundError:
            return directory, name, None
        except OSError:
            os.close(directory)
            raise
        os.close(directory)
        # ".." in it is the kernel's to resolve, for what is above may be a link, too
        path = link if link.startswith(b"/") else above + b"/" + link
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)


def _refusal(error: OSError, place: Place, attempt: str) -> BadInput | NotFound:
    shown = os.fsdecode(place.path)
    if isinstance(error, FileNotFoundError) and place.container:
        return NotFound(attempt, f"could not find the file {shown} in container {place.container}")
    if isinstance(error, FileNotFoundError):
        return NotFound(attempt, f"{shown}: no such file or directory")
    if isinstance(error, NotADirectoryError):
        return BadInput(attempt, f"{shown}: not a directory")
    return BadInput(attempt, error)
