"""For which hosts an image is: what Docker's --platform takes, and the choice among the images of an index.

    linux/amd64    linux/arm64/v8    arm64    linux          as typed; what is missing is this host's
    {"os": "linux", "architecture": "arm64", "variant": "v8"}    as an index describes each of its images

See image-spec, image-index.md ("platform"), and github.com/containerd/platforms for what is typed.
"""

from __future__ import annotations

import os

from minirun.errors import BadInput, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

# uname's word and Go's; where they agree there is no entry
_MACHINES = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "armv7l": "arm",
    "armv6l": "arm",
    "i686": "386",
    "i386": "386",
}
# what users and old indexes also write
_ALIASES = {**_MACHINES, "x86-64": "amd64", "armhf": "arm", "armel": "arm"}
_VARIANTS = {"armv7l": "v7", "armhf": "v7", "armv6l": "v6", "armel": "v6"}
_ARCHITECTURES = {
    "386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64", "ppc64le", "riscv64",
    "s390x", "wasm",
}  # fmt: skip
_SYSTEMS = {"linux", "windows", "darwin", "freebsd"}


def architecture() -> str:
    """This host's, as Go and so OCI call it."""
    machine = os.uname().machine
    return _MACHINES.get(machine, machine)


class Platform:
    """An operating system and a processor.

    Attributes:
        os: ``linux``.
        architecture: ``amd64``, ``arm64`` …
        variant: of the architecture, ``v8``; empty where any will do.
    """

    __slots__ = ("architecture", "os", "variant")

    def __init__(self, os: str, architecture: str, variant: str = "") -> None:
        self.os = os
        self.architecture = architecture
        self.variant = variant

    @classmethod
    def here(cls) -> Platform:
        """This host's."""
        machine = os.uname().machine
        return cls("linux", architecture(), _VARIANTS.get(machine, ""))

    @classmethod
    def parse(cls, text: str) -> Platform:
        """What a user typed after ``--platform``.

        Raises:
            BadInput: it is none.
        """
        here = cls.here()
        parts = text.lower().split("/")
        if len(parts) == 1:
            parts = [parts[0], here.architecture] if parts[0] in _SYSTEMS else ["linux", parts[0]]
        name = _ALIASES.get(parts[1], parts[1])
        if len(parts) > 3 or not all(parts) or parts[0] not in _SYSTEMS or name not in _ARCHITECTURES:
            remedy = "write OS/ARCHITECTURE[/VARIANT], such as linux/arm64"
            raise BadInput(f"take {text!r} for a platform", "no such platform is known", remedy)
        variant = parts[2] if len(parts) == 3 else _VARIANTS.get(parts[1], "")
        return cls(parts[0], name, variant)

    def __str__(self) -> str:
        """As a user types it."""
        return f"{self.os}/{self.architecture}" + (self.variant and f"/{self.variant}")

    def suits(self, described: dict[str, Any] | None) -> bool:
        """Whether an image that is *described* so is for it; one that is not described is for everybody."""
        if not described:
            return True
        theirs = _own_variant(str(described.get("architecture")), str(described.get("variant") or ""))
        return (
            described.get("os") == self.os
            and described.get("architecture") == self.architecture
            and (not self.variant or _own_variant(self.architecture, self.variant) == theirs or not theirs)
        )


def is_for(config: dict[str, Any] | None, platform: Platform) -> bool:
    """Whether an image is for *platform*; one whose config says no architecture is for everybody."""
    return not (config and config.get("architecture")) or platform.suits({"os": "linux", **config})


def check(attempt: str, described: dict[str, Any] | None, platform: str | None) -> None:
    """Raise NotFound unless an image whose config is *described* is for *platform*, as a user typed it, if he did.

    Raises:
        BadInput: it is no platform.
    """
    wanted = Platform.parse(platform) if platform else None
    if wanted and not is_for(described, wanted):
        raise NotFound(
            f"{attempt} for {wanted}", f"it is for {describe(described)}", "an image here is for one platform"
        )


def describe(described: dict[str, Any] | None) -> str:
    """The ``platform`` of a descriptor, or an image's config, as a user types it."""
    keys = ("os", "architecture", "variant")
    return "/".join(str(described[key]) for key in keys if described.get(key)) if described else "unknown"


def choose(descriptors: Sequence[dict[str, Any]], platform: Platform | None) -> list[dict[str, Any]]:
    """Those of the *descriptors* of images that are for *platform*, or for this host; each digest once.

    Where only one image is there and no platform was asked for, it is taken, whatever it is for.
    """
    different = {descriptor["digest"]: descriptor for descriptor in reversed(descriptors)}
    if len(different) > 1 or platform is not None:
        wanted = platform or Platform.here()
        different = {
            digest: descriptor for digest, descriptor in different.items() if wanted.suits(descriptor.get("platform"))
        }
    return list(reversed(different.values()))


def _own_variant(architecture: str, variant: str) -> str:
    # arm64 is v8 unless it says more
    return "" if (architecture, variant) == ("arm64", "v8") else variant
