"""One request and its response on a connection.

A request's body is sent by a task of its own while the response is read: a server may answer before it has
read everything, and may read no further until its answer is taken.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from wasmplex.capabilities.http import Headers
from wasmplex.plugin import Variant

from host_plugin_wasi.http.connection import Connection
from host_plugin_wasi.http.errors import HttpError, internal
from host_plugin_wasi.http.outbound import Outbound, chunk, last_chunk
from host_plugin_wasi.http.responses import Head, ResponseParser
from host_plugin_wasi.http.upload import Upload
from host_plugin_wasi.http_settings import OutgoingSettings

__all__ = ["Exchange", "Unheard"]

_TERMINATED = Variant("connection-terminated")
_PIECE = 64 * 1024
"""Bytes that are parsed at once: a server may make each of them a chunk of its own."""


class Unheard(HttpError):
    """The server closed the connection before a word of an answer: it may not have seen the request."""


class Exchange:
    """One request and its response; also the response's body, as a `BodySource`.

    :param pause: seconds that either side may do nothing for in the midst of a body
    :ivar on_failure: told what the body of the response ends with if not with its end
    :ivar on_over: told once that the connection is free, and whether it can be used again
    :ivar sending: what sends the body, while it does
    """

    def __init__(
        self, request: Outbound, connection: Connection, settings: OutgoingSettings, pause: float
    ) -> None:
        self.on_failure: Callable[[HttpError], None] | None = None
        self.on_over: Callable[[bool], None] | None = None
        self.sending: asyncio.Task[None] | None = None
        self._request = request
        self._connection = connection
        self._parser = ResponseParser(settings, to_head=request.method == b"HEAD")
        self._expect = settings.expect_timeout
        self._pause = pause
        self._sent = False
        self._answered = False  # the head of the response is here
        self._word: asyncio.Event | None = None  # of the server, that it wants the body or that it does not
        self._ready = b""  # what came of the body with the head of the response
        self._error: HttpError | None = None

    # ------------------------------------------------------------ the request

    def send(self, upload: Upload | None, whole: bytes | None) -> None:
        """Send the head, and the body with it if it is `whole` and need not wait; else begin to send it.

        :raises HttpError: if there is a line in the head that is none
        """
        head = self._request.head(None if whole is None else len(whole))
        waits = self._request.expects and whole != b""
        if whole is not None and not waits:
            self._connection.write(head + whole)
            self._sent = True
            if upload is not None:
                upload.over(None)
            return
        self._connection.write(head)
        if waits:
            self._word = asyncio.Event()
        self.sending = asyncio.get_running_loop().create_task(self._send_body(upload, whole))

    async def _send_body(self, upload: Upload | None, whole: bytes | None) -> None:
        error: HttpError | None = HttpError(_TERMINATED, "nobody takes the rest of the request")
        try:
            if self._word is not None:
                await self._permission(self._word)
            if whole is not None:
                self._connection.write(whole)
            elif upload is not None:
                await self._send_pieces(upload)
            self._sent, error = True, None
        except HttpError as failed:
            error = failed
        finally:
            self.sending = None
            if error is not None and upload is not None:
                self._give_up(upload, error)
            if upload is not None:
                upload.over(upload.error or error)
            self._settle()

    async def _permission(self, word: asyncio.Event) -> None:
        """Wait for ``100 Continue``, but not for long: not every server says it (RFC 9110 section 10.1.1)."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._expect):
                await word.wait()
        if self._answered:
            raise HttpError(_TERMINATED, "the server has answered without the body")

    async def _send_pieces(self, upload: Upload) -> None:
        """Send a body as it comes: in chunks, or as many bytes as the guest has said."""
        length, sent = self._request.length, 0
        while (piece := upload.take()) != b"":
            if piece is None:
                await upload.changed.wait()
                continue
            sent += len(piece)
            if length is not None and sent > length:
                break
            self._connection.write(chunk(piece) if length is None else piece)
            await self._connection.drained(self._pause)
        if length is None:
            self._connection.write(last_chunk(upload.trailers))
        elif sent != length:
            upload.error = HttpError(Variant("HTTP-request-body-size", sent), "not what content-length says")
            raise upload.error.fresh()

    def _give_up(self, upload: Upload, error: HttpError) -> None:
        """Let no server take half a body for a whole one. What it has answered by then may still be read."""
        if upload.error is None:
            upload.fail(error)
        if upload.error is not None or error.code.tag == "connection-write-timeout":
            self.fail(error)

    # ------------------------------------------------------------ the response

    async def response(self, until: float) -> Head:
        """Return the response when its head is here.

        :param until: the loop's time at which to give up
        :raises Unheard: if the server closed the connection without a word
        :raises HttpError: if it does not come to a response
        """
        while True:
            data = self._take_of_head()
            if data is None:
                await self._more(until, "the head of the response does not come")
            elif found := self._parser.feed_head(data):
                break
            elif self._parser.continued and self._word is not None:
                self._word.set()
        head, rest = found
        self._answered = True
        if self._word is not None:
            self._word.set()
        try:
            self._ready = self._feed(rest)
        except HttpError as error:
            self._error = error.fresh()  # for whoever reads the body
        return head

    def _take_of_head(self) -> bytes | None:
        if self._error is not None:
            raise self._error.fresh()
        kind = HttpError if self._connection.heard else Unheard
        data = self._connection.take(_PIECE)
        if data == b"":
            raise kind(_TERMINATED, "the server closed the connection before its response")
        if data is None and (failed := self._connection.failure) is not None:
            raise kind(failed.code, failed.message)
        return data

    async def read(self) -> bytes:
        """Return the next piece; see `BodySource.read`."""
        while (piece := self.read_nowait()) is None:
            until = asyncio.get_running_loop().time() + self._pause
            await self._more(until, "the rest of the response does not come")
        return piece

    def read_nowait(self) -> bytes | None:
        """Return the next piece if it is here; see `BodySource.read_nowait`."""
        if self._ready:
            piece, self._ready = self._ready, b""
            return piece
        try:
            return self._next()
        except HttpError as error:
            self.fail(error)
            raise

    def _next(self) -> bytes | None:
        while not self._parser.done:
            if self._error is not None:
                raise self._error.fresh()
            data = self._connection.take(_PIECE)
            if data is None and (failed := self._connection.failure) is not None:
                raise failed.fresh()
            if data is None:
                return None
            if piece := self._feed(data):
                return piece
            if not data:
                self._parser.end()
                self._settle()
        return b""

    def _feed(self, data: bytes) -> bytes:
        piece = self._parser.feed(data)
        self._settle()
        return piece

    async def _more(self, until: float, why: str) -> None:
        try:
            await self._connection.more(until)
        except TimeoutError:
            self.fail(HttpError(Variant("connection-read-timeout"), why))
            raise HttpError(Variant("connection-read-timeout"), why) from None

    def trailers(self) -> Headers | None:
        """Return the trailers, after the end."""
        return self._parser.trailers

    # ------------------------------------------------------------ the end

    def close(self) -> None:
        """Read no more: the connection is of no use any more, unless the response was whole."""
        if not self._parser.done:
            self.on_failure = None
            self.fail(HttpError(internal("the body of the response was closed")))

    def fail(self, error: HttpError) -> None:
        """End it with an error for whoever reads or writes."""
        self._error = self._error or error.fresh()
        on_failure, self.on_failure = self.on_failure, None
        if on_failure is not None:
            on_failure(error)
        self._leave(reusable=False)

    def _settle(self) -> None:
        """Let go of the connection when both sides are done with it, or one of them never will be."""
        if self._parser.done and (self._sent or self.sending is None):
            self._leave(reusable=self._sent and self._clean())

    def _clean(self) -> bool:
        parser, connection = self._parser, self._connection
        return parser.keep_alive and not parser.excess and not connection.pending and not connection.ended

    def _leave(self, *, reusable: bool) -> None:
        on_over, self.on_over = self.on_over, None
        if on_over is not None:
            if self.sending is not None:
                self.sending.cancel()
            on_over(reusable)
