"""``wasi:http@0.3``: types and client; `host_plugin_wasi.p3.handler` calls a component's ``handler``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wasmplex.plugin import methods

from host_plugin_wasi.http.binding import Sender, bind_http
from host_plugin_wasi.p3.client import Client
from host_plugin_wasi.p3.fields import Fields3
from host_plugin_wasi.p3.messages import Options3, Request, Response

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from wasmplex.plugin import BoundInterfaces, HostFunctions, WorkloadContext

__all__ = ["bind"]

_TYPES: HostFunctions = {
    "[constructor]fields": Fields3,
    "[static]fields.from-list": Fields3.from_list,
    **methods("fields", Fields3, "get has set delete get-and-delete append clone"),
    "[method]fields.copy-all": Fields3.entries,
    "[static]request.new": Request.new,
    **methods(
        "request",
        Request,
        "get-method set-method get-path-with-query set-path-with-query get-scheme set-scheme get-authority"
        " set-authority get-options get-headers",
    ),
    "[static]request.consume-body": Request.consume_body,
    "[constructor]request-options": Options3,
    "[method]request-options.get-connect-timeout": Options3.connect_timeout,
    "[method]request-options.get-first-byte-timeout": Options3.first_byte_timeout,
    "[method]request-options.get-between-bytes-timeout": Options3.between_bytes_timeout,
    **methods(
        "request-options",
        Options3,
        "set-connect-timeout set-first-byte-timeout set-between-bytes-timeout clone",
    ),
    "[static]response.new": Response.new,
    **methods("response", Response, "get-status-code set-status-code get-headers"),
    "[static]response.consume-body": Response.consume_body,
}


_SENDER = Sender("client", "send", Client)


def bind(workload: WorkloadContext) -> AbstractAsyncContextManager[BoundInterfaces]:
    """Bind ``wasi:http``; see `host_plugin_wasi.http.binding`."""
    return bind_http(_TYPES, _SENDER, workload)
