"""``wasi:http``: requests that come in, requests that go out, and the types they are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wasmplex.plugin import methods

from host_plugin_wasi.http.binding import Sender, bind_http
from host_plugin_wasi.http.client import FutureIncomingResponse, OutgoingHandler
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

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from wasmplex.plugin import BoundInterfaces, HostFunctions, WorkloadContext

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


_SENDER = Sender("outgoing-handler", "handle", OutgoingHandler)


def bind(workload: WorkloadContext) -> AbstractAsyncContextManager[BoundInterfaces]:
    """Bind ``wasi:http``; see `host_plugin_wasi.http.binding`."""
    return bind_http(_TYPES, _SENDER, workload)
