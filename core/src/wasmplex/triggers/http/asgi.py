"""The parts of ASGI that are used here, as types, and what our own server adds to them.

https://asgi.readthedocs.io/en/latest/specs/www.html, and its extension ``http.response.trailers``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol, TypeAlias

from wasmplex.capabilities.http import Headers

__all__ = ["CONNECTION", "TRAILERS", "Application", "Connection", "Message", "Receive", "Scope", "Send"]

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

TRAILERS = "http.response.trailers"
"""The extension by which a server says that it can send trailers."""

CONNECTION = "wasmplex.connection"
"""The extension by which our own server hands over a `Connection`."""


class Connection(Protocol):
    """What ASGI has no word for; other servers do without, at the cost said in each line."""

    on_disconnect: Callable[[], None] | None
    """Called at once when the client goes away. Without it, a task has to wait for the message."""

    @property
    def trailers(self) -> Headers | None:
        """The request's trailers, after the end of its body. Without it, there are none."""

    def receive_nowait(self) -> Message | None:
        """Return the next message, None if there is none yet. Without it, every read waits."""

    def answer(self, status: int, headers: Headers, body: bytes) -> bool:
        """Take a whole response; False if it has to be sent in messages, which can wait.

        :raises RuntimeError: if it cannot be sent as it is
        """
