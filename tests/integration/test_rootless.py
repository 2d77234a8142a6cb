"""An ordinary user runs containers: minirun is started by one of the tests' own, see tests/commoner.py."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from minirun.cgroup import hierarchy
from tests import commoner, echo, kept, outside, probing
from tests.command import LAUNCHER, Minirun

STOPS = ("sh", "-c", "trap 'exit 7' TERM; while :; do sleep 0.05; done")


@pytest.fixture(scope="module")
def own(root: None, busybox_layers: Path) -> Minirun:
    """His store, which has the image `busybox`."""
    home = commoner.folder()
    minirun = Minirun(home / "root", home / "runtime", commoner=True)
    minirun("import", busybox_layers, "busybox", check=True)
    return minirun


@contextmanager
def detached(own: Minirun, name: str, *words: str) -> Iterator[None]:
    """A container in the background, until the block ends."""
    own("run", "-d", "--name", name, *words, check=True)
    try:
        yield
    finally:
        own("rm", "-f", name, check=True)


def out(own: Minirun, *words: str) -> str:
    return own(*words, check=True).stdout


def pid_of(own: Minirun, name: str) -> int:
    return int(out(own, "inspect", "-f", "{{.State.Pid}}", name))


def test_he_is_root_in_there_and_himself_outside(own: Minirun) -> None:
    maps = out(own, "run", "--rm", "busybox", "cat", "/proc/self/uid_map").split()
    assert maps == ["0", str(commoner.UID), "1", "1", str(commoner.FIRST), str(commoner.COUNT)]
    with detached(own, "owned", "-u", "1000", "busybox", "sleep", "1000"):
        assert Path(f"/proc/{pid_of(own, 'owned')}").stat().st_uid == commoner.FIRST + 999


def test_owners_of_an_image_are_in_his_range_on_disk(own: Minirun) -> None:
    told = out(own, "run", "--rm", "busybox", "stat", "-c", "%u %g", "/srv/odd/sticky")
    assert told == "1000 50\n"
    found = {path.stat().st_uid for path in own.root.glob("diffs/*/srv/odd/sticky")}
    assert found == {commoner.FIRST + 999}
    opaque = [path for path in own.root.glob("diffs/*/srv/opaque") if "user.overlay.opaque" in os.listxattr(path)]
    assert len(opaque) == 1
    assert out(own, "run", "--rm", "busybox", "ls", "/srv/opaque") == "new-after\nnew-before\n"


def test_what_no_id_of_his_has_is_nobodys_and_he_is_told(own: Minirun, busybox_layers: Path) -> None:
    home = commoner.folder()
    fresh = Minirun(home / "root", home / "runtime", commoner=True)
    assert "beyond 65536 are of 65534" in fresh("import", busybox_layers, "b", check=True).stderr
    assert out(own, "run", "--rm", "busybox", "stat", "-c", "%u", "/srv/odd/owned-high") == "65534\n"


def test_devices_of_a_layer_are_left_out_and_he_is_told(own: Minirun) -> None:
    folder = commoner.folder()
    with tarfile.open(folder / "00-base.tar", "w") as tar:
        for name, kind in (("dev", tarfile.DIRTYPE), ("dev/sda", tarfile.BLKTYPE), ("etc", tarfile.DIRTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.devmajor, member.mode = kind, 8, 0o755
            tar.addfile(member)
    assert "device nodes were left out" in own("import", folder, "devices", check=True).stderr
    assert not list(own.root.glob("diffs/*/dev/sda"))
    own("rmi", "devices", check=True)


def test_a_command_in_the_background_is_stopped_and_started_and_its_status_is_known(own: Minirun) -> None:
    with detached(own, "back", "busybox", *STOPS):
        assert "Up " in out(own, "ps", "--filter", "name=back")
        assert "sleep 0.05" in out(own, "top", "back")
        own("stop", "back", check=True)
        assert out(own, "inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "back") == "exited 7\n"
        own("restart", "back", check=True)
        own("kill", "back", check=True)
        assert out(own, "wait", "back") == "137\n"


def test_exec_and_logs_and_cp_and_diff(own: Minirun) -> None:
    with detached(own, "used", "busybox", "sh", "-c", "echo said; exec sleep 1000"):
        assert out(own, "exec", "used", "sh", "-c", "echo made >/made; chown 33:44 /made; id -u") == "0\n"
        assert out(own, "exec", "-u", "1000", "used", "id", "-u") == "1000\n"
        kept.until(lambda: out(own, "logs", "used") == "said\n")
        assert out(own, "diff", "used") == "A /made\n"
        words = own.command(["cp", "used:/made", "-"])
        archive = subprocess.run(words, env=own.environment(), capture_output=True, check=True).stdout
        listed = subprocess.run(["tar", "--numeric-owner", "-tv"], input=archive, capture_output=True, check=True)
        assert b" 33/44 " in listed.stdout
        own("cp", __file__, "used:/copied", check=True)
        assert out(own, "exec", "used", "stat", "-c", "%s", "/copied") == f"{Path(__file__).stat().st_size}\n"


def test_a_commit_is_an_image_with_its_owners(own: Minirun) -> None:
    own("run", "--name", "wrote", "busybox", "sh", "-c", "echo x >/x; chown 5:6 /x; rm /etc/profile", check=True)
    own("commit", "wrote", "written", check=True)
    own("rm", "wrote", check=True)
    told = out(own, "run", "--rm", "written", "sh", "-c", "stat -c '%u %g' /x; test -e /etc/profile || echo gone")
    assert told == "5 6\ngone\n"
    own("rmi", "written", check=True)


def test_what_is_saved_is_loaded_and_has_the_same_id(own: Minirun) -> None:
    before = out(own, "images", "-q", "--no-trunc", "busybox")
    home = commoner.folder()
    other = Minirun(home / "root", home / "runtime", commoner=True)
    with own.start("save", "busybox") as saving:
        assert saving.stdout
        loading = other.start("load", stdin=saving.stdout.fileno())
        assert loading.wait(60) == 0
        loading.communicate()
    assert out(other, "images", "-q", "--no-trunc", "busybox") == before
    assert out(other, "run", "--rm", "busybox", "echo", "there") == "there\n"


def test_a_volume_keeps_what_is_written_with_its_owner(own: Minirun) -> None:
    own("run", "--rm", "-v", "kept:/data", "busybox", "sh", "-c", "echo x >/data/x; chown 7 /data/x", check=True)
    assert out(own, "run", "--rm", "-v", "kept:/data", "busybox", "stat", "-c", "%u", "/data/x") == "7\n"
    own("volume", "rm", "kept", check=True)


def test_commands_find_the_namespace_of_each_other_and_begin_anew_without_any(own: Minirun) -> None:
    def namespace(name: str) -> str:
        return str(Path(f"/proc/{pid_of(own, name)}/ns/user").readlink())

    with detached(own, "one", "busybox", "sleep", "1000"):
        with detached(own, "two", "busybox", "sleep", "1000"):
            assert namespace("one") == namespace("two") != str(Path("/proc/self/ns/user").readlink())
        assert out(own, "exec", "one", "echo", "still") == "still\n"
        # those who have ended are forgotten: the container, its supervisor, and the last command
        assert len(list((own.runtime / "members").iterdir())) <= 4
    with detached(own, "three", "busybox", "sleep", "1000"):
        assert out(own, "exec", "three", "echo", "again") == "again\n"


def test_a_namespace_that_a_container_made_itself_leads_nobody_astray(own: Minirun) -> None:
    flags = ("--security-opt", "seccomp=unconfined")
    with detached(own, "nested", *flags, "busybox", "unshare", "-U", "sleep", "1000"):
        kept.until(lambda: not mapped(own))
        for path in (own.runtime / "members").iterdir():
            if path.name.partition(".")[0] != str(pid_of(own, "nested")):
                path.unlink(missing_ok=True)
        maps = out(own, "run", "--rm", "busybox", "cat", "/proc/self/uid_map").split()
        assert maps[:3] == ["0", str(commoner.UID), "1"]
        assert out(own, "exec", "nested", "id", "-u") == "0\n"


def mapped(own: Minirun) -> bool:
    """Whether the first process of the container `nested` is in a user namespace with ids."""
    return bool(Path(f"/proc/{pid_of(own, 'nested')}/uid_map").read_text())


def test_whoever_is_killed_the_container_goes_on_and_is_found(own: Minirun) -> None:
    with detached(own, "kept", "busybox", *STOPS):
        first = pid_of(own, "kept")
        for pid in marked(own, "minirun-keeper", "supervise.py"):
            os.kill(pid, 9)
        assert out(own, "exec", "kept", "echo", "here") == "here\n"
        assert pid_of(own, "kept") == first
        own("stop", "-t", "0", "kept", check=True)
        assert not Path(f"/proc/{first}").exists() or "Z" in Path(f"/proc/{first}/stat").read_text()


def test_a_run_that_is_killed_leaves_a_container_that_is_found_and_removed(own: Minirun) -> None:
    with own.start("run", "--rm", "--name", "orphan", "busybox", "sleep", "1000") as running:
        kept.until(lambda: "orphan" in out(own, "ps"))
        first = pid_of(own, "orphan")
        running.kill()
    assert out(own, "exec", "orphan", "echo", "alone") == "alone\n"
    os.kill(first, 9)
    kept.until(lambda: out(own, "ps", "-aq", "--filter", "name=orphan") == "")
    assert not list(own.runtime.glob("groupless/*"))


def marked(own: Minirun, *words: str) -> list[int]:
    """The processes of his store that have one of *words* in their command lines."""
    found = []
    for about in Path("/proc").glob("[0-9]*"):
        try:
            line, env = (about / "cmdline").read_bytes(), (about / "environ").read_bytes()
        except OSError:
            continue
        if os.fsencode(own.runtime) in line + env and any(word.encode() in line for word in words):
            found.append(int(about.name))
    return found


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("run", "-m", "64m", "busybox", "true"), "no cgroup was given to you"),
        (("run", "--network", "bridge", "busybox", "true"), "an ordinary user can make none"),
        (("run", "--device", "/dev/fuse", "busybox", "true"), "an ordinary user can make no device"),
        (("run", "--pid", "host", "busybox", "true"), "its own pid namespace"),
        (("run", "--cgroup-parent", "x", "busybox", "true"), "where he was given one"),
        (("run", "--userns", "auto", "busybox", "true"), "in one user namespace already"),
        (("network", "create", "net"), "an ordinary user can make none"),
        (("image", "mount", "busybox"), "gone with the command"),
    ],
)
def test_what_is_roots_is_refused_with_a_sentence(own: Minirun, words: tuple[str, ...], reason: str) -> None:
    result = own(*words)
    assert result.returncode == 125
    assert reason in result.stderr
    assert result.stderr.startswith("minirun: cannot ")


def test_what_needs_a_group_is_refused_while_it_runs(own: Minirun) -> None:
    with detached(own, "groupless", "busybox", "sleep", "1000"):
        for words in (("pause",), ("stats", "--no-stream")):
            result = own(*words, "groupless")
            assert result.returncode != 0, words
            assert "it has no cgroup" in result.stderr


def test_who_has_no_ids_is_told_which_command_gives_some(own: Minirun) -> None:
    home = commoner.folder()
    os.chown(home, 65534, 65534)
    env = own.environment({"MINIRUN_ROOT": f"{home}/root", "MINIRUN_RUNTIME": f"{home}/runtime"})
    result = subprocess.run(
        [LAUNCHER, "run", "busybox", "true"], env=env, user=65534, group=65534, extra_groups=[],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 125
    assert "/etc/subuid gives nobody no ids" in result.stderr
    assert "`usermod --add-subuids 100000-165535 nobody`" in result.stderr
    assert not list(home.iterdir())


def test_a_runtime_directory_that_others_may_write_to_is_refused(busybox_layers: Path) -> None:
    home = commoner.folder()
    other = Minirun(home / "root", home / "runtime", commoner=True)
    commoner.give(other.runtime)
    other.runtime.chmod(0o777)
    result = other("images")
    assert result.returncode == 125
    assert "not a directory of yours that nobody else can write to" in result.stderr


def test_a_group_that_was_given_to_him_is_used(own: Minirun) -> None:
    group = Path(hierarchy.mount_point(), f"minirun-given-{os.getpid()}")
    leaf = group / "leaf"
    leaf.mkdir(parents=True)
    try:
        for place in (group, leaf):
            for name in ("", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"):
                os.chown(place / name, commoner.UID, commoner.UID)
        words = own.command(["run", "-d", "--name", "given", "busybox", "sleep", "1000"])
        enter = ["sh", "-c", f'echo $$ >{leaf}/cgroup.procs; exec "$@"', "sh"]
        subprocess.run([*enter, *words], env=own.environment(), check=True, capture_output=True)
        try:
            own_group = Path(f"/proc/{pid_of(own, 'given')}/cgroup").read_text()
            assert re.search(rf"^0::.*/{group.name}/[0-9a-f]{{64}}$", own_group, re.MULTILINE)
        finally:
            subprocess.run(
                [*enter, *own.command(["rm", "-f", "given"])], env=own.environment(), check=True, capture_output=True
            )
    finally:
        end = time.monotonic() + 5
        while group.exists() and time.monotonic() < end:
            for place in (leaf, group):
                try:
                    place.rmdir()
                except OSError:
                    time.sleep(0.02)


def test_the_probe_finds_nothing_that_roots_container_has_not(own: Minirun, store: Minirun) -> None:
    folder = commoner.folder()
    program = probing.build(folder)
    his, roots = probing.of_minirun(own, program), probing.of_minirun(store, program)
    assert len(his) > 100
    kinder = {
        key: (answer, roots.get(key)) for key, answer in his.items()
        if key[0] in probing.KINDS and answer == "ok" and roots.get(key) != "ok"
    }  # fmt: skip
    assert not kinder
    assert his["status", "CapEff"] == roots["status", "CapEff"]
    assert his["status", "Seccomp"] == "2"
    assert his["namespace", "user"] != str(Path("/proc/self/ns/user").readlink())


@pytest.mark.parametrize("kind", ["pasta", "slirp4netns"])
def test_his_network_is_a_process_and_a_published_port_leads_in(own: Minirun, kind: str) -> None:
    if not shutil.which(kind):
        pytest.skip(f"{kind} is not installed")
    with outside.site("minirun-rootless") as site:
        outside.link("route add default via 192.0.2.254")
        outside.link("-6 route add default via 2001:db8::fe")
        flags = ("--network", kind, "-p", "8080:80/udp", "-p", "127.0.0.1:8081:81")
        with detached(own, "web", *flags, "busybox", "sleep", "1000"):
            for again in (False, True):
                if again:
                    own("restart", "-t", "0", "web", check=True)
                with outside.serving("udp:80", "tcp:81", pid=pid_of(own, "web")):
                    kept.until(lambda: site.ask("udp", outside.HOST, 8080).startswith("80 from "))
                    kept.until(lambda: echo.ask("tcp", "127.0.0.1", 8081).startswith("81 from "))
        kept.until(lambda: not marked(own, kind))
    for words in (("gc",), ("system", "prune", "-f"), ("network", "prune", "-f")):
        own(*words, check=True)
    assert "sound" in out(own, "system", "check")
