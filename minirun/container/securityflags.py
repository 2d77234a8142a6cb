"""--security-opt of `run` and `create`: what defends the host from a container, and what of that it is let off.

    seccomp=FILE|unconfined|builtin        ─▶ seccomp: name, digest, profile; without a digest: no filter
    no-new-privileges[=true|false]         ─▶ no_new_privileges
    mask=PATH:…     unmask=PATTERN:…|ALL   ─▶ mask, unmask: see security/masks.py
    systempaths=unconfined                 ─▶ system_paths
    writable-cgroups[=true|false]          ─▶ writable_cgroups
    apparmor=PROFILE|unconfined            ─▶ apparmor
    label=disable                          as it is: other labels, SELinux's, are refused

A profile is read here, once, and is in the record from then on, whatever becomes of its file.
"""

from __future__ import annotations

import os

from minirun.errors import BadInput, Unsupported
from minirun.security import capabilities, masks, seccomp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from minirun.home import Home

_SWITCHES = {"": True, "true": True, "1": True, "false": False, "0": False}
KNOWN = (
    "seccomp=FILE, seccomp=unconfined, no-new-privileges, mask=PATH, unmask=PATH, unmask=ALL, systempaths=unconfined, "
    "writable-cgroups, apparmor=PROFILE"
)


def read(given: Sequence[str]) -> dict[str, Any]:
    """Turn the values of --security-opt into the option ``security`` of the record.

    Returns:
        given: the values, and what they come to, as above; what was not asked for is not there.

    Raises:
        BadInput: one has no meaning, or its profile cannot be read.
    """
    found: dict[str, Any] = {"given": list(given)}
    for text in given:
        # as Docker reads them, in its old way, too: seccomp:unconfined
        name, _, value = text.partition("=" if "=" in text else ":")
        if name in ("no-new-privileges", "writable-cgroups"):
            if value not in _SWITCHES:
                raise BadInput(f"use --security-opt {text}", "it is on or off", f"--security-opt {name}")
            found[name.replace("-", "_")] = _SWITCHES[value]
        elif name == "seccomp" and value:
            found.pop("seccomp", None)
            if value != "builtin":
                found["seccomp"] = _profile(value)
        elif name == "apparmor" and value:
            found["apparmor"] = "" if value == "unconfined" else value
        elif name == "label" and value:
            _check_label(text, value)
        elif name in ("mask", "unmask") and value:
            found.setdefault(name, []).extend(_paths(text, value))
        elif name == "systempaths" and value == "unconfined":
            found["system_paths"] = value
        else:
            raise BadInput(f"use --security-opt {text!r}", "it is none that is known", f"there are {KNOWN}")
    if profile := found.get("apparmor"):
        from minirun.security import apparmor

        apparmor.check(profile)
    return {"security": found}


def _check_label(text: str, value: str) -> None:
    if value == "disable":
        return
    kind, separator, word = value.partition(":")
    if kind not in ("user", "role", "type", "level", "filetype") or not separator or not word:
        raise BadInput(
            f"use --security-opt {text}", "it is no part of a label: user:, role:, type:, level:, filetype:, disable",
            "--security-opt label=disable",
        )  # fmt: skip
    has = os.path.exists("/sys/fs/selinux/enforce")
    raise Unsupported(
        f"use --security-opt {text}", "SELinux labels are not built" if has else "SELinux is not enabled on this host",
        "leave it out, or `--security-opt label=disable`",
    )  # fmt: skip


def _paths(text: str, value: str) -> list[str]:
    """The paths, or for unmask the patterns, of one value; ALL stays as it is."""
    found = []
    for path in value.split(":"):
        everything = path == masks.ALL and text.startswith("unmask")
        if not everything and (not path.startswith("/") or os.path.normpath(path) in ("/", "//") or "\0" in path):
            raise BadInput(
                f"use --security-opt {text}", f"{path!r} is no absolute path below /",
                "--security-opt mask=/proc/cpuinfo:/data/secret, --security-opt unmask=/proc/acpi",
            )  # fmt: skip
        found.append(path if everything else os.path.normpath(path))
    return found


def _profile(name: str) -> dict[str, str]:
    if name == "unconfined":
        return {"name": name, "digest": ""}
    from hashlib import sha256

    from minirun.kernel import jsonfile
    from minirun.security import seccompprofile

    attempt = f"use the seccomp profile {name}"
    try:
        with open(name, "rb") as file:
            data = file.read(seccompprofile.MOST_BYTES + 1)
    except OSError as error:
        raise BadInput(attempt, error, "name a file; `unconfined` and `builtin` are no files") from None
    if len(data) > seccompprofile.MOST_BYTES:
        raise BadInput(attempt, f"it is longer than {seccompprofile.MOST_BYTES} bytes")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise BadInput(attempt, f"it is not JSON in UTF-8: {error.reason} at byte {error.start}") from None
    text = jsonfile.dumps(seccompprofile.parse(text, name))
    return {"name": name, "digest": sha256(text.encode()).hexdigest(), "profile": text}


def check(home: Home, options: Mapping[str, Any]) -> None:
    """Compile what was asked for, so that a profile without a meaning is refused before anything is made.

    Raises:
        BadInput, Unsupported: of `seccompcompile.make`.
    """
    seccomp.find(home, options, capabilities.kept(options))


def described(options: Mapping[str, Any]) -> list[str] | None:
    """What was given, as Docker's inspect shows it: with the profile in place of its file; None for nothing."""
    if "security" not in options:
        return None
    security = options["security"]
    profile = security.get("seccomp", {}).get("profile")
    shown = []
    for text in security["given"]:
        name, _, value = text.partition("=" if "=" in text else ":")
        shown.append(f"seccomp={profile}" if profile and name == "seccomp" and value != "builtin" else text)
    return shown
