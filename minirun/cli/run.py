"""`run` and `create`: click shows their help and completes them; what is typed is read by the parser of flags.py."""

from __future__ import annotations

from typing import Any

import click

from minirun.cli import complete, fast, flags, screen
from minirun.cli.command import Command, option
from minirun.errors import BadInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from minirun.cli.flags import Flag


class TableCommand(Command):
    """A command whose flags are a table of flags.py, so that it understands the same with click and without.

    Args:
        name: of the command.
        table: its flags.
        options: as Command has them.

    Attributes:
        subject: what comes before the command that it runs.
        command: how its help calls that.
        missing: why it is refused without a subject, and the remedy.
    """

    subject = click.Argument(["image"], metavar="IMAGE|DIR", shell_complete=complete.images)
    command = "[COMMAND] [ARG]..."
    missing = ("no image was named", "`{} IMAGE COMMAND` runs one; `minirun images` lists them")

    def __init__(self, name: str, table: Sequence[Flag], **options: Any) -> None:
        command = click.Argument(["command"], metavar=self.command, nargs=-1, required=False)
        super().__init__(
            name,
            params=[*map(option, table), self.subject, command],
            context_settings={"allow_interspersed_args": False, "ignore_unknown_options": False},
            **options,
        )
        self.table = table

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read *args* by Docker's rules: see flags.py."""
        if ctx.resilient_parsing:  # a shell completes what is half-typed: click knows how
            return super().parse_args(ctx, args)
        values, rest = flags.parse(args, (*self.table, flags.Flag("help", "", "", "")), ctx.command_path)
        if values.pop("help", False):
            click.echo(ctx.get_help())
            ctx.exit()
        if not rest:
            reason, remedy = self.missing
            raise BadInput(f"read the arguments of `{ctx.command_path}`", reason, remedy.format(ctx.command_path))
        ctx.params = {"values": values, str(self.subject.name): rest[0], "command": rest[1:]}
        return []

    def invoke(self, ctx: click.Context) -> Any:
        """Run it, with the image for the platform that was asked for."""
        values = ctx.params["values"]
        if values.get("platform") and not values.get("dry-run"):
            from minirun.cli import bars
            from minirun.engine import platforms

            ctx.params["values"] = platforms.bring(values, ctx.params["image"], bars.fetch)
        return super().invoke(ctx)


def _run(*, values: dict[str, Any], image: str, command: list[str]) -> int:
    return fast.start(values, image, command)


def _create(*, values: dict[str, Any], image: str, command: list[str]) -> None:
    from minirun.engine import creating

    screen.write(f"{creating.create(fast.order(values, image, command))}\n")


run = TableCommand(
    "run",
    (*flags.RUN, flags.PLATFORM),
    callback=_run,
    help="""Run a command in a new container.

    IMAGE is the name or id of a stored image, or a name that is pulled from its registry first; DIR is a directory of
    layers, an OCI layout, an unpacked docker-save archive or a root file system, which is unpacked once. COMMAND
    defaults to the image's Entrypoint and Cmd. The exit code is the command's; 125: minirun could not, 126: the command
    cannot be executed, 127: it is not there.""",
    examples="""
minirun run -it ubuntu-layers/ /bin/sh                    a shell on a directory of layers
minirun run --rm debian:12 cat /etc/os-release            a container that leaves nothing behind
minirun run -d --name web --restart always IMAGE COMMAND  one in the background: see logs, exec, stop
minirun run --rm -v "$PWD:/src" -w /src -u 1000 build make
minirun run --memory 512m --cpus 1.5 --pids-limit 100 IMAGE COMMAND
minirun run --dry-run IMAGE                               every system call, and why; nothing is done
""",
)
create = TableCommand(
    "create",
    (*flags.CREATE, flags.PLATFORM),
    callback=_create,
    help="""Create a container that does not run yet, and print its id.

    `minirun start` runs it.""",
    examples="""
minirun create --name web -i ubuntu-layers/ cat
echo hello | minirun start -ai web
""",
)
