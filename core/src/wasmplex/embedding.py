"""A whole host as one ASGI application, for those who have a web server already."""

from __future__ import annotations

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
    and stops with it. ``[http]`` is not used, and no other trigger runs.

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
            raise RuntimeError("the host is not running: the server did not send lifespan.startup")
        else:
            await self._app(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            async with self.host:
                self._app = http_application(self.host.trigger_bindings("http"))
                await send({"type": "lifespan.startup.complete"})
                await receive()
                with anyio.move_on_after(self._drain_timeout):
                    await self.host.drain()
        except WasmplexError as error:
            await send({"type": "lifespan.startup.failed", "message": error.render()})
            return
        finally:
            self._app = None
        await send({"type": "lifespan.shutdown.complete"})
