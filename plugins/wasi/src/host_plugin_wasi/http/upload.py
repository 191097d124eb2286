"""A request's body on its way from the guest to the client library."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence

from wasmplex.plugin import Variant

from host_plugin_wasi.http.errors import HttpError, internal
from host_plugin_wasi.io import Signal

__all__ = ["Upload"]

_ROOM = 64 * 1024


class Upload:
    """A `BodySink` on one side, bytes or an async iterator of them on the other.

    :param on_failure: told why nobody takes the rest of the body
    """

    def __init__(self, on_failure: Callable[[HttpError], None]) -> None:
        self._on_failure = on_failure
        self._pieces: list[bytes] = []
        self._size = 0
        self._finished = False
        self._abandoned = False
        self._changed = Signal()
        self.on_room: Callable[[], None] | None = None

    def room(self) -> int:
        """Return how many bytes may be written."""
        return max(0, _ROOM - self._size)

    def write(self, data: bytes) -> None:
        """Take a piece."""
        self._pieces.append(data)
        self._size += len(data)
        self._changed.notify()

    def finish(self, trailers: Sequence[tuple[bytes, bytes]] | None = None) -> None:
        """Take the end. aiohttp cannot send trailers, and leaving them out in silence would lose data."""
        if trailers:
            self.abandon()
            raise HttpError(internal("the trailers of a request cannot be sent"))
        self._finished = True
        self._changed.notify()

    def abandon(self) -> None:
        """Have the request fail."""
        self._abandoned = True
        self._changed.notify()

    def whole_or_pieces(self) -> bytes | AsyncIterator[bytes] | None:
        """Return the body: bytes if it is all there, whose length is then known, else its pieces to come."""
        if self._finished and not self._abandoned:
            return self._take() or None
        return self._follow()

    def _take(self) -> bytes:
        pieces, self._pieces, self._size = self._pieces, [], 0
        if self.on_room is not None:
            self.on_room()
        return b"".join(pieces)

    async def _follow(self) -> AsyncIterator[bytes]:
        ended = False
        try:
            yield self._take()  # empty or not: aiohttp holds the head back until there is a piece
            while not ended:
                if self._abandoned:
                    raise HttpError(internal("the guest gave up the body of its request"))
                if self._pieces:
                    yield self._take()
                elif self._finished:
                    ended = True
                else:
                    await self._changed.wait()
        finally:
            if not ended:
                message = "nobody takes the rest of the request"
                self._on_failure(HttpError(Variant("connection-terminated"), message))
