"""Names of images and of registries lead to hosts and ports."""

from __future__ import annotations

import pytest

from minirun.errors import BadInput
from minirun.image.reference import parse
from minirun.registry import address
from minirun.registry.address import Address


@pytest.mark.parametrize(
    ("name", "registry", "host", "port", "repository"),
    [
        ("ubuntu", "docker.io", "registry-1.docker.io", None, "library/ubuntu"),
        ("team/app:1", "docker.io", "registry-1.docker.io", None, "team/app"),
        ("docker.io/library/x", "docker.io", "registry-1.docker.io", None, "library/x"),
        ("index.docker.io/a/b", "docker.io", "registry-1.docker.io", None, "a/b"),
        ("localhost/app", "localhost", "localhost", None, "app"),
        ("localhost:5000/team/app:2", "localhost:5000", "localhost", 5000, "team/app"),
        ("127.0.0.1:5000/app", "127.0.0.1:5000", "127.0.0.1", 5000, "app"),
        ("quay.io/team/app", "quay.io", "quay.io", None, "team/app"),
        ("Box/app", "box", "box", None, "app"),
        ("localhost", "docker.io", "registry-1.docker.io", None, "library/localhost"),
    ],
)
def test_an_image_is_in_the_registry_that_its_name_begins_with(
    name: str, registry: str, host: str, port: int | None, repository: str
) -> None:
    assert address.of_image(parse(name)) == (Address(registry, host, port), repository)


@pytest.mark.parametrize(
    ("text", "name", "place"),
    [
        ("localhost:5000", "localhost:5000", "localhost:5000"),
        ("https://quay.io", "quay.io", "quay.io"),
        ("http://Quay.IO/v2/", "quay.io", "quay.io"),
        ("https://index.docker.io/v1/", "docker.io", "registry-1.docker.io"),
        ("registry-1.docker.io", "docker.io", "registry-1.docker.io"),
        ("[::1]:5000", "[::1]:5000", "[::1]:5000"),
    ],
)
def test_a_server_is_understood_as_docker_writes_it(text: str, name: str, place: str) -> None:
    found = address.of_server(text)
    assert (found.name, found.place) == (name, place)


@pytest.mark.parametrize(
    "text",
    ["", "a b", "host:", "host:0", "host:99999", "host:x", "user@host", "https://u:p@host", "ftp://host", "[::1",
     "a/../b:x", "hö.example", "-", "host\n", "a" * 300],
)  # fmt: skip
def test_what_is_no_server_is_refused_or_harmless(text: str) -> None:
    try:
        found = address.of_server(text)
    except BadInput:
        return
    assert set(found.host) <= set("abcdefghijklmnopqrstuvwxyz0123456789.-")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "::1"])
def test_loopback_is_known_by_name_and_number(host: str) -> None:
    assert address.is_loopback(host)


@pytest.mark.parametrize(
    "host", ["localhost.example", "127.0.0.1.example", "128.0.0.1", "10.0.0.1", "::2", "0x7f000001", "127.1"]
)
def test_nothing_else_is_loopback(host: str) -> None:
    assert not address.is_loopback(host)


def test_an_origin_is_scheme_host_and_port() -> None:
    assert address.origin_of("https://Quay.io/v2/") == ("https", "quay.io", 443)
    assert address.origin_of("http://localhost:5000") == ("http", "localhost", 5000)
    assert address.of_server("quay.io").origin("https") == ("https", "quay.io", 443)
    for text in ("", "quay.io", "file:///etc/passwd", "https://", "https://[", "https://host:99999"):
        with pytest.raises(ValueError):  # noqa: PT011 - urlsplit has its own words
            address.origin_of(text)


def test_what_may_be_secret_in_a_url_is_not_shown() -> None:
    shown = address.shown("https://user:pass@quay.io:444/v2/app?token=secret#x")
    assert shown == "https://quay.io:444/v2/app"
