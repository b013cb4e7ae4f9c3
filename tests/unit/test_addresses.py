"""Which addresses a request on somebody else's behalf may go to."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.domain.addresses import FORBIDDEN, forbidden


@pytest.mark.parametrize(("address", "what"), [
    ("0.0.0.0", "unspecified"), ("0.1.2.3", "unspecified"),
    ("10.0.0.1", "private"), ("172.16.0.1", "private"), ("172.31.255.255", "private"), ("192.168.1.1", "private"),
    ("100.64.0.1", "shared"), ("100.100.100.200", "shared"),
    ("127.0.0.1", "loopback"), ("127.255.255.254", "loopback"),
    ("169.254.169.254", "link-local"), ("169.254.170.2", "link-local"),
    ("192.0.0.192", "protocol assignments"), ("192.0.2.1", "documentation"), ("192.88.99.1", "6to4 relay"),
    ("198.18.0.1", "benchmarking"), ("198.51.100.1", "documentation"), ("203.0.113.1", "documentation"),
    ("224.0.0.1", "multicast"), ("239.255.255.255", "multicast"), ("240.0.0.1", "reserved"),
    ("255.255.255.255", "reserved"), ("168.63.129.16", "a cloud's own"),
    ("::", "unspecified, loopback, or an IPv4 address"), ("::1", "unspecified, loopback, or an IPv4 address"),
    ("::8.8.8.8", "unspecified, loopback, or an IPv4 address"),
    ("::ffff:127.0.0.1", "IPv4-mapped"), ("::ffff:8.8.8.8", "IPv4-mapped"), ("::ffff:0:8.8.8.8", "IPv4-translated"),
    ("64:ff9b::8.8.8.8", "NAT64"), ("64:ff9b::169.254.169.254", "NAT64"), ("64:ff9b:1::1", "NAT64"),
    ("100::1", "discard"), ("2001::1", "protocol assignments"), ("2001:db8::1", "documentation"),
    ("2002:7f00:1::", "6to4"), ("3fff::1", "documentation"), ("5f00::1", "segment routing"),
    ("fc00::1", "private"), ("fd00:ec2::254", "private"), ("fe80::1", "link-local"), ("fec0::1", "site-local"),
    ("ff02::1", "multicast"), ("4000::1", "not public"), ("e000::1", "not public"),
    ("fe80::1%eth0", "link-local"), ("2606:4700::1111%1", "not public"),
    ("", "no address"), ("localhost", "no address"), ("127.1", "no address"), ("2130706433", "no address"),
    ("0x7f.0.0.1", "no address"), ("127.0.0.1:80", "no address"), ("[::1]", "no address"), ("１.1.1.1", "no address"),
])  # fmt: skip
def test_no_request_goes_to(address: str, what: str) -> None:
    assert forbidden(address) == what


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.0", "172.32.0.1", "223.255.255.254",
                "2606:4700:4700::1111", "2400:3200::1", "2a00:1450:4001::1"],
)  # fmt: skip
def test_a_request_may_go_to(address: str) -> None:
    assert forbidden(address) is None


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1"])
def test_for_development_loopback_passes_and_nothing_else_does(address: str) -> None:
    assert forbidden(address, loopback=True) is None
    for other in ("10.0.0.1", "169.254.169.254", "0.0.0.0", "::", "::ffff:127.0.0.1", "fe80::1"):
        assert forbidden(other, loopback=True) is not None


def test_the_ends_of_every_network_are_refused() -> None:
    for name in FORBIDDEN:
        network = ip_network(name)
        assert forbidden(str(network[0])) and forbidden(str(network[-1])), name


@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)))
def test_what_python_takes_for_no_public_address_is_none(address: IPv4Address | IPv6Address) -> None:
    if not address.is_global or address.is_multicast or address.is_link_local or address.is_loopback:
        assert forbidden(str(address)) is not None


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_written_as_an_ipv6_one_is_refused_whatever_it_is(address: IPv4Address) -> None:
    for prefix in ("::ffff:", "64:ff9b::", "::"):
        assert forbidden(prefix + str(address)) is not None
    assert forbidden(str(IPv6Address(0x2002 << 112 | int(address) << 80))) == "6to4"
