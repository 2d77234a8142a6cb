"""`events`: what happens, a line each, until Ctrl-C."""

from __future__ import annotations

import sys
import time
from typing import Any

import click

from minirun.cli import screen
from minirun.cli.command import Command
from minirun.cli.gotext import to_json
from minirun.cli.template import Template

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_SECOND_NS = 1_000_000_000


@click.command(
    "events",
    cls=Command,
    examples="""
minirun events                                         from now on, until Ctrl-C
minirun events --since 1h --until 0s                   the last hour
minirun events --filter event=die --format '{{.Actor.Attributes.name}} {{.Actor.Attributes.exitCode}}'
minirun events --filter type=container --format json | jq .Actor.ID
""",
)
@click.option("-f", "--filter", "filters", metavar="NAME=VALUE", multiple=True,
              help="Only those of this container, image, volume, event, type, label.")  # fmt: skip
@click.option("--format", "form", metavar="FORMAT", default="", help="json, or a Go template.")
@click.option("--since", metavar="TIME", default="", help="Also those since: 1h30m ago, 2026-01-31T12:00, seconds.")
@click.option("--until", metavar="TIME", default="", help="Those until; then end.")
def events(*, filters: Sequence[str], form: str, since: str, until: str) -> None:
    """Show what happens to containers, images and volumes, as it happens."""
    from minirun.engine import eventlog

    line = _writer(form)  # a format that is none is refused before something happens
    for found in eventlog.follow(since=since, until=until, filters=filters, listeners=[sys.stdout.fileno()]):
        screen.write("".join(f"{line(event)}\n" for event in found))
        sys.stdout.flush()


def _writer(form: str) -> Callable[[dict[str, Any]], str]:
    if form == "json":
        return to_json
    if form:
        return Template(form).render
    return _line


def _line(event: dict[str, Any]) -> str:
    """An event as Docker writes it: time, kind, what, whose, and all attributes by name."""
    seconds, rest_ns = divmod(event["timeNano"], _SECOND_NS)
    zone = time.strftime("%z", time.localtime(seconds))
    when = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(seconds))
    where = "Z" if zone == "+0000" else f"{zone[:3]}:{zone[3:]}"
    actor = event["Actor"]
    attributes = ", ".join(f"{key}={value}" for key, value in sorted(actor["Attributes"].items()))
    text = f"{when}.{rest_ns:09}{where} {event['Type']} {event['Action']} {actor['ID']}"
    # one event, one line, whatever a label holds
    return screen.clean(f"{text} ({attributes})" if attributes else text)
