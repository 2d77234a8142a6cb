"""A directory of layers, or of one root file system.

    ubuntu-layers/                            rootfs/
    ├── 01-base.tar.zst      bottom           ├── bin/ …    has bin/ or usr/: the whole is one layer
    ├── 02-python.tar.gz                      └── usr/ …
    ├── 03-site/             a tree
    ├── image.json           optional: an OCI image config, or its inner "config" object alone. With the diff ids
    │                        of these layers it is the image's own, and its sha256 the id
    └── README               anything that does not begin like a layer is left alone

The base comes first in the order of the names' bytes. Where that is not also the order of the numbers (2-x, 10-x), or
two entries are the same layer twice (01-x.tar, 01-x/), the directory is refused rather than stacked by chance.
"""

from __future__ import annotations

import stat

from minirun.errors import BadLayer
from minirun.image import foreign
from minirun.image.config import Config
from minirun.image.manifest import LAYERS, Manifest, Part, describe_layers
from minirun.image.ocimanifest import CONFIG_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.image.contents import Contents

ENDINGS = (".tar", ".tar.gz", ".tar.zst", ".tar.xz")
CONFIG = "image.json"


def number(name: str) -> int:
    """The number with which the name of a layer begins: 3 for ``03-site``; -1 for a name that is no layer's."""
    digits, dash, rest = name.partition("-")
    return int(digits) if dash and rest and digits.isascii() and digits.isdigit() and len(digits) <= 9 else -1


def is_layers(names: list[str]) -> bool:
    """Whether a directory with these entries holds layers."""
    return any(number(name) >= 0 for name in names)


def is_root(contents: Contents) -> bool:
    """Whether *contents* is a root file system."""
    return contents.kind("usr") == stat.S_IFDIR or contents.kind("bin") in (stat.S_IFDIR, stat.S_IFLNK)


def read_layers(contents: Contents) -> Manifest:
    """Read the directory of layers *contents*.

    Raises:
        BadLayer: image.json is damaged, or an entry begins like a layer and is none.
    """
    parts: list[Part] = []
    stems: dict[str, str] = {}
    last = 0
    for name in contents.names():
        if number(name) < 0:
            continue
        part, stem = _part(contents, name)
        if stem in stems:
            _refuse(contents, f"{stems[stem]!r} and {name!r} are both the layer {stem!r}", "keep one of them there")
        if number(name) < last:
            _refuse(contents, f"{name!r} comes after {parts[-1].name!r} in the order of names, which is that of layers",
                    "write all numbers with as many digits: 02-…, 10-…")  # fmt: skip
        stems[stem], last = name, number(name)
        parts.append(part)
    if len(parts) > LAYERS:
        _refuse(contents, f"it has {len(parts)} layers", f"an overlay takes at most {LAYERS}; put some together")
    return _manifest(contents, parts)


def read_root(contents: Contents) -> Manifest:
    """Take the root file system *contents* as one layer."""
    return Manifest(Config(foreign.empty()), [Part(".", is_tree=True)])


def _part(contents: Contents, name: str) -> tuple[Part, str]:
    kind = contents.kind(name)
    if kind == stat.S_IFDIR:
        if contents.whole == "archive":
            _refuse(contents, f"its layer {name!r} is a directory", "unpack it and `minirun import DIR NAME`")
        return Part(name, is_tree=True), name
    for ending in ENDINGS:
        if name.endswith(ending) and number(name[: -len(ending)]) >= 0:
            return Part(name), name[: -len(ending)]
    remedy = f"a layer is a directory or ends with {', '.join(ENDINGS)}; rename or remove what is none"
    if kind == stat.S_IFLNK:
        remedy = "put the directory or the file itself there"
        _refuse(contents, f"{name!r} begins like a layer and is a symbolic link", remedy)
    _refuse(contents, f"{name!r} begins like a layer and is none that is known here", remedy)
    raise AssertionError


def _manifest(contents: Contents, parts: list[Part]) -> Manifest:
    config, exact = Config(foreign.empty()), b""
    if contents.kind(CONFIG):
        exact = contents.read(CONFIG, CONFIG_BYTES)
        config = foreign.read(contents.parse(CONFIG, exact), f"{contents.path}/{CONFIG}")
    describe_layers(config, parts)
    # one that `save` wrote says which layers these are; whether they still are, shows when they are unpacked
    return Manifest(config, parts, exact=exact if len(config.diff_ids) == len(parts) else b"")


def _refuse(contents: Contents, reason: str, remedy: str) -> None:
    raise BadLayer(f"use {contents.path} as an image", reason, remedy)
