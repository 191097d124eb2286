"""Calls a guest's ``incoming-handler`` for a request: the adapter between the trigger and the export."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from wasmplex.capabilities.http import HttpExchange, HttpFailure
from wasmplex.plugin import Err, ExportAdapter, GuestExit, GuestInstance, Ok, Variant

from host_plugin_wasi.http.errors import HttpError, internal, status_of
from host_plugin_wasi.http.messages import IncomingRequest, OutgoingResponse
from host_plugin_wasi.http.outgoing import OutgoingBody
from host_plugin_wasi.packages import VERSION

if TYPE_CHECKING:
    from wasmplex.plugin import Export

__all__ = ["IncomingHandler", "ResponseOutparam"]

_WITHOUT_CONTENT = frozenset({204, 205, 304})
_OVER = HttpError(Variant("connection-terminated"), "the call that this body belongs to is over")


class IncomingHandler(ExportAdapter):
    """Drives ``wasi:http/incoming-handler`` of every 0.2.x."""

    trigger = "http"
    interface = f"wasi:http/incoming-handler@{VERSION}"

    def adapt(self, export: Export) -> Callable[..., Awaitable[Any]]:
        """Return the handler; see `wasmplex.capabilities.http.HttpHandler`."""
        name = f"{export.name}#handle"

        async def handle(instance: GuestInstance, exchange: HttpExchange) -> None:
            outparam = ResponseOutparam(exchange)
            request = IncomingRequest(exchange)
            try:
                await instance.call(name, request, outparam)
            except GuestExit as exit_:
                if exit_.code == 0:  # as good as a return
                    outparam.check()
                raise
            finally:
                request.end()
                outparam.end()
            outparam.check()

        return handle


class ResponseOutparam:
    """The resource ``response-outparam``."""

    __slots__ = ("_answered", "_body", "_exchange", "_failure")

    def __init__(self, exchange: HttpExchange) -> None:
        self._exchange = exchange
        self._answered = False
        self._body: OutgoingBody | None = None
        self._failure: HttpFailure | None = None

    @staticmethod
    def set(param: ResponseOutparam, response: Ok[OutgoingResponse] | Err[Variant]) -> None:
        """Start the response, or note that there will be none."""
        param._answered = True
        if isinstance(response, Err):
            code = response.value or internal("")
            text = f": {code.value}" if code.value is not None else ""
            why = f"the guest answered with the error {code.tag}{text}"
            param._failure = HttpFailure("no response", status=status_of(code), why=why)
        elif response.value is not None:
            param._start(response.value)

    def _start(self, response: OutgoingResponse) -> None:
        exchange, body = self._exchange, response.body_taken
        without = response.status in _WITHOUT_CONTENT or exchange.method == "HEAD"
        if body is None and not without and (why := _lacks_body(response)):
            self._failure = HttpFailure("the guest's response cannot be sent", why=why)
            return
        try:
            exchange.start(response.status, response.fields.sent())
        except HttpFailure as failure:
            self._failure = failure
            if body is not None:
                body.fail(HttpError(internal(str(failure)), str(failure)))
            return
        if body is None:
            exchange.finish()
            return
        self._body = body
        if without:
            body.may_be_empty()
        body.send_to(exchange)

    def end(self) -> None:
        """Have nothing more written: the call is over."""
        self._exchange.on_room = None
        if self._body is not None:
            self._body.error = _OVER

    def check(self) -> None:
        """Raise if the guest has returned without a response.

        :raises HttpFailure: then
        """
        if self._failure is not None:
            raise self._failure
        if not self._answered:
            raise HttpFailure("the guest returned without calling response-outparam.set")


def _lacks_body(response: OutgoingResponse) -> str:
    try:
        length = response.fields.content_length()
    except ValueError as error:
        return str(error)
    return f"content-length says {length} bytes, and there is no body" if length else ""
