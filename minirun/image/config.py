"""What an image says about the processes that will run from it: the OCI image config.

    {"created": "2024-10-12T07:20:46Z", "architecture": "amd64", "os": "linux",
     "config":  {"Env": ["PATH=/usr/bin"], "Cmd": ["bash"], "Entrypoint": null, "WorkingDir": "", "User": "", …},
     "rootfs":  {"type": "layers", "diff_ids": ["sha256:…", …]},          bottom to top
     "history": [{"created": "…", "created_by": "…", "empty_layer": true}, …]}

`read` checks a config that comes from outside, once; `Config` trusts one from the store. Keys that are not known here
are kept. See github.com/opencontainers/image-spec, config.md.
"""

from __future__ import annotations

from minirun.errors import BadInput, BadLayer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

ENTRIES = 10_000  # of one list or object in a config; a hundred are usual

# uname's word and Go's; where they agree there is no entry
_MACHINES = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "armv7l": "arm",
    "armv6l": "arm",
    "i686": "386",
    "i386": "386",
}


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


def empty() -> dict[str, Any]:
    """The config of an image that says nothing, for this host's platform."""
    return {"architecture": architecture(), "os": "linux", "config": {}}


def architecture() -> str:
    """This host's, as Go and so OCI call it."""
    import os

    machine = os.uname().machine
    return _MACHINES.get(machine, machine)


def read(document: object, where: str) -> Config:
    """Check a config that comes from outside.

    Args:
        document: parsed JSON: a whole OCI image config, or only its inner ``config`` object (Env, Cmd, …).
        where: the file it comes from, for the refusal.

    Raises:
        BadLayer: a key has a value of the wrong type; the refusal names it.
    """
    if not isinstance(document, dict):
        raise _wrong(where, "the config", "an object", document)
    if not {"config", "rootfs", "architecture", "os", "history"} & document.keys():
        document = {**empty(), "config": document}
    for key in ("created", "author", "architecture", "os", "variant"):
        _check_text(document.get(key), where, key)
    inner = _object(document, "config", where, "")
    for key in ("WorkingDir", "User", "StopSignal"):
        _check_text(inner.get(key), where, f"config.{key}")
    _check_strings(inner.get("Env"), where, "config.Env")
    if any(entry.startswith("=") or not entry for entry in inner.get("Env") or ()):
        raise BadLayer(f"use {where}", "config.Env has an entry without a name", "write NAME=value")
    for key in ("Cmd", "Entrypoint"):
        if not isinstance(inner.get(key), str):
            _check_strings(inner.get(key), where, f"config.{key}")
        _check_text(inner[key] if isinstance(inner.get(key), str) else None, where, f"config.{key}")
    for name, value in _object(inner, "Labels", where, "config.").items():
        _check_text(value, where, f"config.Labels.{name}", optional=False)
    for key in ("ExposedPorts", "Volumes"):
        for name in _object(inner, key, where, "config."):
            _check_text(name, where, f"config.{key}")
    _object(inner, "Healthcheck", where, "config.")
    _check_rootfs(_object(document, "rootfs", where, ""), where)
    _check_history(document.get("history"), where)
    return Config(document)


def _check_rootfs(rootfs: dict[str, Any], where: str) -> None:
    from minirun.image.reference import is_digest

    _check_strings(rootfs.get("diff_ids"), where, "rootfs.diff_ids")
    for digest in rootfs.get("diff_ids") or ():
        if not is_digest(digest):
            raise _wrong(where, "rootfs.diff_ids", "a list of sha256:<64 hexadecimal digits>", digest)


def _check_history(history: object, where: str) -> None:
    if history is None:
        return
    if not isinstance(history, list) or len(history) > ENTRIES:
        raise _wrong(where, "history", f"a list of at most {ENTRIES} objects", history)
    for entry in history:
        if not isinstance(entry, dict):
            raise _wrong(where, "history", "a list of objects", entry)
        for key in ("created", "created_by", "author", "comment"):
            _check_text(entry.get(key), where, f"history.{key}")
        if not isinstance(entry.get("empty_layer", False), bool):
            raise _wrong(where, "history.empty_layer", "true or false", entry["empty_layer"])


def _object(parent: dict[str, Any], key: str, where: str, prefix: str) -> dict[str, Any]:
    value = parent.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict) or len(value) > ENTRIES:
        raise _wrong(where, prefix + key, f"an object with at most {ENTRIES} keys", value)
    return value


def _check_strings(value: object, where: str, key: str) -> None:
    if value is None:
        return
    if not isinstance(value, list) or len(value) > ENTRIES:
        raise _wrong(where, key, f"a list of at most {ENTRIES} strings", value)
    for entry in value:
        _check_text(entry, where, key, optional=False)


def _check_text(value: object, where: str, key: str, *, optional: bool = True) -> None:
    if value is None and optional:
        return
    if not isinstance(value, str):
        raise _wrong(where, key, "a string", value)
    # neither can be passed to execve(2) or written to a file
    if "\0" in value or not _is_unicode(value):
        raise BadLayer(f"use {where}", f"{key} has a NUL or half a surrogate pair in it", "mend that key")


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _wrong(where: str, key: str, wanted: str, value: object) -> BadInput:
    names = {dict: "an object", list: "a list", str: "a string", bool: "true or false", type(None): "null"}
    found = names.get(type(value), "a number")
    if isinstance(value, str) and len(value) <= 80:
        found = repr(value)
    elif wanted.startswith(found + " "):
        found += " with more, or with something else, in it"
    return BadLayer(
        f"use {where}",
        f"{key} must be {wanted} and is {found}",
        "it is read as an OCI image config: https://github.com/opencontainers/image-spec/blob/main/config.md",
    )
