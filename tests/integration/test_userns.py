"""--userns: a container whose ids are not the host's, its files with the right owners inside and on the disk."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest

from minirun.container import ranges
from minirun.container.ranges import Range
from tests import kept
from tests.command import Minirun
from tests.kept import background

AUTO = ("--userns", "auto", "--network", "none")
FIRST, _ = ranges.DEFAULT


@pytest.fixture(scope="module", autouse=True)
def supervised(root: None, store: Minirun) -> Iterator[None]:
    """Have no supervisor stay."""
    yield
    kept.unsupervised(store)


def inside(store: Minirun, script: str, *flags: str) -> str:
    return store("run", "--rm", *AUTO, *flags, "busybox", "sh", "-c", script, check=True).stdout


def links(store: Minirun) -> list[str]:
    """The ranges that containers have."""
    folder = store.root / "ranges"
    return sorted(one.name for one in folder.iterdir() if one.is_symlink()) if folder.exists() else []


def range_of(store: Minirun, name: str) -> tuple[int, int]:
    """The first id of a container on the host, and how many it has."""
    (extent,) = json.loads(store("inspect", name, check=True).stdout)[0]["HostConfig"]["IDMappings"]["UidMap"]
    first, host, size = map(int, extent.split(":"))
    assert first == 0
    return host, size


def uid_of(pid: int) -> int:
    return int(re.findall(r"^Uid:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(), re.M)[0])


def test_root_in_there_is_somebody_else_on_the_host(store: Minirun) -> None:
    with background(store, "other", *AUTO) as pid:
        host, size = range_of(store, "other")
        assert host >= FIRST
        assert size == 65536
        assert uid_of(pid) == host
        assert store("exec", "other", "id", "-u", check=True).stdout == "0\n"
        assert store("exec", "other", "cat", "/proc/self/uid_map", check=True).stdout.split() == [
            "0",
            f"{host}",
            "65536",
        ]
        mine = [Path(f"/proc/{one}/ns/user").readlink() for one in ("self", pid)]
        assert mine[0] != mine[1]
        (described,) = json.loads(store("inspect", "other", check=True).stdout)
        assert described["HostConfig"]["UsernsMode"] == "auto"


def test_files_have_the_owners_that_the_image_gave_them(store: Minirun) -> None:
    script = "stat -c '%u:%g %n' / /etc/passwd /home/alice /dev /dev/null /dev/shm /dev/pts /dev/mqueue /etc/hosts /tmp"
    plain = store("run", "--rm", "--network", "none", "busybox", "sh", "-c", script, check=True).stdout
    assert inside(store, script) == plain
    assert "1000:1000 /home/alice" in plain


def test_what_is_written_is_roots_on_the_disk_and_in_a_commit(store: Minirun) -> None:
    script = "touch /root-file && touch /his && chown 1000:50 /his && rm /etc/profile"
    store("run", "--name", "writes", *AUTO, "busybox", "sh", "-c", script, check=True)
    try:
        (described,) = json.loads(store("inspect", "writes", check=True).stdout)
        upper = Path(described["GraphDriver"]["Data"]["UpperDir"])
        assert [(upper / name).stat().st_uid for name in ("root-file", "his")] == [0, 1000]
        assert (upper / "his").stat().st_gid == 50
        assert sorted(store("diff", "writes", check=True).stdout.split("\n")) == [
            "", "A /his", "A /root-file", "C /etc", "D /etc/profile",
        ]  # fmt: skip
        store("commit", "writes", "written", check=True)
        told = store(
            "run", "--rm", "--network=none", "written", "stat", "-c", "%u:%g", "/root-file", "/his", check=True
        )
        assert told.stdout == "0:0\n1000:50\n"
        with_map = store("run", "--rm", *AUTO, "written", "stat", "-c", "%u:%g", "/root-file", "/his", check=True)
        assert with_map.stdout == told.stdout
    finally:
        store("rm", "writes", check=True)


def test_a_restart_keeps_the_range_and_rm_gives_it_back(store: Minirun) -> None:
    with background(store, "again", *AUTO) as pid:
        before = range_of(store, "again")
        assert [f"{before[0]}-{before[0]}-{before[1]}"] == links(store)
        store("restart", "-t", "0", "again", check=True)
        assert range_of(store, "again") == before
        now = int(store("inspect", "-f", "{{.State.Pid}}", "again", check=True).stdout)
        assert now != pid
        assert uid_of(now) == before[0]
        store("exec", "again", "touch", "/written", check=True)
    assert links(store) == []
    inside(store, "true")
    assert links(store) == []


def test_thirty_two_at_once_have_ids_of_their_own(store: Minirun) -> None:
    names = [f"one{number}" for number in range(32)]
    try:
        with ThreadPoolExecutor(8) as pool:
            made = list(pool.map(lambda name: store("create", "--name", name, *AUTO, "busybox", "true"), names))
        assert [one.stderr for one in made if one.returncode] == []
        taken = sorted((one.uid, one.size) for one in map(Range.read, links(store)) if one)
        assert all(one + size <= after for (one, size), (after, _) in pairwise(taken))
        assert len(taken) == 32
    finally:
        store("rm", "-f", *names)
    assert links(store) == []


def test_it_is_as_large_as_asked_for(store: Minirun) -> None:
    told = store("run", "--rm", "--network=none", "--userns=auto:size=2000", "busybox", "cat", "/proc/self/gid_map")
    assert told.stdout.split()[0::2] == ["0", "2000"]
    refused = store("run", "--rm", "--network=none", "--userns=auto:size=500", "-u", "1000", "busybox", "id")
    assert refused.returncode == 125
    assert "it is none of the 500 ids" in refused.stderr
    assert "`--userns auto:size=1001`" in refused.stderr
    assert links(store) == []


def test_a_map_of_the_users_own_is_taken_as_it_is(store: Minirun) -> None:
    flags = ("--network=none", "--userns", "0:100000:1000,1000:300000:500")
    with background(store, "mapped", *flags) as pid:
        assert uid_of(pid) == 100000
        told = store("exec", "-u", "1000", "mapped", "sh", "-c", "id -u; cat /proc/self/uid_map", check=True).stdout
        assert told.split() == ["1000", "0", "100000", "1000", "1000", "300000", "500"]
        assert links(store) == []


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        ("keep-id", "it is for who is not root"),
        ("nomap", "it is for who is not root"),
        ("private", "it says nothing of which ids"),
        ("ns:/proc/self/ns/user", "by its path is not built"),
        ("auto:uidmapping=0:1:2", "uidmapping is not built"),
        ("auto:size=0", "a number of ids"),
        ("some", "'some' is no map"),
        ("1:100000:10", "it has no id 0"),
        ("0:100000:10,5:300000:10", "id 5 of the container is in two parts"),
        ("0:4294967290:10", "beyond 4294967294"),
        ("container:nobody", "no such container"),
    ],
)
def test_what_is_not_built_is_refused_with_a_sentence(store: Minirun, mode: str, reason: str) -> None:
    result = store("run", "--rm", "--network=none", "--userns", mode, "busybox", "true")
    assert (result.returncode, result.stdout) == (125, "")
    assert reason in result.stderr
    assert "Traceback" not in result.stderr


def test_capabilities_are_of_its_namespaces_and_of_none_of_the_hosts(store: Minirun) -> None:
    own = "ip addr add 10.9.8.7/24 dev lo && ip addr show dev lo && hostname other && hostname"
    told = inside(store, own, "--cap-add", "NET_ADMIN", "--cap-add", "SYS_ADMIN")
    assert "10.9.8.7/24" in told
    assert told.endswith("other\n")
    # on the host's network the same capability is none
    refused = store(
        "run", "--rm", "--userns=auto", "--network=host", "--cap-add=NET_ADMIN", "busybox",
        "ip", "addr", "add", "10.9.8.7/24", "dev", "lo",
    )  # fmt: skip
    assert refused.returncode
    assert "not permitted" in refused.stderr


def test_a_low_port_is_its_own_to_take(store: Minirun) -> None:
    assert inside(store, "timeout 1 nc -l -p 80 </dev/null; test $? = 143 && echo listened", "--sysctl",
                  "net.ipv4.ip_unprivileged_port_start=1024") == "listened\n"  # fmt: skip
    refused = store("run", "--rm", "--userns=auto", "--network=host", "busybox", "timeout", "1", "nc", "-l", "-p", "79")
    assert "ermission denied" in refused.stderr


def test_exec_is_in_there_too(store: Minirun) -> None:
    with background(store, "entered", *AUTO) as pid:
        host, _ = range_of(store, "entered")
        told = store("exec", "entered", "sh", "-c", "touch /x; stat -c %u /x; readlink /proc/self/ns/user", check=True)
        assert told.stdout.split() == ["0", str(Path(f"/proc/{pid}/ns/user").readlink())]
        script = "grep -E 'Cap(Eff|Prm)' /proc/self/status; id -u; echo > /dev/stdout"
        told = store("exec", "-u", "1000", "entered", "sh", "-c", script, check=True)
        assert told.stdout.split() == ["CapPrm:", "0" * 16, "CapEff:", "0" * 16, "1000"]
        store("exec", "-d", "-u", "1000", "entered", "sleep", "777", check=True)
        found = subprocess.run(
            ["pgrep", "-f", "^sleep 777$"], capture_output=True, text=True, check=True
        ).stdout.split()
        assert [uid_of(int(one)) for one in found] == [host + 1000]


@pytest.mark.parametrize("user", ["0", "1000"])
def test_terminals_and_streams_are_its_users(store: Minirun, user: str) -> None:
    script = "stat -c '%u:%g' $(tty) /dev/console; echo said > /dev/stdout"
    told = inside(store, script, "-t", "-u", user).replace("\r", "").split()
    assert told == [f"{user}:5", f"{user}:5", "said"]
    assert inside(store, "echo said > /dev/stdout; echo so > /dev/stderr", "-u", user) == "said\n"
    with background(store, "streams", *AUTO, "-u", user):
        told_exec = store("exec", "-t", "streams", "sh", "-c", "stat -c '%u:%g' $(tty)", check=True).stdout.strip()
        assert told_exec == f"{user}:5"


def test_programs_with_setuid_or_capabilities_give_what_root_has_in_there(
    userland: Minirun, ubuntu_layers: Path
) -> None:
    script = (
        "cp /usr/bin/id /usr/bin/grep /tmp && chmod 4755 /tmp/id /tmp/grep && chmod 755 /tmp &&"
        "setpriv --reuid 1000 --regid 1000 --clear-groups sh -c '/tmp/id; /tmp/grep CapEff /proc/self/status'"
    )
    told = userland("run", "--rm", *AUTO, ubuntu_layers, "sh", "-c", script, check=True).stdout
    assert "euid=0(root)" in told
    assert told.split()[-1] == "00000000a80425fb"


def test_volumes_are_containers_and_binds_the_hosts(store: Minirun, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "hosts").write_text("of the host's root")
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    script = "id -u > /vol/a; chown 1000 /vol/a; stat -c %u /vol /vol/a; stat -c %u /bind/hosts; touch /bind/open/b"
    told = inside(store, script, "-v", "shared-ids:/vol", "-v", f"{tmp_path}:/bind")
    try:
        assert told.split() == ["0", "1000", "65534"]
        assert (tmp_path / "open/b").stat().st_uid >= FIRST
        # another container has other ids on the host, and finds its own in the volume
        assert inside(store, "stat -c %u /vol/a", "-v", "shared-ids:/vol") == "1000\n"
        data = store.root / "volumes/shared-ids/_data"
        assert [(data / "a").stat().st_uid, data.stat().st_uid] == [1000, 0]
        refused = store("run", "--rm", *AUTO, "-v", f"{tmp_path}:/bind", "busybox", "rm", "/bind/hosts")
        assert "ermission denied" in refused.stderr
        assert (tmp_path / "hosts").read_text() == "of the host's root"
    finally:
        store("volume", "rm", "shared-ids", check=True)


def test_a_directory_of_the_hosts_is_mapped_where_that_is_asked_for(store: Minirun, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("root's")
    script = "stat -c %u /d /d/file; touch /d/made; chown 1000 /d/made"
    assert inside(store, script, "-v", f"{tmp_path}:/d:idmap") == "0\n0\n"
    assert (tmp_path / "made").stat().st_uid == 1000
    told = store("run", "--rm", *AUTO, "-v", f"{tmp_path}:/d:idmap,ro,noexec", "busybox", "touch", "/d/file")
    assert "Read-only" in told.stderr
    refused = store("run", "--rm", "--network=none", "-v", f"{tmp_path}:/d:idmap", "busybox", "true")
    assert "the container's ids are the host's" in refused.stderr


def owners(store: Minirun, path: str) -> dict[str, tuple[int, int]]:
    """Whose what `cp` puts into a tar is, by name."""
    done = subprocess.run(store.command(("cp", path, "-")), env=store.environment(), capture_output=True, check=True)
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        return {one.name: (one.uid, one.gid) for one in archive}


@pytest.mark.parametrize("runs", [True, False], ids=["runs", "stopped"])
def test_what_is_copied_has_the_containers_owners(store: Minirun, tmp_path: Path, runs: bool) -> None:
    (tmp_path / "d/sub").mkdir(parents=True)
    (tmp_path / "d/file").write_text("of the host's")
    (tmp_path / "d/link").symlink_to("file")
    os.chown(tmp_path / "d/file", 1000, 50)
    tmp_path.chmod(0o700)
    with background(store, "copied", *AUTO, script="mkdir /own; echo x > /own/a; chown 7:8 /own/a; exec sleep 1000"):
        if not runs:
            store("stop", "-t", "0", "copied", check=True)
        store("cp", f"{tmp_path}/d", "copied:/root-owns", check=True)
        store("cp", "-a", f"{tmp_path}/d", "copied:/as-it-was", check=True)
        packed = subprocess.run(["tar", "-C", tmp_path, "-c", "d"], capture_output=True, check=True).stdout
        subprocess.run(store.command(("cp", "-", "copied:/opt")), env=store.environment(), input=packed, check=True)
        for place, owner in (("/root-owns", (0, 0)), ("/as-it-was", (1000, 50)), ("/opt/d", (1000, 50))):
            found = owners(store, f"copied:{place}")
            assert {found[f"{Path(place).name}/{name}"] for name in ("link", "sub")} == {(0, 0)}
            assert found[f"{Path(place).name}/file"] == owner
        assert owners(store, "copied:/own") == {"own": (0, 0), "own/a": (7, 8)}
        store("cp", "copied:/own/a", f"{tmp_path}/a", check=True)
        store("cp", "-a", "copied:/own/a", f"{tmp_path}/b", check=True)
        assert [(tmp_path / name).stat().st_uid for name in ("a", "b")] == [0, 7]
        if runs:
            script = "stat -c '%u:%g' /root-owns /root-owns/file /as-it-was/file; echo >> /root-owns/file"
            told = store("exec", "copied", "sh", "-c", script, check=True).stdout
            assert told.split() == ["0:0", "0:0", "1000:50"]
        assert not [one for one in store.root.glob("*") if one.stat().st_uid]


def test_memory_is_roots_or_whose_it_is_to_be(store: Minirun) -> None:
    script = "stat -c '%u:%g %a' /m /n"
    flags = ("--tmpfs", "/m", "--tmpfs", "/n:uid=1000,gid=50,mode=700")
    assert inside(store, script, *flags) == "0:0 1777\n1000:50 700\n"


def test_it_can_neither_mount_nor_make_devices_and_ends_nobody_of_the_hosts(store: Minirun) -> None:
    with subprocess.Popen(["sleep", "1000"]) as victim:
        try:
            script = f"kill -9 {victim.pid}; mknod /tmp/null c 1 3; mount -t tmpfs x /mnt; chown 0 /proc/1; echo done"
            result = store("run", "--rm", *AUTO, "--pid=host", "busybox", "sh", "-c", script)
            assert result.stdout == "done\n"
            assert result.stderr.count("ermitted") >= 3
            assert victim.poll() is None
        finally:
            victim.kill()


def test_with_cap_sys_admin_it_may_mount_and_lift_nothing_that_is_mounted(store: Minirun) -> None:
    script = (
        "mount -t tmpfs mine /mnt && grep -c ' /mnt ' /proc/mounts; umount /proc/kcore; umount /proc/keys;"
        "mount -o remount,rw /sys; mount -o remount,bind,rw /proc/sys; true"
    )
    result = store("run", "--rm", *AUTO, "--cap-add=SYS_ADMIN", "busybox", "sh", "-c", script)
    assert result.stdout == "1\n"
    assert len(result.stderr.splitlines()) == 4


def test_exec_has_the_mounts_that_its_root_has_added(store: Minirun) -> None:
    with background(
        store, "mounts", *AUTO, "--cap-add=SYS_ADMIN", script="mount -t tmpfs x /mnt && exec sleep 1000"
    ) as pid:
        script = "readlink /proc/self/ns/mnt; touch /mnt/here"
        told = store("exec", "mounts", "sh", "-c", script, check=True).stdout.strip()
        assert told == str(Path(f"/proc/{pid}/ns/mnt").readlink())
        assert store("exec", "--privileged", "mounts", "readlink", "/proc/self/ns/mnt").stdout.strip() == told
        assert Path(f"/proc/{pid}/root/mnt/here").exists()


def test_privileged_is_so_in_its_namespace_alone(store: Minirun) -> None:
    disk = next(one for one in ("/dev/vda", "/dev/sda", "/dev/loop0", "/dev/kmsg") if Path(one).exists())
    script = f"grep CapEff /proc/self/status; head -c 1 {disk}; echo x > /proc/sys/kernel/core_pattern"
    result = store("run", "--rm", *AUTO, "--privileged", "busybox", "sh", "-c", script)
    assert int(result.stdout.split()[1], 16) >> 21 & 1
    assert result.stderr.count("ermission denied") >= 2


def test_a_joined_container_has_the_same_ids(store: Minirun) -> None:
    with background(store, "first", *AUTO) as pid:
        flags = ("--userns=container:first", "--network=container:first", "--pid=container:first")
        result = store(
            "run", "--rm", *flags, "busybox", "sh", "-c", "readlink /proc/self/ns/user; id -u; kill -0 1 && echo may"
        )
        assert result.stdout.split() == [str(Path(f"/proc/{pid}/ns/user").readlink()), "0", "may"]
        own = store("run", "--rm", "--userns=container:first", "--network=none", "busybox", "ip", "addr", "show", "lo")
        assert "LOOPBACK,UP" in own.stdout
    assert store("run", "--rm", "--userns=container:first", "busybox", "true").returncode == 125


def test_ids_that_are_shared_are_nobody_elses_when_the_first_is_gone(store: Minirun) -> None:
    store("run", "-d", "--name", "goes", *AUTO, "busybox", "sleep", "1000", check=True)
    try:
        own = range_of(store, "goes")
        with background(store, "stays", "--userns=container:goes", "--network=none") as pid:
            store("rm", "-f", "goes", check=True)
            assert uid_of(pid) == own[0]
            (link,) = links(store)
            assert link.startswith(f"{own[0]}-{own[0]}-{own[1]}.")
            refused = store("restart", "-t", "0", "stays")
            assert "it was removed" in refused.stderr
    finally:
        store("rm", "-f", "goes")
    assert links(store) == []


# a file system of memory that maps no ids, seen by nobody else
WITHOUT_IDMAP = """
mount -t ramfs none "$1" && shift && "$@"
"""


def test_a_file_system_that_maps_no_ids_is_told(busybox_layers: Path, tmp_path: Path) -> None:
    place, layers = tmp_path / "ramfs", tmp_path / "layers"
    place.mkdir()
    layers.mkdir()
    shutil.copy(busybox_layers / "00-base.tar", layers)
    other = Minirun(place / "root", place / "runtime")
    script = ["unshare", "-m", "sh", "-c", WITHOUT_IDMAP, "sh", str(place)]
    command = other.command(("run", "--rm", *AUTO, layers, "/bin/true"))
    done = subprocess.run([*script, *command], env=other.environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 125
    assert "cannot give files of the container its owners, in its user namespace" in done.stderr
    assert "their file system cannot map ids" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_plan_shows_it_and_a_trace_what_it_took(store: Minirun) -> None:
    plan = store("run", "--dry-run", "--userns=auto", "busybox", "true", check=True).stdout
    steps = ("/ranges/", "uid_map", "setresuid(-1, ", "MOUNT_ATTR_IDMAP", "setns(holder, CLONE_NEWUSER)", "execveat(")
    places = [plan.index(step) for step in steps]
    assert places == sorted(places)
    assert links(store) == []
    traced = store("run", "--rm", "--trace", *AUTO, "busybox", "true", check=True).stderr
    assert "uid_map" in traced
    assert "setns(" in traced


def test_doctor_tries_it(store: Minirun, tmp_path: Path) -> None:
    command = ("doctor", "--format", "{{.What}}: {{.State}}: {{.Meaning}}")
    assert "user namespaces: ok: --userns auto: " in store(*command).stdout
    place = tmp_path / "ramfs"
    place.mkdir()
    other = Minirun(place / "root", place / "runtime")
    script = ["unshare", "-m", "sh", "-c", WITHOUT_IDMAP, "sh", str(place), *other.command(command)]
    done = subprocess.run(script, env=other.environment(), capture_output=True, text=True, check=False)
    assert "user namespaces: degraded: its files cannot be mapped: EINVAL" in done.stdout


def test_explain_tells_of_it(store: Minirun) -> None:
    told = store("explain", "busybox", check=True).stdout
    assert re.search(r"user +shared .*--userns auto", told)
    assert re.search(r"user +own .*ids that nobody else has.*without --userns auto",
                     store("explain", "--userns", "auto", "busybox", check=True).stdout)  # fmt: skip
    store("create", "--name", "explained", *AUTO, "busybox", "true", check=True)
    try:
        told = store("explain", "explained", check=True).stdout
        assert f"0 in it is {range_of(store, 'explained')[0]} of the host" in told
        assert re.search(r"made by itself +denied +in a user namespace nobody makes any", told)
    finally:
        store("rm", "explained", check=True)


WITHOUT_STUB = """
import os
from minirun.launch import ending, userns
ending.stub = lambda: ''
made = userns.UserNamespace('/', [[0, 5000000, 10]], [[0, 6000000, 10]], 0x40000000)
made.make()
holder = f'/proc/{made._process.pid}'
net = made.network()
print(open(f'{holder}/gid_map').read().split()[1], os.fstat(net).st_ino != os.stat('/proc/self/ns/net').st_ino)
made.close()
print(os.path.exists(holder))
"""


def test_what_no_compiler_was_there_for_is_done_by_a_fork(root: None) -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_STUB], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["6000000", "True", "False"]
