"""The whole of it: what this host and this store are, and freeing what nothing names any more."""

from __future__ import annotations

import os
import platform

from minirun import __version__, journal, jsonrecord
from minirun.cgroup import hierarchy
from minirun.container import record as records
from minirun.container import state, supervision, volumes
from minirun.engine import imagemounts, networkcheck, open_home, warming
from minirun.errors import Unsupported
from minirun.image import removal
from minirun.image.store import Images
from minirun.journal import Operation
from minirun.kernel import files, tree
from minirun.launch import machine
from minirun.layer.blobs import Blobs
from minirun.layer.store import Layers
from minirun.network import retiring

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from minirun.errors import MinirunError
    from minirun.home import Home


# what making containers takes, and a sandbox around minirun may have taken away
NEEDED = (
    "CAP_SYS_ADMIN", "CAP_NET_ADMIN", "CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP", "CAP_MKNOD", "CAP_CHOWN", "CAP_FOWNER",
    "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_SETFCAP", "CAP_KILL", "CAP_SYS_CHROOT", "CAP_SYS_RESOURCE",
)  # fmt: skip


def version() -> dict[str, str]:
    """Versions of minirun and of what it stands on."""
    return {
        "Version": __version__,
        "KernelVersion": platform.release(),
        "Python": platform.python_version(),
        "Os": "linux",
        "Arch": platform.machine(),
        "Launch": "C extension" if machine.compiled() else "ctypes",
    }


def info(warn: Callable[[MinirunError], object] | None = None) -> dict[str, Any]:
    """What is in the store, and what the host offers; the keys are Docker's where it has them.

    Args:
        warn: told of each container's record that cannot be read, which is not counted; without it that is raised.
    """
    import psutil

    from minirun.cgroup import controllers
    from minirun.kernel import privileges

    home = open_home()
    boxes = [state.read(home, box).status for box in records.list_all(home, warn)]
    try:
        mount = hierarchy.mount_point()
        there = hierarchy.controllers(mount)
    except Unsupported:
        mount, there = "", []
    elsewhere = [
        {"Name": one.name, "Where": one.where, "Remedy": one.remedy}
        for one in controllers.list_all()
        if one.name not in there or not one.usable
    ]
    return {
        "Containers": len(boxes),
        "ContainersRunning": boxes.count("running"),
        "ContainersPaused": boxes.count("paused"),
        "ContainersStopped": len(boxes) - boxes.count("running") - boxes.count("paused"),
        "Images": len(Images(home).ids()),
        "Layers": len(Layers(home).ids()),
        "Driver": "overlay",
        "MinirunRootDir": home.root,
        "MinirunRuntimeDir": home.runtime,
        **_networks(home),
        "CgroupVersion": "2",
        "CgroupMount": mount,
        "CgroupControllers": there,
        "CgroupControllersElsewhere": elsewhere,
        "KernelVersion": platform.release(),
        "OperatingSystem": _operating_system(),
        "Architecture": platform.machine(),
        "NCPU": psutil.cpu_count(),
        "MemTotal": psutil.virtual_memory().total,
        "Name": os.uname().nodename,
        "ServerVersion": __version__,
        "Launch": version()["Launch"],
        "CapabilitiesMissing": privileges.missing(NEEDED),
    }


def _networks(home: Home) -> dict[str, Any]:
    """What there is of networks: see `doctor`, which tries it."""
    from minirun.log import options
    from minirun.network import drivers, predefined, store

    def is_on(path: str) -> bool:
        try:
            with open(f"/proc/sys/net/{path}") as file:
                return file.read().strip() == "1"
        except OSError:
            return False

    kinds = sorted({*drivers.NAMES, *predefined.DRIVERS.values()})
    return {
        "Networks": len(store.list_all(home, warn=lambda _error: None)) + len(predefined.unwritten(home)),
        "Plugins": {"Volume": ["local"], "Network": kinds, "Log": sorted(options.DRIVERS)},
        "FirewallBackend": {"Driver": "nftables"},
        "IPv4Forwarding": is_on("ipv4/ip_forward"),
        "IPv6Forwarding": is_on("ipv6/conf/all/forwarding"),
        "BridgeNfIptables": is_on("bridge/bridge-nf-call-iptables"),
        "BridgeNfIp6tables": is_on("bridge/bridge-nf-call-ip6tables"),
    }


def _operating_system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return "unknown"


def gc() -> dict[str, int]:
    """Finish what was left unfinished, and free what no image and no container names.

    Returns:
        How many operations were undone, how many layers and other left-overs removed, how many bytes that freed, and
        whether the bridge of the default network was taken from the host until somebody needs it.
    """
    home = open_home()
    undone = journal.recover(home, insist=True)
    lock = files.lock(home.lock, exclusive=True)
    try:
        images, layers = Images(home), Layers(home)
        boxes, ids = records.list_all(home), set(images.ids())
        imagemounts.check_known(home, ids, "free what nothing needs")
        kept = {name for box in boxes for name in box.stack}
        standing = {layer for box in boxes for layer in box.committed}
        # a container whose image was lost still says on which contents it stands
        lost = {name for box in boxes if box.image not in ids for name in box.stack}
        standing |= {layer.id for layer in layers.list() if layer.diff in lost} if lost else set()
        unneeded = set(layers.unreferenced(images.layers() | standing))
        freed = _unneeded_blobs(images)
        stale = removal.prune(images, kept)
        named = kept | {name for image, _ in images.list() for name in image.stack}
        every = layers.list()
        named.update(layer.diff for layer in every if layer.id not in unneeded)
        doomed = [name for name in os.listdir(home.folder("diffs")) if name not in named]
        freed += sum(tree.usage(home.diff(name))[0] for name in doomed)
        removal.remove_layers(home, unneeded, doomed)
        stale += len(set(doomed) - {layer.diff for layer in every})
        stale += _sweep(home) + imagemounts.settle_all(home) + networkcheck.sweep(home)
        retired = _retire(home)
        # of a resident process that was killed, and of a supervisor that was, as the last thing that it did
        supervision.tidy(home.runtime, warming.GROUP)
        supervision.tidy(home.runtime)
        return {
            "OperationsUndone": undone,
            "LayersRemoved": len(unneeded),
            "OthersRemoved": stale,
            "BytesFreed": freed,
            "BridgesRemoved": retired,
        }
    finally:
        os.close(lock)


def _retire(home: Home) -> int:
    if not retiring.is_up(home):
        return 0
    with Operation(home, frees=True) as operation:
        # it is its own undo: half of it is worth nothing, so whoever recovers does the rest
        operation.will("retire_bridge", home.root, home.runtime)
        return int(retiring.retire(home.root, home.runtime))


def _unneeded_blobs(images: Images) -> int:
    """Bytes of the blobs that no image needs."""
    needed, blobs = images.blobs(), Blobs(images.home)
    return sum(blobs.usage(digest) for digest in blobs.list() if digest not in needed)


def _sweep(home: Home) -> int:
    """Remove what a power cut left without a mark; the caller holds the store's lock, so no container is being made."""
    loose = [
        home.temporary(name)
        for name in os.listdir(home.folder("tmp"))
        if not jsonrecord.is_unfinished(name) and not os.path.exists(home.mark(name))
    ]
    loose += [
        home.container(name)
        for name in os.listdir(home.folder("containers"))
        if not os.path.exists(f"{home.container(name)}/container.json")
    ]
    held = volumes.hold(home)
    try:
        for name in os.listdir(home.folder("volumes")):
            path = home.volume(name)
            unfinished = path if not os.path.exists(f"{path}/volume.json") else f"{path}/_new"
            if os.path.isdir(unfinished):
                loose.append(unfinished)
        for path in loose:
            tree.remove(path)
    finally:
        os.close(held)
    return len(loose) + _sweep_names(home)


def _sweep_names(home: Home) -> int:
    """Take back the names of containers that are not there."""
    stale = 0
    for name in os.listdir(home.folder("names")):
        link = home.name(name)
        try:
            owner = os.path.basename(os.readlink(link))
        except OSError:
            continue  # taken back meanwhile; or no name: `system check` tells of it
        if not os.path.exists(f"{home.container(owner)}/container.json"):
            records.release_name(link, owner)
            stale += 1
    return stale
