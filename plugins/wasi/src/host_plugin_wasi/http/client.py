"""``outgoing-handler``: sends a guest's requests, to the hosts that its workload may reach."""

from __future__ import annotations

from asyncio import Task, current_task, gather, get_running_loop
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

import anyio.to_thread
from wasmplex.plugin import Err, Ok, Variant, WorkloadContext

from host_plugin_wasi.http.allowlist import AllowedHosts
from host_plugin_wasi.http.errors import HttpError, LimitReached, internal, report
from host_plugin_wasi.http.messages import IncomingResponse, OutgoingRequest, RequestOptions
from host_plugin_wasi.http.outbound import Outbound, outbound
from host_plugin_wasi.http.upload import Upload
from host_plugin_wasi.http_settings import OutgoingSettings
from host_plugin_wasi.io import FuturePollable, Pollable

if TYPE_CHECKING:
    from host_plugin_wasi.http.transport import Transport

__all__ = ["FutureIncomingResponse", "Gate", "OutgoingHandler"]


class Gate:
    """Counts the requests of a workload that are under way, through whatever import of whatever version.

    :param limit: how many there may be
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.handlers: list[OutgoingHandler] = []

    @classmethod
    def of(cls, workload: WorkloadContext) -> Gate:
        """Return the one of a workload."""
        if cls not in workload.shared:
            workload.shared[cls] = cls(workload.limits.outgoing_requests)
        found: Gate = workload.shared[cls]
        return found

    def admit(self) -> None:
        """Let one more request through.

        :raises LimitReached: if there are as many as there may be
        """
        if sum(handler.under_way for handler in self.handlers) >= self._limit:
            text = f"limits.outgoing_requests: {self._limit} requests of this workload are under way"
            raise LimitReached(internal(text), text)


class OutgoingHandler:
    """Sends the requests of one import, over connections of its own.

    :param admit: called before each request; raises `HttpError` if there may be no further one
    """

    def __init__(
        self,
        allowed: AllowedHosts,
        settings: OutgoingSettings | None = None,
        admit: Callable[[], None] = lambda: None,
    ) -> None:
        self._allowed = allowed
        self._settings = settings or OutgoingSettings()
        self._admit = admit
        self._transport: Transport | None = None
        self.tasks: set[Task[Any]] = set()
        """Those that send a request, until its response is here."""
        self._closed = False

    @property
    def under_way(self) -> int:
        """How many requests have been sent off whose responses have not ended."""
        return len(self.tasks) + (self._transport.under_way if self._transport is not None else 0)

    async def close(self) -> None:
        """Cancel what is under way, and close every connection."""
        self._closed = True
        tasks = [*self.tasks]
        for task in tasks:
            task.cancel()
        with anyio.CancelScope(shield=True):
            await gather(*tasks, return_exceptions=True)
            if self._transport is not None:
                await self._transport.close()

    def handle(self, request: OutgoingRequest, options: RequestOptions | None) -> FutureIncomingResponse:
        """Send a request off; raises ``error-code`` if it may not, or cannot, be sent."""
        try:
            checked = self.check(request, has_body=None)
            upload = self._upload(request, checked)
        except HttpError as error:
            _failed(request, error)
            raise Err(error.code) from None
        sending = self._send(request, checked, upload, options or RequestOptions())
        task = get_running_loop().create_task(sending)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)  # also if it is cancelled before it begins
        return FutureIncomingResponse(task)

    def check(self, request: OutgoingRequest, *, has_body: bool | None) -> Outbound:
        """Return what leaves for a request.

        :raises HttpError: if it may not, or cannot, be sent
        """
        checked = outbound(request, has_body=has_body)
        authority = checked.origin.authority
        if self._closed or (authority.name, authority.port) not in self._allowed:
            raise HttpError(Variant("HTTP-request-denied"), "allowed_hosts does not have it")
        self._admit()
        return checked

    def _upload(self, request: OutgoingRequest, checked: Outbound) -> Upload | None:
        body = request.body_taken
        if body is None:
            return None
        upload = Upload(checked, body)
        body.send_to(upload)
        return upload

    async def _send(
        self, request: OutgoingRequest, checked: Outbound, upload: Upload | None, options: RequestOptions
    ) -> IncomingResponse:
        try:
            return await self.exchange(checked, upload, options)
        except HttpError as error:
            _failed(request, error)
            raise
        finally:
            self._over(current_task())

    async def exchange(
        self, checked: Outbound, upload: Upload | None, options: RequestOptions
    ) -> IncomingResponse:
        """Send what `check` has returned.

        :raises HttpError: if it does not come to a response
        """
        transport = self._transport or await self._load()
        return await transport.send(checked, upload, options)

    def _over(self, task: Task[Any] | None) -> None:
        """Count a request no longer. At once: who sees its response may send the next."""
        if task is not None:
            self.tasks.discard(task)

    async def _load(self) -> Transport:
        """Import the client library, in a thread: it takes a while, and most workloads never need it."""
        module = await anyio.to_thread.run_sync(import_module, "host_plugin_wasi.http.transport")
        if self._transport is None:
            self._transport = module.Transport(self._settings)
        return self._transport


def _failed(request: OutgoingRequest, error: HttpError) -> None:
    """Tell everybody who has to know: the log, and whoever still writes the body."""
    report(request.authority(), error)
    if request.body_taken is not None:
        request.body_taken.fail(error)


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
