"""A whole host as one ASGI application, for those who have a web server already."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio

from wasmplex.config import HostConfig
from wasmplex.errors import WasmplexError
from wasmplex.host import Host
from wasmplex.triggers.http import http_application
from wasmplex.triggers.http.asgi import Application, Receive, Scope, Send

__all__ = ["HostApplication", "asgi"]


def asgi(config: Path | str | HostConfig, *, drain_timeout: float = 30.0, **options: Any) -> HostApplication:
    """Return an ASGI application that serves the HTTP workloads of a configuration.

    The server has to support the lifespan protocol, as uvicorn, hypercorn and granian do: the host starts
    and stops with it. Mounted in another application, which keeps that protocol to itself, it has to be given
    to that one: see `HostApplication.lifespan`. ``[http]`` is not used, and no other trigger runs.

    :param config: a configuration file, its directory, or what `wasmplex.config.load` returned
    :param drain_timeout: seconds that requests under way may take when the server stops
    :param options: those of `wasmplex.Host`
    :raises wasmplex.errors.ConfigError: with everything that is wrong in the file
    """
    if isinstance(config, HostConfig):
        return HostApplication(Host(config, **options), drain_timeout)
    return HostApplication(Host.from_config(config, **options), drain_timeout)


class HostApplication:
    """See `asgi`.

    :ivar host: the host; it runs between startup and shutdown of the server
    """

    def __init__(self, host: Host, drain_timeout: float = 30.0) -> None:
        self.host = host
        self._drain_timeout = drain_timeout
        self._app: Application | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection scope as ASGI has it."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif self._app is None:
            raise RuntimeError(
                "the host is not running: the server did not send lifespan.startup; if it is mounted in "
                "another application, start that with lifespan=app.lifespan of what wasmplex.asgi() returned"
            )
        else:
            await self._app(scope, receive, send)

    @asynccontextmanager
    async def lifespan(self, app: object = None) -> AsyncIterator[None]:
        """Run the host: ``FastAPI(lifespan=wasm.lifespan)``, or ``async with wasm.lifespan()`` in your own.

        On leaving, requests under way are answered first, for as long as `drain_timeout` says.

        :param app: the application that this one is mounted in, which frameworks hand over; not looked at
        :raises wasmplex.errors.WasmplexError: what kept the host from starting
        """
        async with self.host:
            self._app = http_application(self.host.trigger_bindings("http"))
            try:
                yield
                with anyio.move_on_after(self._drain_timeout):
                    await self.host.drain()
            finally:
                self._app = None

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            async with self.lifespan():
                await send({"type": "lifespan.startup.complete"})
                await receive()
        except WasmplexError as error:
            await send({"type": "lifespan.startup.failed", "message": error.render()})
            return
        await send({"type": "lifespan.shutdown.complete"})
