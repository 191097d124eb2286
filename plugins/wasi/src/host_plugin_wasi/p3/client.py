"""``wasi:http/client`` 0.3: sends a guest's requests, and their bodies while it waits for the answer."""

from __future__ import annotations

from asyncio import Event, Task, current_task, get_running_loop
from collections.abc import Callable

from wasmplex.plugin import Err

from host_plugin_wasi.http.allowlist import AllowedHosts
from host_plugin_wasi.http.client import OutgoingHandler
from host_plugin_wasi.http.errors import HttpError, internal, report
from host_plugin_wasi.http.messages import IncomingResponse, RequestOptions
from host_plugin_wasi.http.outbound import Outbound
from host_plugin_wasi.http.upload import Upload
from host_plugin_wasi.http_settings import OutgoingSettings
from host_plugin_wasi.p3.bodies import Body, GuestBody, Outcome
from host_plugin_wasi.p3.messages import Request, Response

__all__ = ["Client"]


class Client(OutgoingHandler):
    """Sends the requests of one import, over connections of its own."""

    def __init__(
        self,
        allowed: AllowedHosts,
        settings: OutgoingSettings | None = None,
        admit: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(allowed, settings, admit)
        self._feeding: set[Task[None]] = set()

    async def close(self) -> None:
        """Cancel what is under way, and close every connection."""
        for task in self._feeding:
            task.cancel()
        await super().close()

    async def send(self, request: Request) -> Response:
        """Send a request; return the response when its head is here. Raises ``error-code``."""
        outcome, body = request.outcome or Outcome(), request.take()
        task = current_task()
        assert task is not None  # noqa: S101  it is a coroutine
        self.tasks.add(task)
        try:
            return await self._exchange(request, body, outcome)
        except HttpError as error:
            report(request.line.authority(), error)
            outcome.say(error.fresh())
            body.drop()
            raise Err(error.code) from None
        except BaseException:
            outcome.say(HttpError(internal("the request was given up")))
            body.drop()
            raise
        finally:
            self.tasks.discard(task)

    async def _exchange(self, request: Request, body: Body, outcome: Outcome) -> Response:
        line = request.line
        checked = self.check(line, has_body=not _is_empty(body))
        feed = _Feed(checked, body, outcome)
        task = feed.begin()
        self._feeding.add(task)
        task.add_done_callback(self._feeding.discard)
        if _is_empty(body):
            await feed.ready.wait()  # what is whole leaves with its head
        try:
            response = await self.exchange(checked, feed.upload, request.options or RequestOptions())
        except BaseException:
            task.cancel()
            raise
        return _received(response)


def _received(response: IncomingResponse) -> Response:
    return Response.received(*response.parts())


def _is_empty(body: Body) -> bool:
    return isinstance(body, GuestBody) and body.contents is None


class _Feed:
    """Takes a body from the guest, no faster than the connection takes it.

    :ivar ready: set when all of it is here
    """

    def __init__(self, request: Outbound, body: Body, outcome: Outcome) -> None:
        self.error: HttpError | None = None
        self.upload = Upload(request, self)
        self.upload.on_outcome = outcome.say
        self.upload.on_room = self._has_room
        self.ready = Event()
        self._task: Task[None] | None = None
        self._body = body
        self._room = Event()

    def _has_room(self) -> None:
        self._room.set()

    def begin(self) -> Task[None]:
        """Begin to hand the body over, to its end."""
        self._task = get_running_loop().create_task(self._run())
        self._task.add_done_callback(self._ended)
        return self._task

    async def _run(self) -> None:
        upload = self.upload
        try:
            async for piece in self._body.stream():
                while not upload.room():
                    self._room.clear()
                    await self._room.wait()
                upload.write(piece)
            trailers = await self._body.trailers()
            upload.finish(trailers.as_made() if trailers is not None else None)
        except HttpError:
            pass  # the upload has kept it for whoever sends
        except Err as error:
            self.error = HttpError(error.value, "the guest broke off the body of its request")
            upload.abandon()
        except Exception:
            upload.abandon()
            raise
        finally:
            self.ready.set()

    def _ended(self, task: Task[None]) -> None:
        """Let go of the body, also where the task was cancelled before its first step."""
        if task.cancelled():
            self.upload.abandon()
        self.ready.set()
        self._body.drop()

    def fail(self, error: HttpError) -> None:
        """Take no more of the body: nobody wants it."""
        self.error = self.error or error.fresh()
        if self._task is not None:
            self._task.cancel()
