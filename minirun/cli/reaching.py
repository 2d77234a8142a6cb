"""The flags that say how a registry is reached."""

from __future__ import annotations

import click

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_VERIFY = "Whether the registry must have a good certificate (it must, unless --tls-verify=false)."
_CERTIFICATES = "Certificates for the registry, and ours for it: ca.crt, client.cert, client.key."


def reaching(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command ``--tls-verify`` and ``--cert-dir``."""
    command = click.option("--cert-dir", default="", metavar="DIR", help=_CERTIFICATES)(command)
    return click.option("--tls-verify/--no-tls-verify", default=True, help=_VERIFY)(command)
