"""The ASGI application: finds the workload, borrows an instance, turns what goes wrong into a status."""

from __future__ import annotations

from asyncio import CancelledError
from http import HTTPStatus
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple, cast

import anyio

from wasmplex.capabilities.http import BodyTooLarge, HttpFailure, HttpHandler
from wasmplex.errors import DeadlineExceeded, LimitExceeded, WasmplexError, exited_well
from wasmplex.logs import get_logger
from wasmplex.plugins.contracts import Workload
from wasmplex.plugins.triggers import TriggerBinding
from wasmplex.triggers.http.access import log_access, status_of
from wasmplex.triggers.http.asgi import AsgiWire, Receive, Scope, Send, answer_plainly
from wasmplex.triggers.http.exchange import Exchange
from wasmplex.triggers.http.refusal import Refused
from wasmplex.triggers.http.requestid import RequestOrigin
from wasmplex.triggers.http.routing import Route, Router
from wasmplex.triggers.http.suspension import attentive
from wasmplex.triggers.http.watch import DisconnectWatch
from wasmplex.triggers.http.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["HttpApplication"]

log = get_logger("wasmplex.http")

_TEXT = (b"content-type", b"text/plain; charset=utf-8")
_RETRY_AFTER = (b"retry-after", b"1")
_CLOSE = (b"connection", b"close")


class _Target(NamedTuple):
    workload: Workload
    handler: HttpHandler
    max_body: int
    report: Callable[[str, float], None] | None


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
        try:
            wire = AsgiWire(scope, receive, send)
        except Refused as refused:
            await answer_plainly(send, refused)
            return
        self._watch.add(wire)
        try:
            await self.handle(wire)
        finally:
            self._watch.discard(wire)
            wire.close()

    async def handle(self, wire: Wire) -> None:
        """Answer one request."""
        self._active += 1
        begun, target = perf_counter(), self._find(wire)
        exchange = Exchange(wire, target.max_body if target is not None else 0)
        whose = RequestOrigin(target.workload.name if target is not None else "", wire.headers)
        try:
            with whose:
                try:
                    await self._serve(target, exchange, wire, whose)
                finally:
                    if self._access_log:
                        log_access(wire, exchange, begun)
                    if target is not None and target.report is not None:
                        target.report(str(status_of(exchange)), perf_counter() - begun)
        finally:
            self._active -= 1
            if self._idle is not None and not self._active:
                self._idle.set()
                self._idle = None

    async def drain(self) -> None:
        """Return when no request is under way. The caller brings the deadline."""
        while self._active:
            self._idle = self._idle or anyio.Event()
            await self._idle.wait()

    async def _serve(
        self, target: _Target | None, exchange: Exchange, wire: Wire, whose: RequestOrigin
    ) -> None:
        if target is None:
            _answer(exchange, 404, f"no workload serves {exchange.path}")
        elif wire.length is not None and wire.length > target.max_body:
            _answer(exchange, 413, f"a request body may have {target.max_body} bytes", _CLOSE)
        else:
            await self._call(target, exchange, wire, whose)
        if exchange.finished and not exchange.complete and not exchange.disconnected:
            try:
                if not exchange.flush_whole():
                    await exchange.flush()
            except OSError:
                log.debug("%r: the client went away", exchange)

    def _find(self, wire: Wire) -> _Target | None:
        router = self._router
        if router.everything is not None:
            return router.everything
        return router.find(wire.host, wire.path())

    async def _call(self, target: _Target, exchange: Exchange, wire: Wire, whose: RequestOrigin) -> None:
        """Have the guest answer; on return the exchange has an answer, or one that was cut off."""
        wire.on_disconnect = exchange.gone
        borrowing = target.workload.instance(wire.scope)
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


def _route(binding: TriggerBinding) -> Route[_Target]:
    workload, settings = binding.workload, binding.settings
    target = _Target(workload, cast("HttpHandler", binding.handler), workload.max_body, binding.report)
    return Route(settings.host, settings.path, target, workload.name, binding.where)


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
    """Answer for a guest that did not, or cut its answer off, and say in the log why.

    An answer that was whole before stays so: it is what the guest made of the request.
    """
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
    well = exited_well(error)
    if exchange.finished and well:
        return
    status, known = _status_of(error)
    ident = whose.request_id
    if exchange.finished:
        status, outcome = exchange.status, " (after its answer)"
    elif _answer(exchange, status, f"request id: {ident}", (b"x-request-id", ident.encode())):
        outcome = ""
    else:
        outcome = " (the answer was cut off)"
    log.error(
        "%s %s%s: %s%s",
        exchange.method, exchange.path, outcome, error if str(error) else type(error).__name__,
        " before the end of its answer" if well else "",
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
