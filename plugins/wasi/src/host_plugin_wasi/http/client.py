"""``outgoing-handler``: sends a guest's requests, to the hosts that its workload may reach."""

from __future__ import annotations

from asyncio import Task, get_running_loop
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from string import ascii_letters, digits, punctuation
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import anyio.to_thread
from wasmplex.plugin import Err, Ok, Variant

from host_plugin_wasi.http.allowlist import AllowedHosts
from host_plugin_wasi.http.errors import HttpError, internal
from host_plugin_wasi.http.messages import IncomingResponse, OutgoingRequest, RequestOptions
from host_plugin_wasi.http.upload import Upload
from host_plugin_wasi.io import FuturePollable, Pollable

if TYPE_CHECKING:
    from host_plugin_wasi.http.transport import Transport

__all__ = ["FutureIncomingResponse", "OutgoingHandler"]

_DEFAULT_PORTS = {"http": 80, "https": 443}
_ASCII = ascii_letters + digits + punctuation
_DENIED = Variant("HTTP-request-denied")


class OutgoingHandler:
    """Sends the requests of one workload, over connections of its own."""

    def __init__(self, allowed: AllowedHosts) -> None:
        self._allowed = allowed
        self._transport: Transport | None = None
        self._tasks: set[Task[IncomingResponse]] = set()
        self._closed = False

    @asynccontextmanager
    async def open(self) -> AsyncIterator[OutgoingHandler]:
        """Bring it to life; on leaving, requests under way are cancelled and connections closed."""
        try:
            yield self
        finally:
            self._closed = True
            for task in self._tasks:
                task.cancel()
            if self._transport is not None:
                with anyio.CancelScope(shield=True):
                    await self._transport.close()

    def handle(self, request: OutgoingRequest, options: RequestOptions | None) -> FutureIncomingResponse:
        """Send a request off; raises ``error-code`` if it may not, or cannot, be sent."""
        url = self._url(request)
        upload = None
        if request.body_taken is not None:
            upload = Upload(request.body_taken.fail)
            request.body_taken.send_to(upload)
        task = get_running_loop().create_task(self._send(request, url, upload, options or RequestOptions()))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return FutureIncomingResponse(task)

    def _url(self, request: OutgoingRequest) -> str:
        scheme, authority = request.scheme_name, request.authority()
        if scheme not in _DEFAULT_PORTS:
            raise Err(Variant("HTTP-protocol-error"))
        if not authority:
            raise Err(Variant("HTTP-request-URI-invalid"))
        host, port = _host_and_port(authority, _DEFAULT_PORTS[scheme])
        if self._closed or (host, port) not in self._allowed:
            raise Err(_DENIED)
        path = request.path_with_query() or "/"
        if path[0] == "?":
            path = f"/{path}"
        return f"{scheme}://{authority}{path if path.isascii() else quote(path, safe=_ASCII)}"

    async def _send(
        self, request: OutgoingRequest, url: str, upload: Upload | None, options: RequestOptions
    ) -> IncomingResponse:
        transport = self._transport or await self._load()
        try:
            return await transport.send(request.verb, url, request.fields.sent(), upload, options)
        except HttpError as error:
            if request.body_taken is not None:
                request.body_taken.fail(error)
            raise

    async def _load(self) -> Transport:
        """Import the client library, in a thread: it takes a while, and most workloads never need it."""
        module = await anyio.to_thread.run_sync(import_module, "host_plugin_wasi.http.transport")
        if self._transport is None:
            self._transport = module.Transport()
        return self._transport


def _host_and_port(authority: str, default: int) -> tuple[str, int]:
    host, colon, port = authority.rpartition(":")
    if not colon or port.endswith("]"):
        return authority, default
    return host, int(port) if port else default


class FutureIncomingResponse:
    """The resource ``future-incoming-response``."""

    __slots__ = ("_given", "_task")

    def __init__(self, task: Task[IncomingResponse]) -> None:
        self._task = task
        self._given = False

    def subscribe(self) -> Pollable:
        """Return a pollable that is ready when `get` has an answer."""
        return FuturePollable(self._task)

    def get(self) -> Any:
        """Return None before the response, then the response or the error, once."""
        task = self._task
        if not task.done():
            return None
        if self._given:
            return Err()
        self._given = True
        if task.cancelled():
            return Ok(Err(internal("the request was cancelled")))
        error = task.exception()
        if error is None:
            return Ok(Ok(task.result()))
        if isinstance(error, HttpError):
            return Ok(Err(error.code))
        raise error

    def drop(self) -> None:
        """Cancel the request, or let go of a response that nobody took."""
        task = self._task
        if not task.done():
            task.cancel()
        elif not self._given and not task.cancelled() and task.exception() is None:
            task.result().drop()
