"""The trigger ``http`` as the host knows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from wasmplex.plugins.triggers import RunningTrigger, Trigger, TriggerBinding
from wasmplex.settings import Address
from wasmplex.triggers.http.settings import HttpSettings, RouteSettings

if TYPE_CHECKING:
    import socket

    from anyio.abc import TaskStatus

    from wasmplex.triggers.http.http1.server import HttpServer

__all__ = ["HttpTrigger", "RunningHttp"]


class HttpTrigger(Trigger):
    """Serves workloads that export a way to handle HTTP requests, all on one socket."""

    name = "http"
    settings = RouteSettings
    host_settings = HttpSettings

    def start(
        self, bindings: Sequence[TriggerBinding], settings: HttpSettings, sockets: Sequence[socket.socket]
    ) -> RunningHttp:
        """Return what serves the bindings on one socket."""
        return RunningHttp(bindings, settings, sockets)

    async def share(self, settings: HttpSettings) -> Sequence[socket.socket]:
        """Return one socket, bound to where the settings say.

        :raises wasmplex.errors.FailureError: if that is taken, or no address of this machine
        """
        from wasmplex.triggers.http.http1.server import bind

        return [await bind(settings.listen)]

    def address(self, settings: HttpSettings) -> object:
        """Return where it listens: all else can change around a socket."""
        return settings.listen


class RunningHttp(RunningTrigger):
    """The server of one host."""

    def __init__(
        self, bindings: Sequence[TriggerBinding], settings: HttpSettings, sockets: Sequence[socket.socket]
    ) -> None:
        self._bindings = bindings
        self._settings = settings
        self._sockets = sockets
        self._server: HttpServer | None = None

    async def serve(self, *, task_status: TaskStatus[Mapping[str, Any]]) -> None:
        """Serve until cancelled or drained; reports ``{"listen": "127.0.0.1:8080", "url": "http://..."}``.

        :raises wasmplex.errors.ConfigError: if two workloads want the same requests
        :raises wasmplex.errors.FailureError: if it cannot listen
        """
        # Late, for a command that serves nothing should not wait for a web server to be imported.
        from wasmplex.triggers.http.application import HttpApplication
        from wasmplex.triggers.http.http1.server import HttpServer, bind, listen

        settings = self._settings
        app = HttpApplication(self._bindings, access_log=settings.access_log)
        sock = self._sockets[0] if self._sockets else await bind(settings.listen)
        listen(sock, settings.listen, settings.backlog)
        address = Address(*sock.getsockname()[:2])
        self._server = HttpServer(app.handle, settings)
        report = {"listen": str(address), "url": f"http://{address}"}
        await self._server.serve(sock, lambda: task_status.started(report))

    async def relieve(self) -> None:
        """Accept nothing new, close each connection with its next answer, and return when all are closed."""
        if self._server is not None:
            await self._server.relieve()

    async def drain(self) -> None:
        """Accept nothing new and return when every request under way has been answered."""
        if self._server is not None:
            await self._server.drain()
