"""What an image says about the processes that will run from it: the OCI image config.

    {"created": "2024-10-12T07:20:46Z", "architecture": "amd64", "os": "linux",
     "config":  {"Env": ["PATH=/usr/bin"], "Cmd": ["bash"], "Entrypoint": null, "WorkingDir": "", "User": "", …},
     "rootfs":  {"type": "layers", "diff_ids": ["sha256:…", …]},          bottom to top
     "history": [{"created": "…", "created_by": "…", "empty_layer": true}, …]}

`Config` trusts what it is made of: image/foreign.py checks a config that comes from outside, once. Keys that are not
known here are kept. See github.com/opencontainers/image-spec, config.md.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


class Config:
    """An image's config; the attributes are those of its inner ``config`` object, empty where it has none.

    Attributes:
        raw: the whole config as it came, unknown keys and all. Never changed in place.
        env: ``NAME=value``, in order.
        cmd: the default command or its arguments; None where the image has none.
        entrypoint: what is always run, or None.
        working_dir: as written; empty means ``/``.
        user: ``user[:group]`` as written; empty means root.
        labels: name to value.
        stop_signal: as written, ``SIGTERM`` or ``15``; empty means SIGTERM.
        exposed_ports: ``80/tcp`` and the like.
        volumes: paths.
        healthcheck: kept as it is.
    """

    __slots__ = (
        "cmd", "entrypoint", "env", "exposed_ports", "healthcheck", "labels", "raw", "stop_signal", "user", "volumes",
        "working_dir",
    )  # fmt: skip

    def __init__(self, raw: dict[str, Any]) -> None:
        inner = raw.get("config") or {}
        self.raw = raw
        self.env: list[str] = inner.get("Env") or []
        self.cmd: list[str] | None = _words(inner.get("Cmd"))
        self.entrypoint: list[str] | None = _words(inner.get("Entrypoint"))
        self.working_dir: str = inner.get("WorkingDir") or ""
        self.user: str = inner.get("User") or ""
        self.labels: dict[str, str] = inner.get("Labels") or {}
        self.stop_signal: str = inner.get("StopSignal") or ""
        self.exposed_ports: list[str] = list(inner.get("ExposedPorts") or ())
        self.volumes: list[str] = list(inner.get("Volumes") or ())
        self.healthcheck: dict[str, Any] | None = inner.get("Healthcheck")

    @property
    def created(self) -> str:
        """When the image was made, RFC 3339; empty where it does not say."""
        return self.raw.get("created") or ""

    @property
    def diff_ids(self) -> list[str]:
        """Digests of the uncompressed layers, bottom to top; empty while one of them is not known yet."""
        return (self.raw.get("rootfs") or {}).get("diff_ids") or []

    def with_changes(self, changes: Sequence[str]) -> Config:
        """The config after Dockerfile instructions, as ``commit -c`` and ``import -c`` take them.

        Raises:
            BadInput: one is unknown or cannot be understood.
        """
        if not changes:
            return self
        from minirun.image import changes as instructions

        return Config(instructions.apply(self.raw, changes))


def _words(value: list[str] | str | None) -> list[str] | None:
    # Docker reads a string as a list of one, so there are images that say "Cmd": "sh"
    return [value] if isinstance(value, str) else value
