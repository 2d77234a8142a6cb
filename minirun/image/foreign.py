"""Configs that come from outside, checked once before anything trusts them.

    image.json, or the config blob of an OCI layout or a docker-save archive
        {"architecture": …, "config": {"Env": […], …}, "rootfs": …, "history": …}     the whole, or
        {"Env": […], "Cmd": […], …}                                                   its inner object alone
    ──▶ every key that is known here has the type that the OCI image-spec gives it, or is null or missing
    ──▶ every string can be passed to execve(2) and written to a file

Keys that are not known here are kept as they are.
"""

from __future__ import annotations

from minirun.errors import BadInput, BadLayer
from minirun.image import platform
from minirun.image.config import Config

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ENTRIES = 10_000  # of one list or object in a config; a hundred are usual


def empty() -> dict[str, Any]:
    """The config of an image that says nothing, for this host's platform."""
    return {"architecture": platform.architecture(), "os": "linux", "config": {}}


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
