"""`stop`, `kill`, `restart` and `wait`: what a person does to containers that run."""

from __future__ import annotations

import click

from minirun.cli import complete
from minirun.cli.command import Command
from minirun.cli.named import codes, each

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_any, _running = (
    click.argument("containers", metavar="CONTAINER", nargs=-1, required=True, shell_complete=names)
    for names in (complete.containers, complete.running)
)
_time = click.option(
    "-t", "--timeout", "--time", "seconds", metavar="SECONDS", type=click.IntRange(min=-1),
    help="How long it has before it is killed; -1: for ever (10, or its --stop-timeout).",
)  # fmt: skip
_signal = click.option("-s", "--signal", metavar="SIGNAL", help="The signal to send (its --stop-signal, or TERM).")


@click.command(
    "stop",
    cls=Command,
    examples="""
minirun stop web                  its stop signal, ten seconds, SIGKILL
minirun stop -t 0 web db          SIGKILL at once
""",
)
@_running
@_time
@_signal
def stop(*, containers: Sequence[str], seconds: int | None, signal: str | None) -> int:
    """Stop containers: a signal, and SIGKILL for those that do not end in time."""
    from minirun.engine import lifecycle

    return each(lifecycle.stop(containers, seconds=seconds, signal=signal), several=len(containers) > 1)


@click.command(
    "kill",
    cls=Command,
    examples="""
minirun kill web                  SIGKILL
minirun kill -s HUP web           have it read its configuration again
""",
)
@_running
@click.option("-s", "--signal", metavar="SIGNAL", default="KILL", help="The signal: HUP, SIGHUP or 1 (KILL).")
def kill(*, containers: Sequence[str], signal: str) -> int:
    """Send a signal to the first process of containers."""
    from minirun.engine import lifecycle

    return each(lifecycle.kill(containers, signal), several=len(containers) > 1)


@click.command(
    "restart",
    cls=Command,
    examples="""
minirun restart web
""",
)
@_any
@_time
@_signal
def restart(*, containers: Sequence[str], seconds: int | None, signal: str | None) -> int:
    """Stop containers, and start them again."""
    from minirun.engine import lifecycle

    return each(lifecycle.restart(containers, seconds=seconds, signal=signal), several=len(containers) > 1)


@click.command(
    "wait",
    cls=Command,
    examples="""
minirun wait web                  returns when it ended, and prints its exit code
""",
)
@_running
def wait(*, containers: Sequence[str]) -> int:
    """Wait until containers have ended, and print their exit codes."""
    from minirun.engine import lifecycle

    return each(codes(lifecycle.wait(containers)), several=len(containers) > 1)
