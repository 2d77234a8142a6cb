"""A container's user namespace, as the flag of `run` and `create` says it, and its record keeps it.

    --userns host                     none: ids are the host's, as without the flag
    --userns auto[:size=N]            a range of its own, of 65536 ids: see ranges.py; given back when it is removed
    --userns 0:100000:65536[,…]       INSIDE:HOST:COUNT, as uid_map has it, for users and groups alike
    --userns container:NAME           that of another container

    options["userns"]      {"mode": "auto", "size": 65536, "uid": [[0, 1879048192, 65536]], "gid": [[…]]}

What of it the kernel does is in launch/userns.py.
"""

from __future__ import annotations

from itertools import pairwise
from time import perf_counter

from minirun import caller
from minirun.container import ranges
from minirun.container.ranges import Range
from minirun.errors import BadInput, Conflict, MinirunError, Unsupported
from minirun.journal import Step
from minirun.kernel.names import CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWUTS, Named
from minirun.launch.userns import UserNamespace, host_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from minirun.container.record import Record
    from minirun.home import Home

JOINED = "container:"
_KINDS = (("ipc", CLONE_NEWIPC), ("uts", CLONE_NEWUTS))
_IDS = 1 << 32
_EXTENTS = 340  # what one write to uid_map takes: see user_namespaces(7)
_KNOWN = "host, auto, auto:size=N, container:NAME, or INSIDE:HOST:COUNT as uid_map has it: 0:100000:65536"
# modes of podman's → why not
_NOT_BUILT = {
    "keep-id": "it is for who is not root: root's own id in there would be root's on the host",
    "nomap": "it is for who is not root: root has no id to leave out",
    "private": "it says nothing of which ids; auto takes some of its own",
}


def read(mode: str) -> dict[str, Any]:
    """Turn the flag into the option ``userns`` of the record; nothing for the host's.

    Raises:
        BadInput: it has no meaning.
        Unsupported: it has one that is not built.
    """
    if mode == "host":
        return {}
    name, _, rest = mode.partition(":")
    attempt = f"use --userns {mode}"
    if name == "auto":
        return {"userns": {"mode": mode, "size": _size(attempt, rest) if rest else ranges.SIZE}}
    if name == "container" and rest:
        return {"userns": {"mode": mode}}
    if name in _NOT_BUILT:
        raise Unsupported(attempt, _NOT_BUILT[name], "`--userns auto` gives it ids that nobody else has")
    if name == "ns":
        raise Unsupported(
            attempt, "a namespace by its path is not built in this version", "--userns container:NAME joins another's"
        )
    extents = _extents(attempt, mode)
    return {"userns": {"mode": mode, "uid": extents, "gid": extents}}


def _size(attempt: str, text: str) -> int:
    key, _, value = text.partition("=")
    if key in ("uidmapping", "gidmapping"):
        raise Unsupported(attempt, f"{key} is not built in this version", "give the whole map: --userns 0:100000:65536")
    if key != "size" or not value.isascii() or not value.isdigit() or not 0 < int(value) < _IDS:
        raise BadInput(attempt, "auto takes size=N, a number of ids", "--userns auto:size=65536")
    return int(value)


def _extents(attempt: str, text: str) -> list[list[int]]:
    extents = []
    for part in text.split(","):
        words = part.split(":")
        if len(words) != 3 or not all(word.isascii() and word.isdigit() and len(word) <= 10 for word in words):
            raise BadInput(attempt, f"{part!r} is no map", f"it is one of {_KNOWN}")
        inside, host, count = map(int, words)
        if not count or max(inside, host) + count >= _IDS:
            raise BadInput(attempt, f"{part!r} has no ids, or some beyond 4294967294")
        extents.append([inside, host, count])
    if len(extents) > _EXTENTS:
        raise BadInput(attempt, f"it has {len(extents)} parts, and the kernel takes {_EXTENTS}")
    for place in (0, 1):
        ordered = sorted((extent[place], extent[2]) for extent in extents)
        for (first, count), (after, _) in pairwise(ordered):
            if first + count > after:
                raise BadInput(attempt, f"id {after} {('of the container', 'of the host')[place]} is in two parts")
    if host_id(extents, 0) < 0:
        raise BadInput(attempt, "it has no id 0", "a container has a root, who owns what is made for it")
    return extents


def check(home: Home, options: dict[str, Any]) -> None:
    """See that what was asked for is to be had, and goes with the rest; take the map of a container that is joined.

    Raises:
        NotFound: there is none of that name.
        BadInput, Conflict: it cannot be.
    """
    asked = options["userns"]
    attempt = f"use --userns {asked['mode']}"
    if caller.ROOTLESS:
        raise Unsupported(
            attempt, "all ids that an ordinary user has are in one user namespace already, and none is left over",
            "leave it out: root in the container is you on the host, and nobody else",
        )  # fmt: skip
    if options.get("security", {}).get("writable_cgroups"):
        raise Unsupported(
            attempt, "its part of the cgroup tree is the host root's, whose files it cannot write",
            "leave `--security-opt writable-cgroups` out",
        )  # fmt: skip
    if options["volumes"]:
        _check_mounts(options)
    if asked["mode"].startswith(JOINED):
        from minirun.container import record as records

        other = records.find(home, asked["mode"].removeprefix(JOINED))
        theirs = other.options.get("userns")
        if theirs is None:
            raise BadInput(attempt, f"container {other.name} has none of its own", "leave --userns out")
        options["userns"] = {
            "mode": f"{JOINED}{theirs.get('joined', other.id)}", "joined": theirs.get("joined", other.id),
            "uid": theirs["uid"], "gid": theirs["gid"], "shared": "size" in theirs or theirs.get("shared", False),
        }  # fmt: skip


def _check_mounts(options: Mapping[str, Any]) -> None:
    from minirun.container import mounts

    for mount in mounts.of(options):
        if mount.type == "volume" and mount.overlay:
            raise Unsupported(
                f"attach volume {mount.name} at {mount.target} with --userns {options['userns']['mode']}",
                "writes upon a volume (O) would be of another's ids than what lies in it",
                "attach the volume itself, or :ro",
            )  # fmt: skip


def steps(home: Home, box: Record) -> list[Step]:
    """List what gives a container that is made its range, with the undo."""
    asked = box.options["userns"]
    if asked.get("shared"):
        link = f"{home.folder('ranges')}/{_range(asked)}.{box.id}"
        return [
            Step(
                f"symlink {link}", lambda: _share(home, box), ("release_range", home.root, box.id),
                "nobody else gets these ids, should the other go first",
            )
        ]  # fmt: skip
    if "size" not in asked:
        return []
    return [
        Step(
            f"symlink {home.folder('ranges')}/UID-GID-{asked['size']}", lambda: _take(home, box),
            ("release_range", home.root, box.id), "ids of the host that no other container has",
        )
    ]  # fmt: skip


def undos(home: Home, box: Record) -> list[list[str]]:
    """What whoever removes a container must do."""
    asked = box.options["userns"]
    return [["release_range", home.root, box.id]] if "size" in asked or asked.get("shared") else []


def _range(asked: Mapping[str, Any]) -> Range:
    """What --userns auto has given: one part, as long for groups as for users."""
    _, uid, size = asked["uid"][0]
    return Range(uid, asked["gid"][0][1], size)


def _share(home: Home, box: Record) -> None:
    ranges.share(home, box.id, _range(box.options["userns"]))


def _take(home: Home, box: Record) -> None:
    asked = box.options["userns"]
    own = ranges.take(home, box.id, asked["size"], ranges.pool())
    asked["uid"], asked["gid"] = [[0, own.uid, own.size]], [[0, own.gid, own.size]]


def _maps(options: Mapping[str, Any]) -> tuple[Sequence[Sequence[int]], Sequence[Sequence[int]]]:
    asked = options["userns"]
    if "uid" in asked:
        return asked["uid"], asked["gid"]
    pool = ranges.pool()  # of a plan that is shown: which it would be is told by who takes it
    return [[0, pool.uid, asked["size"]]], [[0, pool.gid, asked["size"]]]


def describe(home: Home, options: Mapping[str, Any]) -> UserNamespace:
    """The user namespace of a container's next start, which is not there yet."""
    users, groups = _maps(options)
    kinds = Named("0", 0)
    for kind, flag in _KINDS:
        mode = options.get(kind, "private")
        if mode != "host" and not mode.startswith(JOINED):
            kinds = kinds | flag if kinds else flag
    if options["network"] != "host" and not options["network"].startswith(JOINED):
        kinds = kinds | CLONE_NEWNET if kinds else CLONE_NEWNET
    return UserNamespace(home.root, users, groups, kinds)


def shown(home: Home, options: Mapping[str, Any]) -> Step:
    """What `make` does, for who reads a plan."""
    own = describe(home, options)
    kinds = f"CLONE_NEWUSER|{own.kinds!r}" if own.kinds else "CLONE_NEWUSER"
    parts = ", ".join(":".join(map(str, extent)) for extent in own.users)
    text = f"clone3({kinds}) → holder; {parts} to its uid_map, and to gid_map the groups"
    return Step(text, lambda: None, (), "its user namespace, and what belongs to that")


def make(home: Home, box: Record, trace: list[tuple[str, float]] | None = None) -> UserNamespace:
    """Make it, for the first process of a container to enter; *trace* takes what that took, in microseconds.

    Raises:
        MinirunError: the kernel refuses, or the container whose it is to be does not run.
    """
    begun = perf_counter()
    made = describe(home, box.options)
    joined = box.options["userns"].get("joined")
    first = None
    try:
        if joined:
            from minirun.container import sharing

            first = sharing.first_process(home, joined, "join the user namespace")
        try:
            made.make(first.pidfd if first else None)
        except OSError as error:
            made.close()
            raise MinirunError(
                f"make a user namespace for container {box.name}", error,
                "user.max_user_namespaces and user.max_net_namespaces say how many there may be: `sysctl user`",
            ) from None  # fmt: skip
    finally:
        if first:
            first.close()
    if trace is not None:
        trace.append((shown(home, box.options).text, (perf_counter() - begun) * 1e6))
    return made


def host_user(options: Mapping[str, Any], uid: int) -> int:
    """What a uid of a container is on the host.

    Raises:
        Conflict: it is none of the container's.
    """
    return _host(options, 0, uid, f"be user {uid} in the container")


def check_user(options: Mapping[str, Any], uid: int, groups: Sequence[int]) -> None:
    """Raise Conflict unless a user and all of his groups are ids of the container."""
    host_user(options, uid)
    for gid in groups:
        _host(options, 1, gid, f"be in group {gid} in the container")


def _host(options: Mapping[str, Any], which: int, inside: int, attempt: str) -> int:
    extents = _maps(options)[which]
    found = host_id(extents, inside)
    if found < 0:
        count = sum(extent[2] for extent in extents)
        raise Conflict(
            attempt, f"it is none of the {count} ids that --userns {options['userns']['mode']} gives it",
            f"make it anew with more: `--userns auto:size={max(inside + 1, count)}`",
        )  # fmt: skip
    return found


def owners(options: Mapping[str, Any], given: Sequence[tuple[str, str | None]]) -> list[tuple[str, str | None]]:
    """Options of tmpfs(5), with a uid and a gid of the container's as the host sees them.

    Raises:
        Conflict: one is none of the container's.
    """
    kinds = {"uid": 0, "gid": 1}
    return [
        (name, str(_host(options, kinds[name], int(value), f"mount memory with {name}={value}")))
        if name in kinds and value is not None and value.isascii() and value.isdigit()
        else (name, value)
        for name, value in given
    ]


def terminals(options: Mapping[str, Any], tty: int) -> int:
    """What the group of terminals is on the host: root's, where a container has no such group."""
    groups = _maps(options)[1]
    return host_id(groups, tty) if host_id(groups, tty) >= 0 else host_id(groups, 0)
