"""Who we are to a registry is tried, and then filed where Docker looks for it; or taken away from there.

    GET /v2/ ── 401, Basic ──▶ the same with user and password: 200
             ── 401, Bearer ─▶ a token from its realm, perhaps with an identity token: filed in the password's place

The file is replaced whole, with mode 0600 and everything else in it as it was; two who write it take turns.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os

from minirun.errors import MinirunError
from minirun.registry import accounts, helper
from minirun.registry.accounts import Account

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from minirun.registry.address import Address
    from minirun.registry.client import Client


def verify(client: Client) -> Account:
    """Have the registry say whether the account that *client* was made with is good there.

    Returns:
        What is to be filed: the account, or an identity token in the place of its password.

    Raises:
        MinirunError: it is not, or the registry does not answer.
    """
    authorization = client.authorization
    account = authorization.account
    assert account is not None
    authorization.wants_identity = True
    answer = client.send("GET", "/v2/")
    client.expect(answer, 200, what="who you are").discard()
    return Account(account.username, identity_token=authorization.identity) if authorization.identity else account


def file(path: str, address: Address, account: Account) -> str:
    """File *account* for a registry.

    Args:
        path: Docker's file.
        address: of the registry.
        account: with a user, and a password or an identity token.

    Returns:
        The name of the helper that has the secret; empty: it is in the file, as it is.

    Raises:
        BadInput: the file or the helper cannot be used.
        MinirunError: the file cannot be written.
    """
    document = accounts.read(path)
    key = accounts.keys(address)[0]
    name = accounts.helper_of(document, address)
    entry: dict[str, str] = {}
    if name:
        user = "<token>" if account.identity_token else account.username
        helper.store(name, key, user, account.identity_token or account.password)
    else:
        pair = f"{account.username}:{account.password}"
        entry["auth"] = base64.b64encode(pair.encode()).decode()
        if account.identity_token:
            entry["identitytoken"] = account.identity_token

    def put(found: dict[str, Any]) -> None:
        found.setdefault("auths", {})[key] = entry

    _change(path, put)
    return name


def forget(path: str, address: Address) -> bool:
    """Take what is filed for a registry away; whether there was something. Raises as `file`."""
    document = accounts.read(path)
    keys = [key for key in (document.get("auths") or {}) if accounts.is_for(key, address)]
    name = accounts.helper_of(document, address)
    kept = bool(name) and any(helper.get(name, key) is not None for key in accounts.keys(address)[:2])
    if name:
        for key in accounts.keys(address)[:2]:
            helper.erase(name, key)

    def take(found: dict[str, Any]) -> None:
        for key in keys:
            (found.get("auths") or {}).pop(key, None)

    if keys:
        _change(path, take)
    return bool(keys) or kept


def _change(path: str, change: Callable[[dict[str, Any]], None]) -> None:
    path = os.path.realpath(path)  # who has a link there has it for a reason
    folder = os.path.dirname(path)
    try:
        os.makedirs(folder, 0o700, exist_ok=True)
        held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(held, fcntl.LOCK_EX)
            document = accounts.read(path)
            if document.get("auths") is None:
                document.pop("auths", None)
            change(document)
            _replace(path, json.dumps(document, indent="\t", ensure_ascii=False).encode())
        finally:
            os.close(held)
    except OSError as error:
        raise MinirunError(f"write {path}", error, "DOCKER_CONFIG names another folder") from None


def _replace(path: str, data: bytes) -> None:
    """Replace a file of somebody's, who may not be us: it stays theirs, and is shown to nobody else."""
    temporary = f"{path}.{os.getpid()}.tmp"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as new:
            new.write(data)
            new.flush()
            status = os.stat(path if os.path.exists(path) else os.path.dirname(path))
            os.fchown(new.fileno(), status.st_uid, status.st_gid)
            os.fsync(new.fileno())
        os.rename(temporary, path)
    except OSError:
        os.unlink(temporary)
        raise
