"""`info`, `version` and `gc`: the host, the program, and the store as a whole."""

from __future__ import annotations

from typing import Any

import click

from minirun.cli import quantity, screen, table
from minirun.cli.command import Command

_FORMAT = click.option("-f", "--format", "form", metavar="FORMAT", default="", help="json, or a Go template.")

# key → what it is called in text, and how it is shown
_INFO = {
    "Containers": "Containers",
    "ContainersRunning": " Running",
    "ContainersPaused": " Paused",
    "ContainersStopped": " Stopped",
    "Images": "Images",
    "Layers": "Layers",
    "ServerVersion": "Version",
    "Driver": "Storage Driver",
    "MinirunRootDir": "Minirun Root Dir",
    "MinirunRuntimeDir": "Minirun Runtime Dir",
    "Networks": "Networks",
    "Plugins": "Plugins",
    "FirewallBackend": "Firewall Backend",
    "IPv4Forwarding": "IPv4 Forwarding",
    "IPv6Forwarding": "IPv6 Forwarding",
    "BridgeNfIptables": "Bridge Nf Iptables",
    "BridgeNfIp6tables": "Bridge Nf Ip6tables",
    "CgroupVersion": "Cgroup Version",
    "CgroupMount": "Cgroup Mount",
    "CgroupControllers": "Cgroup Controllers",
    "CgroupControllersElsewhere": "Cgroup Controllers Elsewhere",
    "Launch": "Launch",
    "KernelVersion": "Kernel Version",
    "OperatingSystem": "Operating System",
    "Architecture": "Architecture",
    "NCPU": "CPUs",
    "MemTotal": "Total Memory",
    "CapabilitiesMissing": "Capabilities Missing",
    "Name": "Name",
}
_VERSION = {
    "Version": "Version",
    "KernelVersion": "Kernel version",
    "Python": "Python version",
    "Launch": "Launch",
    "Os": "OS",
    "Arch": "Arch",
}


@click.command(
    "info",
    cls=Command,
    examples="""
minirun info
minirun info -f '{{.Containers}} containers, {{.Images}} images'
""",
)
@_FORMAT
def info(*, form: str) -> None:
    """Show what is stored, and what this host offers."""
    from minirun.engine import system

    told = system.info(screen.refuse)
    if form:
        table.show_objects([told], form)
        return
    screen.write(
        "".join(f"{title}: {_words(key, told[key])}\n".replace(": \n", ":\n", 1) for key, title in _INFO.items())
    )


def _words(key: str, value: Any) -> str:
    if key == "CgroupControllersElsewhere":
        return "".join(f"\n {one['Name']}: {one['Where']}; {one['Remedy']}" for one in value) or "none"
    if key == "Plugins":
        return "".join(f"\n {kind}: {' '.join(names)}" for kind, names in value.items())
    if key == "FirewallBackend":
        return str(value["Driver"])
    if isinstance(value, bool):
        return str(value).lower()
    if key == "MemTotal":
        return f"{value / 2**30:.4g}GiB"
    return (" ".join(value) if isinstance(value, list) else str(value)) or "none"


@click.command(
    "version",
    cls=Command,
    examples="""
minirun version
minirun version -f '{{.Version}}'
""",
)
@_FORMAT
def version(*, form: str) -> None:
    """Show the versions of minirun and of what it stands on."""
    from minirun.engine import system

    told = system.version()
    if form:
        # one program is both of what Docker has; scripts ask for {{.Server.Version}}
        both = {"Client": told, "Server": told}
        table.show_objects([both if form == "json" else {**told, **both}], form)
        return
    lines = [f" {title + ':':<17}{told[key]}\n" for key, title in _VERSION.items()]
    screen.write("".join(["minirun\n", *lines]))


@click.command("gc", cls=Command, examples="minirun gc")
def gc() -> None:
    """Finish what was cut short by a crash, and free layers that no image and no container uses."""
    from minirun.engine import system

    freed = system.gc()
    screen.write(
        f"Operations undone: {freed['OperationsUndone']}\n"
        f"Layers removed: {freed['LayersRemoved']}\n"
        f"Other remains removed: {freed['OthersRemoved']}\n"
        f"Total reclaimed space: {quantity.size(freed['BytesFreed'])}\n"
    )
    if freed["BridgesRemoved"]:
        screen.write("The default network's bridge was removed: the next container on it makes it again\n")
