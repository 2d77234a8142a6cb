"""`ps`: Docker's filters and formats, and how long 500 containers take; what is not here is in test_commands.py."""

from __future__ import annotations

import json
import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from minirun.container import record as records
from minirun.home import Home
from minirun.kernel import jsonfile
from tests.command import PATIENCE, Minirun
from tests.running import running

MANY = 500
MOST_S = 0.1


@pytest.fixture(scope="module")
def boxes(store: Minirun) -> Iterator[None]:
    """Containers that differ in what filters look at."""
    store("import", "-c", "EXPOSE 80 53/udp", os.path.realpath("rootfs-fixtures/out/busybox-layers"), "exposing",
          check=True)  # fmt: skip
    store("create", "--name", "plain", "busybox", "true", check=True)
    store("create", "--name", "bound", "-v", "/usr:/mnt/usr:ro", "busybox", "true", check=True)
    store("create", "--name", "hosted", "--network", "host", "exposing", "true", check=True)
    yield
    store("rm", "-f", "plain", "bound", "hosted", check=True)


@pytest.mark.usefixtures("boxes")
@pytest.mark.parametrize(
    ("filters", "names"),
    [
        (["volume=/usr"], ["bound"]),
        (["volume=/mnt/usr"], ["bound"]),
        (["volume=/mnt"], []),
        (["network=host"], ["hosted"]),
        (["network=none"], ["bound", "plain"]),
        (["network=none", "network=host"], ["hosted", "bound", "plain"]),
        (["network=bridge"], []),
        (["expose=80"], ["hosted"]),
        (["expose=80/tcp"], ["hosted"]),
        (["expose=50-60/udp"], ["hosted"]),
        (["expose=53"], []),
        (["publish=80"], []),
        (["publish=1-65535/tcp"], []),
        (["health=none"], ["hosted", "bound", "plain"]),
        (["health=healthy"], []),
        (["status=dead"], []),
        (["status=removing", "status=created"], ["hosted", "bound", "plain"]),
        (["status=restarting"], []),
        (["ancestor=nosuchimage"], []),
        (["ancestor=nosuchimage", "ancestor=exposing"], ["hosted", "bound", "plain"]),  # all of the same layers
        (["name=plain", "name=bound", "volume=/usr"], ["bound"]),
    ],
)
def test_filters_let_through_what_dockers_do(store: Minirun, filters: list[str], names: list[str]) -> None:
    flags = [word for one in filters for word in ("--filter", one)]
    assert store("ps", "-a", "--format", "{{.Names}}", *flags, check=True).stdout.split() == names


@pytest.mark.usefixtures("boxes")
@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("is-task=true", "there is no filter of that name"),
        ("volume", "not of the form NAME=VALUE"),
        ("health=ill", "no container ever is that"),
        ("status=gone", "no container ever has that"),
        ("publish=http", "it is no port"),
        ("expose=0", "it is no port"),
        ("expose=80-70", "it is no port"),
        ("expose=80/icmp", "it is no port"),
        ("exited=x", "it is not an exit code"),
        ("before=nobody", "no such container"),
    ],
)
def test_a_filter_that_means_nothing_is_refused(store: Minirun, given: str, reason: str) -> None:
    result = store("ps", "--filter", given)
    assert result.returncode == 125
    assert reason in result.stderr


@pytest.mark.usefixtures("boxes")
@pytest.mark.parametrize(
    ("flags", "count"), [(["-n", "2"], 2), (["-n2"], 2), (["--last=1"], 1), (["-l"], 1), (["-n", "0"], 0),
                         (["-an0"], 3), (["-n", "-1"], 0), (["-a"], 3), ([], 0)],
)  # fmt: skip
def test_the_last_ones_are_as_many_as_asked_for(store: Minirun, flags: list[str], count: int) -> None:
    assert len(store("ps", "--format={{.ID}}", *flags, check=True).stdout.split()) == count


@pytest.mark.usefixtures("boxes")
def test_json_has_dockers_fields_in_dockers_order(store: Minirun) -> None:
    row = json.loads(store("ps", "-a", "--filter=name=bound", "--format=json", check=True).stdout)
    assert list(row) == [
        "Command", "CreatedAt", "ID", "Image", "Labels", "LocalVolumes", "Mounts", "Names", "Networks", "Ports",
        "RunningFor", "Size", "State", "Status",
    ]  # fmt: skip
    assert (row["Mounts"], row["LocalVolumes"], row["Networks"], row["State"]) == ("/usr", "0", "none", "created")
    assert json.loads(store("ps", "-l", "--format={{json .}}", check=True).stdout)["Names"] == "hosted"


@pytest.mark.usefixtures("boxes")
def test_a_table_of_ones_own_has_titles(store: Minirun) -> None:
    shown = store("ps", "-a", "--format", r"table {{.Names}}\t{{.LocalVolumes}}\t{{.Networks}}", check=True).stdout
    assert shown.splitlines()[0].split() == ["NAMES", "LOCAL", "VOLUMES", "NETWORKS"]
    assert shown.splitlines()[1].split() == ["hosted", "0", "host"]


def test_what_is_typed_wrong_is_told_with_the_usage(store: Minirun) -> None:
    for words, reason in ((["x"], "unexpected extra argument"), (["--nosuch"], "there is no flag --nosuch"),
                          (["-n", "x"], "it is not a number"), (["--format", "{{.Nome}}"], "there is no field 'Nome'"),
                          (["-n"], "requires an argument")):  # fmt: skip
        result = store("ps", *words)
        assert result.returncode == 125
        assert reason in result.stderr
    assert store("ps", "--help", check=True).stdout.startswith("Usage: minirun ps")


def test_a_container_that_runs_is_listed_as_up(store: Minirun) -> None:
    with running(store, "going", "sleep", "100"):
        assert "Up " in store("ps", "--filter", "name=going", "--format", "{{.Status}}", check=True).stdout
        assert store("ps", "-q", "--filter", "status=paused", check=True).stdout == ""


def test_a_container_that_waits_to_be_started_again_counts_as_running(store: Minirun) -> None:
    store("run", "-d", "--name", "again", "-l", "again", "--restart", "always", "busybox", "sh", "-c", "exit 3",
          check=True)  # fmt: skip
    try:
        end = time.monotonic() + 20
        while not store("ps", "-q", "--filter", "name=again", "--filter", "status=restarting", check=True).stdout:
            assert time.monotonic() < end
            time.sleep(0.05)
        assert store("ps", "--filter", "name=again", "--format", "{{.Names}}", check=True).stdout == "again\n"
        pruned = store("container", "prune", "-f", "--filter", "label=again", check=True).stdout
        assert pruned.startswith("Total reclaimed")
        end = time.monotonic() + 20
        while (
            text := store("ps", "--filter=name=again", "--format={{.Status}}").stdout
        ) and "Restarting (3)" not in text:
            assert time.monotonic() < end
    finally:
        store("rm", "-f", "again", check=True)


def test_five_hundred_containers_are_listed_in_a_tenth_of_a_second(store: Minirun) -> None:
    home = Home(str(store.root), str(store.runtime))
    name = "one-of-many"
    store("create", "--name", name, "-e", "A=1", "-l", "tier=front", "busybox", "sh", "-c", "true", check=True)
    fields = records.find(home, name).to_json()
    ended = {"status": "exited", "pid": 0, "started": time.time() - 9, "finished": time.time() - 5, "exit_code": 1}
    made = []
    for number in range(MANY):
        box = records.Record(**{**fields, "id": records.new_id(), "name": f"{name}-{number}"})
        Path(home.container(box.id)).mkdir()
        records.reserve_name(home, box.name, box.id)
        records.write(home, box)
        jsonfile.write(f"{home.container(box.id)}/state.json", ended, durable=False)
        made.append(box.name)
    try:
        # the processor's time, not the clock's: other tests run beside this one
        assert min(processor_s(store, "ps", "-a", count=MANY + 1) for _ in range(5)) < MOST_S * PATIENCE
    finally:
        store("rm", name, *made, check=True)


def processor_s(minirun: Minirun, *arguments: str, count: int) -> float:
    """How long a command that prints *count* lines, and a title, keeps a processor busy."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    shown = minirun(*arguments, check=True).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert len(shown.splitlines()) > count
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
