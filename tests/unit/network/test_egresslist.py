"""What --network-egress is given, and what that means."""

from __future__ import annotations

import pytest

from minirun.errors import BadInput
from minirun.network import egresslist
from minirun.network.egresslist import Element, Service


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("pypi.org", "pypi.org"),
        ("PyPI.org.:443", "pypi.org:443"),
        ("*.example.org:443/TCP", "*.example.org:443/tcp"),
        ("*:443", "*:443"),
        ("db", "db"),
        ("pypi.org/tcp", "pypi.org/tcp"),
        ("pypi.org:8000-8010/udp", "pypi.org:8000-8010/udp"),
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("10.0.0.0/8:80", "10.0.0.0/8:80"),
        ("192.0.2.7/32", "192.0.2.7"),
        ("192.0.2.7:5432/tcp", "192.0.2.7:5432/tcp"),
        ("0.0.0.0/0:443", "0.0.0.0/0:443"),
        ("2001:db8::1", "[2001:db8::1]"),
        ("2001:db8::/32/udp", "[2001:db8::]/32/udp"),
        ("[2001:db8::]/32:443", "[2001:db8::]/32:443"),
        ("[2001:db8:0::/32]:443", "[2001:db8::]/32:443"),
        ("[2001:db8::1]:443/tcp", "[2001:db8::1]:443/tcp"),
        ("host-gateway:8080", "host-gateway:8080"),
    ],
)
def test_an_element_is_kept_as_it_can_be_read_again(given: str, kept: str) -> None:
    assert egresslist.read([f"allow={given}"]) == [kept]
    assert egresslist.read([f"allow={kept}"]) == [kept]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("https://pypi.org/simple", "allow=pypi.org:443"),
        ("10.0.0.1/8", "10.0.0.0/8"),
        ("256.1.1.1", "no address"),
        ("1.2.3", "no address"),
        ("pypi.org/24", "no name and no address"),
        ("a b", "no name and no address"),
        ("-a.org", "no name and no address"),
        ("a..b", "no name and no address"),
        (f"{'a' * 64}.org", "no name and no address"),
        (".".join(["a" * 60] * 5), "253"),
        ("*a.org", "whole labels"),
        ("a.*.org", "whole labels"),
        ("bücher.de", "allow=xn--bcher-kva.de"),
        ("pypi.org:0", "no port"),
        ("pypi.org:65536", "no port"),
        ("pypi.org:", "no port"),
        ("pypi.org:5-3", "no port"),
        ("pypi.org:5-", "no port"),
        ("pypi.org/icmp", "no protocol with ports"),
        ("[10.0.0.1]:80", "no address in brackets"),
        ("[2001:db8::1", "no address in brackets"),
        ("224.0.0.251", "many at once"),
        ("[ff02::fb]:5353", "many at once"),
        ("255.255.255.255", "many at once"),
        ("127.0.0.1", "loopback"),
        ("[::1]:80", "loopback"),
        ("localhost", "loopback"),
        ("", "allow=none"),
        ("a,,b", "allow=none"),
        ("none,a", "allowed, too"),
    ],
)
def test_what_has_no_meaning_is_refused_with_what_would_have(given: str, told: str) -> None:
    with pytest.raises(BadInput) as refusal:
        egresslist.read([f"allow={given}"])
    assert told in str(refusal.value)
    assert "--network-egress" in str(refusal.value)


@pytest.mark.parametrize(("given", "told"), [("pypi.org", "allow=pypi.org"), ("deny=a", "allow="), ("", "allow=")])
def test_a_value_without_allow_is_refused(given: str, told: str) -> None:
    with pytest.raises(BadInput) as refusal:
        egresslist.read([given])
    assert f"--network-egress {told}" in str(refusal.value)


def test_elements_are_separated_by_commas_or_given_again_and_kept_once() -> None:
    assert egresslist.read(["allow=a, b,allow=c", "allow=b"]) == ["a", "b", "c"]
    assert egresslist.read(["allow=none"]) == egresslist.read(["none"]) == []


def test_more_than_can_be_compared_is_refused() -> None:
    with pytest.raises(BadInput, match="different ports"):
        egresslist.read([f"allow=a:{port}" for port in range(1, 66)])
    with pytest.raises(BadInput, match="more than"):
        egresslist.read([f"allow=a{number}" for number in range(4097)])


def test_a_star_stands_for_any_labels_and_not_for_none() -> None:
    star = Element.parse("*.example.org")
    assert star.means("a.example.org")
    assert star.means("a.b.example.org")
    assert not star.means("example.org")
    assert not star.means("badexample.org")
    assert not star.means(".example.org")
    assert Element.parse("*").means("whatever")
    assert Element.parse("example.org").means("example.org")
    assert not Element.parse("example.org").means("a.example.org")
    assert not Element.parse("10.0.0.0/8").means("")


def test_elements_of_one_service_are_together() -> None:
    found = egresslist.services(["a:443", "10.0.0.0/8", "b:443", "b:443/tcp"])
    assert [*found] == [
        Service(("tcp", "udp", "sctp"), 443, 443),
        Service(),
        Service(("tcp",), 443, 443),
    ]
    assert [repr(one) for one in found[Service(("tcp", "udp", "sctp"), 443, 443)]] == ["a:443", "b:443"]
