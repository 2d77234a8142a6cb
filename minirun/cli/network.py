"""`network create`, `ls`, `inspect`, `rm`; `connect` is in networkconnect.py, `prune` with its like in prune.py."""

from __future__ import annotations

import json
from typing import Any

import click

from minirun.cli import complete, screen, table
from minirun.cli.command import Command
from minirun.cli.named import each
from minirun.errors import BadInput, MinirunError, NotFound, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeVar

    from minirun.network.record import Network

    Verb = TypeVar("Verb", bound=Callable[..., Any])

_SHORT = 12
_TITLES = {
    "ID": "NETWORK ID", "Name": "NAME", "Driver": "DRIVER", "Scope": "SCOPE", "IPv4": "IPV4", "IPv6": "IPV6",
    "Internal": "INTERNAL", "Labels": "LABELS", "CreatedAt": "CREATED AT",
}  # fmt: skip
_NAMES = click.argument("names", metavar="NETWORK...", nargs=-1, required=True, shell_complete=complete.networks)


def not_built(name: str, remedy: str, *, switch: bool = False) -> Callable[[Verb], Verb]:
    """A flag of Docker's that is refused, with a sentence."""

    def refuse(_context: click.Context, _parameter: click.Parameter, value: object) -> None:
        if value:
            raise Unsupported(f"use --{name}", "it is not built in this version", remedy)

    options: dict[str, Any] = {"is_flag": True} if switch else {"multiple": True}
    said = f"Refused: {remedy}."
    return click.option(f"--{name}", hidden=True, expose_value=False, callback=refuse, help=said, **options)


@click.command(
    "network-create",
    cls=Command,
    examples="""
minirun network create web
minirun network create --subnet 10.77.0.0/16 --ip-range 10.77.4.0/24 --ipv6 web
minirun network create --internal --label team=red backend
minirun network create --icc=false --opt mtu=1400 tenants
minirun network create -d macvlan -o parent=eth0 --subnet 192.0.2.0/24 --aux-address printer=192.0.2.9 lan
""",
)
@click.argument("name", metavar="NETWORK")
@click.option("-d", "--driver", metavar="DRIVER", default="bridge", help="What it is: bridge, macvlan, ipvlan.")
@click.option("--aux-address", "others", metavar="NAME=IP", multiple=True, help="No container gets this address.")
@click.option("--gateway", "gateways", metavar="IP", multiple=True,
              help="The host's own address on it (the first); of a macvlan or ipvlan, the router's.")  # fmt: skip
@click.option("--icc", metavar="BOOL", default="", help="Whether its containers reach each other: false (true).")
@click.option("--internal", is_flag=True, help="There is no way out of it, and none in.")
@click.option("--ip-range", "ip_range", metavar="SUBNET", default="", help="Give containers addresses of this part.")
@click.option(
    "--ipv6", is_flag=True, help="It has IPv6 as well: a random part of fd00::/8, without a --subnet of that."
)
@click.option("--label", "labels", metavar="KEY[=VALUE]", multiple=True, help="Put a label on it.")
@click.option("-o", "--opt", "options", metavar="KEY=VALUE", multiple=True,
              help="mtu=BYTES, icc=false, com.docker.network.bridge.name=NAME; parent=INTERFACE, macvlan_mode=MODE, "
              "ipvlan_mode=MODE, ipvlan_flag=FLAG.")  # fmt: skip
@click.option("--subnet", "subnets", metavar="SUBNET", multiple=True,
              help="Its addresses, of IPv4 and of IPv6 (some that the host has no way to).")  # fmt: skip
@not_built("attachable", "every network of one host can be attached to: leave it out", switch=True)
@not_built("config-from", "say what it is to be like")
@not_built("config-only", "say what it is to be like", switch=True)
@not_built("ingress", "it is of swarms", switch=True)
@not_built("ipam-driver", "addresses are leased by minirun itself")
@not_built("ipam-opt", "addresses are leased by minirun itself")
@not_built("scope", "networks are local")
def network_create(
    *,
    name: str,
    driver: str,
    gateways: Sequence[str],
    icc: str,
    internal: bool,
    ip_range: str,
    ipv6: bool,
    labels: Sequence[str],
    options: Sequence[str],
    others: Sequence[str],
    subnets: Sequence[str],
) -> None:
    """Make a network, and print its id."""
    from minirun.engine import networks

    told = _pairs("--opt", options)
    if icc:
        if twice := {"icc", "com.docker.network.bridge.enable_icc"} & told.keys():
            raise BadInput(f"use --icc {icc} with --opt {twice.pop()}", "both say the same", "leave one out")
        told["icc"] = icc
    made = networks.create(
        name, driver=driver, subnets=subnets, gateways=gateways, ip_range=ip_range, ipv6=ipv6, internal=internal,
        auxiliary=_pairs("--aux-address", others), options=told, labels=_pairs("--label", labels),
    )  # fmt: skip
    screen.write(f"{made}\n")


def _pairs(flag: str, given: Sequence[str]) -> dict[str, str]:
    pairs = {}
    for text in given:
        key, _, value = text.partition("=")
        if not key:
            raise BadInput(f"read {flag} {text!r}", "it has no name", f"write it as {flag} NAME=VALUE")
        pairs[key] = value
    return pairs


@click.command(
    "network-ls",
    cls=Command,
    examples="""
minirun network ls
minirun network ls -q --filter dangling=true      those that no running container is on
minirun network ls --format '{{.Name}}: {{.Driver}}'
""",
)
@click.option("-q", "--quiet", is_flag=True, help="Ids only.")
@click.option("--no-trunc", "whole", is_flag=True, help="Whole ids.")
@click.option("-f", "--filter", "filters", metavar="NAME=VALUE", multiple=True,
              help="Only those with this dangling, driver, id, label, name, scope or type.")  # fmt: skip
@click.option("--format", "form", metavar="FORMAT", default="", help="table, json, or a Go template.")
def network_ls(*, quiet: bool, whole: bool, filters: Sequence[str], form: str) -> None:
    """List networks, with those that are always there: bridge, host and none."""
    from minirun.engine import networks

    found = networks.listed(filters, screen.refuse)
    if quiet and not form:
        screen.write("".join(f"{network.id if whole else network.id[:_SHORT]}\n" for network in found))
        return
    rows = [_row(network, whole=whole) for network in found]
    table.show(rows, _TITLES, ("ID", "Name", "Driver", "Scope"), form)


def _row(network: Network, *, whole: bool) -> dict[str, Any]:
    from minirun.cli import quantity

    return {
        "ID": network.id if whole else network.id[:_SHORT],
        "Name": network.name,
        "Driver": network.driver,
        "Scope": "local",
        "IPv4": "true",
        "IPv6": "true" if network.subnet6 else "false",
        "Internal": "true" if network.internal else "false",
        "Labels": ",".join(f"{key}={value}" for key, value in network.labels.items()),
        "Label": lambda key: network.labels.get(key, ""),
        "CreatedAt": quantity.date(network.created),
    }


@click.command(
    "network-inspect",
    cls=Command,
    examples="""
minirun network inspect bridge
minirun network inspect -f '{{range .Containers}}{{.Name}} {{.IPv4Address}} {{end}}' web
""",
)
@_NAMES
@click.option("-f", "--format", "form", metavar="FORMAT", default="", help="json, or a Go template.")
def network_inspect(*, names: Sequence[str], form: str) -> int:
    """Show everything about networks as JSON, the containers that are on them included."""
    from minirun.engine import networks

    found, code = [], 0
    for name in names:
        try:
            found.append(networks.inspect(name))
        except MinirunError as error:
            if len(names) == 1:
                raise
            code = screen.refuse(error)
    if form:
        table.show_objects(found, form)
    else:
        screen.write(json.dumps(found, indent=4, ensure_ascii=False) + "\n")
    return code


@click.command("network-rm", cls=Command, examples="minirun network rm web backend")
@_NAMES
@click.option("-f", "--force", is_flag=True, help="That there is none of a name is no failure.")
def network_rm(*, names: Sequence[str], force: bool) -> int:
    """Remove networks; never bridge, host and none, nor one that a container is on."""
    from minirun.engine import networks

    outcomes = []
    for outcome in networks.remove(names):
        if force and isinstance(outcome, NotFound):
            screen.refuse(outcome)
        else:
            outcomes.append(outcome)
    return each(outcomes, several=len(names) > 1)
