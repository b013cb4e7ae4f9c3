"""Addresses that a request on somebody else's behalf may go to: those of the public Internet, and no others.

Who names an address could otherwise have Kami ask what only Kami can reach: the metadata service, which gives
credentials away, a database, a neighbour. The registries of special-purpose addresses say which those are (IANA; RFC
6890 and what followed it); on top of them stand the ways of writing an IPv4 address as an IPv6 one, and those of cloud
providers that lie within public ranges.
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

FORBIDDEN: dict[str, str] = {
    "0.0.0.0/8": "unspecified",
    "10.0.0.0/8": "private",
    "100.64.0.0/10": "shared",
    "127.0.0.0/8": "loopback",
    "169.254.0.0/16": "link-local",
    "172.16.0.0/12": "private",
    "192.0.0.0/24": "protocol assignments",
    "192.0.2.0/24": "documentation",
    "192.31.196.0/24": "AS112",
    "192.52.193.0/24": "AMT",
    "192.88.99.0/24": "6to4 relay",
    "192.168.0.0/16": "private",
    "192.175.48.0/24": "AS112",
    "198.18.0.0/15": "benchmarking",
    "198.51.100.0/24": "documentation",
    "203.0.113.0/24": "documentation",
    "224.0.0.0/4": "multicast",
    "240.0.0.0/4": "reserved",
    "168.63.129.16/32": "a cloud's own",  # Azure's, to every machine there
    "::/96": "unspecified, loopback, or an IPv4 address",
    "::ffff:0:0/96": "IPv4-mapped",
    "::ffff:0:0:0/96": "IPv4-translated",
    "64:ff9b::/96": "NAT64",
    "64:ff9b:1::/48": "NAT64",
    "100::/64": "discard",
    "2001::/23": "protocol assignments",  # with Teredo, an IPv4 address too
    "2001:db8::/32": "documentation",
    "2002::/16": "6to4",
    "2620:4f:8000::/48": "AS112",
    "3fff::/20": "documentation",
    "5f00::/16": "segment routing",
    "fc00::/7": "private",
    "fe80::/10": "link-local",
    "fec0::/10": "site-local",
    "ff00::/8": "multicast",
}
"""Network → what it is. The first that holds an address counts."""
_NETWORKS = [(ip_network(network), name) for network, name in FORBIDDEN.items()]
_LOOPBACK = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))
_UNICAST = IPv6Network("2000::/3")
"""All that IANA has given out of IPv6 for use on the Internet; whatever lies elsewhere is not public."""


def forbidden(address: str, *, loopback: bool = False) -> str | None:
    """What an address is, if no request may go there; None where one may. `loopback` lets those to this machine pass.

    A scope (`fe80::1%eth0`), and what is no address, is refused too.
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return "no address"
    if loopback and any(parsed in network for network in _LOOPBACK if network.version == parsed.version):
        return None
    for network, name in _NETWORKS:
        if network.version == parsed.version and parsed in network:
            return name
    if parsed.version == 6 and (parsed not in _UNICAST or "%" in address):
        return "not public"
    return None if parsed.is_global else "not public"
