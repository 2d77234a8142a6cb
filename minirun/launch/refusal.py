"""A call of a plan failed: what that means to the user, and what to do about it."""

from __future__ import annotations

from errno import EACCES, EBUSY, EINVAL, ELOOP, EMFILE, ENODEV, ENOENT, ENOMEM, ENOSPC, ENOTDIR, EPERM, EROFS, ESTALE
from os import strerror

from minirun import caller
from minirun.errors import BadInput, CommandNotExecutable, CommandNotFound, MinirunError, Unsupported, describe
from minirun.launch.ending import BY_PATH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.launch.enter import Entry
    from minirun.launch.machine import CallFailed
    from minirun.launch.spec import Spec

_PRIVILEGED = (
    "it is root's alone, or a sandbox around minirun forbids it: docs/rootless.md says what an ordinary user can have"
    if caller.ROOTLESS
    else "run as root, with CAP_SYS_ADMIN; a sandbox around minirun may forbid it"
)
REMEDIES = {
    EPERM: _PRIVILEGED,
    EACCES: _PRIVILEGED,
    EMFILE: "raise the limit on open files: `ulimit -n 1024`",
    ENOMEM: "free memory, or raise the limit of the cgroup that minirun runs in",
    ENOSPC: "free space: `minirun gc`; or raise /proc/sys/fs/mount-max and user.max_*_namespaces",
}
OVERLAY_REMEDIES = {
    ENODEV: "load the module: `modprobe overlay`",
    EINVAL: "upper and work must be on one file system which is not itself an overlay; `dmesg | tail` has the reason",
    EBUSY: "the container layer is mounted already: is the container running?",
    ESTALE: "the layers were moved to another file system: export the container and import it",
    ENOENT: "a layer is missing from the store: remove the image and import it again",
}


def refusal(spec: Spec | Entry, failure: CallFailed, attempt: str = "start the container") -> MinirunError:
    """Tell *failure* with what it was part of, which is *attempt* where nothing nearer is known."""
    call, error = failure.call, failure.errno or 0
    if call.name == "execve" and not str(call.args[0]).startswith(BY_PATH):
        return not_executed(spec.argv[0], error)
    if call.name == "seccomp":
        return Unsupported(
            "filter system calls", str(failure),
            "it takes CONFIG_SECCOMP_FILTER in the kernel; `--security-opt seccomp=unconfined` goes without a filter",
        )  # fmt: skip
    paths = [arg for arg in call.args if isinstance(arg, str)]
    if call.name == "mount_setattr" and "userns_fd" in repr(call):
        return Unsupported(
            "give files of the container its owners, in its user namespace", str(failure),
            "their file system cannot map ids, or this kernel cannot: ext4, xfs and btrfs do since Linux 5.19, tmpfs "
            "since 6.3; --userns host needs none of that",
        )  # fmt: skip
    if call.why.startswith("stack writes upon "):
        return MinirunError(
            f"attach {call.why[18:]} as an overlay", str(failure),
            "its file system may not do below an overlay, as overlays themselves on some hosts; `dmesg | tail` tells",
        )  # fmt: skip
    if call.why.startswith("stack ") and hasattr(spec, "overlay"):
        remedy = OVERLAY_REMEDIES.get(error) or REMEDIES.get(error, "")
        return MinirunError(f"mount the overlay of {len(spec.overlay.lower)} layers", str(failure), remedy)
    if call.name == "openat2" and paths and paths[0] in ("/dev", "/sys", "/proc") and error in (ELOOP, ENOTDIR, ENOENT):
        return BadInput(
            f"mount {paths[0]}",
            f"{paths[0]} of the image is not a real directory: {describe(OSError(error, failure.strerror))}",
            "such an image could make the host write where it likes; mend the image",
        )  # fmt: skip
    if call.name == "openat2" and call.why.startswith("what will be "):
        return BadInput(
            f"attach {paths[0]} at {call.why[13:]}", describe(OSError(error, failure.strerror)),
            "no symlink may have come on the way since the container was made: make it again with another path",
        )  # fmt: skip
    if call.name == "openat2" and call.why.startswith("the part of it for "):
        return BadInput(
            f"attach {paths[0]!r} of a volume at {call.why[19:]}", describe(OSError(error, failure.strerror)),
            "the volume has no such part; a link in it may lead to what is in it, by a relative path",
        )  # fmt: skip
    if call.name == "openat2" and paths and call.why == "shared, so not through a link":
        return BadInput(
            f"attach at {paths[0]}", describe(OSError(error, failure.strerror)),
            "what is shared with the host goes to no place that a link leads to: give the place itself",
        )  # fmt: skip
    if call.why.startswith("its label: "):
        return BadInput(
            f"give it the label {call.why[11:]!r}", describe(OSError(error, failure.strerror)),
            "is that profile loaded, and may we change to it? `dmesg | tail` tells",
        )  # fmt: skip
    if call.name == "openat2" and call.why.startswith("--security-opt mask="):
        return BadInput(
            f"use {call.why}", describe(OSError(error, failure.strerror)),
            "a mask goes over no link of /proc that leads to what a process has open",
        )  # fmt: skip
    if call.name == "openat2" and paths and paths[0] == spec.cwd:
        return BadInput(
            f"enter the working directory {spec.cwd}", describe(OSError(error, failure.strerror)),
            "it must be a directory of the container, and not a descriptor below /proc",
        )  # fmt: skip
    if call.name == "fsconfig" and call.why.startswith("memory at "):
        return BadInput(f"attach --tmpfs {call.why[10:]}", str(failure), "tmpfs(5) says which values its options take")
    if call.why.startswith("--sysctl "):
        told = "there is no such parameter in a namespace of this kernel: `sysctl --all --names` lists the host's"
        remedy = told if error == ENOENT else "it takes no such value, or none at all: proc_sys(5)"
        return BadInput(f"use {call.why}", describe(OSError(error, failure.strerror)), remedy)
    if call.name in ("setresuid", "setresgid", "setgroups") and error == EINVAL:
        return BadInput(
            f"become user {spec.user.uid}, group {spec.user.gid}", "its user namespace has no such id",
            "`minirun run … cat /proc/self/uid_map` says which it has",
        )  # fmt: skip
    if call.why == "a mount point" or (call.name == "move_mount" and error in (ENOENT, ENOTDIR, EROFS, EINVAL)):
        return BadInput(
            f"attach at {paths[-1] if paths else '?'}", str(failure),
            "choose another place in the container; a directory goes over a directory, a file over a file",
        )  # fmt: skip
    return MinirunError(f"{attempt} ({call.why})" if call.why else attempt, str(failure), REMEDIES.get(error, ""))


def not_executed(command: str, error: int) -> MinirunError:
    """Tell why the kernel did not execute *command*, with Docker's exit code for it."""
    attempt = f"execute {command!r} in the container"
    reason = OSError(error, strerror(error))
    if error not in (ENOENT, ENOTDIR):
        return CommandNotExecutable(attempt, reason, "is it a program for this processor, with mode +x?")
    if "/" in command:
        return CommandNotFound(attempt, reason, "the image has no such file, or not the interpreter that it names")
    return CommandNotFound(attempt, "executable file not found in $PATH", "give its whole path, or another command")
