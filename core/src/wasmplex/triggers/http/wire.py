"""The contract between an exchange and what carries it: our own connection, or another server's ASGI.

The exchange decides what is sent and that it is a message that may be sent; the wire delimits it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple

from wasmplex.capabilities.http import Headers
from wasmplex.scopes import TaskScope
from wasmplex.triggers.http.target import path_of

__all__ = ["Piece", "Wire"]


class Piece(NamedTuple):
    """Some of a request's body.

    :ivar last: nothing follows
    """

    data: bytes
    last: bool


class Wire(ABC):
    """One request as it came, and the way back for its response.

    :ivar target: path with query as sent, percent-encoded; ``*`` for ``OPTIONS *``
    :ivar authority: host and port that the request is for, valid; None if the client did not say
    :ivar host: the host in it as routes compare it; None without
    :ivar headers: names are lower case
    :ivar length: bytes of the body, None if only its end will tell
    :ivar scope: what cancels the calls of the task that handles it; None if that handles no other request
    :ivar client: the client's address, for logs; empty if it is not known
    :ivar on_disconnect: called at once when the client goes away before the end of the response, where the
        wire learns of that; it is the user's to set
    """

    __slots__ = (
        "authority", "client", "headers", "host", "length", "method", "on_disconnect", "scheme", "scope",
        "target",
    )  # fmt: skip

    method: str
    target: str
    authority: str | None
    host: str | None
    scheme: str
    headers: Headers
    length: int | None
    client: str
    scope: TaskScope | None
    on_disconnect: Callable[[], None] | None

    def path(self) -> str:
        """Return the path of the target as routes compare it."""
        return path_of(self.target)

    @property
    @abstractmethod
    def trailers(self) -> Headers | None:
        """The request's trailers, after the end of its body; None without."""

    @abstractmethod
    async def receive(self) -> Piece:
        """Wait for more of the body.

        :raises ConnectionError: if the client went away, or has got its response
        """

    @abstractmethod
    def receive_nowait(self) -> Piece | None:
        """As `receive`, but return None where that would wait."""

    @abstractmethod
    def start(self, status: int, headers: Headers, length: int | None) -> None:
        """Take the head of the response; it leaves with the first of the body.

        :param headers: free of what delimits the body but for a ``content-length``
        :param length: bytes of the body that will follow, None if nobody knows
        """

    def would_wait(self) -> bool:
        """Say whether `send` has to be awaited now, as it has where nobody knows better."""
        return True

    def send_nowait(self, data: bytes, end: Headers | None) -> None:
        """As `send`; not where that `would_wait`."""
        raise NotImplementedError

    @abstractmethod
    async def send(self, data: bytes, end: Headers | None) -> None:
        """Send a piece of the body; wait before it while the client is slow to take what was sent before.

        If it is cancelled, nothing of the piece was sent, or nothing can be sent any more.

        :param end: None: more will follow; else the trailers, which are left out where there is no room
        :raises OSError: if the client is gone
        """

    @abstractmethod
    def answer(self, status: int, headers: Headers, body: bytes) -> bool:
        """Send a whole response at once; False, and nothing done, if that would wait."""
