"""Network addresses, as the server writes them; MAC addresses as bytes."""

from __future__ import annotations

import ipaddress
from typing import Any

from host_plugin_postgres.codecs.model import Codec, Unfit

__all__ = ["cidr", "inet", "macaddr"]

_V4, _V6 = 2, 3
"""The families of addresses on the wire: ``PGSQL_AF_INET`` and ``PGSQL_AF_INET6``."""


def inet() -> Codec:
    """``inet``: an address, with its mask unless it is a host's."""
    return Codec("inet", lambda raw: _decode(raw, always=False), {"inet": _encode_inet, "cidr": _encode_cidr})


def cidr() -> Codec:
    """``cidr``: a network, always with its mask."""
    return Codec("cidr", lambda raw: _decode(raw, always=True), {"cidr": _encode_cidr})


def _decode(raw: bytes, *, always: bool) -> str:
    mask, address = raw[1], raw[4:]
    text = ".".join(map(str, address)) if raw[0] == _V4 else _v6(address)
    return f"{text}/{mask}" if always or mask != 8 * len(address) else text


def _v6(address: bytes) -> str:
    words = [int.from_bytes(address[at : at + 2], "big") for at in range(0, 16, 2)]
    start, length = _longest_zeros(words)
    if start == 0 and (length == 6 or (length == 5 and words[5] == 0xFFFF)):
        return f"::{'ffff:' if length == 5 else ''}{'.'.join(map(str, address[12:]))}"
    digits = [f"{word:x}" for word in words]
    if length < 2:
        return ":".join(digits)
    return f"{':'.join(digits[:start])}::{':'.join(digits[start + length :])}"


def _longest_zeros(words: list[int]) -> tuple[int, int]:
    best, start = (0, 0), 0
    for at in range(len(words) + 1):
        if at < len(words) and not words[at]:
            continue
        if at - start > best[1]:
            best = (start, at - start)
        start = at + 1
    return best


def _encode_inet(text: str) -> bytes:
    try:
        interface = ipaddress.ip_interface(_plain(text))
    except ValueError:
        raise Unfit("the text is not an IP address, with or without a mask") from None
    return _packed(interface.version, interface.network.prefixlen, interface.ip.packed, cidr=False)


def _encode_cidr(text: str) -> bytes:
    try:
        network = ipaddress.ip_network(_plain(text))
    except ValueError:
        raise Unfit("the text is not a network, or has bits to the right of its mask") from None
    return _packed(network.version, network.prefixlen, network.network_address.packed, cidr=True)


def _plain(text: str) -> str:
    """Refuse what Python reads and PostgreSQL does not: zones, masks that are addresses."""
    _, _, mask = text.partition("/")
    if "%" in text or (mask and not (mask.isascii() and mask.isdigit())):
        raise ValueError(text)
    return text


def _packed(version: int, mask: int, address: bytes, *, cidr: bool) -> bytes:
    return bytes([_V4 if version == 4 else _V6, mask, cidr, len(address)]) + address


def macaddr(case: str, size: int) -> Codec:
    """``macaddr`` and ``macaddr8``."""

    def encode(value: dict[str, Any]) -> bytes:
        raw = bytes(value["bytes"])
        if len(raw) != size:
            raise Unfit(f"a {case} has {size} bytes")
        return raw

    return Codec(case, lambda raw: {"bytes": tuple(raw)}, {case: encode})
