"""`network connect` and `network disconnect`."""

from __future__ import annotations

import click

from minirun.cli import complete
from minirun.cli.command import Command
from minirun.cli.network import not_built

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_NETWORK = click.argument("network", metavar="NETWORK", shell_complete=complete.networks)


@click.command(
    "network-connect",
    cls=Command,
    examples="""
minirun network connect backend web
minirun network connect --ip 10.77.0.9 --alias db backend store      db: another name for it there
""",
)
@_NETWORK
@click.argument("container", metavar="CONTAINER", shell_complete=complete.off_network)
@click.option("--alias", "aliases", metavar="NAME", multiple=True, help="Another name by which others there find it.")
@click.option("--ip", metavar="IP", default="", help="Its IPv4 address there (the next that is free).")
@click.option("--ip6", metavar="IP", default="", help="Its IPv6 address there.")
@click.option("--mac-address", "mac", metavar="MAC", default="", help="The hardware address of its interface there.")
@not_built("driver-opt", "its interface there is the first ethN that it has not got")
@not_built("gw-priority", "the first of its networks that leads out gives the default route")
@not_built("link", "containers on a network of yours find each other by name; --alias gives another one")
@not_built("link-local-ip", "the kernel gives each interface one of IPv6")
def network_connect(*, network: str, container: str, aliases: Sequence[str], ip: str, ip6: str, mac: str) -> None:
    """Connect a container to a network, at once if it runs, and at each start of it from now on."""
    from minirun.engine import connections

    connections.connect(network, container, ip=ip, ip6=ip6, mac=mac, aliases=aliases)


@click.command(
    "network-disconnect",
    cls=Command,
    examples="""
minirun network disconnect backend web
minirun network disconnect -f gone web       a network that was removed: web is not on it any more
""",
)
@_NETWORK
@click.argument("container", metavar="CONTAINER", shell_complete=complete.on_network)
@click.option("-f", "--force", is_flag=True, help="That one of the two was removed is no failure.")
def network_disconnect(*, network: str, container: str, force: bool) -> None:
    """Take a container off a network; its other networks stay."""
    from minirun.engine import connections

    connections.disconnect(network, container, force=force)
