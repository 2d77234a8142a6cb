"""`exec`: what is typed is read by the parser of flags.py, as that of `run` is."""

from __future__ import annotations

from typing import Any

import click

from minirun.cli import complete, flags
from minirun.cli.run import TableCommand
from minirun.errors import BadInput


class ExecCommand(TableCommand):
    """The command that runs commands in containers."""

    subject = click.Argument(["container"], metavar="CONTAINER", shell_complete=complete.running)
    command = "COMMAND [ARG]..."
    missing = ("no container was named", "`{} CONTAINER COMMAND` runs one; `minirun ps` lists them")

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read *args*, which name a container and a command."""
        rest = super().parse_args(ctx, args)
        if not ctx.resilient_parsing and not ctx.params["command"]:
            raise BadInput(
                f"read the arguments of `{ctx.command_path}`", "no command was given",
                f"`{ctx.command_path} -it {ctx.params['container']} sh` runs a shell",
            )  # fmt: skip
        return rest


def _exec(*, values: dict[str, Any], container: str, command: list[str]) -> int:
    from minirun.engine import execution

    return execution.execute(values, container, command)


exec_ = ExecCommand(
    "exec",
    flags.EXEC,
    callback=_exec,
    help="""Run a command in a container that runs, beside what runs there.

    It has the container's files, namespaces, limits, capabilities, user, environment and working directory. The exit
    code is the command's; 125: minirun could not, 126: the command cannot be executed, 127: it is not there. With -it,
    the detach keys leave it running.""",
    examples="""
minirun exec -it web sh                     a shell in it
minirun exec -u 1000 -w /srv web ls -l      as another user, elsewhere
minirun exec -i web tar x -C /srv <site.tar
minirun exec -d web touch /reload           not waiting for it
""",
)
