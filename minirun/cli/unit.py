"""`system install-unit`, `system boot` and `system shutdown`: containers and the host's own life."""

from __future__ import annotations

import click

from minirun.cli import screen
from minirun.cli.command import Command
from minirun.cli.named import each


@click.command(
    "system-install-unit",
    cls=Command,
    examples="""
minirun system install-unit              from now on, `--restart always` holds over reboots
minirun system install-unit --remove
""",
)
@click.option("--remove", is_flag=True, help="Remove it; containers go on.")
def install_unit(*, remove: bool) -> None:
    """Have systemd start containers with the host, and stop them with it.

    Writes /etc/systemd/system/minirun.service and enables it. Which containers it starts their restart policy says.
    """
    from minirun.engine import unit

    said = unit.remove() if remove else unit.install()
    screen.write(f"{'removed' if remove else 'installed'} {unit.PATH}\n" if not (remove and said) else "")
    if said:
        click.echo(f"minirun: {said}", err=True)


@click.command("system-boot", cls=Command, examples="minirun system boot")
def boot() -> int:
    """Start the containers that start with the host; the unit of `system install-unit` does this at boot.

    What the reboot ended has exited with 255, and is removed if it was run with --rm. Once a boot: a second time does
    nothing.
    """
    from minirun.engine import boot as verbs

    return each(verbs.boot(screen.refuse), several=True)


@click.command("system-shutdown", cls=Command, examples="minirun system shutdown")
def shutdown() -> int:
    """Stop all containers as the host goes down; `system boot` starts those again whose restart policy says so."""
    from minirun.engine import boot as verbs

    return each(verbs.shutdown(screen.refuse), several=True)
