"""Who we are is found where Docker and podman file it, for the right registry and no other."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from minirun.errors import BadInput
from minirun.registry import accounts
from minirun.registry.accounts import Account
from minirun.registry.address import of_server


def auth(pair: str) -> dict[str, str]:
    """An entry of auths."""
    return {"auth": base64.b64encode(pair.encode()).decode()}


def found(tmp_path: Path, auths: object, server: str, repository: str = "app") -> Account | None:
    """What is found where config.json has *auths*."""
    (tmp_path / "config.json").write_text(json.dumps({"auths": auths}))
    return accounts.find(of_server(server), repository, {"DOCKER_CONFIG": str(tmp_path)})


@pytest.mark.parametrize(
    ("key", "server"),
    [
        ("localhost:5000", "localhost:5000"),
        ("https://localhost:5000", "localhost:5000"),
        ("http://localhost:5000/v1/", "localhost:5000"),
        ("https://index.docker.io/v1/", "docker.io"),
        ("docker.io", "docker.io"),
        ("localhost:5000/team", "localhost:5000"),
        ("localhost:5000/team/app", "localhost:5000"),
    ],
)
def test_a_registry_is_found_under_its_keys(tmp_path: Path, key: str, server: str) -> None:
    assert found(tmp_path, {key: auth("ada:s")}, server, "team/app") == Account("ada", "s")


@pytest.mark.parametrize(
    ("key", "server"),
    [
        ("localhost:5000", "localhost:5001"),
        ("localhost:5000", "localhost"),
        ("localhost", "localhost:5000"),
        ("quay.io", "evil-quay.io"),
        ("quay.io", "quay.io.evil.example"),
        ("https://quay.io@evil.example", "quay.io"),
        ("localhost:5000/team", "localhost:5000"),
        ("localhost:5000/ap", "localhost:5000"),
        ("", "docker.io"),
    ],
)
def test_nobody_else_is(tmp_path: Path, key: str, server: str) -> None:
    assert found(tmp_path, {key: auth("ada:s")}, server, "app/x") is None


def test_the_closest_repository_counts(tmp_path: Path) -> None:
    auths = {"quay.io": auth("a:1"), "quay.io/team": auth("b:2"), "quay.io/team/app": auth("c:3")}
    assert found(tmp_path, auths, "quay.io", "team/app") == Account("c", "3")
    assert found(tmp_path, auths, "quay.io", "team/other") == Account("b", "2")
    assert found(tmp_path, auths, "quay.io", "teams") == Account("a", "1")


def test_passwords_have_colons_and_tokens_their_own_keys(tmp_path: Path) -> None:
    assert found(tmp_path, {"q.io": auth("ada:a:b\0\0")}, "q.io") == Account("ada", "a:b")
    assert found(tmp_path, {"q.io": {"username": "ada", "password": "s"}}, "q.io") == Account("ada", "s")
    assert found(tmp_path, {"q.io": {**auth("ada:"), "identitytoken": "t"}}, "q.io") == Account("ada", "", "t")
    assert found(tmp_path, {"q.io": {"registrytoken": "t"}}, "q.io") == Account("", "", "", "t")
    assert found(tmp_path, {"q.io": {}}, "q.io") is None
    assert found(tmp_path, {"q.io": None}, "q.io") is None


@pytest.mark.parametrize(
    "entry", [{"auth": 1}, auth("nocolon"), {"auth": "%"}, auth("a\nb:c"), {"registrytoken": "a\r\nX: y"}]
)
def test_what_is_none_is_refused(tmp_path: Path, entry: object) -> None:
    with pytest.raises(BadInput):
        found(tmp_path, {"q.io": entry}, "q.io")


def test_files_are_asked_in_their_order(tmp_path: Path) -> None:
    environment = {
        "DOCKER_CONFIG": f"{tmp_path}/d",
        "REGISTRY_AUTH_FILE": f"{tmp_path}/r",
        "XDG_RUNTIME_DIR": f"{tmp_path}/x",
    }
    assert accounts.find(of_server("q.io"), "app", environment) is None
    places = [tmp_path / "x/containers/auth.json", tmp_path / "d/config.json", tmp_path / "r"]
    for number, place in enumerate(places):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(json.dumps({"auths": {"q.io": auth(f"ada:{number}")}}))
        assert accounts.find(of_server("q.io"), "app", environment) == Account("ada", str(number))


def test_secrets_are_not_in_the_repr() -> None:
    account = Account("ada", "s3cret", "1dentity", "t0ken")
    assert not any(secret in repr(account) for secret in account.secrets)


def test_a_file_that_is_too_long_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(" " * (2 << 20))
    with pytest.raises(BadInput, match="more than"):
        accounts.find(of_server("q.io"), "app", {"DOCKER_CONFIG": str(tmp_path)})
