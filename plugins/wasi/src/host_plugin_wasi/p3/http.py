"""``wasi:http@0.3``: types and client; `host_plugin_wasi.p3.handler` calls a component's ``handler``."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from wasmplex.plugin import BoundInterfaces, methods

from host_plugin_wasi.http.allowlist import AllowedHosts
from host_plugin_wasi.http.client import Gate
from host_plugin_wasi.http_settings import OutgoingSettings
from host_plugin_wasi.p3.client import Client
from host_plugin_wasi.p3.fields import Fields3
from host_plugin_wasi.p3.messages import Options3, Request, Response

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from wasmplex.plugin import HostFunctions, ImportRequest, WorkloadContext

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


class _Interfaces(BoundInterfaces):
    """The interfaces of one workload. Each import of ``client`` has connections of its own."""

    def __init__(self, allowed: AllowedHosts, gate: Gate, closing: AsyncExitStack) -> None:
        self._allowed = allowed
        self._gate = gate
        self._closing = closing

    def serve(self, request: ImportRequest) -> HostFunctions:
        """Return the functions of an interface."""
        if request.name != "client":
            return _TYPES if request.name == "types" else {}
        settings = request.settings if isinstance(request.settings, OutgoingSettings) else OutgoingSettings()
        client = Client(self._allowed, settings, self._gate.admit)
        self._gate.handlers.append(client)
        self._closing.push_async_callback(client.close)
        return {"send": client.send}


@asynccontextmanager
async def bind(workload: WorkloadContext) -> AsyncIterator[BoundInterfaces]:
    """Bind ``wasi:http`` for a workload; its connections are its own, and are closed with it.

    :raises wasmplex.errors.ConfigError: if ``allowed_hosts`` has an entry that is not a host
    """
    allowed = AllowedHosts(workload.grants.allowed_hosts, workload.name)
    async with AsyncExitStack() as closing:
        yield _Interfaces(allowed, Gate.of(workload), closing)
