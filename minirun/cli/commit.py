"""`commit` and `tag`: images get made of containers, and names."""

from __future__ import annotations

import click

from minirun.cli import complete, direct
from minirun.cli.command import INSTRUCTIONS, Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


@click.command(
    "commit",
    cls=Command,
    examples="""
minirun commit web my-web                             the image my-web:latest
minirun commit -m 'with python' -a 'Ada' web my-web:2
minirun commit -c 'CMD ["python3"]' -c 'ENV LANG=C.UTF-8' web my-web
""",
)
@click.argument("container", shell_complete=complete.containers)
@click.argument("image", metavar="[NAME[:TAG]]", required=False, shell_complete=complete.images)
@click.option("-a", "--author", default="", metavar="TEXT", help="Who made it: 'Ada <ada@example.org>'.")
@click.option("-m", "--message", default="", metavar="TEXT", help="What for; `minirun history` shows it.")
@click.option("-c", "--change", "changes", multiple=True, metavar="INSTRUCTION",
              help=f"A Dockerfile instruction for the image: {INSTRUCTIONS}.")  # fmt: skip
@click.option("-p", "--pause/--no-pause", default=True,
              help="Have a running container stand still meanwhile (it does, unless --pause=false).")  # fmt: skip
def commit(
    *, container: str, image: str | None, author: str, message: str, changes: Sequence[str], pause: bool
) -> None:
    """Make an image of what a container wrote, on top of the image it was made from."""
    direct.commit(container, image, author=author, message=message, changes=changes, pause=pause)


@click.command(
    "tag",
    cls=Command,
    examples="""
minirun tag my-web my-web:2
minirun tag 4f5e localhost:5000/team/web
""",
)
@click.argument("image", shell_complete=complete.images)
@click.argument("name", metavar="NAME[:TAG]", shell_complete=complete.images)
def tag(*, image: str, name: str) -> None:
    """Give an image another name, whatever had that name before."""
    from minirun.engine import images

    images.tag(image, name)
