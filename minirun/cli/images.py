"""`images` and `history`: what is stored, and how it came to be; the tree of `images` is drawn in imagetree.py."""

from __future__ import annotations

import time
from typing import Any

import click

from minirun.cli import complete, quantity, screen, table
from minirun.cli.command import Command
from minirun.errors import BadInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from minirun.image.history import Entry
    from minirun.image.store import Image

_NONE = "<none>"
_TITLES = {
    "Repository": "REPOSITORY", "Tag": "TAG", "Digest": "DIGEST", "ID": "IMAGE ID", "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT", "Size": "SIZE",
}  # fmt: skip
_HISTORY_TITLES = {
    "ID": "IMAGE", "CreatedSince": "CREATED", "CreatedAt": "CREATED AT", "CreatedBy": "CREATED BY", "Size": "SIZE",
    "Comment": "COMMENT",
}  # fmt: skip
_CREATED_BY_WIDTH = 45


@click.command(
    "images",
    cls=Command,
    examples="""
minirun images
minirun images 'team/*'                          those whose names match
minirun images --filter dangling=true -q         ids of those without a name
minirun images --format '{{.Repository}}:{{.Tag}} {{.Size}}'
minirun images --tree                            layers as they lie on each other, and what rmi would free
minirun images --tree my-image other             what these consist of, and what was made of them
""",
)
@click.argument("references", metavar="[REPOSITORY[:TAG]]", nargs=-1, shell_complete=complete.images)
@click.option("-a", "--all", is_flag=True, expose_value=False, help="All there are; without it, too: none is hidden.")
@click.option("-q", "--quiet", is_flag=True, help="Ids only.")
@click.option("--no-trunc", is_flag=True, help="Whole ids; with --tree whole lines, too.")
@click.option("--tree", is_flag=True, help="Layers as they lie on each other, with the images that end in them.")
@click.option(
    "--digests",
    is_flag=True,
    help="Show the digests of their manifests: by which a registry knows them, or with which they came.",
)
@click.option("-f", "--filter", "filters", metavar="NAME=VALUE", multiple=True,
              help="Only those with this reference, dangling, label, before, since or until.")  # fmt: skip
@click.option("--format", "form", metavar="FORMAT", default="", help="table, json, or a Go template.")
def images(
    *, references: Sequence[str], quiet: bool, no_trunc: bool, tree: bool, digests: bool, filters: Sequence[str],
    form: str,
) -> None:  # fmt: skip
    """List images."""
    from minirun.engine import images as verbs

    if tree:
        from minirun.cli import imagetree

        if quiet or digests:
            reason = f"{'-q' if quiet else '--digests'} is for the list"
            raise BadInput("show the tree of images", reason, "`minirun images --tree --format json` has every field")
        imagetree.draw(references, filters, form, whole=no_trunc)
        return
    if len(references) > 1:
        reason = "more than one name was given"
        raise BadInput("list images", reason, "give one, perhaps with stars, 'team/*'; --tree takes several")
    wanted = [*filters, *(f"reference={reference}" for reference in references)]
    found = verbs.images(wanted, screen.refuse)
    rows = [row for image, tags in found for row in _rows(image, tags, whole=no_trunc)]
    if quiet and not form:
        screen.write("".join(f"{row_id}\n" for row_id in dict.fromkeys(row["ID"] for row in rows)))
        return
    columns = ["Repository", "Tag", *(["Digest"] if digests else []), "ID", "CreatedSince", "Size"]
    table.show(rows, _TITLES, columns, form)


def _rows(image: Image, tags: Sequence[str], *, whole: bool) -> Iterator[dict[str, Any]]:
    from minirun.image.history import seconds

    created = seconds(image.created)
    digests = dict(text.partition("@")[::2] for text in image.repo_digests)
    # as in Docker: what was pulled and has lost its name is known by the repository that it is of
    names = tags or [f"{repository}:{_NONE}" for repository in digests] or [f"{_NONE}:{_NONE}"]
    for repository, _, name in (tag.rpartition(":") for tag in names):
        yield {
            "Repository": repository,
            "Tag": name,
            "Digest": digests.get(repository) or image.digest or _NONE,
            "ID": f"sha256:{image.id}" if whole else image.short_id,
            "CreatedSince": quantity.ago(created),
            "CreatedAt": quantity.date(created),
            "Size": quantity.size(image.size or 0),
        }


@click.command(
    "history",
    cls=Command,
    examples="""
minirun history my-image
minirun history --no-trunc --format '{{.CreatedBy}}' my-image
""",
)
@click.argument("image", shell_complete=complete.images)
@click.option("-q", "--quiet", is_flag=True, help="Ids only.")
@click.option("--no-trunc", is_flag=True, help="Whole ids and commands.")
@click.option("-H", "--human/--no-human", default=True,
              help="Ages and sizes in words (they are, unless --human=false).")  # fmt: skip
@click.option("--format", "form", metavar="FORMAT", default="", help="table, json, or a Go template.")
@click.option("--platform", metavar="OS/ARCH[/VARIANT]", help="Refuse an image that is for another one.")
def history(*, image: str, quiet: bool, no_trunc: bool, human: bool, form: str, platform: str | None) -> None:
    """Show how an image came to be, the latest step first."""
    from minirun.engine import images as verbs

    found, entries = verbs.history(image, platform)
    ids = [f"sha256:{found.id}" if no_trunc else found.short_id, *["<missing>"] * (len(entries) - 1)][: len(entries)]
    if quiet and not form:
        screen.write("".join(f"{row_id}\n" for row_id in ids))
        return
    rows = [_step(row_id, entry, whole=no_trunc, human=human) for row_id, entry in zip(ids, entries, strict=True)]
    table.show(rows, _HISTORY_TITLES, ["ID", "CreatedSince", "CreatedBy", "Size", "Comment"], form)


def _step(row_id: str, entry: Entry, *, whole: bool, human: bool) -> dict[str, Any]:
    from minirun.image.history import seconds

    created = seconds(entry.created)
    by = entry.created_by.replace("\t", " ")
    if not whole and len(by) > _CREATED_BY_WIDTH:
        by = by[: _CREATED_BY_WIDTH - 1] + "…"
    rfc3339 = time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(created)) if created else "N/A"
    return {
        "ID": row_id,
        "CreatedSince": quantity.ago(created) if human else rfc3339,
        "CreatedAt": rfc3339,
        "CreatedBy": by,
        "Size": quantity.size(entry.size) if human else str(entry.size),
        "Comment": entry.comment,
    }
