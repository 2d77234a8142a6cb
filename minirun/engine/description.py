"""Images as Docker's JSON describes them, and how large containers are; of containers see containerdescription.py.

    image, its tags ─▶ {"Id", "RepoTags", "Created", "Config", "Os", "Size", "GraphDriver", "RootFS", "Layers", …}

"Layers" is minirun's own: each layer with the pointer to the one below it. So is "ConfigDigest", the id by which
everybody else knows an image. What minirun does not know is left out: a key that is there is true. See
docs.docker.com/reference/api/engine, ImageInspect.
"""

from __future__ import annotations

from minirun.image import seal
from minirun.image.store import Images
from minirun.kernel import tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from minirun.container.record import Record
    from minirun.home import Home
    from minirun.image.store import Image
    from minirun.layer.record import Layer


def usage(home: Home, box: Record) -> tuple[int, int]:
    """Measure a container.

    Returns:
        Bytes of data that it wrote itself, and bytes with those of its image; both as the files' lengths have it.
    """
    images = Images(home)
    own = [*(home.diff(name) for name in box.stack[len(box.base) :]), f"{home.container(box.id)}/upper"]
    written = sum(tree.usage(path)[0] for path in own)
    return written, written + images.size(images.get(box.image))


def image(home: Home, found: Image, tags: Sequence[str], layers: Sequence[Layer]) -> dict[str, Any]:
    """Describe an image.

    Args:
        home: the store.
        found: the image.
        tags: its names.
        layers: its layers, bottom to top.
    """
    raw = found.config.raw
    told = raw.get("history") or [{}]
    return {
        "Id": f"sha256:{found.id}",
        **({"ConfigDigest": digest} if (digest := seal.digest(found, layers)) else {}),
        "RepoTags": list(tags),
        "RepoDigests": [f"{tag.rpartition(':')[0]}@{found.digest}" for tag in tags] if found.digest else [],
        "Parent": "",
        "Comment": told[-1].get("comment") or "",
        "Created": found.created,
        "Author": raw.get("author") or "",
        "Config": raw.get("config") or {},
        "Architecture": raw.get("architecture") or "",
        **({"Variant": raw["variant"]} if raw.get("variant") else {}),
        "Os": raw.get("os") or "",
        "Size": sum(layer.size or 0 for layer in layers),
        "GraphDriver": {"Name": "overlay", "Data": lower(found.paths(home))},
        # the digest of a layer that was committed is taken when somebody needs it: until then null
        "RootFS": {"Type": "layers", "Layers": [layer.diff_id for layer in layers]},
        "Layers": [
            {
                "Id": layer.id,
                "Parent": below.id if below else "",
                "DiffId": layer.diff_id,
                "Size": layer.size,
                "Created": layer.created or "",
                "CreatedBy": layer.created_by or "",
                "Comment": layer.comment or "",
                "Dir": home.diff(layer.diff),
            }
            for below, layer in zip([None, *layers], layers, strict=False)
        ],
        "Source": found.source,
    }


def lower(paths: Sequence[str]) -> dict[str, str]:
    """The stack as overlayfs writes it, topmost first."""
    return {"LowerDir": ":".join(reversed(paths))}
