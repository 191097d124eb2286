"""Calls a guest's ``wasi:http/handler`` for a request: the adapter between the trigger and the export."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from wasmplex.capabilities.http import HttpExchange, HttpFailure
from wasmplex.plugin import Err, ExportAdapter, GuestInstance, Variant

from host_plugin_wasi.http.errors import HttpError, internal
from host_plugin_wasi.http.incoming import RequestBody
from host_plugin_wasi.http.outbound import Trailers, checked_trailers
from host_plugin_wasi.p3.bodies import Body, Outcome, ReceivedBody
from host_plugin_wasi.p3.messages import Request, Response
from host_plugin_wasi.packages import VERSION_3

if TYPE_CHECKING:
    from wasmplex.plugin import Export

__all__ = ["Handler"]

_WITHOUT_CONTENT = frozenset({204, 205, 304})
_GONE = HttpError(Variant("connection-terminated"), "the client went away, or the call was given up")
_FAILED = 500


class Handler(ExportAdapter):
    """Drives ``wasi:http/handler`` of every 0.3.x."""

    trigger = "http"
    interface = f"wasi:http/handler@{VERSION_3}"
    shares_instances = True

    def adapt(self, export: Export) -> Callable[..., Awaitable[Any]]:
        """Return the handler; see `wasmplex.capabilities.http.HttpHandler`."""
        name = f"{export.name}#handle"

        async def handle(instance: GuestInstance, exchange: HttpExchange) -> None:
            body = ReceivedBody(RequestBody(exchange))
            try:
                response: Response = await instance.call(name, Request.received(exchange, body))
                await _Answer(exchange, response).send()
            except Err as error:
                raise _refused(error.value) from None
            finally:
                body.end()

        return handle


def _refused(code: Variant | None) -> HttpFailure:
    code = code or internal("")
    text = f": {code.value}" if code.value is not None else ""
    return HttpFailure(
        "no response", status=_FAILED, why=f"the guest answered with the error {code.tag}{text}"
    )


class _Answer:
    """A response on its way to the client."""

    def __init__(self, exchange: HttpExchange, response: Response) -> None:
        self._exchange = exchange
        self._response = response
        self._outcome = response.outcome or Outcome()

    async def send(self) -> None:
        """Send it; its maker is told that it went well when all of it has been handed over.

        :raises HttpFailure: if it is none that can be sent, or the guest says that it is not whole
        """
        error: HttpError | None = _GONE
        body = self._response.take()
        try:
            await self._send(body)
            error = None
        except HttpFailure as failure:
            error = HttpError(internal(str(failure)), str(failure))
            raise
        except HttpError as wrong:
            error = wrong.fresh()
            raise HttpFailure("the guest's response cannot be sent", why=wrong.message) from None
        finally:
            body.drop()
            self._exchange.on_room = None
            self._outcome.say(error)

    async def _send(self, body: Body) -> None:
        exchange, response = self._exchange, self._response
        without = response.status in _WITHOUT_CONTENT or exchange.method == "HEAD"
        try:
            length = None if without else response.headers.content_length()
        except ValueError as error:
            raise HttpFailure("the guest's response cannot be sent", why=str(error)) from None
        exchange.start(response.status, response.headers.sent())
        last = await self._pieces(body, length)
        trailers = await self._trailers(body)
        if last:
            exchange.write(last)
        exchange.finish(trailers)
        await exchange.deliver()

    async def _pieces(self, body: Body, length: int | None) -> bytes:
        """Write a body; return what completes one with a length, for more than that must not look whole."""
        exchange, sent, last = self._exchange, 0, b""
        async for piece in body.stream():
            sent += len(piece)
            if length is not None and sent >= length:
                if sent > length:
                    raise _wrong_size(length, sent)
                last = piece
                continue
            while not exchange.room():
                room = asyncio.Event()
                exchange.on_room = room.set
                await room.wait()
            exchange.write(piece)
        if length is not None and sent < length:
            raise _wrong_size(length, sent)
        return last

    async def _trailers(self, body: Body) -> Trailers | None:
        try:
            trailers = await body.trailers()
        except Err as error:
            raise HttpFailure("the guest broke its response off", why=_why(error.value)) from None
        return checked_trailers(trailers.sent()) if trailers is not None else None


def _why(code: Any) -> str:
    return f"its trailers are the error {code.tag}" if isinstance(code, Variant) else "its trailers fail"


def _wrong_size(length: int, size: int) -> HttpError:
    text = f"content-length says {length} bytes, the body has {size}"
    return HttpError(Variant("HTTP-response-body-size", size), text)
