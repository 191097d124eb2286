"""Hosts and ports: what an authority names, in the one spelling that the allow-list and the pool compare."""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import NamedTuple

__all__ = ["Authority", "Origin", "normal_host", "parse"]

_AUTHORITY = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>[0-9]{0,5}))?")
_LABEL = re.compile(r"[a-z0-9_-]{1,63}")
_NUMERIC = re.compile(r"[0-9]+|0x[0-9a-f]*")
_MAX_NAME = 253
"""Characters of a name that DNS can hold."""


class Authority(NamedTuple):
    """Host and port that a request goes to.

    :ivar host: as `normal_host` writes it, but with the dot at its end that tells a resolver that the name is
        whole, if it was there
    """

    host: str
    port: int

    @property
    def name(self) -> str:
        """The host without the dot at its end: what is compared with a list, or with a certificate."""
        return self.host.removesuffix(".")

    @property
    def address(self) -> str:
        """The host as a resolver takes it: without brackets."""
        return self.host.strip("[]")


@lru_cache(maxsize=256)
def parse(text: str, default_port: int) -> Authority:
    """Read the authority of an ``http`` or ``https`` URI (RFC 3986 section 3.2, RFC 9110 section 4.2).

    :raises ValueError: if it is none, has a user, or a host that nobody could connect to
    """
    match = _AUTHORITY.fullmatch(text)
    if match is None:
        raise ValueError("not a host and a port")
    port = int(match["port"]) if match["port"] else default_port
    if not 0 < port < 2**16:
        raise ValueError("not a port")
    host = normal_host(match["host"])
    return Authority(host + "." if match["host"].endswith(".") else host, port)


class Origin(NamedTuple):
    """Whom a connection leads to: what is for one origin never goes over a connection to another."""

    tls: bool
    authority: Authority


def normal_host(text: str) -> str:
    """Return a host in lower case, without a dot at its end; an IPv6 address in brackets, in its short form.

    Numbers that resolvers would read as an address though they are not written as one (``127.1``,
    ``0x7f000001``, ``2130706433``) are refused, so that one address has one spelling.

    :raises ValueError: if it is neither a name that DNS can hold nor an address
    """
    if text.startswith("["):
        try:
            return f"[{IPv6Address(text[1:-1])}]"
        except AddressValueError as error:
            raise ValueError("not an IPv6 address") from error
    host = text.lower().removesuffix(".")
    labels = host.split(".")
    if len(host) > _MAX_NAME or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError("not a host name")
    if _NUMERIC.fullmatch(labels[-1]):
        if text.endswith("."):
            raise ValueError("an address has no dot at its end")
        try:
            return str(IPv4Address(host))
        except AddressValueError as error:
            raise ValueError("not an IPv4 address") from error
    return host
