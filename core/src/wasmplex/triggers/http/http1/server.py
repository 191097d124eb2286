"""One listening socket, and the connections made to it: their deadlines, the date, the end."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from typing import Final

import anyio

from wasmplex.errors import FailureError
from wasmplex.settings import Address
from wasmplex.triggers.http.http1.connection import Connection
from wasmplex.triggers.http.http1.shared import Member, Shared
from wasmplex.triggers.http.settings import HttpSettings
from wasmplex.triggers.http.wire import Wire

__all__ = ["HttpServer", "bind", "listen"]

_GRACE: Final = 1.0
"""Seconds that cancelled requests get to unwind."""
_LAST: Final = 5.0
"""Seconds that a connection without a request gets for one more when another server takes over."""
_MOMENT: Final = 0.25
"""Seconds that it gets when the server drains."""
_ACCEPTED: Final = 0.05
"""Seconds until what the loop has accepted is among the connections, and what came on them is read."""
_SWEEP: Final = 0.1
"""Seconds between two looks at all deadlines."""


async def bind(address: Address, setting: str = "[http] listen") -> socket.socket:
    """Return a socket that has the address, port 0 being any free one, and does not listen yet.

    Until it does, whoever connects is refused: a check whether the host is up fails while it compiles.

    :param setting: what names the address, for messages

    :raises wasmplex.errors.FailureError: if it cannot have it
    """
    try:
        found = await anyio.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, where = found[0]
        return _bound(socket.socket(family, kind, protocol), where)
    except OSError as error:
        raise _cannot_listen(address, error, setting) from error


def listen(sock: socket.socket, address: Address, backlog: int) -> None:
    """Have a socket listen; it is closed if it cannot, because another one does by now.

    :raises wasmplex.errors.FailureError: if it cannot
    """
    try:
        sock.listen(backlog)
    except OSError as error:
        sock.close()
        raise _cannot_listen(address, error) from error


def _bound(sock: socket.socket, where: object) -> socket.socket:
    try:
        sock.setblocking(False)
        if os.name == "posix":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(where)  # type: ignore[arg-type]  # what getaddrinfo returned
    except OSError:
        sock.close()
        raise
    return sock


def _cannot_listen(address: Address, error: OSError, setting: str = "[http] listen") -> FailureError:
    elsewhere = Address(address.host, 8081 if address.port == 8080 else 8080)
    fixes = {
        errno.EADDRINUSE: f'stop what listens there, or set {setting} = "{elsewhere}"',
        errno.EACCES: f'use a port from 1024 on: {setting} = "{elsewhere}"',
        errno.EADDRNOTAVAIL: f'use an address of this machine: {setting} = "127.0.0.1:{address.port}"',
    }
    name_unknown = isinstance(error, socket.gaierror)
    fix = fixes[errno.EADDRNOTAVAIL] if name_unknown else fixes.get(error.errno or 0, "")
    why = error.strerror or str(error)
    return FailureError(f"cannot listen on {address}", where=setting, why=why.lower(), fix=fix)


class HttpServer:
    """One listening socket and the connections made to it.

    :param handle: answers one request; returns when nothing is left to do for it
    :param settings: bounds and deadlines of the connections
    """

    def __init__(self, handle: Callable[[Wire], Awaitable[None]], settings: HttpSettings) -> None:
        self._shared = Shared(handle, settings)
        self._backlog = settings.backlog
        self._listener: asyncio.AbstractServer | None = None
        self._draining = anyio.Event()
        self._ended = anyio.Event()

    async def serve(self, sock: socket.socket, on_started: Callable[[], None] | None = None) -> None:
        """Serve until `drain` or cancellation. The socket is closed in any case."""
        loop, shared = asyncio.get_running_loop(), self._shared
        sweep = _Sweep(shared, loop)
        try:
            listener = self._listener = await loop.create_server(
                lambda: Connection(shared, loop), sock=sock, backlog=self._backlog
            )
            try:
                if on_started is not None:
                    on_started()
                await self._draining.wait()
            finally:
                listener.close()
                sock.close()
            await self._answer_the_rest()
        finally:
            with anyio.CancelScope(shield=True):
                await self._cut()
            sweep.stop()
            sock.close()
            self._ended.set()

    async def relieve(self) -> None:
        """Leave new connections to another server; return when the last one here has been closed.

        A client that sends a request when the connection is closed does not know whether it was served. So
        each connection is closed with its next answer, which says so, or when it has not asked for a while.
        """
        if self._listener is not None:
            self._listener.close()
        self._shared.draining = True
        await anyio.sleep(_ACCEPTED)
        await self._closed(lambda connection: connection.shutdown(_LAST))

    async def drain(self) -> None:
        """Accept nothing new and return when what is under way has been answered."""
        self._draining.set()
        await self._ended.wait()

    async def _answer_the_rest(self) -> None:
        # Who keeps a connection may have sent a request by now: it is answered, not cut.
        self._shared.draining = True
        await anyio.sleep(_ACCEPTED)
        await self._closed(lambda connection: connection.shutdown(_MOMENT))

    async def _closed(self, tell: Callable[[Member], None]) -> None:
        """Tell every connection to close, and return when all have."""
        shared, idle = self._shared, anyio.Event()
        shared.on_idle = idle.set
        for connection in [*shared.connections]:
            tell(connection)
        if shared.connections or shared.tasks:
            await idle.wait()

    async def _cut(self) -> None:
        """End what is left: after a cancellation that is everything."""
        shared = self._shared
        shared.outbox.flush()
        for task in [*shared.tasks]:
            task.cancel()
        for connection in [*shared.connections]:
            connection.abort()
        with anyio.move_on_after(_GRACE):
            while shared.tasks or shared.connections:  # noqa: ASYNC110  rare, and soon over
                await anyio.sleep(0.005)


class _Sweep:
    """Ends what has outlived its deadline, and keeps the date right, until it is stopped."""

    def __init__(self, shared: Shared, loop: asyncio.AbstractEventLoop) -> None:
        self._shared = shared
        self._loop = loop
        self._date_until = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._look()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None

    def _look(self) -> None:
        now = self._loop.time()
        self._timer = self._loop.call_later(_SWEEP, self._look)
        if now >= self._date_until:
            self._date_until = now + 1
            self._shared.date = b"date: %s\r\n" % formatdate(usegmt=True).encode()
        for connection in [*self._shared.connections]:
            if connection.deadline < now:
                connection.expire()
