"""One image as its layers: a directory that `minirun run` takes, and that skopeo's ``dir:``.

minirun's own, see layerdir.py                   skopeo's dir:
-----------------------------------------------  ---------------------------------------------
01-<12 digits of the diff id>.tar.gz   bottom    <digest>, one for each layer and the config
02-….tar.zst                                     manifest.json    the image's manifest
image.json                  the config           version          Directory Transport Version: 1.1
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.image.departure import Departure
    from minirun.image.leavingblobs import Blob

    Entries = dict[str, bytes | Blob]

_ENDINGS = {"none": ".tar", "gzip": ".tar.gz", "zstd": ".tar.zst", "xz": ".tar.xz"}


def layers(departure: Departure) -> Entries:
    """A directory of layers."""
    # as many digits for all of them: they are stacked in the order of their names
    width = max(2, len(str(len(departure.layers))))
    entries: Entries = {
        f"{number:0{width}}-{layer.diff_id[7:19]}{_ENDINGS[layer.compression]}": layer
        for number, layer in enumerate(departure.layers, 1)
    }
    return entries | {"image.json": departure.config}


def skopeo(departure: Departure) -> Entries:
    """What skopeo and podman call ``dir:``."""
    entries: Entries = {layer.digest[7:]: layer for layer in departure.layers}
    return entries | {
        departure.id: departure.config,
        "manifest.json": departure.document,
        "version": b"Directory Transport Version: 1.1\n",
    }
