"""`pull`: an image comes from a registry."""

from __future__ import annotations

import click

from minirun.cli import complete, fast, screen
from minirun.cli.command import Command
from minirun.cli.reaching import reaching


@click.command(
    "pull",
    cls=Command,
    examples="""
minirun pull debian:12
minirun pull localhost:5000/team/app@sha256:4f5e…      exactly that one
minirun pull --platform linux/arm64 alpine
minirun pull -a localhost:5000/team/app                every tag
""",
)
@click.argument("name", metavar="NAME[:TAG|@DIGEST]", shell_complete=complete.images)
@click.option("-a", "--all-tags", is_flag=True, help="Everything that the repository has a tag for.")
@click.option("-q", "--quiet", is_flag=True, help="Print the name alone, when it is here.")
@click.option("--platform", default="", metavar="OS/ARCH[/VARIANT]", help="Of several images the one for this.")
@reaching
def pull(*, name: str, all_tags: bool, quiet: bool, platform: str, tls_verify: bool, cert_dir: str) -> None:
    """Bring an image here from a registry."""
    from minirun.cli import bars
    from minirun.engine import registry

    told = None if quiet else bars.listener()
    if told and not all_tags and not registry.has_tag(name):
        told.say("Using default tag: latest")
    way = registry.Way(tls_verify=tls_verify, cert_dir=cert_dir)
    try:
        pulled = registry.pull(
            name, all_tags=all_tags, wanted=platform, way=way, told=told, warn=told.warn if told else fast.warn
        )
    finally:
        if told:
            told.close()
    screen.write(f"{pulled}\n")
