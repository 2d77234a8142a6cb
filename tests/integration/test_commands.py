"""Every command besides `run`, as a user and a script see it: output, exit codes, and what a terminal gets."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import tarfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from tests.command import Minirun
from tests.screen import until_closed

ID = re.compile(r"[0-9a-f]{64}")
WRITE = r"echo hello >/hello; rm /srv/files/replaced; chmod 700 /srv; touch /srv/$(printf 'odd\033[31m\377'); exit 3"


@pytest.fixture
def web(store: Minirun) -> Iterator[str]:
    """A container that wrote, changed and deleted something, and ended with status 3."""
    result = store("run", "--name", "web", "-l", "tier=front", "busybox", "sh", "-c", WRITE)
    assert result.returncode == 3, result.stderr
    yield "web"
    store("rm", "-f", "web")


@pytest.fixture
def created(store: Minirun) -> Iterator[str]:
    """The id of a container that never ran."""
    yield (container_id := store("create", "--name", "fresh", "-i", "busybox", "cat", check=True).stdout.strip())
    store("rm", "-f", container_id)


def on_terminal(minirun: Minirun, *arguments: str, env: dict[str, str] | None = None) -> str:
    """Run a command whose standard output is a terminal; return what that got."""
    master, slave = pty.openpty()
    try:
        with minirun.start(*arguments, stdout=slave, env={"TERM": "xterm", **(env or {})}) as process:
            os.close(slave)
            slave = -1
            got = until_closed(master)
            errors = process.stderr.read() if process.stderr else b""
        return (got + errors).decode(errors="surrogateescape").replace("\r\n", "\n")
    finally:
        os.close(master)
        if slave >= 0:
            os.close(slave)


def described(minirun: Minirun, *arguments: str) -> Any:
    """Return what `inspect` prints, parsed."""
    return json.loads(minirun("inspect", *arguments, check=True).stdout)


# ps


def test_ps_has_dockers_columns_and_words(store: Minirun, web: str) -> None:
    title, line = store("ps", "-a", check=True).stdout.splitlines()
    assert re.split(r"\s{2,}", title) == ["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"]
    cells = re.split(r"\s{2,}", line)
    assert re.fullmatch("[0-9a-f]{12}", cells[0])
    assert cells[1:3] == ["busybox", '"sh -c \'echo hello >…"']
    assert re.fullmatch(r"(Less than a second|1 second|\d+ seconds) ago", cells[3])
    assert re.fullmatch(r"Exited \(3\) (Less than a second|1 second|\d+ seconds) ago", cells[4])
    assert cells[5] == web


def test_ps_lists_only_what_runs_unless_it_is_asked(store: Minirun, web: str, created: str) -> None:
    assert store("ps", "-q", check=True).stdout == ""
    with store.start("run", "--rm", "--name", "busy", "busybox", "sleep", "100") as running:
        try:
            wait_for(store, "busy")
            assert "Up " in store("ps", check=True).stdout.splitlines()[1]
            assert store("ps", "--format", "{{.Names}} {{.State}}", check=True).stdout == "busy running\n"
            names = store("ps", "-a", "--format", "{{.Names}}", check=True).stdout.split()
            assert names == ["busy", "fresh", web]
        finally:
            store("rm", "-f", "busy")
            running.wait(10)


def wait_for(minirun: Minirun, name: str) -> None:
    """Wait until a container runs."""
    for _ in range(500):
        if name in minirun("ps", "--format", "{{.Names}}", check=True).stdout.split():
            return
    raise AssertionError(f"{name} does not run")


def test_ps_gives_whole_ids_and_commands(store: Minirun, web: str) -> None:
    whole = store("ps", "-aq", "--no-trunc", check=True).stdout.strip()
    assert ID.fullmatch(whole)
    assert whole == described(store, web)[0]["Id"]
    assert "exit 3" in store("ps", "-a", "--no-trunc", check=True).stdout


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["-a", "--filter", "exited=3"], ["web"]),
        (["--filter", "status=created"], ["fresh"]),
        (["-a", "--filter", "label=tier=front", "--filter", "ancestor=busybox"], ["web"]),
        (["-a", "--filter", "since=web"], ["fresh"]),
        (["-a", "--filter", "before=fresh"], ["web"]),
        (["--latest"], ["fresh"]),
        (["--last", "2"], ["fresh", "web"]),
        (["-a", "--filter", "name=nothing"], []),
    ],
)
def test_ps_filters(store: Minirun, web: str, created: str, arguments: list[str], names: list[str]) -> None:
    assert store("ps", "--format", "{{.Names}}", *arguments, check=True).stdout.split() == names


def test_ps_measures_what_a_container_wrote(store: Minirun, web: str) -> None:
    assert re.search(r"6B \(virtual \d\.\d+MB\)$", store("ps", "-as", check=True).stdout.strip())
    assert store("ps", "-a", "--format", "{{.Size}}", check=True).stdout.startswith("6B (virtual")


def test_ps_gives_json(store: Minirun, web: str) -> None:
    row = json.loads(store("ps", "-a", "--format", "json", check=True).stdout)
    assert row["Names"] == web
    assert row["Labels"] == "minirun.fixture=busybox-layers,tier=front"


def test_ps_shows_an_id_where_the_images_name_means_another_image_now(store: Minirun, busybox_layers: Path) -> None:
    store("tag", "busybox", "moving", check=True)
    container = store("create", "moving", "true", check=True).stdout.strip()
    other = store("import", "-c", "ENV OTHER=1", busybox_layers, "moving", check=True).stdout.strip()
    image = described(store, container)[0]["Image"]
    assert image != other
    assert store("ps", "-a", "--format", "{{.Image}}", check=True).stdout == f"{image[7:19]}\n"
    store("rm", container, check=True)
    store("rmi", "moving", check=True)


# diff, commit, history


def test_diff_gives_a_pipe_the_bytes_of_names(store: Minirun, web: str) -> None:
    assert store("diff", web, check=True).stdout.splitlines() == [
        "A /hello",
        "C /srv",
        "C /srv/files",
        "D /srv/files/replaced",
        "A /srv/odd\x1b[31m\udcff",
    ]


def test_diff_gives_a_terminal_colours_of_its_own_and_none_of_a_names(store: Minirun, web: str) -> None:
    text = on_terminal(store, "diff", web)
    assert "\x1b[32mA /hello\x1b[0m\n" in text
    assert "\x1b[31mD /srv/files/replaced\x1b[0m\n" in text
    assert "A /srv/odd\\x1b[31m\\xff\x1b[0m\n" in text
    assert "\x1b" not in on_terminal(store, "diff", web, env={"NO_COLOR": "1"})


def test_commit_makes_an_image_with_its_history(store: Minirun, web: str) -> None:
    made = store("commit", "-a", "Ada", "-m", "greeting", "-c", 'CMD ["cat", "/hello"]', web, "greeter", check=True)
    assert re.fullmatch(r"sha256:[0-9a-f]{64}\n", made.stdout)
    assert store("run", "--rm", "greeter", check=True).stdout == "hello\n"
    image = described(store, "--type", "image", "greeter")[0]
    assert (image["Author"], image["Comment"], image["Config"]["Cmd"]) == ("Ada", "greeting", ["cat", "/hello"])
    title, top, *below = store("history", "greeter", check=True).stdout.splitlines()
    assert re.split(r"\s{2,}", title.strip()) == ["IMAGE", "CREATED", "CREATED BY", "SIZE", "COMMENT"]
    assert top.startswith(made.stdout[7:19])
    assert "sh -c echo hello" in top
    assert "6B" in top
    assert top.endswith("greeting")
    assert all(line.startswith("<missing>") for line in below)
    assert store("history", "-q", "--no-trunc", "greeter", check=True).stdout.startswith(made.stdout)
    assert re.search(r"T\d\d:\d\d:\d\d.* 6 ", store("history", "--human=false", "greeter", check=True).stdout)
    removed = store("rmi", "greeter", check=True).stdout
    assert removed.startswith(f"Untagged: greeter:latest\nDeleted: {made.stdout}")


def test_commit_refuses_before_it_does_anything(store: Minirun, web: str) -> None:
    for arguments in (["-c", "FROBNICATE x", web, "name"], [web, "UPPER CASE"], ["nothing", "name"]):
        result = store("commit", *arguments)
        assert (result.returncode, result.stdout) == (125, "")
        assert result.stderr.startswith("minirun: cannot ")
    assert store("images", "--format", "{{.Repository}}", check=True).stdout == "busybox\n"


# images, tag, rmi


def test_images_has_dockers_columns_and_a_line_for_each_name(store: Minirun) -> None:
    store("tag", "busybox", "team/app:1.2", check=True)
    title, first, second = store("images", check=True).stdout.splitlines()
    assert re.split(r"\s{2,}", title.strip()) == ["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"]
    assert re.match(r"busybox +latest +[0-9a-f]{12} +.* ago +\d\.\d\dMB$", first)
    assert second.startswith("team/app")
    assert store("images", "team/*", "--format", "{{.Repository}}:{{.Tag}}", check=True).stdout == "team/app:1.2\n"
    assert len(store("images", "-q", "--no-trunc", check=True).stdout.splitlines()) == 1
    assert "DIGEST" in store("images", "--digests", check=True).stdout
    assert store("rmi", "team/app:1.2", check=True).stdout == "Untagged: team/app:1.2\n"


def test_an_image_without_a_name_is_shown_as_none(minirun: Minirun, busybox_layers: Path) -> None:
    made = minirun("import", busybox_layers, check=True).stdout.strip()
    assert re.match(r"<none> +<none> +[0-9a-f]{12} ", minirun("images", check=True).stdout.splitlines()[1])
    assert minirun("images", "-q", "--filter", "dangling=true", check=True).stdout.strip() == made[7:19]
    assert minirun("images", "-q", "--filter", "dangling=false", check=True).stdout == ""
    deleted = minirun("rmi", made, check=True).stdout.splitlines()
    assert deleted[0] == f"Deleted: {made}"
    assert minirun("images", "-q", check=True).stdout == ""


def test_digests_are_those_by_which_registries_know_an_image(minirun: Minirun, busybox_layers: Path) -> None:
    minirun("import", busybox_layers, "localhost:5000/team/app:1", check=True)
    minirun("tag", "localhost:5000/team/app:1", "other", check=True)
    (record,) = (minirun.root / "images").glob("*.json")
    digest = f"sha256:{'d' * 64}"
    told = {**json.loads(record.read_text()), "repo_digests": [f"localhost:5000/team/app@{digest}"]}
    record.write_text(json.dumps(told))

    def listed() -> list[str]:
        form = "{{.Repository}} {{.Tag}} {{.Digest}}"
        return minirun("images", "--digests", "--format", form, check=True).stdout.splitlines()

    assert listed() == [f"localhost:5000/team/app 1 {digest}", "other latest <none>"]
    # as what a pull of its name has replaced
    for name in (minirun.root / "tags").iterdir():
        name.unlink()
    assert listed() == [f"localhost:5000/team/app <none> {digest}"]


def test_images_are_listed_by_their_age(store: Minirun, web: str) -> None:
    store("commit", web, "fresh", check=True)
    form = "{{.Repository}}"
    assert store("images", "--filter", "until=1h", "--format", form, check=True).stdout == "busybox\n"
    assert store("images", "--filter", "until=2099-01-01", "--format", form, check=True).stdout == "fresh\nbusybox\n"
    assert "it is neither a length of time nor a date" in store("images", "--filter", "until=soon").stderr
    store("rmi", "fresh", check=True)


def test_an_image_is_for_one_platform(store: Minirun, web: str) -> None:
    store("commit", web, "here", check=True)
    assert store("history", "--platform", "linux/amd64", "here", check=True).stdout
    told = store("image", "inspect", "--platform", "amd64", "-f", "{{.Architecture}}", "here", check=True).stdout
    assert told == "amd64\n"
    for command in (["history"], ["rmi"], ["image", "inspect"], ["inspect"]):
        refused = store(*command, "--platform", "linux/arm64", "here")
        assert refused.returncode == 125
        assert "for linux/arm64: it is for linux/amd64" in refused.stderr
        assert store(*command, "--platform", "what?", "here").returncode == 125
    assert store("container", "inspect", "--platform", "linux/amd64", web).returncode == 125
    assert store("inspect", "--platform", "linux/amd64", web).returncode == 125  # it is a container
    assert "Deleted: " in store("rmi", "--platform", "linux/amd64", "here", check=True).stdout


@pytest.mark.parametrize("verb", ["rm", "rmi"])
def test_by_force_what_is_not_there_is_told_and_no_failure(store: Minirun, verb: str) -> None:
    for names in (["nothing"], ["nothing", "none"]):
        result = store(verb, "-f", *names)
        assert (result.returncode, result.stdout) == (0, "")
        assert result.stderr.count("minirun: cannot find ") == len(names)
    assert store(verb, "-f", "-nothing").returncode == 125


def test_several_arguments_each_get_their_turn(store: Minirun, web: str, created: str) -> None:
    result = store("rm", web, "nothing", created)
    assert result.returncode == 125
    assert result.stdout == f"{web}\n{created}\n"
    assert result.stderr.startswith("minirun: cannot find container nothing: no such container\n")
    result = store("rmi", "nothing", "none/such")
    assert (result.returncode, result.stdout, result.stderr.count("minirun: ")) == (125, "", 2)
    result = store("inspect", "busybox", "nothing")
    assert result.returncode == 125
    assert [one["RepoTags"] for one in json.loads(result.stdout)] == [["busybox:latest"]]


# import, export


def test_a_root_file_system_comes_back_from_an_export(store: Minirun, web: str, tmp_path: Path) -> None:
    store("export", "-o", tmp_path / "web.tar", web, check=True)
    assert (tmp_path / "web.tar").stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["web.tar"]
    with tarfile.open(tmp_path / "web.tar") as tar:
        names = {name.removeprefix("./") for name in tar.getnames()}
    assert {"hello", "bin/busybox"} <= names
    assert "srv/files/replaced" not in names
    with (tmp_path / "web.tar").open("rb") as stream:
        made = subprocess.run(
            store.command(["import", "-c", "CMD cat /hello", "-m", "flat", "-", "flat:1"]),
            env=store.environment(), stdin=stream, capture_output=True, text=True, check=True,
        )  # fmt: skip
    assert re.fullmatch(r"sha256:[0-9a-f]{64}\n", made.stdout)
    assert store("run", "--rm", "flat:1", check=True).stdout == "hello\n"
    piped = subprocess.run(store.command(["export", web]), env=store.environment(), capture_output=True, check=True)
    assert piped.stdout == (tmp_path / "web.tar").read_bytes()
    store("rmi", "flat:1", check=True)


def test_an_export_that_fails_leaves_what_was_there(store: Minirun, tmp_path: Path) -> None:
    (tmp_path / "web.tar").write_text("before")
    result = store("export", "-o", tmp_path / "web.tar", "nothing")
    assert result.returncode == 125
    assert (tmp_path / "web.tar").read_text() == "before"
    assert os.listdir(tmp_path) == ["web.tar"]
    result = store("export", "-o", tmp_path / "no/such/web.tar", "nothing")
    assert "ENOENT" in result.stderr


def test_a_tar_is_not_written_to_a_terminal(store: Minirun, web: str) -> None:
    assert "standard output is a terminal" in on_terminal(store, "export", web)


def test_a_stream_that_is_no_tar_is_refused(store: Minirun) -> None:
    result = store("import", "-", "broken", stdin="this is no tar" * 100)
    assert result.returncode == 125
    assert store("images", "-q", "broken", check=True).stdout == ""
    assert "curl -L" in store("import", "https://example.org/x.tar", "x").stderr


def test_import_shows_no_bar_to_a_file(minirun: Minirun, tmp_path: Path) -> None:
    data = BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("bin"))
    (tmp_path / "root.tar").write_bytes(data.getvalue())
    assert minirun("import", tmp_path / "root.tar", "tiny", check=True).stderr == ""


# inspect


def test_inspect_has_a_container_in_dockers_shape(store: Minirun, web: str) -> None:
    box = described(store, web)[0]
    assert box["Name"] == "/web"
    assert [box["Path"], *box["Args"]] == ["sh", "-c", WRITE]
    assert (box["State"]["Status"], box["State"]["ExitCode"], box["State"]["Running"]) == ("exited", 3, False)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", box["State"]["FinishedAt"])
    assert box["Image"] == described(store, "busybox")[0]["Id"]
    data = box["GraphDriver"]["Data"]
    assert (Path(data["UpperDir"]) / "hello").read_text() == "hello\n"
    assert all(Path(path).is_dir() for path in [data["WorkDir"], *data["LowerDir"].split(":")])
    assert box["Config"]["Labels"]["tier"] == "front"
    assert box["HostConfig"]["NetworkMode"] == "none"
    sized = described(store, "-s", web)[0]
    assert sized["SizeRw"] == 6
    assert sized["SizeRootFs"] == 6 + described(store, "busybox")[0]["Size"]


def test_inspect_has_an_image_with_the_chain_of_its_layers(store: Minirun) -> None:
    image = described(store, "busybox:latest")[0]
    layers = image["Layers"]
    assert [layer["Parent"] for layer in layers] == ["", *(layer["Id"] for layer in layers[:-1])]
    assert image["RootFS"]["Layers"] == [layer["DiffId"] for layer in layers]
    assert image["Size"] == sum(layer["Size"] for layer in layers)
    assert image["RepoTags"] == ["busybox:latest"]
    assert image["Config"]["Cmd"] == ["sh"]


def test_inspect_finds_the_kind_that_is_asked_for(store: Minirun, web: str) -> None:
    store("tag", "busybox", "web", check=True)
    assert "Path" in described(store, "web")[0]
    assert "RepoTags" in described(store, "--type", "image", "web")[0]
    assert "RepoTags" in json.loads(store("image", "inspect", "web", check=True).stdout)[0]
    assert store("container", "inspect", "busybox").returncode == 125
    nothing = store("inspect", "nothing")
    assert (nothing.returncode, nothing.stdout) == (125, "")
    assert "there is no container, image, volume or network" in nothing.stderr
    store("rmi", "web", check=True)


def test_inspect_fills_in_a_format(store: Minirun, web: str) -> None:
    result = store("inspect", "-f", '{{.Name}} {{.State.ExitCode}} {{index .Config.Labels "tier"}}', web, check=True)
    assert result.stdout == "/web 3 front\n"
    refused = store("inspect", "-f", "{{.Nome}}", web)
    assert refused.returncode == 125
    assert "there is no field 'Nome'" in refused.stderr


# start


def test_start_runs_a_container_again_with_standard_input(store: Minirun, created: str) -> None:
    assert store("start", "-ai", "fresh", stdin="a\n", check=True).stdout == "a\n"
    assert store("start", "--attach", "fresh", stdin="b\n", check=True).stdout == ""
    assert described(store, created)[0]["State"]["Status"] == "exited"


def test_start_gives_the_commands_exit_code(store: Minirun, web: str) -> None:
    assert store("start", "-a", web).returncode == 3
    assert described(store, web)[0]["State"]["ExitCode"] == 3


# info, version, gc, completion


def test_info_counts_what_is_stored(store: Minirun, web: str) -> None:
    told = json.loads(store("info", "--format", "json", check=True).stdout)
    assert (told["Containers"], told["ContainersStopped"], told["Images"]) == (1, 1, 1)
    assert told["MinirunRootDir"] == str(store.root)
    text = store("system", "info", check=True).stdout
    assert f"Minirun Root Dir: {store.root}\n" in text
    assert "\nTotal Memory: " in text


def test_version_answers_scripts_that_ask_for_the_server(store: Minirun) -> None:
    version = store("version", "-f", "{{.Version}}", check=True).stdout
    assert store("version", "-f", "{{.Server.Version}}", check=True).stdout == version
    assert store("--version", check=True).stdout == f"minirun version {version}"
    assert version.strip() in store("version", check=True).stdout


def test_gc_tells_what_it_freed(minirun: Minirun, busybox_layers: Path) -> None:
    minirun("import", busybox_layers, "x", check=True)
    (minirun.root / "diffs" / "stray").mkdir()
    (minirun.root / "diffs" / "stray" / "file").write_bytes(bytes(1234))
    told = dict(line.split(": ") for line in minirun("gc", check=True).stdout.splitlines())
    assert told["Layers removed"] == "0"
    assert told["Total reclaimed space"] == "1.23kB"
    assert "Total reclaimed space: 0B\n" in minirun("gc", check=True).stdout
    assert minirun("run", "--rm", "x", "true").returncode == 0


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        (["minirun", "co"], ["commit", "completion", "container"]),
        (["minirun", "rm", "w"], ["web"]),
        (["minirun", "run", "b"], ["busybox"]),
        (["minirun", "run", "--rm", "--read"], ["--read-only"]),
        (["minirun", "image", "ins"], ["inspect"]),
        (["minirun", "inspect", ""], ["busybox", "web"]),
    ],
)
def test_a_shell_completes_commands_flags_and_names(
    store: Minirun, web: str, words: list[str], completed: list[str]
) -> None:
    env = {"_MINIRUN_COMPLETE": "bash_complete", "COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
    lines = store(env=env, check=True).stdout.splitlines()
    assert sorted(line.removeprefix("plain,") for line in lines) == completed


def test_completing_names_makes_no_store(tmp_path: Path) -> None:
    nowhere = Minirun(tmp_path / "root", tmp_path / "runtime")
    env = {"_MINIRUN_COMPLETE": "bash_complete", "COMP_WORDS": "minirun rm w", "COMP_CWORD": "2"}
    assert nowhere(env=env, check=True).stdout.strip() == ""
    assert os.listdir(tmp_path) == []


# colours


def test_ps_paints_what_runs_for_people_only(store: Minirun, web: str) -> None:
    assert "\x1b[2mExited (3) " in on_terminal(store, "ps", "-a")
    assert "\x1b" not in store("ps", "-a", check=True).stdout


def test_every_refusal_is_a_sentence_on_standard_error_and_status_125(store: Minirun) -> None:
    for arguments in (["build", "x"], ["comit"], ["ps", "--nome"], ["run", "--nome"], ["run"], ["images", "--nome"]):
        result = store(*arguments)
        assert (result.returncode, result.stdout) == (125, ""), arguments
        assert result.stderr.startswith("minirun: cannot "), arguments
