"""``wasi:sockets/ip-name-lookup``: the system's resolver, in threads of its own."""

from __future__ import annotations

import socket
from asyncio import Future, get_running_loop
from collections.abc import Iterator
from ipaddress import IPv6Address, ip_address

from wasmplex.plugin import Err, Threads, Variant

from host_plugin_wasi.io import FuturePollable, Pollable
from host_plugin_wasi.sockets.addresses import ip_to_wit
from host_plugin_wasi.sockets.errors import lookup_code

__all__ = ["AddressStream", "Resolver"]

_THREADS = 4
_PENDING = 64
"""Lookups of one workload that may be under way or wait for a thread."""
_MAX_NAME = 253
"""Characters of a name, RFC 1035 2.3.4. What is longer is refused before it costs anything to look at."""


class Resolver:
    """Looks names up for one workload. A slow one cannot hold up another workload, or the host."""

    def __init__(self) -> None:
        self._threads = Threads("wasi-lookup", _THREADS)
        self._pending = 0

    def resolve(self, name: str) -> AddressStream:
        """Begin to look up `name`; the result comes through the stream.

        :raises Err: ``invalid-argument`` if it is no name, ``temporary-resolver-failure`` if too many
            lookups are under way
        """
        if len(name) > _MAX_NAME:
            raise Err("invalid-argument")
        loop = get_running_loop()
        addresses: Future[list[str]]
        if literal := _literal(name):
            addresses = loop.create_future()
            addresses.set_result([literal])
            return AddressStream(addresses)
        host = _ascii(name)
        if self._pending >= _PENDING:
            raise Err("temporary-resolver-failure")
        self._pending += 1
        addresses = self._threads.start(_addresses, host)
        addresses.add_done_callback(self._done)
        return AddressStream(addresses)

    def _done(self, addresses: Future[list[str]]) -> None:
        self._pending -= 1
        if not addresses.cancelled():
            addresses.exception()  # seen, even if the guest never asks

    def close(self) -> None:
        """Start no more lookups; those under way end unheard."""
        self._threads.close()


def _literal(name: str) -> str | None:
    try:
        ip = ip_address(name)
    except ValueError:
        return None
    if isinstance(ip, IPv6Address) and (ip.scope_id or ip.ipv4_mapped):
        raise Err("invalid-argument")
    return str(ip)


def _ascii(name: str) -> str:
    try:
        host = name.encode("idna").decode("ascii")
    except UnicodeError:
        raise Err("invalid-argument") from None
    if not host or not all(c.isalnum() or c in "-._" for c in host):
        raise Err("invalid-argument")
    return host


def _addresses(host: str) -> list[str]:
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    unique = dict.fromkeys(str(address[0]) for *_, address in found)
    return [text for text in unique if not text.startswith("::ffff:")]


class AddressStream:
    """The resource ``resolve-address-stream``."""

    def __init__(self, addresses: Future[list[str]]) -> None:
        self._addresses = addresses
        self._rest: Iterator[str] | None = None

    def resolve_next_address(self) -> Variant | None:
        """Return the next address, None after the last.

        :raises Err: ``would-block`` if the answer is not there yet; why there is none
        """
        if not self._addresses.done():
            raise Err("would-block")
        if self._addresses.cancelled():
            raise Err("temporary-resolver-failure")
        if self._rest is None:
            try:
                self._rest = iter(self._addresses.result())
            except OSError as error:
                raise Err(lookup_code(error)) from None
        text = next(self._rest, None)
        return None if text is None else ip_to_wit(text)

    def subscribe(self) -> Pollable:
        """Return a pollable that is ready when the answer is there."""
        return FuturePollable(self._addresses)
