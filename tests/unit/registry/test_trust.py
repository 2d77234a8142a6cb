"""To whom we speak in the clear, and whose certificates are verified."""

from __future__ import annotations

import json
import ssl
from pathlib import Path

import pytest

from minirun.errors import BadInput
from minirun.registry import proxy, trust
from minirun.registry.address import of_server
from minirun.registry.trust import Trust, Way

VERIFIED, UNVERIFIED, PLAIN = Way("https", verified=True), Way("https", verified=False), Way("http", verified=False)


@pytest.mark.parametrize(
    ("server", "ways"),
    [
        ("quay.io", [VERIFIED]),
        ("docker.io", [VERIFIED]),
        ("10.1.2.3:5000", [UNVERIFIED, PLAIN]),
        ("10.1.2.3", [UNVERIFIED, PLAIN]),
        ("11.1.2.3", [VERIFIED]),
        ("box:5000", [UNVERIFIED, PLAIN]),
        ("BOX:5000", [UNVERIFIED, PLAIN]),
        ("box:5001", [VERIFIED]),
        ("box", [VERIFIED]),
        ("bare:1", [UNVERIFIED, PLAIN]),
        ("localhost:5000", [VERIFIED, PLAIN]),
        ("127.0.0.1", [VERIFIED, PLAIN]),
        ("[::1]:5000", [VERIFIED, PLAIN]),
    ],
)
def test_the_ways_to_a_registry(server: str, ways: list[Way]) -> None:
    assert Trust(insecure=["box:5000", "10.0.0.0/8", "bare", "not/a/network"]).ways(of_server(server)) == ways


def test_without_verification_nobody_else_is_spoken_to_in_the_clear() -> None:
    rules = Trust(tls_verify=False)
    assert rules.ways(of_server("quay.io")) == [UNVERIFIED]
    assert rules.ways(of_server("localhost")) == [UNVERIFIED, PLAIN]
    assert not rules.may_be_plain("quay.io", 443)


def test_certificates_are_verified_unless_somebody_said_otherwise(tmp_path: Path) -> None:
    rules = Trust(folder=str(tmp_path))
    context = rules.context("quay.io", own=True, verified=True)
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    loose = rules.context("quay.io", own=True, verified=False)
    assert (loose.verify_mode, loose.check_hostname) == (ssl.CERT_NONE, False)


def test_a_directory_of_certificates_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="ENOENT"):
        Trust(cert_dir=f"{tmp_path}/none", folder=str(tmp_path)).context("quay.io", own=True, verified=True)


def test_the_list_is_dockers_and_the_environments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINIRUN_INSECURE_REGISTRIES", "a:1, b:2")
    assert trust.listed(str(tmp_path)) == ["a:1", "b:2"]
    (tmp_path / "daemon.json").write_text(json.dumps({"insecure-registries": ["c:3"], "debug": True}))
    assert trust.listed(str(tmp_path)) == ["a:1", "b:2", "c:3"]
    monkeypatch.delenv("MINIRUN_INSECURE_REGISTRIES")
    (tmp_path / "daemon.json").write_text("{}")
    assert trust.listed(str(tmp_path)) == []
    for wrong in ('{"insecure-registries": "c:3"}', '{"insecure-registries": [1]}', "{"):
        (tmp_path / "daemon.json").write_text(wrong)
        with pytest.raises(BadInput):
            trust.listed(str(tmp_path))


@pytest.mark.parametrize(
    ("host", "found"),
    [
        ("quay.io", "http://proxy:3128"),
        ("localhost", ""),
        ("127.0.0.2", ""),
        ("a.internal", ""),
        ("internal.example", "http://proxy:3128"),
        ("10.2.3.4", ""),
        ("11.2.3.4", "http://proxy:3128"),
        ("exact.example", ""),
    ],
)
def test_a_proxy_is_for_whom_the_environment_does_not_except(
    monkeypatch: pytest.MonkeyPatch, host: str, found: str
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "proxy:3128")
    monkeypatch.setenv("NO_PROXY", ".internal,10.0.0.0/8,exact.example,nonsense/99")
    assert proxy.proxy_of("https", host, 443) == found
    assert proxy.proxy_of("http", host, 80) == ""
