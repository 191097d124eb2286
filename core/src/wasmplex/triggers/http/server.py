"""Run uvicorn inside our own task group: our socket, our protocol, our signals, our shutdown."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import anyio
import uvicorn

from wasmplex.errors import FailureError
from wasmplex.triggers.http.asgi import Application
from wasmplex.triggers.http.outbox import Outbox
from wasmplex.triggers.http.protocol import HttpProtocol
from wasmplex.triggers.http.settings import Address, HttpSettings

__all__ = ["HttpServer", "listen"]

_GRACE = 1.0
"""Seconds that cancelled requests get to unwind."""


async def listen(address: Address, backlog: int) -> socket.socket:
    """Return a socket that listens; port 0 is any free one.

    :raises wasmplex.errors.FailureError: if it cannot
    """
    try:
        found = await anyio.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, where = found[0]
        return _bound(socket.socket(family, kind, protocol), where, backlog)
    except OSError as error:
        raise _cannot_listen(address, error) from error


def _bound(sock: socket.socket, where: object, backlog: int) -> socket.socket:
    try:
        sock.setblocking(False)
        if os.name == "posix":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(where)  # type: ignore[arg-type]  # what getaddrinfo returned
        sock.listen(backlog)
    except OSError:
        sock.close()
        raise
    return sock


def _cannot_listen(address: Address, error: OSError) -> FailureError:
    elsewhere = Address(address.host, 8081 if address.port == 8080 else 8080)
    fixes = {
        errno.EADDRINUSE: (f'stop what listens there, or set [http] listen = "{elsewhere}"'),
        errno.EACCES: f'use a port from 1024 on: [http] listen = "{elsewhere}"',
        errno.EADDRNOTAVAIL: f'use an address of this machine: [http] listen = "127.0.0.1:{address.port}"',
    }
    name_unknown = isinstance(error, socket.gaierror)
    fix = fixes[errno.EADDRNOTAVAIL] if name_unknown else fixes.get(error.errno or 0, "")
    why = error.strerror or str(error)
    return FailureError(f"cannot listen on {address}", where="[http] listen", why=why.lower(), fix=fix)


class _Uvicorn(uvicorn.Server):
    """uvicorn without its hands on the process: signals are the host's business."""

    def __init__(self, config: uvicorn.Config, on_started: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_started = on_started

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_started()

    async def on_tick(self, counter: int) -> bool:
        now = anyio.current_time()
        for connection in [*self.server_state.connections]:
            if isinstance(connection, HttpProtocol) and connection.deadline < now:
                connection.expire()
        return await super().on_tick(counter)


class HttpServer:
    """One listening socket and the connections made to it.

    :param app: the ASGI application
    :param settings: bounds and deadlines of the connections
    """

    def __init__(self, app: Application, settings: HttpSettings) -> None:
        self._settings = settings
        self._server = _Uvicorn(_config(app, settings), self._started)
        self._on_started: Callable[[], None] = _nothing
        self._ended = anyio.Event()

    async def serve(self, sock: socket.socket, on_started: Callable[[], None] | None = None) -> None:
        """Serve until `drain` or cancellation. The socket is closed in any case."""
        self._on_started = on_started or _nothing
        try:
            await self._server.serve(sockets=[sock])
        finally:
            with anyio.CancelScope(shield=True):
                await self._cut()
            sock.close()
            self._ended.set()

    async def drain(self) -> None:
        """Accept nothing new and return when what is under way has been answered."""
        self._server.should_exit = True
        await self._ended.wait()

    def _started(self) -> None:
        self._on_started()

    async def _cut(self) -> None:
        """End what is left: after a cancellation that is everything."""
        for server in getattr(self._server, "servers", ()):
            server.close()
        state = self._server.server_state
        for task in [*state.tasks]:
            task.cancel()
        for connection in [*state.connections]:
            connection.transport.abort()
        with anyio.move_on_after(_GRACE):
            while state.tasks or state.connections:  # noqa: ASYNC110  uvicorn keeps them as sets
                await anyio.sleep(0.005)


def _config(app: Application, settings: HttpSettings) -> uvicorn.Config:
    protocol = type("HttpProtocol", (HttpProtocol,), {"settings": settings, "outbox": Outbox()})
    server_header = [("server", settings.server_header)] if settings.server_header else []
    return uvicorn.Config(
        app, http=protocol, ws="none", lifespan="off", interface="asgi3", backlog=settings.backlog,
        log_config=None, log_level="warning", access_log=False, proxy_headers=False, server_header=False,
        headers=server_header,
    )  # fmt: skip


def _nothing() -> None:
    pass
