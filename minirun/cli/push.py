"""`push`: an image goes to a registry."""

from __future__ import annotations

import click

from minirun.cli import complete, fast, screen
from minirun.cli.command import Command
from minirun.cli.reaching import reaching


@click.command(
    "push",
    cls=Command,
    examples="""
minirun tag my-web localhost:5000/team/web:2
minirun push localhost:5000/team/web:2
minirun push -a localhost:5000/team/web                every tag that it has here
""",
)
@click.argument("name", metavar="NAME[:TAG]", shell_complete=complete.images)
@click.option("-a", "--all-tags", is_flag=True, help="Every image that has a name of that repository.")
@click.option("-q", "--quiet", is_flag=True, help="Print the name alone, when it is there.")
@reaching
def push(*, name: str, all_tags: bool, quiet: bool, tls_verify: bool, cert_dir: str) -> None:
    """Have a registry get an image, which is named after it: HOST[:PORT]/NAME.

    What was pulled or loaded goes as it came, with the same digests; layers that commits made are packed first.
    """
    from minirun.cli import bars
    from minirun.engine import registry

    told = None if quiet else bars.listener()
    if told and not all_tags and not registry.has_tag(name):
        told.say("Using default tag: latest")
    way = registry.Way(tls_verify=tls_verify, cert_dir=cert_dir)
    try:
        pushed = registry.push(
            name, all_tags=all_tags, way=way, told=told, progress=told.progress if told else None,
            warn=told.warn if told else fast.warn,
        )  # fmt: skip
    finally:
        if told:
            told.close()
    if quiet:
        screen.write(f"{pushed}\n")
