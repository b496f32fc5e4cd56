"""Which addresses are public, whatever form they come in."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.egress import is_public, parse_hosts
from engine.egress.policy import EgressPolicy

PUBLIC = ["1.1.1.1", "93.184.215.14", "2606:4700::1111", "2a00:1450:4001::200e"]
INTERNAL = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
]
INTERNAL_6 = [
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:0:127.0.0.1",
    "64:ff9b:1::7f00:1",
    "100::1",
    "2001:db8::1",
    "2001:2::1",
    "2001:10::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "2606:4700::1111%1",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
]


def carriers(address: str) -> list[ipaddress.IPv6Address]:
    """All forms of IPv6 addresses that an IPv4 address is delivered by."""
    bits = int(ipaddress.IPv4Address(address))
    teredo_server = int(ipaddress.IPv4Address("1.1.1.1"))
    return [
        ipaddress.IPv6Address(value)
        for value in (
            0xFFFF << 32 | bits,
            0x64_FF9B << 96 | bits,
            0x2002 << 112 | bits << 80 | 1,
            0x2001_0000 << 96 | teredo_server << 64 | bits ^ 0xFFFF_FFFF,
            0x2001_0000 << 96 | bits << 64 | teredo_server ^ 0xFFFF_FFFF,
            0x2606_4700 << 96 | 0x0000_5EFE << 32 | bits,
            0x2606_4700 << 96 | 0x0200_5EFE << 32 | bits,
        )
    ]


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", INTERNAL + INTERNAL_6)
def test_an_address_that_is_not_the_publics(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", INTERNAL)
def test_it_is_not_in_any_disguise(address: str) -> None:
    assert [str(form) for form in carriers(address) if is_public(form)] == []


def test_a_public_address_is_public_in_its_disguises() -> None:
    assert all(map(is_public, carriers("1.1.1.1")))


@given(st.ip_addresses(v=4))
def test_no_disguise_makes_an_address_public(address: ipaddress.IPv4Address) -> None:
    found = {is_public(form) for form in carriers(str(address))}

    assert found == {is_public(address)}


def test_hosts_that_an_operator_names() -> None:
    hosts = parse_hosts(["Images.Internal.", "10.1.0.0/16", "::1", "192.168.7.9"])

    assert hosts.has_name("images.internal")
    assert not hosts.has_name("x.images.internal")
    assert hosts.has_parent("x.images.internal")
    assert not hosts.has_parent("ximages.internal")
    assert hosts.has_address(ipaddress.ip_address("10.1.2.3"))
    assert hosts.has_address(ipaddress.ip_address("192.168.7.9"))
    assert not hosts.has_address(ipaddress.ip_address("10.2.0.1"))


@pytest.mark.parametrize("entry", ["", "10.0.0.1/8", "10.0.0.300", "http://a", "a b", "::1/x", "*"])
def test_what_names_no_host_is_refused(entry: str) -> None:
    with pytest.raises(ValueError, match="has '"):
        parse_hosts([entry])


def test_an_operators_networks_and_names_may_be_reached_and_what_is_denied_may_not() -> None:
    policy = EgressPolicy(
        private=parse_hosts(["10.1.0.0/16", "images.internal"]),
        denied=parse_hosts(["10.1.9.9", "93.184.215.14", "evil.example"]),
    )

    def may(address: str, host: str = "a.example") -> bool:
        return policy.may_reach(ipaddress.ip_address(address), host)

    assert may("10.1.2.3")
    assert may("::ffff:10.1.2.3")
    assert may("127.0.0.1", "images.internal")
    assert may("1.1.1.1")
    assert not may("10.2.0.1")
    assert not may("2002:a01:203::1")
    assert not may("10.1.9.9")
    assert not may("::ffff:10.1.9.9")
    assert not may("93.184.215.14")
    assert not may("64:ff9b::5db8:d70e")
    assert policy.allows("https", "good.example", 443)
    assert not policy.allows("https", "www.evil.example", 443)
    assert not policy.allows("https", "good.example", 8443)
    assert not policy.allows("http", "good.example", 80)
