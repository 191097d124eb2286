"""``wasi:http``: requests that come in, requests that go out, and the types they are made of."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from wasmplex.plugin import BoundInterfaces, methods

from host_plugin_wasi.http.allowlist import AllowedHosts
from host_plugin_wasi.http.client import FutureIncomingResponse, Gate, OutgoingHandler
from host_plugin_wasi.http.errors import code_of
from host_plugin_wasi.http.fields import Fields
from host_plugin_wasi.http.handler import ResponseOutparam
from host_plugin_wasi.http.incoming import FutureTrailers, IncomingBody
from host_plugin_wasi.http.messages import (
    IncomingRequest,
    IncomingResponse,
    OutgoingRequest,
    OutgoingResponse,
    RequestOptions,
)
from host_plugin_wasi.http.outgoing import OutgoingBody
from host_plugin_wasi.http_settings import OutgoingSettings

if TYPE_CHECKING:
    from wasmplex.plugin import HostFunctions, ImportRequest, WorkloadContext

__all__ = ["bind"]

_TYPES: HostFunctions = {
    "http-error-code": code_of,
    "[constructor]fields": Fields,
    "[static]fields.from-list": Fields.from_list,
    **methods("fields", Fields, "get has set delete append entries clone"),
    **methods("incoming-request", IncomingRequest, "method path-with-query scheme authority headers consume"),
    "[constructor]outgoing-request": OutgoingRequest,
    **methods(
        "outgoing-request",
        OutgoingRequest,
        "body method set-method path-with-query set-path-with-query scheme set-scheme authority set-authority"
        " headers",
    ),
    "[constructor]request-options": RequestOptions,
    **methods(
        "request-options",
        RequestOptions,
        "connect-timeout set-connect-timeout first-byte-timeout set-first-byte-timeout"
        " between-bytes-timeout set-between-bytes-timeout",
    ),
    "[static]response-outparam.set": ResponseOutparam.set,
    **methods("incoming-response", IncomingResponse, "status headers consume"),
    **methods("incoming-body", IncomingBody, "stream"),
    "[static]incoming-body.finish": IncomingBody.finish,
    **methods("future-trailers", FutureTrailers, "subscribe get"),
    "[constructor]outgoing-response": OutgoingResponse,
    **methods("outgoing-response", OutgoingResponse, "status-code set-status-code headers body"),
    "[method]outgoing-body.write": OutgoingBody.write_stream,
    "[static]outgoing-body.finish": OutgoingBody.finish,
    **methods("future-incoming-response", FutureIncomingResponse, "subscribe get"),
}


class _Interfaces(BoundInterfaces):
    """The interfaces of one workload. Each import of ``outgoing-handler`` has connections of its own."""

    def __init__(self, allowed: AllowedHosts, gate: Gate, closing: AsyncExitStack) -> None:
        self._allowed = allowed
        self._gate = gate
        self._closing = closing

    def serve(self, request: ImportRequest) -> HostFunctions:
        """Return the functions of an interface."""
        if request.name != "outgoing-handler":
            return _TYPES if request.name == "types" else {}
        settings = request.settings if isinstance(request.settings, OutgoingSettings) else OutgoingSettings()
        handler = OutgoingHandler(self._allowed, settings, self._gate.admit)
        self._gate.handlers.append(handler)
        self._closing.push_async_callback(handler.close)
        return {"handle": handler.handle}


@asynccontextmanager
async def bind(workload: WorkloadContext) -> AsyncIterator[BoundInterfaces]:
    """Bind ``wasi:http`` for a workload; its connections are its own, and are closed with it.

    :raises wasmplex.errors.ConfigError: if ``allowed_hosts`` has an entry that is not a host
    """
    allowed = AllowedHosts(workload.grants.allowed_hosts, workload.name)
    async with AsyncExitStack() as closing:
        yield _Interfaces(allowed, Gate.of(workload), closing)
