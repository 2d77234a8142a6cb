"""One command of the face: Docker's way of giving flags, and a help that ends with examples."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import click

from minirun.cli import complete

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.cli.flags import Flag

INSTRUCTIONS = "CMD, ENTRYPOINT, ENV, LABEL, USER, WORKDIR …"  # that `commit` and `import` take
_BOOLEANS = {"true": True, "1": True, "t": True, "false": False, "0": False, "f": False}


class Command(click.Command):
    """A command of minirun's.

    Args:
        examples: lines for the end of its help, printed as they are.
        options: as click.Command has them.
    """

    def __init__(self, *arguments: Any, examples: str = "", **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.examples = examples

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read *args*; a switch may have a value, ``--pause=false``, as Go's flags may."""
        return super().parse_args(ctx, [*self._switches(args)])

    def _switches(self, args: Sequence[str]) -> Iterable[str]:
        switches = {
            name: option
            for option in self.params
            if isinstance(option, click.Option) and option.is_flag
            for name in option.opts
        }
        for place, word in enumerate(args):
            if word == "--":
                yield from args[place:]
                return
            name, equals, value = word.partition("=")
            option = switches.get(name)
            if option is None or not equals or value.lower() not in _BOOLEANS:
                yield word
            elif _BOOLEANS[value.lower()]:
                yield name
            elif option.secondary_opts:
                yield option.secondary_opts[0]

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples."""
        if self.examples:
            with formatter.section("Examples"):
                for line in self.examples.strip("\n").splitlines():
                    formatter.write(f"  {line}\n" if line else "\n")


def option(flag: Flag) -> click.Option:
    """What click has to know of a flag of the tables in flags.py."""
    names = [f"-{flag.short}"] * bool(flag.short) + [f"--{flag.name}"]
    if flag.metavar:
        offer = complete.offer(flag.name, flag.metavar)
        return click.Option(
            names, metavar=flag.metavar, multiple=flag.many, help=f"{flag.help}.", shell_complete=offer
        )  # fmt: skip
    return click.Option(names, is_flag=True, help=f"{flag.help}.")
