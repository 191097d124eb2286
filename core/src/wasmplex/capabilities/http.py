"""The contract between the HTTP trigger and the adapter that calls a guest's HTTP export.

It follows ASGI closely, so that nothing is copied or converted on the way.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from wasmplex.plugins.contracts import GuestInstance

__all__ = ["Headers", "HttpHandler", "HttpRequest", "RequestBody", "Responder"]

Headers = Sequence[tuple[bytes, bytes]]
"""Field names, lower case as HTTP/2 and ASGI have them, and values, in order, duplicates kept."""


class RequestBody(ABC):
    """The request's body, read in pieces as the guest asks for them."""

    @abstractmethod
    async def read(self) -> bytes:
        """Return the next piece, at least one byte; ``b""`` at the end.

        :raises ConnectionError: if the client went away
        """

    @abstractmethod
    def trailers(self) -> Headers | None:
        """Return the trailers, after the end."""


@dataclass(slots=True)
class HttpRequest:
    """One request.

    :ivar method: ``GET``, or any other token
    :ivar path_with_query: as sent, percent-encoded
    """

    method: str
    scheme: str
    authority: str
    path_with_query: str
    headers: Headers
    body: RequestBody


class Responder(ABC):
    """Where the response goes. `start` once, `write` any number of times, `finish` once."""

    @abstractmethod
    async def start(self, status: int, headers: Headers) -> None:
        """Set status and headers. They may be held back until the first `write` or `finish`."""

    @abstractmethod
    async def write(self, data: bytes) -> None:
        """Send a piece of the body; returns when the connection can take more (back-pressure)."""

    @abstractmethod
    async def finish(self, trailers: Headers | None = None) -> None:
        """End the response. Without it, the trigger aborts the connection."""


class HttpHandler(Protocol):
    """What `wasmplex.plugin.ExportAdapter.adapt` returns for the trigger ``http``."""

    async def __call__(self, instance: GuestInstance, request: HttpRequest, responder: Responder) -> None:
        """Handle one request with the given instance; return when the guest's function has."""
