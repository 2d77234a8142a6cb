"""Registries are told who we are, and it is remembered or forgotten."""

from __future__ import annotations

import os

from minirun.engine.registry import Way
from minirun.errors import BadInput
from minirun.registry import accounts, login
from minirun.registry.accounts import Account
from minirun.registry.address import DOCKER, DOCKER_KEY, Address, of_server

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class Filed:
    """What became of a login.

    Attributes:
        server: the registry, as it is filed.
        path: of the file that has the account.
        is_open: whether the secret is in it as it is, and not with a helper.
    """

    __slots__ = ("is_open", "path", "server")

    def __init__(self, server: str, path: str, *, is_open: bool) -> None:
        self.server = server
        self.path = path
        self.is_open = is_open


def known_account(server: str) -> Account | None:
    """Who we are to a registry so far; None: nobody."""
    account = accounts.find(of_server(server or DOCKER), "", os.environ)
    return account if account and (account.username or account.identity_token) else None


def check(server: str, account: Account, way: Way | None = None) -> None:
    """Raise MinirunError if a registry does not take *account*."""
    address = of_server(server or DOCKER)
    login.verify((way or Way()).client(address, f"log in to {address.name}", account))


def log_in(server: str, account: Account, way: Way | None = None) -> Filed:
    """Try an account on a registry, and file it.

    Args:
        server: as typed; empty: Docker's.
        account: with a user's name and a password, or an identity token.
        way: how the registry is reached.

    Raises:
        MinirunError: the registry does not take it, or it cannot be filed.
    """
    address = of_server(server or DOCKER)
    attempt = f"log in to {address.name}"
    if ":" in account.username or any(sign < " " for sign in account.username):
        raise BadInput(attempt, "a user's name has no colon and no control character", "look at --username")
    verified = login.verify((way or Way()).client(address, attempt, account))
    path = accounts.docker_path(os.environ)
    helper = login.file(path, address, verified)
    return Filed(_filed_as(address), path, is_open=not helper)


def log_out(server: str) -> tuple[str, bool, Sequence[str]]:
    """Forget who we are to a registry.

    Returns:
        What it is filed as, whether it was, and the paths of other tools' files that still have something for it.
    """
    address = of_server(server or DOCKER)
    path = accounts.docker_path(os.environ)
    was = login.forget(path, address)
    left = [other for other in accounts.paths(os.environ) if other != path and accounts.holds(other, address)]
    return _filed_as(address), was, left


def _filed_as(address: Address) -> str:
    return DOCKER_KEY if address.name == DOCKER else address.name
