"""`update`: the limits and restart policies of containers change."""

from __future__ import annotations

from typing import Any

import click

from minirun.cli import complete, flags
from minirun.cli.command import Command, option
from minirun.cli.named import each

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


@click.command(
    "update",
    cls=Command,
    params=[option(flag) for flag in (*flags.LIMITS, flags.RESTART)],
    examples="""
minirun update --memory 1g --memory-swap 1g web         at once, if it runs, and for every later start
minirun update --cpus 0.5 --pids-limit -1 web db        half a processor, and any number of processes
minirun update --cgroup-conf memory.high=900m web
minirun update --restart unless-stopped web db          what becomes of them when they end, from now on
""",
)
@click.argument("containers", metavar="CONTAINER...", nargs=-1, required=True, shell_complete=complete.containers)
def update(*, containers: Sequence[str], **given: Any) -> int:
    """Change the limits and restart policies of containers.

    What is not given stays as it is. A limit that would have the kernel kill the container is refused.
    """
    from minirun.engine import update as verbs

    values = {name.replace("_", "-"): value for name, value in given.items() if value not in (None, ())}
    return each(verbs.update(containers, values), several=len(containers) > 1)
