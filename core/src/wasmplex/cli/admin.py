"""``[admin] listen``: whether the host lives, whether it serves, and its figures."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

import anyio

from wasmplex.cli.logs import say
from wasmplex.logs import get_logger

if TYPE_CHECKING:
    import socket

    from anyio.abc import TaskGroup

    from wasmplex.metrics import Family
    from wasmplex.triggers.http.wire import Wire

__all__ = ["Admin", "Collect"]

log = get_logger("wasmplex.admin")

Collect: TypeAlias = "Callable[[], Awaitable[Sequence[Family]]]"

_PLAIN: Final = b"text/plain; charset=utf-8"


class Admin:
    """Answers on an address of its own, whichever hosts or workers serve the workloads.

    :param collect: returns the figures of all of them
    :param ready: says whether requests are served, and new ones welcome
    """

    def __init__(self, collect: Collect, ready: Callable[[], bool]) -> None:
        self._collect = collect
        self._ready = ready
        self._sockets: Sequence[socket.socket] = ()
        self._scope = anyio.CancelScope()

    def move(self, sockets: Sequence[socket.socket], tasks: TaskGroup) -> None:
        """Answer on these sockets, which stay the caller's, and no more on those before."""
        if list(sockets) == list(self._sockets):
            return
        self._scope.cancel()
        self._sockets, self._scope = sockets, anyio.CancelScope()
        for sock in sockets:
            tasks.start_soon(self._serve, sock.dup(), self._scope)

    async def _serve(self, sock: socket.socket, scope: anyio.CancelScope) -> None:
        from wasmplex.triggers.http.http1.server import HttpServer, listen
        from wasmplex.triggers.http.settings import HttpSettings

        address = "{}:{}".format(*sock.getsockname()[:2])
        settings = HttpSettings.model_validate(
            {"listen": address, "max_connections": 64, "max_head": "8KiB", "keep_alive": "75s"}
        )
        with scope:
            listen(sock, settings.listen, settings.backlog)
            say(f"livez, readyz and metrics: http://{settings.listen}")
            await HttpServer(self._answer, settings).serve(sock)

    async def _answer(self, wire: Wire) -> None:
        status, kind, body = await self._answered(wire)
        headers = [(b"content-type", kind), (b"cache-control", b"no-store")]
        if status == 405:
            headers.append((b"allow", b"GET, HEAD"))
        sent = b"" if wire.method == "HEAD" else body
        if not wire.answer(status, [*headers, (b"content-length", b"%d" % len(body))], sent):
            wire.start(status, headers, len(body))
            await wire.send(sent, ())

    async def _answered(self, wire: Wire) -> tuple[int, bytes, bytes]:
        if wire.method not in ("GET", "HEAD"):
            return 405, _PLAIN, b"GET or HEAD\n"
        match wire.path():
            case "/livez":
                return 200, _PLAIN, b"ok\n"
            case "/readyz":
                return (200, _PLAIN, b"ok\n") if self._ready() else (503, _PLAIN, b"not serving\n")
            case "/metrics":
                from wasmplex.metrics.exposition import CONTENT_TYPE, exposition

                return 200, CONTENT_TYPE.encode(), exposition(await self._collect())
        return 404, _PLAIN, b"there are /livez, /readyz and /metrics\n"
