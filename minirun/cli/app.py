"""`minirun` by click: of the commands in the catalog the wanted one is imported, and what click refuses, we refuse."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from importlib import import_module

import click

from minirun import __version__
from minirun.cli.catalog import COMMANDS, GROUPED, GROUPS, NOT_BUILT, TOPICS
from minirun.errors import BadInput, MinirunError, NotFound, Unsupported

COMPLETE = "_MINIRUN_COMPLETE"
_ALL = {**COMMANDS, **GROUPED}
_WIDTH = 120
_EXAMPLES = """\
  minirun run -it ubuntu-layers/ /bin/sh      run a shell on a directory of layers
  minirun diff NAME                           what did it write?
  minirun commit NAME my-image                make an image of it
  minirun COMMAND --help                      every command has examples
"""


def main(args: Sequence[str]) -> int:
    """Do what the command line *args* says.

    Returns:
        The exit code.

    Raises:
        MinirunError: it could not be done; also when it could not be understood.
    """
    if COMPLETE in os.environ:
        return _complete(os.environ[COMPLETE])
    args = list(args) or ["--help"]
    if args[0] == "help":
        args = [*args[1:], "--help"]
    try:
        with ROOT.make_context("minirun", args) as context:
            return int(ROOT.invoke(context) or 0)
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.UsageError as error:
        raise _refusal(error) from None


def load(name: str) -> click.Command:
    """Import the command *name* of the catalog."""
    module = import_module(f"minirun.cli.{_ALL[name][0]}")
    return next(
        command for command in vars(module).values() if isinstance(command, click.Command) and command.name == name
    )


class Group(click.Group):
    """Commands by name, each imported when it is wanted.

    Args:
        name: of the group.
        targets: name → the command of the catalog, perhaps with flags.
        options: as click.Group has them.
    """

    def __init__(self, name: str, targets: dict[str, str], **options: object) -> None:
        super().__init__(name, context_settings={"max_content_width": _WIDTH}, **options)  # type: ignore[arg-type]  # click's
        self.targets = targets

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, for help and completion."""
        return list(self.targets)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one."""
        target = self.targets.get(cmd_name)
        return load(target.split()[0]) if target else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the first of *args* names, and the flags that this name implies before the others."""
        name = args[0]
        command = self.get_command(ctx, name)
        if command is None and not ctx.resilient_parsing:
            raise _unknown(ctx.command_path, name, self.targets)
        return name, command, [*self.targets.get(name, "").split()[1:], *args[1:]]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands, without importing one."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, _ALL[target.split()[0]][1]) for name, target in self.targets.items()])


class Root(Group):
    """`minirun` itself: Docker's groups are there, and help is by topic, without them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, for completion."""
        return [*self.targets, *GROUPS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command, or make a group."""
        if cmd_name in GROUPS:
            return Group(cmd_name, GROUPS[cmd_name], help="Docker's longer names, and what has no shorter one.")
        return super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands by topic, those that are in a group alone, and examples."""
        for topic, commands in TOPICS.items():
            with formatter.section(topic):
                formatter.write_dl([(name, line) for name, (_, line) in commands.items()])
        with formatter.section("In groups"):
            formatter.write_dl([(name.replace("-", " ", 1), line) for name, (_, line) in GROUPED.items()])
        with formatter.section("Examples"):
            formatter.write(_EXAMPLES)


def _print_version(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        click.echo(f"minirun version {__version__}")
        ctx.exit()


ROOT = Root(
    "minirun",
    {name: name for name in COMMANDS},
    help="Run containers: image layers, one writable layer on top, and an isolated set of processes.",
    params=[
        click.Option(
            ["-v", "--version"], is_flag=True, is_eager=True, expose_value=False, callback=_print_version,
            help="Show minirun's version and exit.",
        ),
    ],
)  # fmt: skip


def _unknown(path: str, name: str, names: Iterable[str]) -> MinirunError:
    attempt = f"run `{path} {name}`"
    if path == "minirun" and name in NOT_BUILT:
        remedy = NOT_BUILT[name] or "`minirun --help` lists what is"
        return Unsupported(attempt, f"{name} is not built in this version", remedy)
    if name.startswith("-"):
        return BadInput(attempt, "there is no such flag", f"`{path} --help` lists them")
    from difflib import get_close_matches

    near = get_close_matches(name, list(names), n=1, cutoff=0.5)
    remedy = f"did you mean `{path} {near[0]}`?\n" if near else ""
    return NotFound(attempt, "there is no such command", f"{remedy}`{path} --help` lists them all")


def _refusal(error: click.UsageError) -> BadInput:
    """What click found wrong with the arguments, as a refusal of ours."""
    path = error.ctx.command_path if error.ctx else "minirun"
    reason = error.format_message().strip().rstrip(".")
    remedy = [f"`{path} --help` shows how it is used"]
    if isinstance(error, click.NoSuchOption):
        reason = f"there is no flag {error.option_name}"
        remedy = [f"did you mean {' or '.join(error.possibilities)}?", *remedy] if error.possibilities else remedy
    return BadInput(f"read the arguments of `{path}`", reason[:1].lower() + reason[1:], "\n".join(remedy))


def _complete(instruction: str) -> int:
    from click.shell_completion import shell_complete

    from minirun.cli import completionscript

    completionscript.register()
    return shell_complete(ROOT, {}, "minirun", COMPLETE, instruction)
