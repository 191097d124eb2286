"""Socket addresses as WIT has them and as Python's `socket` has them."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Literal, TypeAlias

from wasmplex.plugin import Err, Variant

__all__ = [
    "FAMILIES", "Family", "SocketAddress", "destination", "from_wit", "ip_to_wit", "local", "same", "to_wit",
]  # fmt: skip

Family: TypeAlias = Literal["ipv4", "ipv6"]

SocketAddress: TypeAlias = tuple[Any, ...]
"""``(host, port)``, or ``(host, port, flow info, scope id)`` for IPv6."""

FAMILIES: dict[Family, socket.AddressFamily] = {"ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}

_BROADCAST = IPv4Address("255.255.255.255")


def from_wit(address: Variant) -> SocketAddress:
    """Return the Python form of an ``ip-socket-address``."""
    record = address.value
    if address.tag == "ipv4":
        return str(IPv4Address(bytes(record["address"]))), record["port"]
    ip = IPv6Address(b"".join(part.to_bytes(2, "big") for part in record["address"]))
    return str(ip), record["port"], record["flow-info"], record["scope-id"]


def to_wit(address: SocketAddress) -> Variant:
    """Return the ``ip-socket-address`` of a Python address."""
    ip = ip_to_wit(address[0])
    if ip.tag == "ipv4":
        return Variant("ipv4", {"port": address[1], "address": ip.value})
    return Variant(
        "ipv6",
        {"port": address[1], "flow-info": address[2], "address": ip.value, "scope-id": address[3]},
    )


def ip_to_wit(text: str) -> Variant:
    """Return the ``ip-address`` of a numeric address, its scope (``%eth0``) left out.

    :raises ValueError: if it is not one
    """
    ip = ip_address(text.partition("%")[0])
    if isinstance(ip, IPv4Address):
        return Variant("ipv4", tuple(ip.packed))
    packed = ip.packed
    return Variant("ipv6", tuple(int.from_bytes(packed[i : i + 2], "big") for i in range(0, 16, 2)))


def same(one: SocketAddress, other: SocketAddress) -> bool:
    """Say whether both are one address and port, whatever their flow labels."""
    return _key(one) == _key(other)


def _key(address: SocketAddress) -> Sequence[Any]:
    return ip_address(address[0].partition("%")[0]), address[1]


def local(address: Variant, family: Family, *, multicast: bool = False) -> SocketAddress:
    """Return the Python form of an address to bind to.

    :param multicast: whether multicast and broadcast addresses will do
    :raises Err: ``invalid-argument`` for the wrong family, an IPv4 address in IPv6's clothes, and
        what no socket can have for its own
    """
    parsed, ip = _parsed(address, family)
    if not multicast and (ip.is_multicast or ip == _BROADCAST):
        raise Err("invalid-argument")
    return parsed


def destination(address: Variant, family: Family, *, multicast: bool = False) -> SocketAddress:
    """Return the Python form of an address to send to; as `local`, and neither wildcard nor port 0."""
    parsed, ip = _parsed(address, family)
    if ip.is_unspecified or not parsed[1] or (not multicast and (ip.is_multicast or ip == _BROADCAST)):
        raise Err("invalid-argument")
    return parsed


def _parsed(address: Variant, family: Family) -> tuple[SocketAddress, IPv4Address | IPv6Address]:
    if address.tag != family:
        raise Err("invalid-argument")
    parsed = from_wit(address)
    ip = ip_address(parsed[0])
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
        raise Err("invalid-argument")
    return parsed, ip
