"""The contract between the HTTP trigger and the adapter that calls a guest's HTTP export.

One object stands for one request and its response. Reading waits; writing never does: what the handler
writes is held, and goes out when there is a whole response, when enough of it has gathered, or when the
handler waits for anything at all. So a small answer leaves in one piece, and a slow one arrives as it
is made, without the handler asking for either.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar, Protocol

from wasmplex.errors import FailureError

if TYPE_CHECKING:
    from wasmplex.plugins.contracts import GuestInstance

__all__ = ["BodyTooLarge", "Headers", "HttpExchange", "HttpFailure", "HttpHandler"]

Headers = Sequence[tuple[bytes, bytes]]
"""Field names, lower case as HTTP/2 and ASGI have them, and values, in order, duplicates kept."""


class HttpFailure(FailureError):
    """Raised by a handler when there is no answer of the guest's to send; the cause is logged.

    :ivar status: what the client gets, if nothing has been sent yet
    """

    def __init__(self, what: str, *, status: int = 502, why: str = "") -> None:
        super().__init__(what, why=why)
        self.status = status


class BodyTooLarge(ConnectionError):
    """Raised by `HttpExchange.read` when the request's body is longer than the workload allows.

    :ivar limit: bytes that it may have
    """

    def __init__(self, limit: int) -> None:
        super().__init__(f"the request body is longer than {limit} bytes")
        self.limit = limit


class HttpExchange(ABC):
    """One request, and its response as it is made.

    `start` once, `write` any number of times, `finish` once. A response that is not finished when the
    handler returns is cut off in a way that the client can tell from a whole one.
    """

    ROOM: ClassVar[int] = 64 * 1024
    """Bytes of the response that are held before `room` answers 0."""

    method: str
    scheme: str

    @property
    @abstractmethod
    def authority(self) -> str | None:
        """Host and port that the client asked for, None if it did not say."""

    @property
    @abstractmethod
    def path_with_query(self) -> str:
        """As sent, percent-encoded."""

    @property
    @abstractmethod
    def headers(self) -> Headers:
        """The request's headers, as sent."""

    @property
    @abstractmethod
    def trailers(self) -> Headers | None:
        """The request's trailers; known after the end of its body."""

    @abstractmethod
    async def read(self) -> bytes:
        """Return the next piece of the request's body, at least one byte; ``b""`` at the end.

        Nothing is read from the client that has not been asked for here, but for one buffer.

        :raises BodyTooLarge: if it is longer than the workload allows
        :raises ConnectionError: if the client went away
        """

    @abstractmethod
    def read_nowait(self) -> bytes | None:
        """As `read`, but return None where that would wait."""

    @abstractmethod
    def start(self, status: int, headers: Headers) -> None:
        """Set the status, 200 to 599, and the headers.

        :raises HttpFailure: if the status cannot be sent
        """

    @abstractmethod
    def room(self) -> int:
        """Return how many bytes `write` takes now; 0: wait for `on_room`."""

    @abstractmethod
    def write(self, data: bytes) -> None:
        """Add a piece to the body. More than `room` is taken, too: the bound is the caller's to keep."""

    @abstractmethod
    def finish(self, trailers: Headers | None = None) -> None:
        """End the response."""

    @abstractmethod
    async def deliver(self) -> None:
        """Send what is held, and return when the connection has taken it. Not needed: it leaves anyway.

        :raises OSError: if the client went away
        """

    def abandon(self) -> None:  # noqa: B027  nothing has to be done before the handler returns
        """Say that the response will not be finished, ahead of the handler's return."""

    on_room: Callable[[], None] | None
    """Called, from the event loop, when `room` may have become more."""


class HttpHandler(Protocol):
    """What `wasmplex.plugin.ExportAdapter.adapt` returns for the trigger ``http``."""

    async def __call__(self, instance: GuestInstance, exchange: HttpExchange) -> None:
        """Handle one request with the given instance; return when the guest's function has.

        :raises HttpFailure: if the guest gave no answer, or none that can be sent
        """
