"""`events`: what happens is told, once, to everybody who asks, also afterwards."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from minirun import events
from minirun.home import Home
from tests.command import PATIENCE, Minirun
from tests.running import running, state_of

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}(Z|[+-]\d\d:\d\d) container (\w+) [0-9a-f]{64} \((.*)\)")


def past(minirun: Minirun, *flags: str) -> list[str]:
    """What is told of everything until now, `TYPE ACTION` each unless *flags* have another format."""
    form = () if any(flag.startswith("--format") for flag in flags) else ("--format={{.Type}} {{.Action}}",)
    return minirun("events", "--since", "1h", "--until", "0s", *form, *flags, check=True).stdout.splitlines()


@contextmanager
def following(minirun: Minirun, *flags: str) -> Iterator[subprocess.Popen[bytes]]:
    """`events` with *flags*, listening when the block begins."""
    with minirun.start("events", *flags) as process:
        end = time.monotonic() + 20 * PATIENCE
        while not any("inotify" in target for target in opened(process.pid)):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < end
            time.sleep(0.01)
        time.sleep(0.1)
        try:
            yield process
        finally:
            process.kill()


def opened(pid: int) -> Iterator[str]:
    """What the descriptors of a process lead to."""
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            yield str(link.readlink())
        except FileNotFoundError:
            continue  # closed meanwhile


def test_the_life_of_a_container_is_told(store: Minirun) -> None:
    store("run", "--rm", "--name", "lived", "busybox", "sh", "-c", "exit 3")
    assert past(store, "--filter", "container=lived") == [
        "container create", "container start", "container die", "container destroy",
    ]  # fmt: skip
    form = "--format={{.Actor.Attributes.exitCode}} {{.Actor.Attributes.image}}"
    assert past(store, "--filter", "container=lived", "--filter", "event=die", form) == ["3 busybox"]


def test_a_container_in_the_background_is_told_of_in_the_same_words(store: Minirun) -> None:
    store("run", "-d", "--name", "behind", "busybox", "sh", "-c", "exit 3", check=True)
    store("wait", "behind", check=True)
    store("rm", "behind", check=True)
    assert past(store, "--filter", "container=behind", "--format={{.Action}} {{.Actor.Attributes.exitCode}}") == [
        "create <no value>", "start <no value>", "die 3", "destroy <no value>",
    ]  # fmt: skip


def test_a_container_that_is_removed_while_it_runs_dies_first(store: Minirun) -> None:
    store("run", "-d", "--name", "forced", "busybox", "sleep", "100", check=True)
    store("rm", "-f", "forced", check=True)
    told = past(store, "--filter", "container=forced", "--format={{.Action}} {{.Actor.Attributes.exitCode}}")
    assert told == ["create <no value>", "start <no value>", "kill <no value>", "die 137", "destroy <no value>"]


def test_a_container_in_the_background_that_removes_itself_is_told_to_have_gone(store: Minirun) -> None:
    store("run", "-d", "--rm", "--name", "fleeting", "busybox", "true", check=True)
    end = time.monotonic() + 20
    while (told := past(store, "--filter", "container=fleeting"))[-1] != "container destroy":
        assert time.monotonic() < end, told
        time.sleep(0.05)
    assert told == ["container create", "container start", "container die", "container destroy"]


@pytest.mark.parametrize(
    ("flags", "words"),
    [(["--rm"], ["die 255", "destroy <no value>"]), ([], ["die 137"])],  # who has not --rm has a keeper, which saw it
)
def test_the_end_of_a_container_whose_run_was_killed_is_told_by_who_finds_it(
    store: Minirun, flags: list[str], words: list[str]
) -> None:
    with store.start("run", *flags, "--name", "unseen", "busybox", "sleep", "100") as process:
        end = time.monotonic() + 20
        while (now := state_of(store, "unseen")) is None:
            assert time.monotonic() < end
            time.sleep(0.01)
        process.kill()
    os.kill(now.pid, signal.SIGKILL)
    while state_of(store, "unseen"):
        assert time.monotonic() < end
        time.sleep(0.01)
    form = "--format={{.Action}} {{.Actor.Attributes.exitCode}}"
    while (told := past(store, "--filter", "container=unseen", form)[2:]) != words:
        assert time.monotonic() < end, told
        time.sleep(0.05)
    store("ps", check=True)
    assert past(store, "--filter", "container=unseen", form)[2:] == words
    store("rm", "-f", "unseen")
    path = Path(events.path(Home(str(store.root), str(store.runtime))))
    path.write_text("\n".join(line for line in path.read_text().split("\n") if "unseen" not in line))


def test_a_container_whose_command_could_not_begin_is_told_to_have_gone(store: Minirun) -> None:
    assert store("run", "--name", "unborn", "busybox", "nosuch").returncode == 127
    assert past(store, "--filter", "container=unborn") == ["container create", "container destroy"]


def test_verbs_on_containers_and_images_are_told(store: Minirun, tmp_path: Path) -> None:
    with running(store, "busy", "sleep", "100"):
        store("top", "busy", check=True)
        store("commit", "busy", "kept:1", check=True)
    store("tag", "kept:1", "kept:2", check=True)
    store("save", "-o", str(tmp_path / "kept.tar"), "kept:2", check=True)
    store("rmi", "kept:2", check=True)
    store("rmi", "kept:1", check=True)
    store("load", "-q", "-i", str(tmp_path / "kept.tar"), check=True)
    store("rmi", "kept:2", check=True)
    told = past(store)
    beginning = told.index("container commit")
    assert told[beginning - 1] == "container top"
    images = [one for one in told[beginning:] if one.startswith("image ")]
    assert images == [
        "image tag", "image save", "image untag", "image untag", "image delete", "image load", "image untag",
        "image delete",
    ]  # fmt: skip
    assert "container kill" in told


def test_a_line_is_dockers(store: Minirun) -> None:
    store("run", "--rm", "--name", "lined", "-l", "b=2", "-l", "a=1", "busybox", "true", check=True)
    shown = store("events", "--since=1h", "--until=0s", "-f", "container=lined", "-f", "event=start", check=True).stdout
    found = LINE.fullmatch(shown.rstrip("\n"))
    assert found
    assert found[2] == "start"
    assert found[3] == "a=1, b=2, image=busybox, minirun.fixture=busybox-layers, name=lined"


def test_json_is_dockers(store: Minirun) -> None:
    store("run", "--rm", "--name", "jsoned", "busybox", "true", check=True)
    lines = past(store, "--filter=container=jsoned", "--format=json")
    assert lines == past(store, "--filter=container=jsoned", "--format={{json .}}")
    first = json.loads(lines[0])
    assert list(first) == ["Type", "Action", "Actor", "scope", "time", "timeNano"]
    assert list(first["Actor"]) == ["ID", "Attributes"]
    assert (first["Type"], first["Action"], first["scope"]) == ("container", "create", "local")
    assert first["timeNano"] // 10**9 == first["time"]


def test_who_listens_is_told_at_once(store: Minirun) -> None:
    with following(store, "--filter", "event=die", "--format", "{{.Actor.Attributes.name}}") as process:
        store("run", "--rm", "--name", "heard", "busybox", "true", check=True)
        assert process.stdout
        assert process.stdout.readline() == b"heard\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130


def test_who_listens_is_not_told_of_what_was_before(store: Minirun) -> None:
    store("run", "--rm", "--name", "before", "busybox", "true", check=True)
    with following(store, "--format", "{{.Actor.Attributes.name}}") as process:
        store("run", "--rm", "--name", "after", "busybox", "true", check=True)
        assert process.stdout
        assert process.stdout.readline() == b"after\n"


def test_it_ends_at_its_end_and_when_nobody_reads_any_more(store: Minirun) -> None:
    begun = time.monotonic()
    store("events", "--since", "0s", "--until", str(time.time() + 1), check=True)
    assert 0.5 < time.monotonic() - begun < 10 * PATIENCE
    with following(store) as process:
        assert process.stdout
        process.stdout.close()
        assert process.wait(20) == 141


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        (["container=one"], {"one"}),
        (["container=one", "container=two"], {"one", "two"}),
        (["label=kind=first"], {"one"}),
        (["label=kind"], {"one", "two"}),
        (["label=kind", "label=kind=second"], {"two"}),
        (["image=busybox", "event=create"], {"one", "two"}),
        (["image=busybox:latest"], set()),
        (["type=container", "event=start", "event=die"], {"one", "two"}),
        (["type=image", "container=one"], set()),
        (["scope=swarm"], set()),
    ],
)  # fmt: skip
def test_filters_are_dockers(minirun: Minirun, filters: list[str], names: set[str]) -> None:
    home = Home(str(minirun.root), str(minirun.runtime))
    home.create()
    for name, kind in (("one", "first"), ("two", "second")):
        for action in ("create", "start", "die"):
            events.emit(home, "container", action, f"id-of-{name}", {"image": "busybox", "name": name, "kind": kind})
    flags = [f"--filter={one}" for one in filters]
    assert set(past(minirun, *flags, "--format={{.Actor.Attributes.name}}")) == names


def test_what_begins_a_command_is_found_by_its_first_word(minirun: Minirun) -> None:
    home = Home(str(minirun.root), str(minirun.runtime))
    home.create()
    events.emit(home, "container", "exec_start: sh -c true", "1", {})
    events.emit(home, "container", "exec_die", "1", {})
    assert past(minirun, "--filter=event=exec_start") == ["container exec_start: sh -c true"]
    assert past(minirun, "--filter=event=exec") == []


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--filter", "colour=red"], "there is no filter of that name"),
        (["--filter", "event"], "not of the form NAME=VALUE"),
        (["--since", "yesterday"], "neither a length of time nor a date"),
        (["--since", "0s", "--until", "1h"], "that is a time before"),
        (["--format", "{{.Type"], "{{ is not closed"),
    ],
)
def test_what_means_nothing_is_refused_before_anything_is_waited_for(
    store: Minirun, flags: list[str], reason: str
) -> None:
    result = store("events", *flags, timeout_s=20)
    assert result.returncode == 125
    assert reason in result.stderr


def test_the_file_does_not_grow_for_ever_and_who_reads_loses_nothing(minirun: Minirun) -> None:
    home = Home(str(minirun.root), str(minirun.runtime))
    home.create()
    count = 3 * events.LIMIT_BYTES // 2000
    with following(minirun, "--format", "{{.Actor.ID}}") as process:
        for number in range(count):
            events.emit(home, "container", "start", str(number), {"long": "x" * 2000})
            if number % 500 == 0:
                time.sleep(0.05)  # a rotation while nobody has read what is in the older file would lose it
        assert process.stdout
        told = [process.stdout.readline() for _ in range(count)]
    assert told == [b"%d\n" % number for number in range(count)]
    sizes = [Path(path).stat().st_size for path in (events.path(home), events.older(home))]
    assert all(size < events.LIMIT_BYTES + 3000 for size in sizes)


def test_an_event_that_was_cut_short_hides_no_other(minirun: Minirun) -> None:
    home = Home(str(minirun.root), str(minirun.runtime))
    home.create()
    events.emit(home, "container", "start", "1", {})
    with Path(events.path(home)).open("ab") as file:
        file.write(b'{"Type": "container", "Action": "di')
    events.emit(home, "container", "destroy", "1", {"label": 'a "quoted" {"Type": thing'})
    assert past(minirun) == ["container start", "container destroy"]


def test_many_at_once_tell_whole_lines(minirun: Minirun) -> None:
    home = Home(str(minirun.root), str(minirun.runtime))
    home.create()
    children = []
    for number in range(8):
        pid = os.fork()
        if pid == 0:
            for _ in range(200):
                events.emit(home, "container", "start", str(number), {"long": "x" * 3000})
            os._exit(0)
        children.append(pid)
    assert all(os.waitpid(pid, 0)[1] == 0 for pid in children)
    told = past(minirun, "--format={{.Actor.ID}}")
    assert sorted(told) == sorted(str(number) for number in range(8) for _ in range(200))


def test_what_cannot_be_told_keeps_nobody_from_anything(store: Minirun) -> None:
    path = Path(events.path(Home(str(store.root), str(store.runtime))))
    path.unlink(missing_ok=True)
    path.mkdir()
    try:
        store("run", "--rm", "busybox", "true", check=True)
    finally:
        path.rmdir()
