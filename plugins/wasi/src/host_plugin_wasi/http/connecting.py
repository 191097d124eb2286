"""Opens connections: the name, the address that answers first, TLS."""

from __future__ import annotations

import asyncio
import socket
import ssl
from functools import cache

from aiohappyeyeballs import AddrInfoType, start_connection
from wasmplex.plugin import Threads, Variant

from host_plugin_wasi.http.authority import Authority, Origin
from host_plugin_wasi.http.connection import Connection
from host_plugin_wasi.http.errors import HttpError
from host_plugin_wasi.http.failures import failure, unresolved
from host_plugin_wasi.http_settings import OutgoingSettings

__all__ = ["Connector"]

_NEXT_ADDRESS = 0.25
"""Seconds after which the next address of a name is tried beside the first (RFC 8305 section 5)."""

_THREADS = 4
_GOODBYE = 1.0
"""Seconds that a server has to answer that TLS ends."""


class Connector:
    """Opens connections with the settings of one import."""

    def __init__(self, settings: OutgoingSettings) -> None:
        self._settings = settings
        self._tls: ssl.SSLContext | None = None
        self._threads = Threads("http-lookup", _THREADS)

    async def connect(self, origin: Origin, until: float) -> Connection:
        """Return a new connection.

        :param until: the loop's time at which to give up
        :raises HttpError: if there is none by then, or at all
        """
        authority = origin.authority
        late = HttpError(Variant("DNS-timeout"), "the name is not resolved in time")
        try:
            async with asyncio.timeout_at(until):
                addresses = _literal(authority) or await self._lookup(authority)
                late = HttpError(Variant("connection-timeout"), "no connection in time")
                context = await self._context() if origin.tls else None
                return await self._open(addresses, context, authority.name)
        except TimeoutError as error:
            raise late from error
        except socket.gaierror as error:
            raise unresolved(error) from error
        except (OSError, RuntimeError) as error:  # uvloop raises both
            raise failure(error) from error

    async def _open(
        self, addresses: list[AddrInfoType], context: ssl.SSLContext | None, name: str
    ) -> Connection:
        sock = await start_connection(addresses, happy_eyeballs_delay=_NEXT_ADDRESS)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            _, connection = await asyncio.get_running_loop().create_connection(
                Connection,
                sock=sock,
                ssl=context,
                server_hostname=name.strip("[]") if context else None,
                ssl_shutdown_timeout=_GOODBYE if context else None,
            )
        except BaseException:
            sock.close()  # not every event loop does
            raise
        return connection

    def close(self) -> None:
        """Look no more names up; lookups under way end unheard."""
        self._threads.close()

    async def _lookup(self, authority: Authority) -> list[AddrInfoType]:
        """Resolve a name, in threads of this import alone: a slow resolver holds up nobody else."""
        return await self._threads.run(_resolve, authority)

    async def _context(self) -> ssl.SSLContext:
        """Read the certificates, in a thread: there are many."""
        if self._tls is None:
            if self._settings.ca is None:
                self._tls = await self._threads.run(_system_context)
            else:
                self._tls = await self._threads.run(_context, self._settings.ca)
        return self._tls


@cache
def _system_context() -> ssl.SSLContext:
    """Trust what the system trusts, or what SSL_CERT_FILE and SSL_CERT_DIR say instead."""
    return _context(None)


def _context(ca: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=ca)
    context.set_alpn_protocols(["http/1.1"])
    return context


def _literal(authority: Authority) -> list[AddrInfoType]:
    """Return the address that an authority is, if it is one."""
    host, port = authority.address, authority.port
    if ":" in host:
        return [(socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port, 0, 0))]
    if host.rpartition(".")[2].isdigit():
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port))]
    return []


def _resolve(authority: Authority) -> list[AddrInfoType]:
    host, port = authority.address, authority.port
    return [*socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)]
