"""The table of commands: what is there, what is not, and that only what is wanted is imported."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import click
import pytest

from minirun import __version__
from minirun.cli import app, catalog, command, direct, flags, named
from minirun.errors import BadInput, MinirunError, NotFound, Unsupported


@pytest.mark.parametrize("name", catalog.COMMANDS)
def test_every_command_has_a_help_with_examples(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main([name, "--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"Usage: minirun {name} ")
    examples = text.partition("\nExamples:\n")[2]
    assert f"minirun {name} " in examples or name == "gc"


def test_every_option_says_what_it_is_for() -> None:
    silent = [
        (name, option.name)
        for name in (*catalog.COMMANDS, *catalog.GROUPED)
        for option in app.load(name).params
        if isinstance(option, click.Option) and not option.help
    ]
    assert silent == []


@pytest.mark.parametrize("args", [[], ["--help"], ["help"]])
def test_the_help_lists_every_command(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(args) == 0
    lines = capsys.readouterr().out.splitlines()
    for name, (_, line) in catalog.COMMANDS.items():
        assert [text.split(maxsplit=1)[1] for text in lines if text.split()[:1] == [name]] == [line]
    for name, (_, line) in catalog.GROUPED.items():
        assert [text for text in lines if text.split() == [*name.split("-", 1), *line.split()]], name


def test_help_is_a_command_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["help", "diff"]) == 0
    assert capsys.readouterr().out.startswith("Usage: minirun diff ")


@pytest.mark.parametrize("flag", ["--version", "-v"])
def test_the_version_is_one_line(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main([flag]) == 0
    assert capsys.readouterr().out == f"minirun version {__version__}\n"


@pytest.mark.parametrize("name", catalog.NOT_BUILT)
def test_what_only_docker_has_is_refused_as_not_built(name: str) -> None:
    assert name not in catalog.COMMANDS
    with pytest.raises(Unsupported, match=f"{name} is not built in this version") as refused:
        app.main([name, "x"])
    assert refused.value.exit_code == 125
    assert refused.value.remedy


def test_a_misspelt_command_is_answered_with_the_nearest() -> None:
    with pytest.raises(NotFound) as refused:
        app.main(["comit", "web"])
    assert refused.value.remedy.startswith("did you mean `minirun commit`?")
    assert refused.value.exit_code == 125


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("--nome", "there is no flag --nome"),
        ("ps --nome", "there is no flag --nome"),
        ("ps extra", "got unexpected extra argument"),
        ("ps --last many", "it is not a number"),
        ("ps --format", "requires an argument"),
        ("diff", "missing argument 'CONTAINER'"),
        ("rm", "missing argument"),
        ("run", "no image was named"),
        ("run --rm", "no image was named"),
        ("create --name", "it needs a value"),
        ("run --nome image", "there is none of that name"),
        ("inspect --type secret x", "is not one of"),
        ("completion tcsh", "is not one of"),
    ],
)
def test_wrong_usage_is_a_sentence_and_status_125(line: str, reason: str) -> None:
    with pytest.raises(BadInput) as refused:
        app.main(line.split())
    assert reason in refused.value.reason
    assert refused.value.exit_code == 125


def test_a_misspelt_flag_is_answered_with_the_nearest() -> None:
    with pytest.raises(BadInput) as refused:
        app.main(["ps", "--no-trun"])
    assert "--no-trunc" in refused.value.remedy


@pytest.mark.parametrize("group", catalog.GROUPS)
def test_dockers_longer_names_are_commands(group: str, capsys: pytest.CaptureFixture[str]) -> None:
    for name, target in catalog.GROUPS[group].items():
        assert app.main([group, name, "--help"]) == 0
        helped = capsys.readouterr().out
        assert helped.startswith(f"Usage: minirun {group} {name} ")
        inner = target.split()[0]
        assert inner in catalog.COMMANDS or f"\nExamples:\n  minirun {inner.replace('-', ' ', 1)}" in helped
    with pytest.raises(NotFound, match="there is no such command"):
        app.main([group, "nothing"])


def test_a_switch_can_have_a_value_as_in_go() -> None:
    seen: list[dict[str, Any]] = []

    @click.command(cls=command.Command)
    @click.option("-p", "--pause/--no-pause", default=True)
    @click.option("-q", "--quiet", is_flag=True)
    @click.argument("words", nargs=-1)
    def remember(**values: Any) -> None:
        seen.append(values)

    for line in ("--pause=false --quiet=true", "--pause=true --quiet=false", "-p=false", "-- --pause=false"):
        remember.main(line.split(), standalone_mode=False)
    assert [(one["pause"], one["quiet"], one["words"]) for one in seen] == [
        (False, True, ()),
        (True, False, ()),
        (False, False, ()),
        (True, False, ("--pause=false",)),
    ]


def test_the_flags_of_run_are_those_of_the_table() -> None:
    names = {option.opts[-1] for option in app.load("run").params if isinstance(option, click.Option)}
    assert names == {f"--{flag.name}" for flag in (*flags.RUN, flags.PLATFORM)}


@pytest.mark.parametrize("command", list(direct.FLAGS))
def test_the_flags_that_are_read_without_click_are_those_that_click_knows(command: str) -> None:
    options = [option for option in app.load(command).params if isinstance(option, click.Option)]
    theirs = {
        (option.opts[-1], "" if option.is_flag else "value", option.multiple, *option.opts[:-1]) for option in options
    }
    ours = {
        (f"--{flag.name}", flag.metavar and "value", flag.many, *[f"-{flag.short}"] * bool(flag.short))
        for flag in direct.FLAGS[command]
    }
    assert ours == theirs


@pytest.mark.parametrize(
    "line",
    ["load there", "load -x", "load --help", "load -i", "save", "save web -o web.tar", "save --format tar web",
     "save --compression xz web", "commit", "commit a b c", "commit --no-pause a", "commit --pause=maybe a",
     "save -- -web", "commit a --pause"],
)  # fmt: skip
def test_what_is_unusual_is_left_to_click(line: str) -> None:
    command, *args = line.split()
    assert direct.answer(command, args) is None


def imported(*args: str) -> set[str]:
    """Return the modules of minirun.cli that a command line imports."""
    code = (
        "import sys\nfrom minirun.cli import app\nfrom minirun.errors import MinirunError\n"
        f"try: app.main({list(args)!r})\nexcept MinirunError: pass\n"
        "print('\\0', *(name[12:] for name in sys.modules if name.startswith('minirun.cli.')))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(result.stdout.rpartition("\0")[2].split())


def test_only_the_wanted_command_is_imported() -> None:
    assert imported("--help") == {"app", "catalog"}
    assert imported("diff", "--help") == {"app", "catalog", "command", "complete", "diff", "screen"}
    assert not {"template", "table", "progress"} & imported("run", "--help")


def test_refusals_of_several_arguments_do_not_keep_the_others_from_their_turn(
    capsys: pytest.CaptureFixture[str],
) -> None:
    refusal = NotFound("find container \x1b[2Jb", "no such container", "look")
    outcomes: list[str | MinirunError] = ["a", refusal, "c"]
    assert named.each(outcomes, several=True) == 125
    out, err = capsys.readouterr()
    assert out == "a\nc\n"
    assert err == "minirun: cannot find container \\x1b[2Jb: no such container\n  look\n"
    with pytest.raises(MinirunError):
        named.each([refusal], several=False)
    assert named.each(["a"], several=False) == 0
