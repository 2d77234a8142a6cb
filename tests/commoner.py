"""An ordinary user of the tests' own, as whom minirun is run: see docs/rootless.md.

    unshare --mount    /etc/{passwd,group,subuid,subgid}: copies that know him; /dev/net/tun, for everybody as usual
      └─ setpriv       he, without groups
           └─ minirun

MINIRUN_TEST_ROOTLESS=1 has all integration tests run minirun so, but for FILES and TESTS.
"""

from __future__ import annotations

import atexit
import os
import shlex
import shutil
import tempfile
from functools import cache
from pathlib import Path

UID = 64321
NAME = "minirun-commoner"
FIRST, COUNT = 1_610_612_736, 65536  # ids that no host gives
EVERYWHERE = "MINIRUN_TEST_ROOTLESS" in os.environ

_BRIDGE = "a bridge, and rules beside it, are on the host: root's"
_GROUP = "limits, pausing, figures and groups below take a cgroup of one's own"
_DEVICE = "device nodes, and all capabilities of the host, are root's"
_HOST = "it changes, or looks at, what is root's on the host"
_MADE = "what it reads or writes beside the container, or in the store, the test has made, and that is root"
_IDS = "all ids that he has are in one user namespace: docs/user-namespaces.md"
_WORDS = "he is refused in another word, EACCES for EROFS, or has not the ids that it names"

# file → why an ordinary user's minirun cannot have it
FILES = {
    _BRIDGE: (
        "egress egress_hostile egress_killed loopback macvlan names network_bridge network_connect network_default "
        "network_killed network_predefined network_scale network_upkeep ports"
    ),
    _GROUP: "pause resources scope stats supervision_group update",
    _DEVICE: "devices null_device privileges",
    _IDS: "userns userns_killed userns_network",
    _HOST: "boot booting doctor image_mount labels older_kernels poor_host readme shared_namespaces sharing",
    _MADE: "concurrency cp_hostile detached events image_concurrency killed system_check",  # in the store, one or more
}
# file and words of names → why
TESTS = {
    ("commit", "every_kind_of_change"): _DEVICE,
    (
        "cp",
        "lands_where link_is_followed read_only_root tar_comes_out events_tell volumes_are with_a_all without_a",
    ): _MADE,
    ("exec", "paused_container privileged_gives"): _GROUP,
    ("exec_hostile", "seen_in_what_goes_in null_device_is"): _WORDS,
    ("explain", "of_a_container"): _DEVICE,
    ("plan_shown", "dry_run_shows"): _WORDS,
    ("health", "hangs background paused can_be_killed"): _GROUP,
    ("hostile_image", "link_in_etc images_hides_nothing"): _WORDS,
    ("hostile_image", "holds_the_stub"): _HOST,
    ("image_diff", "root_directory_itself"): _MADE,
    ("image_squash", "stays_the_same blobs_that"): _MADE,
    ("isolation", "shared_mount hosts_mounts own_cgroup namespaces_of_its_own"): _HOST,
    ("isolation", "would_change_the_host"): _WORDS,
    ("launch_fallback", "user_namespace"): _IDS,
    ("load", "between_two_images several_platforms peak_of_memory umoci_wrote cut_off"): _MADE,
    ("logs", "journal"): _HOST,
    ("masks", "lifted privileged_sees"): _WORDS,
    ("named_volumes", "empty_volume no_link anonymous from_another somebody_has an_overlay"): _MADE,
    ("probe", "userns user_namespace"): _IDS,
    ("prune", "remains_too being_started cannot_be_read"): _MADE,
    ("ps", "five_hundred"): _MADE,
    ("registry", "what_skopeo_pushed in_zstd"): _MADE,
    ("run", "read_only_root"): _MADE,
    ("save", "comes_back alias many_at_once saved_and_loaded"): _MADE,
    ("seccomp", "bad_profile setuid_program"): _MADE,
    ("top", "groups_that without_ps another_ps"): _HOST,
    ("user", "is_a_trap"): _MADE,
    ("user", "who_the_image_says"): _WORDS,
    ("volumes", "both_sides as_a_file of_the_size can_only_be_read in_the_order"): _MADE,
}

if EVERYWHERE:
    os.environ["MINIRUN_ROOTLESS"] = str(UID)  # what tests ask of minirun's modules, they ask about him

_TUN = "mount -t tmpfs -o mode=755 tmpfs /dev/net && mknod -m 666 /dev/net/tun c 10 200"


def words() -> list[str]:
    """The words before a command that he is to run."""
    binds = [f"mount --bind {shlex.quote(str(path))} /etc/{path.name}" for path in sorted(_tables().iterdir())]
    become = f'exec setpriv --reuid {UID} --regid {UID} --clear-groups "$@"'
    return ["unshare", "--mount", "sh", "-ec", "; ".join([*binds, _TUN, become]), "sh"]


def folder() -> Path:
    """A new directory to which everybody may go, and which goes when the tests end."""
    made = Path(tempfile.mkdtemp(prefix="minirun-commoner-"))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    made.chmod(0o755)
    return made


def rootful(path: Path, name: str) -> str:
    """Why a test is not for him; empty if it is."""
    if not EVERYWHERE or path.parent.name != "integration":
        return ""
    file = path.stem.removeprefix("test_")
    for reason, files in FILES.items():
        if file in files.split():
            return reason
    reasons = (
        reason
        for (where, words), reason in TESTS.items()
        if where == file and any(one in name for one in words.split())
    )
    return next(reasons, "")


@cache
def _tables() -> Path:
    tables = folder()
    own = {
        "passwd": f"{NAME}:x:{UID}:{UID}::/nonexistent:/bin/sh", "group": f"{NAME}:x:{UID}:",
        "subuid": f"{NAME}:{FIRST}:{COUNT}", "subgid": f"{NAME}:{FIRST}:{COUNT}",
    }  # fmt: skip
    for name, line in own.items():
        there = Path("/etc", name)
        there.touch()
        (tables / name).write_text(f"{there.read_text()}{line}\n")
        (tables / name).chmod(0o644)
    return tables


def give(*folders: Path) -> None:
    """Make folders that are his, below some that he may pass through."""
    for folder in folders:
        if not folder.exists():
            folder.mkdir(parents=True, mode=0o700)
            os.chown(folder, UID, UID)
        for above in folder.parents:
            if above.is_relative_to(tempfile.gettempdir()) and above != Path(tempfile.gettempdir()):
                above.chmod(above.stat().st_mode | 0o011)
