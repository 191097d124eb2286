"""A request's body on its way from the guest to its connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from host_plugin_wasi.http.errors import HttpError, internal
from host_plugin_wasi.http.outbound import Outbound, Trailers, sendable_trailers
from host_plugin_wasi.io import Signal

__all__ = ["Upload", "Writer"]

_ROOM = 64 * 1024


class Writer(Protocol):
    """Whoever writes a body.

    :ivar error: why it will have no end
    """

    error: HttpError | None

    def fail(self, error: HttpError) -> None:
        """Learn that nothing more is taken."""


class Upload:
    """A `BodySink` on one side; on the other, whoever sends what was written.

    :param body: what the guest writes to; it is told why nobody takes the rest
    :ivar trailers: what comes after the body
    :ivar changed: notified when `take`, `finished` or `error` may say something new
    :ivar error: why the body has no end
    :ivar on_outcome: told whether all of the body was handed to the connection
    """

    def __init__(self, request: Outbound, body: Writer) -> None:
        self.trailers: Trailers = ()
        self.changed = Signal()
        self.error: HttpError | None = None
        self.on_room: Callable[[], None] | None = None
        self.on_outcome: Callable[[HttpError | None], None] | None = None
        self._request = request
        self._body = body
        self._pieces: list[bytes] = []
        self._size = 0
        self._finished = False

    # ------------------------------------------------------------ the guest's side

    def room(self) -> int:
        """Return how many bytes may be written."""
        return max(0, _ROOM - self._size)

    def write(self, data: bytes) -> None:
        """Take a piece."""
        self._pieces.append(data)
        self._size += len(data)
        self.changed.notify()

    def finish(self, trailers: Trailers | None = None) -> None:
        """Take the end.

        :raises HttpError: if the trailers cannot be sent: leaving them out in silence would lose data
        """
        try:
            self.trailers = sendable_trailers(trailers, self._request) if trailers else ()
        except HttpError as error:
            self._fail(error)
            raise
        self._finished = True
        self.changed.notify()

    def abandon(self) -> None:
        """Have the request fail."""
        self._fail(self._body.error or HttpError(internal("the guest gave up the body of its request")))

    def _fail(self, error: HttpError) -> None:
        self.error = error.fresh()
        self.changed.notify()

    # ------------------------------------------------------------ the sender's side

    def fail(self, error: HttpError) -> None:
        """Take nothing more."""
        self._body.fail(error)

    def over(self, error: HttpError | None) -> None:
        """Say that all was handed to the connection, or why not."""
        if self.on_outcome is not None:
            self.on_outcome(error)

    def whole(self) -> bytes | None:
        """Return the body if it is all there and nothing follows it, else None.

        :raises HttpError: if there will be no end
        """
        if self.error is not None:
            raise self.error.fresh()
        if not self._finished or self.trailers:
            return None
        return b"".join(self._pieces)

    def take(self) -> bytes | None:
        """Return what was written since, ``b""`` at the end, None if there is nothing yet.

        :raises HttpError: if there will be no end
        """
        if self.error is not None:
            raise self.error.fresh()
        if not self._pieces:
            return b"" if self._finished else None
        pieces, self._pieces, self._size = self._pieces, [], 0
        if self.on_room is not None:
            self.on_room()
        return b"".join(pieces)
