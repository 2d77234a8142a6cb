"""What is said behind --network pasta: and slirp4netns: is passed on as it is meant, or refused."""

from __future__ import annotations

import os
import subprocess

import pytest

from minirun.errors import BadInput, MinirunError, Unsupported
from minirun.network import interfaces, netlink, pasta, slirp
from minirun.network.hold import Held

ATTEMPT = "use that"


@pytest.mark.parametrize("text", ["", "-T,5432", "--map-gw", "-a,10.0.0.5,--no-udp,-4", "-qdm1400", "--mac-addr=02::1"])
def test_words_of_pasta_are_kept_as_they_are(text: str) -> None:
    assert ",".join(pasta.read(ATTEMPT, text)) == text


@pytest.mark.parametrize(
    "text",
    ["-f", "-qf", "-P/tmp/x", "-qP,/tmp/x", "--pid=/tmp/x", "--pi=/tmp/x", "--netns,/proc/1/ns/net", "--netn=/x",
     "-l,/x", "--runas,0", "--log-file=/x", "-p,/x", "--pcap=/x", "--userns=/x", "-F,3", "-T,5432,", ","],
)  # fmt: skip
def test_what_pasta_is_told_by_minirun_is_not_for_the_user_to_say(text: str) -> None:
    with pytest.raises(BadInput):
        pasta.read(ATTEMPT, text)


def test_pasta_is_told_which_ports_lead_in_and_that_no_others_do() -> None:
    ports = [
        Held("tcp", "0.0.0.0", 8080, 80), Held("tcp", "::", 8080, 80), Held("tcp", "127.0.0.1", 8081, 81),
        Held("udp", "0.0.0.0", 53, 5353), Held("tcp", "::1", 8082, 82),
    ]  # fmt: skip
    words = pasta.words([], ports, "")
    assert words[words.index("--no-map-gw") + 1 :] == [
        "-t", "8080:80", "-t", "127.0.0.1/8081:81", "-t", "::1/8082:82", "-u", "0.0.0.0/53:5353", "-T", "none",
        "-U", "none",
    ]  # fmt: skip
    words = pasta.words(["--map-gw", "-t", "9000", "--udp-ns=53"], [], "/proc/7/ns/user")
    assert words[words.index("--userns") :][:2] == ["--userns", "/proc/7/ns/user"]
    assert "--no-map-gw" not in words
    assert words[-7:] == ["-u", "none", "-T", "none", "-t", "9000", "--udp-ns=53"]


def test_words_of_slirp4netns_become_its_flags() -> None:
    words = slirp.words(slirp.read(ATTEMPT, ""), [], "")
    assert {"--mtu=65520", "--cidr=10.0.2.0/24", "--enable-ipv6", "--disable-host-loopback"} <= set(words)
    assert not [word for word in words if word.startswith("--api-socket")]
    text = "mtu=1500,cidr=10.7.0.0/24,enable_ipv6=false,allow_host_loopback=true,outbound_addr=eth0"
    options = slirp.read(ATTEMPT, f"{text},port_handler=slirp4netns")
    words = slirp.words(options, [Held("tcp", "0.0.0.0", 8080, 80)], "/proc/7/ns/user")
    assert {"--mtu=1500", "--cidr=10.7.0.0/24", "--outbound-addr=eth0", "--userns-path=/proc/7/ns/user"} <= set(words)
    assert not {"--enable-ipv6", "--disable-host-loopback"} & set(words)
    assert [word for word in words if word.startswith("--api-socket")]
    assert (slirp.resolver(options), slirp.host(options, [])) == (["10.7.0.3"], ["10.7.0.2"])


@pytest.mark.parametrize(
    "text",
    ["mtu=0", "mtu=x", "cidr=10.0.2.1/24", "cidr=10.0.2.0/26", "cidr=fd00::/64", "enable_ipv6=yes", "nosuch=1", "mtu",
     "outbound_addr=", "port_handler=rootlesskit", ","],
)  # fmt: skip
def test_what_slirp4netns_does_not_know_is_refused(text: str) -> None:
    with pytest.raises(MinirunError):
        slirp.read(ATTEMPT, text)


@pytest.mark.parametrize(
    ("module", "protocol", "address"), [(slirp, "tcp", "::1"), (slirp, "sctp", ""), (pasta, "sctp", "")]
)
def test_ports_that_cannot_be_published_are_refused(module: object, protocol: str, address: str) -> None:
    with pytest.raises(Unsupported):
        module.check(ATTEMPT, protocol, address)  # type: ignore[attr-defined]


@pytest.mark.skipif(os.geteuid() != 0, reason="gives an interface an address: run as root")
def test_addresses_and_gateways_are_read() -> None:
    speaker = netlink.speak()
    try:
        assert interfaces.addresses(speaker) == interfaces.gateways(speaker) == []
        added = [netlink.add_address(1, "192.0.2.7", 24), netlink.add_address(1, "2001:db8::7", 64)]
        netlink.ask(speaker, [netlink.up(1), *added, netlink.default_route(1, "192.0.2.1")])
        try:
            assert interfaces.addresses(speaker) == ["192.0.2.7", "2001:db8::7"]
            assert interfaces.gateways(speaker) == ["192.0.2.1"]
        finally:
            subprocess.run(["ip", "address", "flush", "dev", "lo", "scope", "global"], check=True)
    finally:
        speaker.close()
