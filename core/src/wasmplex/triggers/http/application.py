"""The ASGI application: finds the workload, borrows an instance, turns what goes wrong into a status."""

from __future__ import annotations

from asyncio import CancelledError
from http import HTTPStatus
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple, cast

import anyio

from wasmplex.capabilities.http import BodyTooLarge, HttpFailure, HttpHandler
from wasmplex.errors import DeadlineExceeded, LimitExceeded, WasmplexError
from wasmplex.logs import get_logger
from wasmplex.plugins.contracts import TriggerBinding, Workload
from wasmplex.triggers.http.access import log_access
from wasmplex.triggers.http.asgi import Receive, Scope, Send
from wasmplex.triggers.http.exchange import Exchange
from wasmplex.triggers.http.requestid import RequestOrigin
from wasmplex.triggers.http.routing import Route, Router
from wasmplex.triggers.http.suspension import attentive
from wasmplex.triggers.http.watch import DisconnectWatch

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["HttpApplication"]

log = get_logger("wasmplex.http")

_TEXT = (b"content-type", b"text/plain; charset=utf-8")
_RETRY_AFTER = (b"retry-after", b"1")
_CLOSE = (b"connection", b"close")


class _Target(NamedTuple):
    workload: Workload
    handler: HttpHandler
    max_body: int


class HttpApplication:
    """Serves workloads as one ASGI application, under any ASGI server.

    :param bindings: the workloads; `TriggerBinding.settings` are `RouteSettings`
    :param access_log: one log line for each request, logger ``wasmplex.http.access``
    :raises wasmplex.errors.ConfigError: if two workloads want the same requests
    """

    def __init__(self, bindings: Iterable[TriggerBinding], *, access_log: bool = False) -> None:
        self._router = Router([_route(binding) for binding in bindings])
        self._access_log = access_log
        self._watch = DisconnectWatch()
        self._active = 0
        self._idle: anyio.Event | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection scope as ASGI has it."""
        if scope["type"] != "http":
            await _not_http(scope, receive, send)
            return
        self._active += 1
        begun, target = perf_counter(), self._find(scope)
        exchange = Exchange(scope, receive, send, target.max_body if target is not None else 0)
        whose = RequestOrigin(target.workload.name if target is not None else "", scope["headers"])
        try:
            with whose:
                try:
                    await self._serve(target, exchange, scope, whose)
                finally:
                    if self._access_log:
                        log_access(scope, exchange, begun)
        finally:
            self._active -= 1
            if self._idle is not None and not self._active:
                self._idle.set()

    async def drain(self) -> None:
        """Return when no request is under way. The caller brings the deadline."""
        while self._active:
            self._idle = anyio.Event()
            await self._idle.wait()

    async def _serve(
        self, target: _Target | None, exchange: Exchange, scope: Scope, whose: RequestOrigin
    ) -> None:
        if target is None:
            _answer(exchange, 404, f"no workload serves {scope['path']}")
        elif _content_length(scope) > target.max_body:
            _answer(exchange, 413, f"a request body may have {target.max_body} bytes", _CLOSE)
        else:
            await self._call(target, exchange, whose)
        if exchange.finished and not exchange.complete and not exchange.disconnected:
            try:
                if not exchange.flush_whole():
                    await exchange.flush()
            except OSError:
                log.debug("%r: the client went away", exchange)

    def _find(self, scope: Scope) -> _Target | None:
        if self._router.everything is not None:
            return self._router.everything
        path, root = scope["path"], scope.get("root_path")
        if root and path.startswith(root):
            path = path[len(root) :] or "/"
        router = self._router
        return router.find(None if router.any_host_only else _host(scope), path)

    async def _call(self, target: _Target, exchange: Exchange, whose: RequestOrigin) -> None:
        """Have the guest answer; on return the exchange has an answer, or one that was cut off."""
        connection = exchange.connection
        if connection is not None:
            connection.on_disconnect = exchange.gone
        else:
            self._watch.add(exchange)
        borrowing = target.workload.instance()
        exchange.on_disconnect = borrowing.cancel
        borrowed = False
        try:
            async with borrowing as instance:
                borrowed = True
                await attentive(target.handler(instance, exchange), exchange.nudge)
            _check(exchange)
        except CancelledError:
            exchange.close()
            raise
        except Exception as error:  # noqa: BLE001  whatever it is, the client gets an answer and the log the cause
            _fail(exchange, target, error, whose, borrowed=borrowed)
        finally:
            exchange.on_disconnect = None
            if connection is None:
                self._watch.discard(exchange)


def _route(binding: TriggerBinding) -> Route[_Target]:
    workload, settings = binding.workload, binding.settings
    target = _Target(workload, cast("HttpHandler", binding.handler), workload.max_body)
    return Route(settings.host, settings.path, target, workload.name, binding.where)


# ---------------------------------------------------------------- what is asked for


def _host(scope: Scope) -> str | None:
    for name, value in scope["headers"]:
        if name == b"host":
            host = str(value, "latin-1").lower()
            bare, colon, port = host.rpartition(":")
            return (bare if colon and port.isdecimal() else host).rstrip(".")
    return None


def _content_length(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else 0
    return 0


# ---------------------------------------------------------------- what is answered


def _answer(exchange: Exchange, status: int, text: str, *headers: tuple[bytes, bytes]) -> bool:
    body = f"{status} {HTTPStatus(status).phrase}\n{text}\n".encode()
    return exchange.replace(status, (_TEXT, *headers), body)


def _check(exchange: Exchange) -> None:
    """Raise for a handler that returned and left something undone."""
    if exchange.too_large and not exchange.started:
        raise BodyTooLarge(exchange.max_body)
    if not exchange.status:
        raise HttpFailure("the guest returned without an answer")
    if not exchange.finished:
        raise HttpFailure("the guest returned before the end of its answer")


def _fail(
    exchange: Exchange, target: _Target, error: Exception, whose: RequestOrigin, *, borrowed: bool
) -> None:
    """Answer for a guest that did not, or cut its answer off, and say in the log why."""
    if exchange.disconnected:
        exchange.close()
        return
    if exchange.too_large and not exchange.started:
        _answer(exchange, 413, f"a request body may have {target.max_body} bytes", _CLOSE)
        return
    if isinstance(error, LimitExceeded) and not borrowed:
        log.warning("%s", error)
        _answer(exchange, 503, "all instances are busy", _RETRY_AFTER)
        return
    status, known = _status_of(error)
    ident = whose.request_id
    answered = _answer(exchange, status, f"request id: {ident}", (b"x-request-id", ident.encode()))
    log.error(
        "%s %s%s: %s",
        exchange.method, exchange.path_with_query, "" if answered else " (the answer was cut off)",
        error if str(error) else type(error).__name__,
        exc_info=None if known else error, extra={"status": status, "repeats": type(error).__name__},
    )  # fmt: skip


def _status_of(error: Exception) -> tuple[int, bool]:
    """Return the status for an error, and whether it is one that the host raises on purpose."""
    if isinstance(error, DeadlineExceeded):
        return 504, True
    if isinstance(error, HttpFailure):
        return error.status, True
    return 502, isinstance(error, WasmplexError)


async def _not_http(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        while True:
            kind = (await receive())["type"]
            await send({"type": f"{kind}.complete"})
            if kind == "lifespan.shutdown":
                return
    await receive()
    await send({"type": "websocket.close", "code": 1000})
