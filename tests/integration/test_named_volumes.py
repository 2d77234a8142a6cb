"""Volumes: made on first use with what the image has there, kept when containers go, removed when nobody has them."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from minirun.home import FOLDERS
from tests import busybox
from tests.command import Minirun


def inside(store: Minirun, script: str, *flags: str | Path, image: str | Path = "busybox") -> str:
    return store("run", "--rm", *flags, image, "sh", "-c", script, check=True).stdout


def names(store: Minirun, *flags: str) -> list[str]:
    return store("volume", "ls", "-q", *flags, check=True).stdout.split()


def data(store: Minirun, name: str) -> Path:
    return store.root / "volumes" / name / "_data"


def mounts(store: Minirun, box: str) -> list[dict[str, Any]]:
    (described,) = json.loads(store("inspect", box, check=True).stdout)
    found: list[dict[str, Any]] = described["Mounts"]
    return found


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A root file system with much in /srv, and links that lead out of it as seen from the host."""
    base = busybox.tree(tmp_path / "image")
    srv = base / "srv"
    (srv / "deep/er").mkdir(parents=True)
    (srv / "file").write_text("image's\n")
    os.link(srv / "file", srv / "deep/er/same")
    (srv / "link").symlink_to("/etc/shadow")
    os.mkfifo(srv / "fifo")
    os.setxattr(srv / "file", "user.kind", b"odd")
    os.chown(srv / "file", 7, 8)
    (srv / "file").chmod(0o4750)
    os.chown(srv, 5, 6)
    srv.chmod(0o2770)
    os.utime(srv / "file", (1000, 1000))
    (base / "way").symlink_to("/srv")
    (base / "out").symlink_to("../../../../../../../../../etc")
    return tmp_path / "image"


def test_a_volume_is_made_on_first_use_and_keeps_what_is_written(store: Minirun) -> None:
    assert inside(store, "echo one >/data/x", "-v", "keep:/data") == ""
    assert names(store, "--filter", "name=keep") == ["keep"]
    assert inside(store, "cat /d/x", "-v", "keep:/d:ro") == "one\n"
    assert inside(store, "(: >/d/y) 2>&1; true", "--mount", "src=keep,dst=/d,ro").count("Read-only") == 1
    assert store("volume", "rm", "keep", check=True).stdout == "keep\n"
    assert not data(store, "keep").parent.exists()


def test_an_empty_volume_takes_what_the_image_has_at_its_path(store: Minirun, image: Path) -> None:
    script = "cd /srv; ls; stat -c '%a %u %g %Y' file .; cat deep/er/same; readlink link; stat -c %h file"
    lines = inside(store, script, "-v", "taken:/srv", image=image).splitlines()
    assert lines[:5] == ["deep", "fifo", "file", "link", "4750 7 8 1000"]
    assert lines[5].startswith("2770 5 6 ")
    assert lines[6:] == ["image's", "/etc/shadow", "2"]
    there = data(store, "taken")
    assert (there / "file").samefile(there / "deep/er/same")
    assert os.getxattr(there / "file", "user.kind") == b"odd"
    status = there.stat()
    assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (0o2770, 5, 6)
    inside(store, "echo mine >/srv/file", "-v", "taken:/srv", image=image)
    assert inside(store, "cat /srv/file", "-v", "taken:/srv", image=image) == "mine\n"
    store("volume", "rm", "taken", check=True)


def test_an_empty_volume_that_is_there_takes_it_on_its_first_use(store: Minirun, image: Path) -> None:
    store("volume", "create", "later", check=True)
    assert inside(store, "cat /srv/file", "-v", "later:/srv", image=image) == "image's\n"
    store("volume", "create", "bare", check=True)
    assert inside(store, "ls -A /srv", "-v", "bare:/srv:nocopy", image=image) == ""
    store("create", "--name", "has", "-v", "bare:/elsewhere", "busybox", check=True)
    assert inside(store, "ls -A /srv", "-v", "bare:/srv", image=image) == ""  # not the first to have it
    store("rm", "has", check=True)
    store("volume", "rm", "later", "bare", check=True)


def test_no_link_of_the_image_leads_what_is_copied_out_of_it(store: Minirun, image: Path) -> None:
    secret = Path("/etc/minirun-test-canary")
    secret.write_text("host's")
    try:
        assert inside(store, "cat /way/file", "-v", "through:/way", image=image) == "image's\n"
        assert not (data(store, "through") / secret.name).exists()
        listed = inside(store, "ls /out", "-v", "out:/out", image=image).split()
        assert secret.name not in listed
        assert "passwd" in listed  # of the image
    finally:
        secret.unlink()
    store("volume", "rm", "through", "out", check=True)


def test_a_volume_goes_over_no_file(store: Minirun) -> None:
    result = store("run", "--rm", "-v", "over:/etc/passwd", "busybox", "true")
    assert result.returncode == 125
    assert "the image has a file there" in result.stderr
    assert "over" not in names(store)


def test_a_run_that_cannot_begin_leaves_no_volume_and_no_directory(store: Minirun, tmp_path: Path) -> None:
    before = busybox.contents(store.root)
    flags = ("-v", "none:/a", "-v", "/anonymous", "-v", f"{tmp_path}/made/deep:/b")
    assert store("run", *flags, "busybox", "no-such-command").returncode == 127
    assert busybox.contents(store.root) == before
    assert not (tmp_path / "made").exists()


def test_a_missing_source_becomes_a_directory(store: Minirun, tmp_path: Path) -> None:
    inside(store, "echo x >/b/x", "-v", f"{tmp_path}/made/deep:/b")
    assert (tmp_path / "made/deep/x").read_text() == "x\n"
    assert stat.S_IMODE((tmp_path / "made").stat().st_mode) == 0o755


def test_anonymous_volumes_go_with_rm_v_and_with_rm(store: Minirun) -> None:
    inside(store, "echo x >/data/x", "-v", "/data")
    assert names(store) == []
    store("run", "--name", "box", "-v", "/data", "-v", "named:/named", "busybox", "touch", "/data/x", check=True)
    (anonymous,) = set(names(store)) - {"named"}
    assert len(anonymous) == 64
    assert store("start", "-a", "box").returncode == 0
    assert (data(store, anonymous) / "x").exists()
    store("rm", "-v", "box", check=True)
    assert names(store) == ["named"]
    store("create", "--name", "box", "-v", "/data", "busybox", check=True)
    store("rm", "box", check=True)
    (left,) = set(names(store)) - {"named"}
    assert store("volume", "prune", "-f", check=True).stdout.splitlines()[:2] == ["Deleted Volumes:", left]
    assert names(store) == ["named"]
    assert "named" in store("volume", "prune", "-af", check=True).stdout


def test_volumes_that_an_image_declares_are_anonymous_ones(store: Minirun, image: Path) -> None:
    store("import", "-c", "VOLUME /srv /new", image, "declaring", check=True)
    store("run", "--name", "one", "declaring", "sh", "-c", "cat /srv/file; touch /new/x", check=True)
    found = {mount["Destination"]: mount for mount in mounts(store, "one")}
    assert sorted(found) == ["/new", "/srv"]
    assert (Path(found["/srv"]["Source"]) / "file").read_text() == "image's\n"
    assert found["/new"]["Type"] == "volume"
    assert len(names(store)) == 2
    store("rm", "-v", "one", check=True)
    assert names(store) == []
    inside(store, "true", "-v", "mine:/srv", "--tmpfs", "/new", image="declaring")
    assert names(store) == ["mine"]
    store("volume", "rm", "mine", check=True)
    store("import", "-c", "VOLUME /proc/self", image, "meaning-harm", check=True)
    assert "nothing can be attached at /proc/self" in store("run", "--rm", "meaning-harm", "true").stderr
    assert names(store) == []
    store("rmi", "declaring", "meaning-harm", check=True)


def test_volumes_from_another_container(store: Minirun, tmp_path: Path) -> None:
    (tmp_path / "bound").mkdir()
    store("create", "--name", "giver", "-v", "shared:/s", "-v", f"{tmp_path}/bound:/b", "-v", "/anon", "busybox")
    inside(store, "touch /s/x /b/x /anon/x", "--volumes-from", "giver")
    assert (data(store, "shared") / "x").exists()
    assert (tmp_path / "bound/x").exists()
    # the anonymous one stays: the other container has it still
    assert inside(store, "ls /anon; (: >/s/y) 2>&1; true", "--volumes-from", "giver:ro").count("Read-only") == 1
    assert inside(store, "ls /s", "--volumes-from", "giver", "--tmpfs", "/s") == ""
    store("rm", "-v", "giver", check=True)
    assert names(store) == ["shared"]
    store("volume", "rm", "shared", check=True)


def test_a_volume_that_somebody_has_is_not_removed(store: Minirun) -> None:
    store("create", "--name", "user", "-v", "used:/x", "busybox", check=True)
    for flags in ((), ("-f",)):
        result = store("volume", "rm", *flags, "used")
        assert result.returncode == 125
        assert "it is in use by container user" in result.stderr
    assert "used" not in store("volume", "prune", "-af", check=True).stdout
    assert names(store, "--filter", "dangling=false") == ["used"]
    store("rm", "user", check=True)
    assert names(store, "--filter", "dangling=true") == ["used"]
    store("volume", "rm", "used", check=True)
    assert store("volume", "rm", "used").returncode == 125
    assert store("volume", "rm", "-f", "used").returncode == 0


def test_writes_to_an_overlay_go_with_the_container(store: Minirun, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "file").write_text("host's\n")
    source.chmod(0o751)
    script = "cat /o/file; echo new >/o/file; rm -f /o/none; cat /o/file; stat -c %a /o"
    store("create", "--name", "over", "-v", f"{source}:/o:O", "busybox", "sh", "-c", script, check=True)
    for _ in range(2):  # what the last start wrote is thrown away
        assert store("start", "-a", "over", check=True).stdout == "host's\nnew\n751\n"
    assert (source / "file").read_text() == "host's\n"
    store("rm", "over", check=True)
    assert inside(store, script, "-v", "vol:/o:O", "-v", f"{source}/file:/o/file") == "host's\nnew\n755\n"
    store("volume", "rm", "vol", check=True)
    (source / "file").write_text("host's\n")
    assert "it is a file" in store("run", "--rm", "-v", f"{source}/file:/x:O", "busybox", "true").stderr


def test_a_part_of_a_volume_is_attached_and_no_link_leads_out_of_it(store: Minirun, tmp_path: Path) -> None:
    (tmp_path / "canary").write_text("host's\n")
    script = f"mkdir -p /v/a/b; echo deep >/v/a/b/f; ln -s a/b /v/in; ln -s ../../.. /v/up; ln -s {tmp_path} /v/abs"
    inside(store, script, "-v", "parts:/v")
    for subpath in ("a/b", "in"):
        assert inside(store, "cat /p/f", "--mount", f"src=parts,dst=/p,volume-subpath={subpath}") == "deep\n"
    assert inside(store, "cat /p", "--mount", "src=parts,dst=/p,volume-subpath=a/b/f") == "deep\n"
    for subpath, error in (("up", "EXDEV"), ("abs", "EXDEV"), ("abs/canary", "EXDEV"), ("none", "ENOENT")):
        result = store("run", "--rm", "--mount", f"src=parts,dst=/p,volume-subpath={subpath}", "busybox", "ls", "/p")
        assert result.returncode == 125
        assert error in result.stderr
        assert f"cannot attach {subpath!r} of a volume at /p" in result.stderr
    store("volume", "rm", "parts", check=True)


@pytest.fixture
def peer(tmp_path: Path) -> Any:
    """A shared mount of the host."""
    place = tmp_path / "peer"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "peer", place], check=True)
    subprocess.run(["mount", "--make-shared", place], check=True)
    (place / "below").mkdir()
    yield place
    subprocess.run(["umount", "-R", place], check=True)


def propagation(text: str, target: str) -> str:
    """What mountinfo in a container says of how a mount is joined to others."""
    (line,) = [line for line in text.splitlines() if line.split()[4] == target]
    return " ".join(word.partition(":")[0] for word in line.partition(" - ")[0].split()[6:])


@pytest.mark.parametrize(
    ("option", "joined"),
    [("rslave", "master"), ("slave", "master"), ("rshared", "shared"), ("rprivate", ""), ("private", "")],
)
def test_a_mount_is_joined_to_the_hosts_as_it_was_asked(store: Minirun, peer: Path, option: str, joined: str) -> None:
    flags = ("-v", f"{peer}:/p:{option}")
    script = "cat /proc/self/mountinfo; echo; read x; ls /p/below"
    with store.start("run", "--rm", "-i", *flags, "busybox", "sh", "-c", script, stdin=subprocess.PIPE) as box:
        assert box.stdin
        assert box.stdout
        text = "".join(iter(lambda: box.stdout.readline().decode(), "\n"))  # type: ignore[union-attr]
        assert propagation(text, "/p") == joined
        subprocess.run(["mount", "-t", "tmpfs", "new", peer / "below"], check=True)
        (peer / "below/seen").touch()
        box.stdin.write(b"\n")
        box.stdin.close()
        assert box.stdout.read().decode() == ("seen\n" if joined else "")
    subprocess.run(["umount", peer / "below"], check=True)


def test_nothing_is_mounted_on_what_is_shared_with_the_host(store: Minirun, peer: Path, tmp_path: Path) -> None:
    result = store("run", "--rm", "-v", f"{peer}:/p:rshared", "-v", f"{tmp_path}:/p/below", "busybox", "true")
    assert result.returncode == 125
    assert "it would show on the host" in result.stderr
    # by a link of the image's it lands below the shared mount, or nowhere
    base = busybox.tree(tmp_path / "image")
    (base / "p").mkdir()
    (base / "link").symlink_to("p")
    flags = ("-v", f"{peer}:/p:rshared", "-v", f"{tmp_path}:/link/below")
    assert store("run", "--rm", *flags, tmp_path / "image", "ls", "/p/below", check=True).stdout == ""
    result = store("run", "--rm", "-v", f"{peer}:/link:rshared", tmp_path / "image", "true")
    assert result.returncode == 125
    assert "cannot attach at /link: ELOOP" in result.stderr
    assert not os.path.ismount(peer / "below")


@pytest.mark.parametrize("target", ["/sys", "/dev", "/dev/shm", "/sys/firmware"])
def test_nothing_of_the_kernels_is_shared(store: Minirun, peer: Path, target: str) -> None:
    result = store("run", "--rm", "-v", f"{peer}:{target}:rshared", "busybox", "true")
    assert result.returncode == 125
    assert "more is mounted there for the container" in result.stderr


def test_a_source_without_peers_cannot_be_joined(store: Minirun, tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "alone", tmp_path], check=True)
    try:
        subprocess.run(["mount", "--make-private", tmp_path], check=True)
        for option, kind in (("rshared", "shared"), ("rslave", "shared or slave")):
            result = store("run", "--rm", "-v", f"{tmp_path}:/x:{option}", "busybox", "true")
            assert result.returncode == 125
            assert f"mounted on {tmp_path}, which is not a {kind} mount" in result.stderr
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_what_is_mounted_below_a_source_comes_along_or_not(store: Minirun, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "below").mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "below", source / "below"], check=True)
    try:
        (source / "below/seen").touch()
        bind = f"type=bind,src={source},dst=/s"
        assert inside(store, "ls /s/below", "--mount", bind) == "seen\n"
        assert inside(store, "ls /s/below", "--mount", f"{bind},bind-nonrecursive") == ""
        assert inside(store, "ls /s/below", "--mount", f"{bind},bind-recursive=disabled") == ""
        assert inside(store, "ls /s/below", "-v", f"{source}:/s:bind") == ""
        script = "touch /s/below/x; touch /s/x 2>&1; true"
        assert "Read-only" in inside(store, script, "--mount", f"{bind},ro,bind-recursive=writable")
        assert (source / "below/x").exists()
        assert inside(store, script + " ; ls /s/below", "-v", f"{source}:/s:noexec,ro").count("Read-only") == 1
    finally:
        subprocess.run(["umount", source / "below"], check=True)


def test_flags_of_a_mount_hold(store: Minirun, tmp_path: Path) -> None:
    script = "grep ' /s ' /proc/mounts | cut -d ' ' -f 4"
    words = inside(store, script, "-v", f"{tmp_path}:/s:noexec,nosuid,ro").strip().split(",")
    assert {"ro", "nosuid", "nodev", "noexec"} <= set(words)
    memory = "type=tmpfs,dst=/s,tmpfs-size=64k,tmpfs-mode=1700"
    words = inside(store, f"{script}; stat -c %a /s", "--mount", memory).strip().replace("\n", ",").split(",")
    assert {"size=64k", "noexec", "mode=1700", "1700"} <= set(words)


def test_a_volume_can_be_memory_or_a_directory_of_the_hosts(store: Minirun, tmp_path: Path) -> None:
    opts = ("--opt", "type=tmpfs", "--opt", "device=tmpfs", "--opt", "o=size=64k,mode=750")
    store("volume", "create", *opts, "memory", check=True)
    assert inside(store, "stat -c %a /m; echo x >/m/x; ls /m", "-v", "memory:/m") == "750\nx\n"
    assert inside(store, "ls /m", "-v", "memory:/m") == ""
    with store.start("run", "--rm", "--name", "first", "-i", "-v", "memory:/m", "busybox", "sh", "-c", "echo; cat",
                     stdin=subprocess.PIPE) as first:  # fmt: skip
        assert first.stdin
        assert first.stdout
        first.stdout.readline()
        refused = store("run", "--rm", "-v", "memory:/m", "busybox", "true")
        assert "container first has it, and it is memory of one container" in refused.stderr
        first.stdin.close()
    refused = store("run", "--rm", "-v", "memory:/m:O", "busybox", "true")
    assert (refused.returncode, "it is memory" in refused.stderr) == (125, True)
    (tmp_path / "real").mkdir()
    opts = ("--opt", "type=none", "--opt", "o=bind", "--opt", f"device={tmp_path}/real")
    store("volume", "create", *opts, "bound", check=True)
    inside(store, "touch /b/x", "-v", "bound:/b")
    assert (tmp_path / "real/x").exists()
    assert "there is one of that name, with other options" in store("volume", "create", "bound").stderr
    store("volume", "rm", "memory", "bound", check=True)
    assert (tmp_path / "real/x").exists()
    for unwanted, reason in (
        (("--opt", "type=nfs", "--opt", "device=:/x"), "are not built"), (("-d", "rexray"), "is a plugin"),
        (("--opt", "type=none", "--opt", "o=bind", "--opt", "device=/no/such"), "is not a directory"),
        (("--opt", "size=1"), "has no option 'size'"), (("--opt", "type=tmpfs", "--opt", "o=what"), "is no option"),
    ):  # fmt: skip
        result = store("volume", "create", *unwanted, "never")
        assert result.returncode == 125
        assert reason in result.stderr
    assert names(store) == []


def test_create_ls_and_inspect_speak_as_docker(store: Minirun) -> None:
    assert store("volume", "create", "--label", "team=red", "listed", check=True).stdout == "listed\n"
    assert store("volume", "create", "listed", check=True).stdout == "listed\n"
    anonymous = store("volume", "create", check=True).stdout.strip()
    assert sorted(names(store)) == sorted(["listed", anonymous])
    assert names(store, "--filter", "label=team=red") == ["listed"]
    assert names(store, "--filter", "label=com.docker.volume.anonymous") == [anonymous]
    assert names(store, "--filter", "driver=other") == []
    (described,) = json.loads(store("volume", "inspect", "listed", check=True).stdout)
    assert described == {
        "CreatedAt": described["CreatedAt"], "Driver": "local", "Labels": {"team": "red"},
        "Mountpoint": str(data(store, "listed")), "Name": "listed", "Options": {}, "Scope": "local",
    }  # fmt: skip
    assert store("inspect", "-f", "{{.Mountpoint}}", "listed").stdout == f"{data(store, 'listed')}\n"
    assert store("volume", "inspect", "listed", "nosuch").returncode == 125
    text = store("volume", "ls", "--format", "{{.Name}} {{.Driver}} {{.Labels}}", "--filter", "name=^list").stdout
    assert text == "listed local team=red\n"
    store("volume", "rm", "listed", anonymous, check=True)


def test_inspect_says_what_a_container_has_attached(store: Minirun, tmp_path: Path) -> None:
    flags = ("-v", f"{tmp_path}:/b:ro", "-v", "told:/v", "--tmpfs", "/t", "--mount", "src=told,dst=/w,volume-nocopy")
    store("create", "--name", "teller", *flags, "busybox", check=True)
    (described,) = json.loads(store("inspect", "teller", check=True).stdout)
    source = str(data(store, "told"))
    assert described["Mounts"] == [
        {"Type": "bind", "Source": str(tmp_path), "Destination": "/b", "Mode": "ro", "RW": False,
         "Propagation": "rprivate"},
        {"Type": "volume", "Name": "told", "Source": source, "Destination": "/v", "Mode": "", "RW": True,
         "Propagation": "", "Driver": "local"},
        {"Type": "volume", "Name": "told", "Source": source, "Destination": "/w", "Mode": "", "RW": True,
         "Propagation": "", "Driver": "local"},
        {"Type": "tmpfs", "Source": "", "Destination": "/t", "Mode": "", "RW": True, "Propagation": ""},
    ]  # fmt: skip
    config = described["HostConfig"]
    assert config["Binds"] == [f"{tmp_path}:/b:ro", "told:/v"]
    assert config["Mounts"] == [
        {"Type": "volume", "Source": "told", "Target": "/w", "VolumeOptions": {"NoCopy": True}}
    ]  # fmt: skip
    assert store("ps", "-a", "--format", "{{.Mounts}}").stdout == f"{tmp_path},told,told\n"
    store("rm", "teller", check=True)
    store("volume", "rm", "told", check=True)


def test_what_nearer_to_the_root_is_attached_first(store: Minirun, tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner/deep").touch()
    flags = ("-v", f"{tmp_path}/inner:/data/a/b", "--tmpfs", "/data/a", "-v", "outer:/data")
    assert inside(store, "ls /data; ls /data/a; ls /data/a/b", *flags).split() == ["a", "b", "deep"]
    assert inside(store, "cat /etc/hostname", "-h", "box", "-v", "etc:/etc") == "box\n"
    store("volume", "rm", "outer", "etc", check=True)


def test_a_record_made_before_there_were_volumes_is_read(store: Minirun, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("old\n")
    identity = store("create", "--name", "old", "-v", f"{tmp_path}:/o:ro", "busybox", "cat", "/o/x").stdout.strip()
    path = store.root / "containers" / identity / "container.json"
    record = json.loads(path.read_text())
    record["options"]["volumes"] = [[str(tmp_path), "/o", True]]
    path.write_text(json.dumps(record))
    assert store("start", "-a", "old", check=True).stdout == "old\n"
    assert mounts(store, "old")[0]["Source"] == str(tmp_path)
    assert store("ps", "-a", "--format", "{{.Mounts}}").stdout == f"{tmp_path}\n"
    store("rm", "-v", "old", check=True)


def test_a_store_made_before_there_were_volumes_gets_their_folder(minirun: Minirun) -> None:
    minirun("ps", check=True)
    younger = FOLDERS[FOLDERS.index("volumes") :]
    for folder in younger:
        (minirun.root / folder).rmdir()
    assert names(minirun) == []
    assert all((minirun.root / folder).is_dir() for folder in younger)


def test_volumes_are_counted_and_pruned_with_the_rest(store: Minirun) -> None:
    inside(store, "head -c 1000 /dev/zero >/a/x", "-v", "kept:/a")
    store("create", "--name", "counting", "-v", "kept:/a", "-v", "/b", "busybox", check=True)
    form = "{{.Type}}: {{.TotalCount}} {{.Active}} {{.Size}} {{.Reclaimable}}"
    lines = store("system", "df", "--format", form, check=True).stdout.splitlines()
    assert "Local Volumes: 2 2 1kB 0B (0%)" in lines
    assert "kept" in store("system", "df", "-v", check=True).stdout
    store("rm", "counting", check=True)
    store("tag", "busybox", "stays", check=True)
    (anonymous,) = set(names(store)) - {"kept"}
    assert anonymous in store("system", "prune", "-f", "--volumes", check=True).stdout
    assert names(store) == ["kept"]
    store("volume", "rm", "kept", check=True)


def test_a_container_whose_volume_is_lost_says_so(store: Minirun) -> None:
    store("create", "--name", "bereft", "-v", "lost:/x", "busybox", "true", check=True)
    subprocess.run(["rm", "-r", data(store, "lost").parent], check=True)
    result = store("start", "-a", "bereft")
    assert result.returncode == 125
    assert "cannot attach volume lost at /x: it is not there any more" in result.stderr
    checked = store("system", "check", "-q")
    assert "container without a volume" in checked.stdout
    store("volume", "create", "lost", check=True)
    assert store("start", "-a", "bereft").returncode == 0
    store("rm", "bereft", check=True)
    store("volume", "rm", "lost", check=True)


def test_a_volume_that_was_cut_short_is_made_again_or_swept_away(store: Minirun) -> None:
    for name in ("half", "other"):
        (store.root / "volumes" / name / "_data").mkdir(parents=True)
        (store.root / "volumes" / name / "_data/x").touch()
    assert names(store) == []
    assert "volume without a record" in store("system", "check", "-q").stdout
    assert inside(store, "ls /x", "-v", "half:/x") == ""
    store("gc", check=True)
    assert os.listdir(store.root / "volumes") == ["half"]
    (store.root / "volumes/half/volume.json").write_text("{")
    for arguments in (("volume", "rm", "half"), ("run", "--rm", "-v", "half:/x", "busybox", "true")):
        assert "is damaged" in store(*arguments).stderr
    assert "damaged volume record" in store("system", "check", "-q").stdout
    subprocess.run(["rm", "-r", store.root / "volumes/half"], check=True)


def test_events_tell_what_happens_to_volumes(store: Minirun) -> None:
    store("volume", "create", "told-of", check=True)
    inside(store, "true", "-v", "told-of:/x:ro")
    store("run", "-d", "--name", "behind", "-v", "told-of:/x", "busybox", "true", check=True)
    store("wait", "behind", check=True)
    store("rm", "behind", check=True)
    store("volume", "rm", "told-of", check=True)
    form = '{{.Action}} {{.Actor.ID}} {{index .Actor.Attributes "destination"}}'
    flags = ("--since", "1h", "--until", "0s", "--filter", "volume=told-of", "--format", form)
    actions = ["create", "mount", "unmount", "mount", "unmount", "destroy"]
    lines = store("events", *flags, check=True).stdout.splitlines()
    assert [line.split()[0] for line in lines] == actions
    assert lines[1] == "mount told-of /x"
