"""Images for other platforms than this host's: which is pulled for `run`, and what is said of one that is here.

run --platform P IMAGE    it is here, and for P             it runs, if the kernel can
                          it is not here, or for another    the one for P is pulled, and has the name then, as Docker's
                          the same, and --pull never        refused
run IMAGE                 it is for another than this       it runs, if the kernel can, with Docker's warning
"""

from __future__ import annotations

import os

from minirun.container import options
from minirun.engine import open_home
from minirun.errors import BadInput, NotFound
from minirun.image import find
from minirun.image.platform import Platform, describe, is_for
from minirun.image.store import Images

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from minirun.image.source import Warn
    from minirun.image.store import Image


def bring(flags: Mapping[str, Any], name: str, fetch: Callable[[str, bool, str], object]) -> dict[str, Any]:
    """Have the image here for the platform of *flags*, from its registry where they want that.

    Args:
        flags: of `run` or `create`, with ``platform``.
        name: of the image, or a directory.
        fetch: brings an image here; is told whether that is because it is missing, and for which platform.

    Returns:
        The flags for `run`, which need not pull it any more.

    Raises:
        BadInput: one of the flags is bad; then nothing was pulled.
        MinirunError: the registry does not have it.
    """
    wanted = Platform.parse(flags["platform"])
    options.read(flags)
    pull = flags.get("pull") or "missing"
    if pull not in ("missing", "always") or not find.is_fetchable(name):
        return dict(flags)
    if pull == "always" or _is_missing(name, wanted):
        fetch(name, pull == "missing", str(wanted))
    return {**flags, "pull": "never"}


def _is_missing(name: str, wanted: Platform) -> bool:
    try:
        return not is_for(Images(open_home()).get(name).config.raw, wanted)
    except NotFound:
        return not os.path.isdir(name)
    except BadInput:
        return False  # a directory, or `run` says what is wrong with it


def check(image: Image, name: str, platform: str, warn: Warn | None) -> None:
    """Refuse an image that is for another platform than was asked for; warn of one that is not for this host.

    Args:
        image: that is to run.
        name: as the user called it.
        platform: as the user typed it, or empty.
        warn: told a sentence.

    Raises:
        NotFound: it is for another.
        BadInput: *platform* is none.
    """
    raw = image.config.raw
    wanted = Platform.parse(platform) if platform else Platform.here()
    if is_for(raw, wanted):
        return
    if platform:
        remedy = f"`minirun pull --platform {wanted} {name}` fetches another" if find.is_fetchable(name) else ""
        raise NotFound(f"find image {name} for {wanted}", f"it is for {describe(raw)}", remedy)
    if warn:
        warn(
            f"the requested image's platform ({describe(raw)}) does not match the detected host platform ({wanted}) "
            "and no specific platform was requested"
        )
