"""`pause` and `unpause`, `rename`, `port`: a container stands still, is called otherwise, and has no ports."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from minirun.container import record as records
from minirun.container import renaming
from minirun.errors import Conflict
from minirun.home import Home
from minirun.journal import Operation
from tests.command import Minirun
from tests.running import running, state_of

COUNT = ("sh", "-c", "i=0; while true; do i=$((i + 1)); echo $i > /next; mv /next /count; sleep 0.01; done")


def home_of(minirun: Minirun) -> Home:
    return Home(str(minirun.root), str(minirun.runtime))


def counted(minirun: Minirun, name: str) -> str:
    box = records.find(home_of(minirun), name)
    path = Path(home_of(minirun).container(box.id)) / "upper/count"
    end = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < end
        time.sleep(0.01)
    return path.read_text()


def actions(minirun: Minirun, name: str) -> list[str]:
    """What was told of a container."""
    flags = ("--since=1h", "--until=0s", f"--filter=container={name}", "--format={{.Action}}")
    return minirun("events", *flags, check=True).stdout.split()


def test_a_paused_container_stands_still_until_it_is_unpaused(store: Minirun) -> None:
    with running(store, "counter", *COUNT):
        counted(store, "counter")
        assert store("pause", "counter", check=True).stdout == "counter\n"
        still = counted(store, "counter")
        assert store("ps", "--format", "{{.State}} {{.Status}}", check=True).stdout.endswith("(Paused)\n")
        assert store("inspect", "-f", "{{.State.Status}} {{.State.Paused}} {{.State.Running}}", "counter",
                     check=True).stdout == "paused true true\n"  # fmt: skip
        time.sleep(0.2)
        assert counted(store, "counter") == still
        assert store("unpause", "counter", check=True).stdout == "counter\n"
        end = time.monotonic() + 20
        while counted(store, "counter") == still:
            assert time.monotonic() < end
            time.sleep(0.01)
    assert [one for one in actions(store, "counter") if "pause" in one] == ["pause", "unpause"]


def test_several_are_paused_and_a_refusal_keeps_no_other_from_it(store: Minirun) -> None:
    with running(store, "first", "sleep", "100"), running(store, "second", "sleep", "100"):
        result = store("pause", "first", "none", "second")
        assert (result.returncode, result.stdout) == (125, "first\nsecond\n")
        assert "cannot find container none: no such container" in result.stderr
        assert all(getattr(state_of(store, name), "status", "") == "paused" for name in ("first", "second"))
        result = store("pause", "first")
        assert result.returncode == 125
        assert "cannot pause container first: it is paused already" in result.stderr
        store("unpause", "first", "second", check=True)
        assert "it is not paused" in store("unpause", "first").stderr


def test_what_does_not_run_is_neither_paused_nor_unpaused(store: Minirun) -> None:
    store("create", "--name", "idle", "busybox", "true", check=True)
    for verb, reason in (("pause", "it is not running"), ("unpause", "it is not paused")):
        result = store(verb, "idle")
        assert result.returncode == 125
        assert f"cannot {verb} container idle: {reason}" in result.stderr
    store("rm", "idle", check=True)


def test_a_paused_container_is_committed_and_stays_paused(store: Minirun) -> None:
    with running(store, "frozen", "sleep", "100"):
        store("pause", "frozen", check=True)
        store("commit", "frozen", "thing", check=True)
        assert getattr(state_of(store, "frozen"), "status", "") == "paused"
        store("rmi", "thing", check=True)


def test_a_container_is_renamed_and_nothing_else_of_it_changes(store: Minirun) -> None:
    store("create", "--name", "old", "busybox", "true", check=True)
    before = store("inspect", "-f", "{{.Id}} {{.Created}}", "old", check=True).stdout
    result = store("rename", "old", "new", check=True)
    assert (result.stdout, result.stderr) == ("", "")
    assert store("inspect", "-f", "{{.Id}} {{.Created}}", "new", check=True).stdout == before
    assert store("inspect", "-f", "{{.Name}}", "new", check=True).stdout == "/new\n"
    assert store("inspect", "old").returncode == 125
    assert "rename" in actions(store, "new")
    store("create", "--name", "old", "busybox", "true", check=True)
    store("rm", "old", "new", check=True)
    assert os.listdir(home_of(store).folder("names")) == []


def test_a_name_that_is_taken_or_none_is_refused_and_the_container_keeps_its_own(store: Minirun) -> None:
    for name in ("here", "there"):
        store("create", "--name", name, "busybox", "true", check=True)
    for new, reason in (("there", "the name is in use by container"), ("here", "that is its name"),
                        ("a b", "a name is 2 to 128"), ("", "a name is 2 to 128")):  # fmt: skip
        result = store("rename", "here", new)
        assert result.returncode == 125
        assert reason in result.stderr
    assert sorted(os.listdir(home_of(store).folder("names"))) == ["here", "there"]
    store("rm", "here", "there", check=True)


def test_a_container_that_is_renamed_while_it_runs_leaves_no_name_behind(store: Minirun) -> None:
    with store.start("run", "--rm", "--name", "before", "busybox", "sleep", "100") as process:
        end = time.monotonic() + 20
        while state_of(store, "before") is None:
            assert time.monotonic() < end
            time.sleep(0.01)
        store("rename", "before", "after", check=True)
        now = state_of(store, "after")
        assert now
        os.kill(now.pid, 9)
        assert process.wait(20) == 137
    assert os.listdir(home_of(store).folder("names")) == []
    assert os.listdir(home_of(store).folder("containers")) == []


@pytest.mark.parametrize("written", [False, True])
def test_a_rename_that_is_cut_short_leaves_one_name(store: Minirun, written: bool) -> None:
    home = home_of(store)
    store("create", "--name", "from", "busybox", "true", check=True)
    pid = os.fork()
    if pid == 0:
        operation = Operation(home)
        box = records.find(home, "from")
        operation.will("settle_name", home.root, box.id, "from", "to")
        records.reserve_name(home, "to", box.id)
        if written:
            box.name = "to"
            records.write(home, box)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    store("ps", check=True)
    name = "to" if written else "from"
    assert os.listdir(home.folder("names")) == [name]
    assert store("inspect", "-f", "{{.Name}}", name, check=True).stdout == f"/{name}\n"
    store("rm", name, check=True)


def test_of_many_that_want_one_name_one_gets_it(store: Minirun) -> None:
    names = [f"box-{number}" for number in range(6)]
    for name in names:
        store("create", "--name", name, "busybox", "true", check=True)
    processes = [store.start("rename", name, "wanted") for name in names]
    codes = sorted((process.communicate(timeout=60), process.returncode)[1] for process in processes)
    assert codes == [0] + [125] * 5
    left = sorted(os.listdir(home_of(store).folder("names")))
    assert len(left) == 6
    assert "wanted" in left
    store("rm", *left, check=True)


def test_a_rename_to_what_another_has_tells_conflict(store: Minirun) -> None:
    home = home_of(store)
    store("create", "--name", "mine", "busybox", "true", check=True)
    store("create", "--name", "yours", "busybox", "true", check=True)
    with pytest.raises(Conflict), Operation(home) as operation:
        renaming.rename(home, records.find(home, "mine"), "yours", operation)
    assert records.find(home, "mine").name == "mine"
    store("rm", "mine", "yours", check=True)


def test_a_container_has_no_ports(store: Minirun) -> None:
    store("create", "--name", "portless", "busybox", "true", check=True)
    assert store("port", "portless", check=True).stdout == ""
    for private, reason in (("80", "port 80/tcp of container portless: it is not published"),
                            ("53/udp", "port 53/udp"), ("x", "it is no port"), ("80/icmp", "it is no port"),
                            ("0", "it is no port"), ("70000", "it is no port")):  # fmt: skip
        result = store("port", "portless", private)
        assert result.returncode == 125
        assert reason in result.stderr
    assert "no such container" in store("port", "none").stderr
    store("rm", "portless", check=True)
