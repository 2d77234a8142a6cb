"""An ordinary user of the tests' own, as whom minirun is run: see docs/rootless.md.

    unshare --mount    /etc/{passwd,group,subuid,subgid}: copies that know him; /dev/net/tun, for everybody as usual
      └─ setpriv       he, without groups
           └─ minirun

MINIRUN_TEST_ROOTLESS=1 has all integration tests run minirun so, but for those of ROOTFUL.
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
_GROUP = "limits, pausing and figures take a cgroup of one's own"
_DEVICE = "device nodes are root's to make"
_HOST = "it changes, or looks at, what is root's on the host"

# file, or file::test → why an ordinary user's minirun cannot have it
ROOTFUL = {
    **dict.fromkeys(
        (
            "test_egress.py", "test_egress_hostile.py", "test_egress_killed.py", "test_macvlan.py", "test_names.py",
            "test_network_bridge.py", "test_network_connect.py", "test_network_default.py", "test_network_killed.py",
            "test_network_predefined.py", "test_network_scale.py", "test_network_upkeep.py", "test_ports.py",
            "test_loopback.py",
        ),
        _BRIDGE,
    ),
    **dict.fromkeys(
        ("test_pause.py", "test_resources.py", "test_scope.py", "test_stats.py", "test_supervision_group.py",
         "test_update.py"),
        _GROUP,
    ),
    **dict.fromkeys(
        ("test_devices.py", "test_privileges.py", "test_null_device.py",
         "test_commit.py::test_every_kind_of_change_survives_run_commit_run_export"),
        _DEVICE,
    ),
    **dict.fromkeys(
        ("test_image_mount.py", "test_readme.py", "test_doctor.py", "test_older_kernels.py", "test_poor_host.py",
         *(f"test_why.py::test_{name}" for name in (
             "what_it_says_of_a_path_is_what_who_tries_is_told", "what_it_says_lifts_a_denial_does",
             "it_asks_also_where_it_could_be_looked_into", "who_is_stopped_in_there_is_not_waited_for")),
         "test_labels.py", "test_sharing.py", "test_shared_namespaces.py", "test_boot.py", "test_booting.py",
         "test_run.py::test_a_read_only_root_takes_no_write_but_in_volumes_and_tmpfs"),
        _HOST,
    ),
}  # fmt: skip

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
    return ROOTFUL.get(path.name) or ROOTFUL.get(f"{path.name}::{name.partition('[')[0]}") or ""


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
