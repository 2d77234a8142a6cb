"""Programs that keep secrets for Docker: one is asked, told or made to forget.

    docker-credential-NAME get     stdin: the registry's key          stdout: {"ServerURL", "Username", "Secret"}
    docker-credential-NAME store   stdin: {"ServerURL", "Username", "Secret"}
    docker-credential-NAME erase   stdin: the key

What it says goes to standard output, also why it could not. See github.com/docker/docker-credential-helpers.
"""

from __future__ import annotations

import json
import subprocess

from minirun.errors import BadInput, MinirunError
from minirun.image import jsondocument

_PREFIX = "docker-credential-"
_TIMEOUT_S = 120  # it may have to ask the user
_ANSWER_BYTES = 1 << 20
_SHOWN = 300
_ABSENT = "credentials not found in native keychain"


def get(name: str, key: str) -> tuple[str, str] | None:
    """User and secret for a registry; None: it has none.

    Raises:
        BadInput: there is no such helper, or it is none.
        MinirunError: it failed.
    """
    status, said = _run(name, "get", key.encode())
    if status != 0:
        if said.decode(errors="replace").strip().lower() == _ABSENT:
            return None
        raise _failed(name, "get", said)
    where = f"what {_PREFIX}{name} says"
    document = jsondocument.parse(said, where)
    user = document.get("Username") if isinstance(document, dict) else None
    secret = document.get("Secret") if isinstance(document, dict) else None
    if not isinstance(user, str) or not isinstance(secret, str):
        raise BadInput(f"read {where}", "Username and Secret are not in it", f"`{_PREFIX}{name} get` should print them")
    return (user, secret) if user and secret else None


def store(name: str, key: str, user: str, secret: str) -> None:
    """Have a helper keep a secret; raises as `get`."""
    document = {"ServerURL": key, "Username": user, "Secret": secret}
    status, said = _run(name, "store", json.dumps(document).encode())
    if status != 0:
        raise _failed(name, "store", said.replace(secret.encode(), b"***"))


def erase(name: str, key: str) -> None:
    """Have a helper forget what it has for a registry, if it has something; raises as `get`."""
    status, said = _run(name, "erase", key.encode())
    if status != 0 and said.decode(errors="replace").strip().lower() != _ABSENT:
        raise _failed(name, "erase", said)


def _run(name: str, verb: str, given: bytes) -> tuple[int, bytes]:
    attempt = f"ask the credential helper {name[:80]!r}"
    if not name.replace("-", "").replace("_", "").replace(".", "").isalnum() or not name.isascii():
        raise BadInput(attempt, "that is no name of a program", "look at credsStore and credHelpers in config.json")
    remedy = f"`{_PREFIX}{name} list` should work; credsStore and credHelpers in config.json name it"
    try:
        done = subprocess.run(
            [_PREFIX + name, verb], input=given, stdout=subprocess.PIPE, check=False, timeout=_TIMEOUT_S
        )
    except OSError as error:
        raise BadInput(attempt, error, remedy) from None
    except subprocess.TimeoutExpired:
        raise MinirunError(attempt, f"ETIMEDOUT: it did not end within {_TIMEOUT_S} s", remedy) from None
    if len(done.stdout) > _ANSWER_BYTES:
        raise BadInput(attempt, f"it says more than {_ANSWER_BYTES} bytes", remedy)
    return done.returncode, done.stdout


def _failed(name: str, verb: str, said: bytes) -> MinirunError:
    text = " ".join(said.decode(errors="replace").split())
    shown = "".join(sign for sign in text if sign.isprintable())[:_SHOWN] or "it failed without a word"
    return MinirunError(f"ask the credential helper {name!r}", shown, f"`{_PREFIX}{name} {verb}` should work")
