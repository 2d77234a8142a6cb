"""The refusals of minirun: what was tried, why it failed, what to do about it.

    MinirunError                 125   minirun itself could not
    ├── NotFound                 125   no such container, image, layer
    ├── Conflict                 125   a name in use, a container in the wrong state
    ├── BadInput                 125   a flag, a file or a name that means nothing
    │   └── BadLayer             125   a layer, archive or image that cannot be trusted or read
    ├── Unsupported              125   this host or this version of minirun has not got it
    ├── CommandNotExecutable     126   the container's command is there and cannot be run
    └── CommandNotFound          127   the container's command is not there

The numbers are Docker's exit codes; ``exit_code`` is the one place that says them.
"""

from __future__ import annotations

from errno import EDQUOT, EIO, EMFILE, ENFILE, ENOMEM, ENOSPC, EROFS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

_NO_THREAD = "can't start new thread"  # all that Python says of it
_FULL = "free some space: `minirun gc`, `minirun rm` and `minirun rmi` do"
# what to do when the store's file system does not do what layers need; for what it has run out of see REMEDIES
LOOK_AT_STORE = "`minirun doctor` says whether the store's file system will do; MINIRUN_ROOT puts the store elsewhere"
# what to do about a host that has run out of something, whatever was tried
REMEDIES = {
    ENOSPC: _FULL,
    EDQUOT: _FULL,
    EIO: "look whether the store's disk is sound: `dmesg | tail`",
    EROFS: "look why the store's file system is read-only: `dmesg | tail`; MINIRUN_ROOT moves the store",
    EMFILE: "let minirun open more files: `ulimit -n 1024`",
    ENFILE: "the whole host has too many open files: `sysctl fs.file-max`",
    ENOMEM: "the host, or the cgroup that minirun runs in, is out of memory: `free -m`",
}


class MinirunError(Exception):
    """A refusal that a user reads.

    Args:
        attempt: what was tried and on what, to follow "cannot": ``"remove image debian:12"``.
        reason: why not; an OSError is told with its errno by name.
        remedy: what the user can do or type now; may be several lines, may be empty. What REMEDIES has for an OSError
            goes before it.
    """

    exit_code = 125

    def __init__(self, attempt: str, reason: str | OSError, remedy: str = "") -> None:
        self.attempt = attempt
        if isinstance(reason, OSError):
            remedy = REMEDIES.get(reason.errno or 0, remedy)
            reason = describe(reason)
        self.reason = reason
        self.remedy = remedy
        super().__init__(attempt, self.reason, remedy)

    def __str__(self) -> str:
        """The refusal as a user sees it: one line, then the remedy indented."""
        text = f"cannot {self.attempt}: {self.reason}"
        return "\n  ".join([text, *self.remedy.splitlines()])


class NotFound(MinirunError):
    """There is no container, image or layer of that name."""


class Conflict(MinirunError):
    """The thing is there, and in a state or use that forbids the attempt."""


class BadInput(MinirunError):
    """What the user gave has no meaning here."""


class BadLayer(BadInput):
    """A layer, archive or image is damaged, hostile or of an unknown form."""


class Unsupported(MinirunError):
    """This host, or this version of minirun, has not got what the attempt needs."""


class CommandNotExecutable(MinirunError):
    """The container's command is there and the kernel would not run it."""

    exit_code = 126


class CommandNotFound(MinirunError):
    """The container's command is not there."""

    exit_code = 127


class Attempt:
    """Makes a refusal of whatever the kernel refuses meanwhile: ``with Attempt("run debian:12"): …``.

    That nobody reads our output any more is no refusal, and goes on as it is.
    """

    __slots__ = ("attempt",)

    def __init__(self, attempt: str) -> None:
        self.attempt = attempt

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _t: TracebackType | None
    ) -> None:
        """End."""
        if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
            raise MinirunError(self.attempt, error) from error
        if isinstance(error, RuntimeError) and str(error) == _NO_THREAD:
            raise MinirunError(
                self.attempt, "EAGAIN or ENOMEM: the kernel starts no more threads",
                "look at `ulimit -u`, and at pids.max of the cgroup that minirun runs in",
            ) from error  # fmt: skip


def describe(error: OSError) -> str:
    """Tell an OSError as ``ENOSPC (No space left on device): '/var/lib/minirun/tmp'``."""
    import errno

    name = errno.errorcode.get(error.errno or 0, "error")
    text = f"{name} ({error.strerror or error})"
    paths = [
        p.decode(errors="surrogateescape") if isinstance(p, bytes) else str(p)
        for p in (error.filename, error.filename2)
        if p is not None
    ]
    return f"{text}: {' → '.join(map(repr, paths))}" if paths else text
