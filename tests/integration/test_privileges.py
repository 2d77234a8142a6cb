"""What a container is given beyond the default, and what is taken from it: capabilities, groups, devices.

The devices are those that every host of these tests has: /dev/fuse, 10:229, and /dev/net/tun, 10:200.
"""

from __future__ import annotations

import json
import os
import stat
import subprocess
from pathlib import Path

import pytest

from minirun.launch import ending
from minirun.security import capabilities
from tests.command import Minirun
from tests.running import running

NET_RAW, SYS_PTRACE, MKNOD = 13, 19, 27
FUSE, TUN = "/dev/fuse", "/dev/net/tun"


def kept(store: Minirun, *flags: str) -> int:
    """The capabilities of a container's root, which are the same in all three sets."""
    status = store("run", "--rm", *flags, "busybox", "grep", "-E", "Cap(Prm|Eff|Bnd)", "/proc/self/status", check=True)
    (found,) = {int(line.split()[1], 16) for line in status.stdout.splitlines()}
    return found


def opened(store: Minirun, script: str, *flags: str) -> list[str]:
    """The names that a script prints which opens devices; the shell goes on where one does not open."""
    words = f'try() {{ (eval ": $1") 2>/dev/null && echo "$1"; }}; {script}; true'
    return store("run", "--rm", *flags, "busybox", "sh", "-c", words, check=True).stdout.splitlines()


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (("--cap-drop", "ALL"), 0),
        (("--cap-drop", "all", "--cap-add", "net_raw", "--cap-add", "CAP_SYS_PTRACE"), 1 << NET_RAW | 1 << SYS_PTRACE),
        (("--cap-drop", "MKNOD"), capabilities.DEFAULT & ~(1 << MKNOD)),
        (("--cap-add", "SYS_PTRACE"), capabilities.DEFAULT | 1 << SYS_PTRACE),
        (("--cap-add", "SYS_PTRACE", "--cap-drop", "SYS_PTRACE"), capabilities.DEFAULT | 1 << SYS_PTRACE),
        (("--cap-add", "ALL", "--cap-drop", "MKNOD"), capabilities.own() & ~(1 << MKNOD)),
        (("--cap-add", "ALL", "--cap-drop", "ALL"), capabilities.own()),
    ],
    ids=str,
)
def test_capabilities_are_added_and_dropped_as_docker_does(
    store: Minirun, flags: tuple[str, ...], expected: int
) -> None:
    assert kept(store, *flags) == expected


def test_capabilities_do_what_they_are_for(store: Minirun) -> None:
    command = ("busybox", "hostname", "other")
    assert store("run", "--rm", *command).returncode == 1
    assert store("run", "--rm", "--cap-add", "SYS_ADMIN", *command).returncode == 0
    assert store("run", "--rm", "--cap-drop", "CHOWN", "busybox", "chown", "1", "/").returncode == 1


def test_another_user_has_no_more_of_them_than_of_the_default(store: Minirun) -> None:
    flags = ("--rm", "-u", "1000", "--cap-add", "SYS_PTRACE")
    status = store("run", *flags, "busybox", "grep", "Cap", "/proc/self/status", check=True).stdout
    sets = {line.split(":")[0]: int(line.split()[1], 16) for line in status.splitlines()}
    assert sets.pop("CapBnd") == capabilities.DEFAULT | 1 << SYS_PTRACE
    assert set(sets.values()) == {0}


def test_exec_has_what_the_container_has(store: Minirun) -> None:
    flags = ("--cap-drop", "ALL", "--cap-add", "SYS_PTRACE", "--group-add", "audio")
    with running(store, "few", "sleep", "1000", flags=flags):
        status = store("exec", "few", "grep", "CapEff", "/proc/self/status", check=True).stdout
        assert int(status.split()[1], 16) == 1 << SYS_PTRACE
        assert "29(audio)" in store("exec", "few", "id", check=True).stdout


def test_groups_are_added_by_name_and_number(store: Minirun) -> None:
    added = ("--group-add", "audio", "--group-add", "4711")
    assert store("run", "--rm", *added, "busybox", "id", "-G", check=True).stdout.split() == ["0", "29", "4711"]
    assert store("run", "--rm", "-u", "7:8", *added, "busybox", "id", "-G", check=True).stdout.split() == [
        "8", "29", "4711"
    ]  # fmt: skip


def test_a_device_opens_and_is_a_node_of_the_containers_own(store: Minirun) -> None:
    before = Path(FUSE).stat()
    script = f"stat -c '%F %t:%T' {FUSE} /dev/net/other; try '<{FUSE}'; chmod 777 {FUSE}; chown 5:5 {FUSE}"
    flags = ("--device", FUSE, "--device", f"{TUN}:/dev/net/other")
    assert opened(store, script, *flags) == [
        "character special file a:e5", "character special file a:c8", f"<{FUSE}"
    ]  # fmt: skip
    after = Path(FUSE).stat()
    assert (before.st_mode, before.st_uid, before.st_gid) == (after.st_mode, after.st_uid, after.st_gid)


def test_a_device_opens_for_what_was_asked_alone(store: Minirun) -> None:
    script = f"try '<{FUSE}'; try '>{FUSE}'; try '<>{FUSE}'"
    assert opened(store, script, "--device", f"{FUSE}:r") == [f"<{FUSE}"]
    assert opened(store, script, "--device", f"{FUSE}:w") == [f">{FUSE}"]
    assert opened(store, script, "--device", FUSE) == script.replace("try ", "").replace("'", "").split("; ")


def test_other_devices_open_no_more_than_before(store: Minirun) -> None:
    script = "mknod /x c 10 200; mknod /dev/x c 10 200; mkdir /s; try '</x'; try '</dev/x'; try '</dev/zero'"
    assert opened(store, script, "--device", FUSE) == ["</dev/zero"]


def test_a_directory_of_devices_is_given_whole(store: Minirun) -> None:
    assert opened(store, "try '<>/dev/mesh/tun'", "--device", "/dev/net:/dev/mesh") == ["<>/dev/mesh/tun"]


def test_a_rule_lets_nodes_open_that_the_container_makes(store: Minirun) -> None:
    script = (
        "mknod /x c 10 229; mknod /dev/x c 10 229; mknod /y c 10 200; mknod /b b 7 0; "
        "try '</x'; try '>/x'; try '</dev/x'; try '</y'; try '</b'; try '</dev/null'; try '>/dev/full'"
    )
    assert opened(store, script, "--device-cgroup-rule", "c 10:229 r") == ["</x", "</dev/x", "</dev/null", ">/dev/full"]
    assert "</y" in opened(store, script, "--device-cgroup-rule", "c 10:* r")
    assert "</y" in opened(store, script, "--device-cgroup-rule", "a *:* rwm")


def test_exec_has_the_devices_of_the_container_and_no_others(store: Minirun) -> None:
    with running(store, "devices", "sleep", "1000", flags=("--device", f"{FUSE}:r")):
        script = f"for f in {FUSE} /dev/zero; do (: <$f) && echo $f; done; (: >{FUSE}) 2>&1"
        printed = store("exec", "--privileged", "devices", "sh", "-c", script).stdout
    assert printed.splitlines()[:2] == [FUSE, "/dev/zero"]
    assert "not permitted" in printed


def test_privileged_is_as_root_of_the_host_is(store: Minirun) -> None:
    assert kept(store, "--privileged") == capabilities.own()
    script = (
        f"try '<>{FUSE}'; mknod /x c 10 229; try '</x'; try '</proc/keys'; "
        "grep -c Seccomp:.0 /proc/self/status; unshare -m mount -t tmpfs none /mnt && echo mounted; "
        "[ -w /proc/sys/kernel/core_pattern ] && mkdir /sys/fs/cgroup/own && rmdir /sys/fs/cgroup/own && "
        "echo writable; "
        "[ $(wc -l </proc/timer_list) -gt 2 ] && echo seen; ls /dev/pts/ptmx /dev/null"
    )
    printed = opened(store, script, "--privileged")
    assert printed == [
        f"<>{FUSE}", "</x", "</proc/keys", "1", "mounted", "writable", "seen", "/dev/null", "/dev/pts/ptmx"
    ]  # fmt: skip


def test_privileged_has_the_devices_of_the_host_and_a_dev_of_its_own(store: Minirun) -> None:
    theirs = {name for name in os.listdir("/dev") if stat.S_ISCHR(Path("/dev", name).lstat().st_mode)}
    own = set(store("run", "--rm", "--privileged", "busybox", "ls", "/dev", check=True).stdout.split())
    assert theirs - {"console"} <= own
    assert store("run", "--rm", "--privileged", "busybox", "ls", "/dev/pts", check=True).stdout == "ptmx\n"


def test_privileged_does_not_write_to_what_executed_it(store: Minirun) -> None:
    script = "(: >>/proc/self/exe) 2>&1; for e in /proc/[0-9]*/exe; do (: >>$e) 2>&1; done; true"
    before = Path(ending.stub()).read_bytes()
    printed = store("run", "--rm", "--privileged", "busybox", "sh", "-c", script, check=True).stdout
    assert "can't create" in printed
    assert Path(ending.stub()).read_bytes() == before


def test_exec_in_a_privileged_container_is_privileged(store: Minirun) -> None:
    with running(store, "mighty", "sleep", "1000", flags=("--privileged",)):
        status = store("exec", "mighty", "grep", "-E", "CapEff|Seccomp:", "/proc/self/status", check=True).stdout
        (found,) = json.loads(store("inspect", "mighty", check=True).stdout)
    assert int(status.split()[1], 16) == capabilities.own()
    assert status.split()[3] == "0"
    assert found["HostConfig"]["Privileged"] is True
    assert found["HostConfig"]["MaskedPaths"] is None


def test_inspect_tells_what_was_asked_for_and_it_stays(store: Minirun) -> None:
    flags = (
        "--cap-add", "net_admin", "--cap-drop", "ALL", "--group-add", "audio", "--device", f"{FUSE}:/dev/k:r",
        "--device-cgroup-rule", "c 10:* rw",
    )  # fmt: skip
    store("create", "--name", "asked", *flags, "busybox", "grep", "CapEff", "/proc/self/status", check=True)
    (found,) = json.loads(store("inspect", "asked", check=True).stdout)
    asked = found["HostConfig"]
    assert (asked["CapAdd"], asked["CapDrop"], asked["GroupAdd"]) == (["CAP_NET_ADMIN"], ["ALL"], ["audio"])
    assert asked["Devices"] == [{"PathOnHost": FUSE, "PathInContainer": "/dev/k", "CgroupPermissions": "r"}]
    assert asked["DeviceCgroupRules"] == ["c 10:* rw"]
    for _ in range(2):
        assert int(store("start", "-a", "asked", check=True).stdout.split()[1], 16) == 1 << 12
    store("rm", "asked", check=True)


def test_a_device_that_is_gone_keeps_it_from_starting(store: Minirun, tmp_path: Path) -> None:
    node = tmp_path / "node"
    os.mknod(node, 0o600 | 0o020000, os.makedev(1, 3))
    store("create", "--name", "gone", "--device", f"{node}:/dev/gone", "busybox", "true", check=True)
    node.unlink()
    result = store("start", "-a", "gone")
    assert result.returncode == 125
    assert f"cannot give device {node} to the container" in result.stderr
    store("rm", "gone", check=True)


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (("--cap-add", "NO"), "there is no such capability"),
        (("--cap-drop", ""), "there is no such capability"),
        (("--group-add", "nosuch"), "no group 'nosuch'"),
        (("--group-add", "4294967296"), "not in the range"),
        (("--device", "/dev/nosuch"), "ENOENT"),
        (("--device", "/etc/passwd:/dev/x"), "no device"),
        (("--device", "fuse"), "it is no device"),
        (("--device", "/dev/null:/dev/zero"), "has a /dev/zero of its own"),
        (("--device", "/dev/null:/dev/pts/0"), "of its own"),
        (("--device", "/dev/null:/etc/null"), "not below /dev"),
        (("--device", "/dev/null:/dev/x:rwx"), "no access"),
        (("--device-cgroup-rule", "c 1:3"), "it is no rule"),
        (("--device-cgroup-rule", "d 1:3 r"), "it is no rule"),
        (("--device-cgroup-rule", "c 1:99999999999 r"), "no number of a device"),
        (("--device-cgroup-rule", "c 1:3 rr"), "no access"),
    ],
    ids=str,
)
def test_what_has_no_meaning_is_refused_and_leaves_nothing(
    store: Minirun, flags: tuple[str, ...], why: str
) -> None:  # fmt: skip
    result = store("run", "--name", "refused", *flags, "busybox", "true")
    assert result.returncode == 125
    assert why in result.stderr
    assert store("ps", "-aq", "--filter", "name=refused", check=True).stdout == ""


def test_a_capability_that_minirun_has_not_got_is_not_promised(store: Minirun) -> None:
    words = store.command(("run", "--rm", "--cap-add", "SYS_TIME", "busybox", "true"))
    result = subprocess.run(
        ["capsh", "--drop=cap_sys_time", "--", "-c", 'exec "$@"', "sh", *words], env=store.environment(),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 125
    assert "cannot give a container CAP_SYS_TIME: minirun was started without it" in result.stderr
