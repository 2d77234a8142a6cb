"""`cp` while a container does its worst, and while we are killed: the host is as it was, and nothing is left of us."""

from __future__ import annotations

import ctypes
import os
import pty
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from minirun.engine import cp
from minirun.errors import MinirunError
from tests import busybox, inject
from tests.command import Minirun
from tests.running import running, state_of

COPIES = 1000 if inject.THOROUGH else 300  # each way
_EXCHANGE = 2  # linux/fs.h: RENAME_EXCHANGE
_AT_FDCWD = -100


@contextmanager
def exchanged(one: Path, other: Path) -> Iterator[None]:
    """Have a process swap two names again and again, until the block ends."""
    libc = ctypes.CDLL(None)
    child = os.fork()
    if child == 0:
        try:
            names = os.fsencode(one), os.fsencode(other)
            while os.getppid() != 1:
                libc.renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _EXCHANGE)
                time.sleep(20e-6)  # or whoever wants to change the directory, too, waits for long
        finally:
            os._exit(1)
    try:
        yield
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


@pytest.fixture
def scene(tmp_path: Path, store: Minirun, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, Path]]:
    """A canary of the host, and the root of a container in which /w/d is swapped with a link to the canary's path.

    The container has something at that path, too: a link that is followed in it leads there.
    """
    monkeypatch.setenv("MINIRUN_ROOT", str(store.root))
    monkeypatch.setenv("MINIRUN_RUNTIME", str(store.runtime))
    canary = tmp_path / "canary"
    canary.mkdir()
    (canary / "f").write_text("canary")
    with running(store, "web", "sleep", "1000") as now:
        root = Path(f"/proc/{now.pid}/root")
        inner = root / str(canary).lstrip("/")
        inner.mkdir(parents=True)
        (inner / "f").write_text("elsewhere")
        (root / "w/d").mkdir(parents=True)
        (root / "w/d/f").write_text("inside")
        (root / "w/l").symlink_to(canary)
        with exchanged(root / "w/d", root / "w/l"):
            yield canary, root


def test_nothing_of_the_host_comes_out_whatever_is_swapped(scene: tuple[Path, Path], tmp_path: Path) -> None:
    found: dict[str, int] = {}
    for number in range(COPIES):
        out = tmp_path / f"out{number}"
        out.mkdir()
        try:
            cp.copy("web:/w/d/f" if number % 2 else "web:/w", str(out))
            texts = [path.read_text() for path in out.rglob("f") if not path.parent.is_symlink()]
        except MinirunError:
            texts = ["refused"]
        for text in texts:
            found[text] = found.get(text, 0) + 1
    assert "canary" not in found
    # it was a race: both of what can be there in between were met
    assert found.get("inside", 0) > 0
    assert found.get("elsewhere", 0) > 0


def test_nothing_of_the_host_is_written_whatever_is_swapped(scene: tuple[Path, Path], tmp_path: Path) -> None:
    canary, root = scene
    before = canary.stat()
    (tmp_path / "f").write_text("written")
    (tmp_path / "tree/d/new").mkdir(parents=True)
    (tmp_path / "tree/d/f").write_text("written")
    os.mkfifo(tmp_path / "tree/d/fifo", 0o777)
    outcomes: dict[str, int] = {}
    for number in range(COPIES):
        try:
            if number % 2:
                cp.copy(str(tmp_path / "f"), "web:/w/d/")
            else:
                cp.copy(f"{tmp_path}/tree/.", "web:/w")
            outcome = "copied"
        except MinirunError:
            outcome = "refused"
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
    assert sorted(os.listdir(canary)) == ["f"]
    assert (canary / "f").read_text() == "canary"
    assert (canary.stat().st_mode, canary.stat().st_mtime_ns) == (before.st_mode, before.st_mtime_ns)
    assert (root / str(canary / "f").lstrip("/")).read_text() == "written"
    assert min(outcomes.values()) > 0
    assert len(outcomes) == 2


def test_modes_and_owners_are_given_to_what_was_made_whatever_has_its_name_now(
    store: Minirun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINIRUN_ROOT", str(store.root))
    monkeypatch.setenv("MINIRUN_RUNTIME", str(store.runtime))
    canary = tmp_path / "canary"
    canary.write_text("canary")
    canary.chmod(0o600)
    os.mkfifo(tmp_path / "x", 0o777)
    with running(store, "web", "sleep", "1000") as now:
        root = Path(f"/proc/{now.pid}/root")
        (root / "w").mkdir()
        (root / "w/l").symlink_to(canary)
        (root / "w/x").write_text("")
        with exchanged(root / "w/x", root / "w/l"):
            for _number in range(COPIES):
                with suppress(MinirunError):
                    cp.copy(str(tmp_path / "x"), "web:/w/")
                for name in ("x", "l"):
                    if not os.path.lexists(root / "w" / name):  # swapped while it was gone: one name is left
                        (root / "w" / name).symlink_to(canary)
    assert canary.stat().st_mode & 0o7777 == 0o600


@pytest.mark.parametrize(
    "link", ["/", "/../../../../etc", "/proc/self/root", "../../../../../../etc", "/proc/1/cwd", "/dev/fd/3"]
)
def test_links_of_a_container_lead_nowhere_else(store: Minirun, tmp_path: Path, link: str) -> None:
    base = busybox.tree(tmp_path / "image")
    (base / "w").mkdir()
    (base / "w/l").symlink_to(link)
    mark = f"minirun-test-{os.getpid()}"
    (tmp_path / mark).write_text("x")
    for flags in ((), ("-L",)):
        store("create", "--name", "odd", tmp_path / "image", "true", check=True)
        result = store("cp", *flags, tmp_path / mark, "odd:/w/l/")
        assert result.returncode in (0, 125)
        assert not any(Path(folder, mark).exists() for folder in ("/", "/etc", Path.cwd()))
        result = store("cp", *flags, "odd:/w/l/", tmp_path / "out")
        passwd = tmp_path / "out/passwd"
        assert not passwd.exists() or passwd.read_text() != Path("/etc/passwd").read_text()
        subprocess.run(["rm", "-rf", tmp_path / "out"], check=True)
        store("rm", "odd", check=True)


def test_nothing_of_an_image_is_executed_or_imported(store: Minirun, tmp_path: Path) -> None:
    base = busybox.tree(tmp_path / "image")
    proof = "open('/proof', 'w')\n"
    for folder in (
        "",
        "usr/lib/python3.11",
        "usr/lib/python3/dist-packages",
        str(Path(cp.__file__).parents[2]).lstrip("/"),
    ):
        for name in (
            "array.py",
            "socket.py",
            "tabnanny.py",
            "encodings/__init__.py",
            "minirun/__init__.py",
            "sitecustomize.py",
        ):
            (base / folder / name).parent.mkdir(parents=True, exist_ok=True)
            (base / folder / name).write_text(proof)
    (base / "lib").mkdir(exist_ok=True)
    (base / "lib/libnss_files.so.2").write_text("no library")
    (tmp_path / "f").write_text("f")
    with store.start("run", "--name", "odd", tmp_path / "image", "sleep", "1000") as process:
        while (now := state_of(store, "odd")) is None:
            time.sleep(0.01)
        for words in (
            ("cp", tmp_path / "f", "odd:/bin/"),
            ("cp", "odd:/bin", tmp_path / "out"),
            ("cp", "odd:/x", tmp_path),
        ):
            assert store(*words).returncode == (125 if words[1] == "odd:/x" else 0)
        assert not Path(f"/proc/{now.pid}/root/proof").exists()
        assert not Path("/proof").exists()
        store("rm", "-f", "odd", check=True)
        process.communicate(timeout=20)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda how: how.name)
@pytest.mark.parametrize("running_", [False, True], ids=["stopped", "running"])
def test_a_copy_that_is_ended_in_the_middle_leaves_nothing_of_ours(
    store: Minirun, tmp_path: Path, how: signal.Signals, running_: bool
) -> None:
    (tmp_path / "tree").mkdir()
    for number in range(3000):
        (tmp_path / f"tree/{number}").write_bytes(bytes(2000))
    (tmp_path / "tree/zz").write_bytes(os.urandom(32 << 20))

    def interrupt(name: str) -> None:
        for source, target in ((tmp_path / "tree", f"{name}:/in"), (f"{name}:/in", tmp_path / "out")):
            with store.start("cp", source, target) as process:
                time.sleep(0.15)
                process.send_signal(how)
                _out, said = process.communicate(timeout=20)
                assert b"Traceback" not in said
        # and it can be used as before
        store("cp", tmp_path / "tree/1", f"{name}:/after", check=True)

    before = sorted(os.listdir(store.root / "tmp")), sorted(os.listdir(store.root / "marks"))
    if running_:
        with running(store, "web", "sleep", "1000"):
            interrupt("web")
    else:
        store("create", "--name", "web", "busybox", "cat", "/after", check=True)
        interrupt("web")
        assert len(store("start", "-a", "web", check=True).stdout) == 2000
        store("rm", "web", check=True)
    assert (sorted(os.listdir(store.root / "tmp")), sorted(os.listdir(store.root / "marks"))) == before


def test_two_that_copy_in_opposite_directions_both_come_to_their_end(store: Minirun, tmp_path: Path) -> None:
    for name in ("one", "two"):
        store("create", "--name", name, "busybox", "true", check=True)
        (tmp_path / "f").write_text(name)
        store("cp", tmp_path / "f", f"{name}:/f", check=True)
    started = [
        store.start("cp", f"{pair[0]}:/f", f"{pair[1]}:/g{number}")
        for number in range(5)
        for pair in (("one", "two"), ("two", "one"))
    ]
    for process in started:
        _out, said = process.communicate(timeout=60)
        assert process.returncode == 0, said
    store("rm", "one", "two", check=True)


def test_a_terminal_is_told_how_far_it_is_and_q_keeps_it_silent(store: Minirun, tmp_path: Path) -> None:
    store("create", "--name", "web", "busybox", "true", check=True)
    (tmp_path / "five").write_text("12345")
    (tmp_path / "big").write_bytes(bytes(1 << 20) * 300)
    shown = {}
    for words in (("five", "web:/tmp"), ("big", "web:/tmp"), ("-q", "five", "web:/tmp")):
        leader, follower = pty.openpty()
        arguments = [f"{tmp_path}/{word}" if word in ("five", "big") else word for word in words]
        with store.start("cp", *arguments, stderr=follower) as process:
            os.close(follower)
            text = b""
            while True:
                try:
                    text += os.read(leader, 4096)
                except OSError:
                    break
            process.communicate()
        os.close(leader)
        assert process.returncode == 0
        shown[words] = text.decode()
    store("rm", "web", check=True)
    assert shown["five", "web:/tmp"].endswith("Successfully copied 2.05kB to web:/tmp\r\n")
    assert "Copying to container - " in shown["big", "web:/tmp"]
    assert shown["big", "web:/tmp"].endswith("Successfully copied 315MB to web:/tmp\r\n")
    assert shown["-q", "five", "web:/tmp"] == ""


def test_a_shell_completes_containers_before_the_colon(store: Minirun) -> None:
    store("create", "--name", "web", "busybox", "true", check=True)
    env = {"_MINIRUN_COMPLETE": "bash_complete", "COMP_WORDS": "minirun cp w", "COMP_CWORD": "2"}
    assert "plain,web:" in store(env=env).stdout.split()
    env = {"_MINIRUN_COMPLETE": "bash_complete", "COMP_WORDS": "minirun cp web:/e", "COMP_CWORD": "2"}
    assert store(env=env).stdout.strip() == ""
    store("rm", "web", check=True)
