"""Bodies that go out: the resources ``outgoing-body`` and its stream."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol

from wasmplex.plugin import Err, Variant

from host_plugin_wasi.http.errors import HttpError, stream_failed
from host_plugin_wasi.http.fields import Fields
from host_plugin_wasi.io import OutputStream, Pollable, Signal, SignalPollable, Violation, closed

__all__ = ["BodySink", "OutgoingBody", "OutgoingStream"]

_ROOM = 64 * 1024
"""Bytes of a body that are held for a message that has not been sent off yet."""


class BodySink(Protocol):
    """Where a body goes. Nothing here waits; `on_room` says when to come back."""

    on_room: Callable[[], None] | None

    def room(self) -> int:
        """Return how many bytes `write` takes now."""

    def write(self, data: bytes) -> None:
        """Take a piece."""

    def finish(self, trailers: Sequence[tuple[bytes, bytes]] | None = None) -> None:
        """Take the end.

        :raises HttpError: if it cannot send the trailers
        """

    def abandon(self) -> None:
        """Learn that there will be no end."""


class OutgoingBody:
    """The resource ``outgoing-body``.

    What is written before its message is sent off is held, up to a limit.

    :param too_long: the case of ``error-code`` for a body that is not as long as its content-length says
    :ivar error: why nothing more can be written
    """

    __slots__ = (
        "_changed", "_ended", "_expected", "_finished", "_held", "_sink", "_taken", "_too_long", "_trailers",
        "_written", "error",
    )  # fmt: skip

    def __init__(
        self, headers: Fields, too_long: Literal["HTTP-request-body-size", "HTTP-response-body-size"]
    ) -> None:
        try:
            self._expected = headers.content_length()
        except ValueError:
            raise Err from None
        self._too_long = too_long
        self._sink: BodySink | None = None
        self._held: list[bytes] = []
        self._written = 0
        self._taken = False
        self._ended = False
        self._finished = False
        self._trailers: Sequence[tuple[bytes, bytes]] | None = None
        self._changed: Signal | None = None
        self.error: HttpError | None = None

    def send_to(self, sink: BodySink) -> None:
        """Have what was held, and all that follows, go to `sink`: the message is being sent off."""
        self._sink = sink
        if self._changed is not None:
            sink.on_room = self._changed.notify
        for piece in self._held:
            sink.write(piece)
        self._held.clear()
        if self._finished:
            sink.finish(self._trailers)
        elif self._ended:
            sink.abandon()
        if self._changed is not None:
            self._changed.notify()

    def may_be_empty(self) -> None:
        """Let the body be empty whatever content-length says: it is the answer to a HEAD, say."""
        if not self._written:
            self._expected = None

    def fail(self, error: HttpError) -> None:
        """Have the guest's next write fail: nobody takes it any more."""
        self.error = error.fresh()
        if self._changed is not None:
            self._changed.notify()

    # ------------------------------------------------------------ for the stream

    def changed(self) -> Signal:
        """Return what is notified when `settled` may say yes."""
        if self._changed is None:
            self._changed = Signal()
            if self._sink is not None:
                self._sink.on_room = self._changed.notify
        return self._changed

    def settled(self) -> bool:
        """Say whether `room` would be more than 0, or raise."""
        return self._ended or self.error is not None or self.room() > 0

    def room(self) -> int:
        """Return how many bytes may be written; raises ``stream-error`` after the end or an error."""
        if self.error is not None:
            raise stream_failed(self.error)
        if self._ended:
            raise closed()
        return self._sink.room() if self._sink is not None else max(0, _ROOM - self._written)

    def write(self, contents: bytes) -> None:
        """Send a piece on."""
        self._written += len(contents)
        if self._expected is not None and self._written > self._expected:
            self.error = self._wrong_size()
            self.drop()
            raise stream_failed(self.error)
        if self._sink is not None:
            self._sink.write(contents)
        else:
            self._held.append(contents)

    def stuck(self) -> bool:
        """Say whether waiting is in vain: the message has not been sent off, and what is held is full."""
        return self._sink is None and not self.settled()

    def _wrong_size(self) -> HttpError:
        return HttpError(
            Variant(self._too_long, self._written),
            f"content-length says {self._expected} bytes, the body has {self._written}",
        )

    # ------------------------------------------------------------ the guest's

    def write_stream(self) -> OutgoingStream:
        """Return the stream, once; ``[method]outgoing-body.write``."""
        if self._taken:
            raise Err
        self._taken = True
        return OutgoingStream(self)

    @staticmethod
    def finish(this: OutgoingBody, trailers: Fields | None) -> None:
        """End the body; raises ``error-code`` if it cannot be sent as it is."""
        if this._expected is not None and this._written != this._expected and this.error is None:
            this.error = this._wrong_size()
        if this.error is not None:
            this.drop()
            raise Err(this.error.code)
        this._ended = this._finished = True
        sent = this._wire(trailers) if trailers is not None else None
        if this._sink is None:
            this._trailers = sent
            return
        try:
            this._sink.finish(sent)
        except HttpError as error:
            raise Err(error.code) from None

    def _wire(self, trailers: Fields) -> list[tuple[bytes, bytes]]:
        return trailers.sent() if self._too_long == "HTTP-response-body-size" else trailers.as_made()

    def drop(self) -> None:
        """End the body before its end: whoever receives it must not take it for whole."""
        if not self._ended:
            self._ended = True
            if self._sink is not None:
                self._sink.abandon()


class OutgoingStream(OutputStream):
    """The stream of an outgoing body."""

    __slots__ = ("_body",)

    def __init__(self, body: OutgoingBody) -> None:
        self._body = body

    def check_write(self) -> int:
        """Return how many bytes may be written; see `OutputStream.check_write`."""
        return self._body.room()

    def write(self, contents: bytes) -> None:
        """Write a piece; see `OutputStream.write`."""
        body = self._body
        if len(contents) > body.room():
            raise Violation("wasi:http: a write of more than check-write permits")
        body.write(contents)

    def blocking_write_and_flush(self, contents: bytes) -> Any:
        """Write at once if there is room, else wait for it."""
        body = self._body
        if len(contents) <= body.room():
            body.write(contents)
            return None
        return super().blocking_write_and_flush(contents)

    def blocking_flush(self) -> Any:
        """Return at once: what was written leaves without being asked to."""
        self._body.room()
        return None

    async def _blocking_flush(self) -> None:
        self._body.room()

    def subscribe(self) -> Pollable:
        """Return a pollable that is ready when there is room."""
        return SignalPollable(self._body.settled, self._body.changed())

    async def _room(self) -> int:
        if self._body.stuck():
            raise Violation(
                "wasi:http: the guest waits for room in a body whose message it has not sent off, and"
                f" {_ROOM} bytes are held already; call response-outparam.set, or handle, before writing more"
            )
        return await super()._room()
