"""Who we are to a registry: what `login` of minirun, Docker and podman have filed.

    looked into, in this order                            written by
    ----------------------------------------------------  ------------------------------------
    $REGISTRY_AUTH_FILE, if set                           podman, skopeo
    $DOCKER_CONFIG/config.json (~/.docker/config.json)    docker login, minirun login
    $XDG_RUNTIME_DIR/containers/auth.json                 podman login, skopeo login

    {"auths":       {"localhost:5000": {"auth": base64("user:password"), "identitytoken": "…"}},
     "credsStore":  "pass",                          docker-credential-pass has the secrets, not this file
     "credHelpers": {"localhost:5000": "pass"}}      the same, for one registry

A registry's key is its name, as a URL in older files; in podman's it may go on into its repositories. See
docs.docker.com/reference/cli/docker/login and containers-auth.json(5).
"""

from __future__ import annotations

import base64
import binascii
import os
from dataclasses import dataclass, field

from minirun.errors import BadInput
from minirun.image import jsondocument
from minirun.registry import helper
from minirun.registry.address import DOCKER, DOCKER_KEY, Address, of_server

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

FILE_BYTES = 1 << 20
_TOKEN_USER = "<token>"  # what helpers call the user of an identity token


@dataclass(frozen=True, slots=True)
class Account:
    """Who we are to one registry; what is secret is not in its repr.

    Attributes:
        username: as the registry knows us.
        password: ours.
        identity_token: what a login gave us in its place, to be changed into tokens.
        registry_token: a token, as it is to be sent.
    """

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)

    @property
    def basic(self) -> str:
        """User and password as an Authorization header has them."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()

    @property
    def secrets(self) -> list[str]:
        """What no message may hold."""
        return [text for text in (self.password, self.identity_token, self.registry_token, self.basic[6:]) if text]


def docker_path(environment: Mapping[str, str]) -> str:
    """The path of Docker's file, which `login` writes."""
    folder = environment.get("DOCKER_CONFIG") or os.path.join(environment.get("HOME") or "/root", ".docker")
    return f"{folder}/config.json"


def paths(environment: Mapping[str, str]) -> list[str]:
    """The files that are looked into, in this order."""
    found = [docker_path(environment)]
    if own := environment.get("REGISTRY_AUTH_FILE"):
        found.insert(0, own)
    if runtime := environment.get("XDG_RUNTIME_DIR"):
        found.append(f"{runtime}/containers/auth.json")
    return found


def find(address: Address, repository: str, environment: Mapping[str, str]) -> Account | None:
    """Who we are to a registry, when it is about one of its repositories; None: nobody.

    Raises:
        BadInput: a file or a helper that is there cannot be used.
    """
    for path in paths(environment):
        account = _in_file(path, address, repository)
        if account is not None:
            return account
    return None


def holds(path: str, address: Address) -> bool:
    """Whether the file *path* has something for a registry."""
    return _in_file(path, address, "") is not None


def read(path: str) -> dict[str, Any]:
    """The file *path*, of which the parts that are used here have the right types; empty where there is none.

    Raises:
        BadInput: it cannot be read, or is no such file.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(FILE_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise BadInput(
            f"read {path}", error, "it has the accounts for registries; DOCKER_CONFIG names another folder"
        ) from None
    if len(data) > FILE_BYTES:
        raise BadInput(
            f"read {path}", f"it has more than {FILE_BYTES} bytes", "accounts for registries take some hundred"
        )
    if not data.strip():
        return {}
    document = jsondocument.parse(data, path)
    parts = document if isinstance(document, dict) else {"auths": document}
    auths, helpers = parts.get("auths") or {}, parts.get("credHelpers") or {}
    if (
        not isinstance(auths, dict) or not all(isinstance(entry, dict | None) for entry in auths.values())
        or not isinstance(helpers, dict) or not all(isinstance(name, str) for name in helpers.values())
        or not isinstance(parts.get("credsStore") or "", str)
    ):  # fmt: skip
        raise BadInput(f"read {path}", "it does not have the form of Docker's config.json", "mend it, or move it away")
    return parts


def keys(address: Address) -> list[str]:
    """What a registry is filed under, the usual key first."""
    if address.name == DOCKER:
        return [DOCKER_KEY, DOCKER, "index.docker.io", "registry-1.docker.io"]
    return [address.name]


def helper_of(document: Mapping[str, Any], address: Address) -> str:
    """The helper that keeps the secrets for a registry; empty: the file itself."""
    helpers = document.get("credHelpers") or {}
    return next((helpers[key] for key in keys(address) if helpers.get(key)), document.get("credsStore") or "")


def _in_file(path: str, address: Address, repository: str) -> Account | None:
    document = read(path)
    if name := helper_of(document, address):
        for key in keys(address)[:2]:
            if (found := helper.get(name, key)) is not None:
                user, secret = found
                return Account(identity_token=secret) if user == _TOKEN_USER else Account(user, secret)
    auths = document.get("auths") or {}
    for key in _candidates(address, repository, auths):
        if entry := auths.get(key):
            account = _account(entry, f"{key} in {path}")
            if account is not None:
                return account
    return None


def _candidates(address: Address, repository: str, auths: Mapping[str, Any]) -> Iterator[str]:
    parts = repository.split("/")
    for length in range(len(parts), 0, -1):
        yield f"{address.name}/{'/'.join(parts[:length])}"
    yield from keys(address)
    yield from (key for key in auths if is_for(key, address))


def is_for(key: str, address: Address) -> bool:
    """Whether *key* is one under which a registry is filed; what goes on into repositories is for these alone."""
    scheme, found, rest = key.partition("://")
    if (rest if found else scheme).partition("/")[2].strip("/") not in ("", "v1", "v2"):
        return False
    try:
        return of_server(key).name == address.name
    except BadInput:
        return False


def _account(entry: Mapping[str, Any], where: str) -> Account | None:
    texts = {name: entry.get(name) or "" for name in ("auth", "username", "password", "identitytoken", "registrytoken")}
    if not all(isinstance(text, str) for text in texts.values()):
        raise BadInput(f"read {where}", "what is to be a text is none", "`minirun login` writes it anew")
    username, password = texts["username"], texts["password"]
    if texts["auth"]:
        try:
            decoded = base64.b64decode(texts["auth"], validate=True).decode()
        except (binascii.Error, ValueError):
            decoded = ""
        username, colon, password = decoded.partition(":")
        if not colon:
            raise BadInput(f"read {where}", "its auth is not user:password in Base64", "`minirun login` writes it anew")
        password = password.rstrip("\0")
    if not (username and password) and not texts["identitytoken"] and not texts["registrytoken"]:
        return None
    if any(sign < " " for text in (username, texts["registrytoken"]) for sign in text):
        raise BadInput(f"read {where}", "a control character is in it", "`minirun login` writes it anew")
    return Account(username, password, texts["identitytoken"], texts["registrytoken"])
