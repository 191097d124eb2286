"""The trigger ``http`` as the host knows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from wasmplex.plugins.contracts import Trigger, TriggerBinding
from wasmplex.triggers.http.settings import Address, HttpSettings, RouteSettings

if TYPE_CHECKING:
    import socket

    from anyio.abc import TaskStatus

    from wasmplex.triggers.http.http1.server import HttpServer

__all__ = ["HttpTrigger"]


class HttpTrigger(Trigger):
    """Serves workloads that export a way to handle HTTP requests, all on one socket."""

    name = "http"
    settings = RouteSettings
    host_settings = HttpSettings

    def __init__(self) -> None:
        self._server: HttpServer | None = None
        self._adopted: Sequence[socket.socket] = ()

    async def serve(
        self,
        bindings: Sequence[TriggerBinding],
        settings: HttpSettings,
        *,
        task_status: TaskStatus[Mapping[str, Any]],
    ) -> None:
        """Serve until cancelled or drained; reports ``{"listen": "127.0.0.1:8080", "url": "http://..."}``.

        :raises wasmplex.errors.ConfigError: if two workloads want the same requests
        :raises wasmplex.errors.FailureError: if it cannot listen
        """
        # Late, for a command that serves nothing should not wait for a web server to be imported.
        from wasmplex.triggers.http.application import HttpApplication
        from wasmplex.triggers.http.http1.server import HttpServer, bind, listen

        app = HttpApplication(bindings, access_log=settings.access_log)
        sock = self._adopted[0] if self._adopted else await bind(settings.listen)
        listen(sock, settings.listen, settings.backlog)
        address = Address(*sock.getsockname()[:2])
        self._server = HttpServer(app.handle, settings)
        report = {"listen": str(address), "url": f"http://{address}"}
        await self._server.serve(sock, lambda: task_status.started(report))

    async def share(self, settings: HttpSettings) -> Sequence[socket.socket]:
        """Return one socket, bound to where the settings say.

        :raises wasmplex.errors.FailureError: if that is taken, or no address of this machine
        """
        from wasmplex.triggers.http.http1.server import bind

        return [await bind(settings.listen)]

    def address(self, settings: HttpSettings) -> object:
        """Return where it listens: all else can change around a socket."""
        return settings.listen

    def adopt(self, sockets: Sequence[socket.socket]) -> None:
        """Serve on a socket that `share` opened."""
        self._adopted = sockets

    async def relieve(self) -> None:
        """Accept nothing new, close each connection with its next answer, and return when all are closed."""
        if self._server is not None:
            await self._server.relieve()

    async def drain(self) -> None:
        """Accept nothing new and return when every request under way has been answered."""
        if self._server is not None:
            await self._server.drain()
