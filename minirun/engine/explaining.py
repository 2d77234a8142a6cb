"""`explain`: what keeps a container apart from the host, each part with its state, its purpose, and what changes it.

    record ─▶ namespaces ─ capabilities ─ system calls ─ paths ─ mounts ─ devices ─ limits ─ the rest

It tells what a start would do, or has done, with these options: what `--dry-run` shows as calls, by meaning.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from minirun import caller
from minirun.container import mounts, start
from minirun.container.record import Record
from minirun.engine import creating, open_home
from minirun.engine.creating import Order
from minirun.errors import BadInput, NotFound
from minirun.home import Home
from minirun.image.preview import preview
from minirun.rootfs.special import DEVICES
from minirun.security import capabilities, masks, meanings, seccomp

OWN, SHARED, DENIED, ALLOWED = "own", "shared", "denied", "allowed"
WITHOUT = "without --privileged"


@dataclass(frozen=True, slots=True)
class Part:
    """One thing that keeps a container apart, or does not.

    Attributes:
        kind: of what it is one: ``namespace``, ``capability``, …
        name: which.
        state: ``own``, ``shared``, ``denied``, ``allowed``, or a value.
        meaning: what it is, or keeps out.
        change: the flag of `run` that makes it otherwise; empty where there is none.
    """

    kind: str
    name: str
    state: str
    meaning: str
    change: str = ""


def explain(name: str, order: Order | None) -> list[Part]:
    """Explain a container, or what `run` would make of an image with these flags.

    Args:
        name: of a container, or else of an image.
        order: what was asked for of an image; its flags are none for a container.

    Raises:
        NotFound: there is neither.
        BadInput: flags were given, and it is a container.
    """
    from minirun.container import record as records

    home = open_home()
    try:
        box = records.find(home, name)
    except NotFound:
        box = None
    if box is not None and order is not None and (order.flags or order.command):
        raise BadInput(
            f"explain {name} with flags",
            "it is a container, which has been made",
            f"`minirun explain {name}` tells of it",
        )
    if box is None:
        assert order is not None
        image, _ = preview(home, order.image)
        box = creating.describe(image, order, creating.read(home, order.flags))
    return list(parts(home, box))


def parts(home: Home, box: Record) -> Iterator[Part]:
    """Everything that keeps *box* apart."""
    options = box.options
    keep = capabilities.kept(options)
    yield from _namespaces(options)
    yield from _capabilities(options, keep)
    yield from _calls(home, options, keep)
    yield from _paths(options)
    yield from _mounts(box)
    yield from _devices(options)
    yield from _limits(box)
    yield from _rest(options)


def _namespaces(options: Mapping[str, Any]) -> Iterator[Part]:
    modes = {
        "net": options["network"], "cgroup": options["cgroupns"], "time": "host",
        **{kind: options.get(kind, "private") for kind in ("pid", "ipc", "uts")},
    }  # fmt: skip
    for kind, (meaning, flag) in meanings.NAMESPACES.items():
        if kind == "user":
            yield _user_namespace(options, meaning, flag)
            continue
        mode = modes.get(kind, "private")
        shared = mode == "host" or mode.startswith("container:")
        change = flag if not shared else f"without --{flag.split()[0].removeprefix('--')} {mode}" if flag else ""
        whose = SHARED if mode == "host" else f"{SHARED}: {mode[:22]}" if shared else OWN
        yield Part("namespace", kind, whose, meaning, change)


def _user_namespace(options: Mapping[str, Any], meaning: str, flag: str) -> Part:
    asked = options.get("userns")
    if caller.ROOTLESS:
        return Part("namespace", "user", "yours", f"{meaning}: 0 in it is you, {caller.UID}, on the host", "")
    if asked is None:
        return Part("namespace", "user", SHARED, meaning, flag)
    if asked["mode"].startswith("container:"):
        return Part(
            "namespace", "user", f"{SHARED}: {asked['mode'][:22]}", meaning, f"without --userns {asked['mode']}"
        )
    root = f"0 in it is {asked['uid'][0][1]} of the host" if "uid" in asked else "ids that nobody else has"
    return Part("namespace", "user", OWN, f"{meaning}: {root}", f"without --userns {asked['mode']}")


def _capabilities(options: Mapping[str, Any], keep: int) -> Iterator[Part]:
    is_root = options["user"].partition(":")[0] in ("", "0", "root")
    for number, name in enumerate(capabilities.NAMES):
        has = keep >> number & 1
        state = (ALLOWED if is_root else f"{ALLOWED} to root alone") if has else DENIED
        meaning = meanings.CAPABILITIES[name]
        if has and "userns" in options:
            meaning += ", where it is its own namespace's"
        yield Part("capability", name, state, meaning, f"--cap-{'drop' if has else 'add'} {name}")


def _calls(home: Home, options: Mapping[str, Any], keep: int) -> Iterator[Part]:
    if seccomp.find(home, options, keep) is None:
        change = WITHOUT if "privileged" in options else "without --security-opt seccomp=unconfined"
        yield Part("system calls", "all", ALLOWED, "no filter looks at them", change)
        return
    wanted = options.get("security", {}).get("seccomp")
    if wanted:
        yield Part("system calls", "filtered", wanted["name"], "a profile of yours decides", "--security-opt seccomp=…")
        return
    with open(seccomp.BUILTIN, encoding="utf-8") as file:
        groups = json.load(file)["syscalls"]
    for group in groups:
        if group["action"] != "SCMP_ACT_ALLOW":
            lifting = group.get("excludes", {}).get("caps", [])
            lifted = any(keep >> capabilities.NAMES.index(one.removeprefix("CAP_")) & 1 for one in lifting)
            names = ", ".join(group["names"][:4]) + (", …" if len(group["names"]) > 4 else "")
            change = f"--cap-add {lifting[-1].removeprefix('CAP_')}" if lifting else "--security-opt seccomp=FILE"
            partly = "in part " if group.get("args") or group["names"] == ["personality"] else ""
            yield Part("system calls", names, ALLOWED if lifted else f"{partly}{DENIED}", group["comment"], change)


def _paths(options: Mapping[str, Any]) -> Iterator[Part]:
    if options.get("privileged"):
        meaning = "sees and changes there" if "userns" not in options else "sees there; it changes what anybody may"
        yield Part("path", "/proc, /sys", ALLOWED, f"all that root of the host {meaning}", WITHOUT)
        return
    masked = masks.of(options)
    for path in masked.hidden:
        meaning = meanings.PATHS.get(path, "asked for")
        yield Part("path", path, "hidden", meaning, f"--security-opt unmask={path}" if path in meanings.PATHS else "")
    for path in masked.read_only:
        yield Part("path", path, "read-only", meanings.PATHS[path], f"--security-opt unmask={path}")
    yield Part("path", "/sys", "read-only", "devices and settings of the host")
    if masked.writable_cgroup:
        yield Part("path", masks.CGROUP, "writable", "its part of the cgroup tree, and so its limits")
        return
    meaning = "its limits: it cannot change them (CVE-2022-0492)"
    yield Part("path", masks.CGROUP, "read-only", meaning, "--security-opt writable-cgroups")


def _mounts(box: Record) -> Iterator[Part]:
    options = box.options
    state = "read-only" if options["read_only"] else f"{OWN}, writable"
    layers = f"{len(box.stack)} layers that nobody writes to, below one of its own"
    yield Part("mount", "/", state, layers, "without --read-only" if options["read_only"] else "--read-only")
    for mount in mounts.of(options):
        source = mount.source or f"volume {mount.name}"
        meaning = f"{source} of the host" if mount.source else source
        yield Part(
            "mount", mount.target, "read-only" if mount.read_only else "writable", meaning, f"-v …:{mount.target}:ro"
        )
    for target, *_ in options["tmpfs"]:
        yield Part("mount", target, f"{OWN}, writable", "memory, gone at its end")


def _devices(options: Mapping[str, Any]) -> Iterator[Part]:
    if options.get("privileged"):
        nodes = "and nodes that it makes" if "userns" not in options else "as far as anybody may open them"
        yield Part("device", "every", ALLOWED, f"those of the host, {nodes}", WITHOUT)
        return
    names = ", ".join(name for name, *_ in DEVICES)
    yield Part("device", f"/dev: {names}", ALLOWED, "what programs expect")
    for source, target, access in options.get("devices", ()):
        yield Part("device", target, f"{ALLOWED}: {access}", f"{source} of the host", f"without --device {source}")
    for rule in options.get("device_rules", ()):
        yield Part("device", rule, ALLOWED, "nodes of these numbers that it makes", "without --device-cgroup-rule")
    if "userns" in options:
        yield Part("device", "made by itself", DENIED, "in a user namespace nobody makes any")
    elif not options.get("device_rules"):
        yield Part("device", "made by itself", DENIED, "every mount is nodev", "--device-cgroup-rule 'c 10:229 rw'")


def _limits(box: Record) -> Iterator[Part]:
    limits = dict(box.options["limits"])
    if most := start.process_limit(box):
        limits["pids-limit"] = most
    for flag, meaning in (
        ("memory", "without it, all memory of the host"),
        ("pids-limit", "without it, all processes that the host can have"),
        ("cpus", "without it, all processors"),
    ):
        yield Part("limit", flag, str(limits.get(flag, "none")), meaning, f"--{flag}")
    for name in sorted(limits.keys() - {"memory", "pids-limit", "cpus"}):
        yield Part("limit", name, str(limits[name]), "", f"--{name}")


def _rest(options: Mapping[str, Any]) -> Iterator[Part]:
    user = options["user"] or "root"
    if caller.ROOTLESS:
        yield Part(
            "user", user, "you, or of your ids", "on the host it owns what you own, or containers have made", "-u USER"
        )
    elif "userns" in options:
        yield Part(
            "user", user, "another on the host", "there it owns nothing but what the container has made", "-u USER"
        )
    else:
        yield Part("user", user, "as on the host", "its files on volumes belong to that number there", "-u USER")
    forbids = seccomp.forbids_new_privileges(options)
    yield Part(
        "process", "new privileges", DENIED if forbids else ALLOWED,
        "setuid programs give what their owner has, within the bounds above",
        "--security-opt no-new-privileges",
    )  # fmt: skip
    yield Part("process", "descriptors of the host", DENIED, "all above 2 are closed (CVE-2024-21626)")
    yield Part("process", "keys of the host", DENIED, "it has a session keyring of its own")
    yield Part("process", "minirun's programs", "read-only", "it cannot write to what executed it (CVE-2019-5736)")
