"""A `Wire` over ASGI, for hosts under another server, and the parts of ASGI that this takes, as types.

https://asgi.readthedocs.io/en/latest/specs/www.html, and its extension ``http.response.trailers``.
"""

from __future__ import annotations

from asyncio import Task, create_task, wait
from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import Any, Final, TypeAlias
from urllib.parse import quote

from wasmplex.capabilities.http import Headers
from wasmplex.triggers.http.fields import content_length
from wasmplex.triggers.http.refusal import Refused
from wasmplex.triggers.http.target import normal_path, parse_authority
from wasmplex.triggers.http.wire import Piece, Wire

__all__ = ["Application", "AsgiWire", "Message", "Receive", "Scope", "Send", "answer_plainly"]

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

_TRAILERS: Final = "http.response.trailers"
"""The extension by which a server says that it can send trailers, and the type of their message."""


class AsgiWire(Wire):
    """See `Wire`. What ASGI does not tell is missing: trailers that come in, and a client that went away.

    For that, see `look_ahead`. A ``?`` with nothing behind it does not get through ASGI either.

    :raises Refused: if the request does not say well whom it is for; servers do not look
    """

    __slots__ = (
        "_can_trail", "_cut", "_head", "_kept", "_last", "_lookahead", "_receive", "_root", "_send",
        "_trail",
    )  # fmt: skip

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self.method = scope["method"]
        self.target = _target(scope)
        self.scheme = scope.get("scheme", "http")
        self.headers = scope["headers"]
        self.client = str((scope.get("client") or ("",))[0])
        self.scope = None
        self.on_disconnect = None
        self.authority, self.host = _authority(self.headers)
        self.length = _length(self.headers)
        self._root = normal_path(scope.get("root_path") or "").rstrip("/")
        self._can_trail = _TRAILERS in (scope.get("extensions") or {})
        self._trail = False  # that trailers, if only an empty list, are announced
        self._head: Message | None = None
        self._cut = False  # that nobody knows how much of the response the server has taken
        self._lookahead: Task[Message] | None = None
        self._kept: Piece | None = None
        self._last = False

    def path(self) -> str:
        """Return the path below the one that the application is mounted at."""
        path = super().path()
        root = self._root
        return (path[len(root) :] or "/") if f"{path}/".startswith(f"{root}/") else path

    @property
    def trailers(self) -> Headers | None:
        """None: servers do not hand them over."""
        return None

    # ------------------------------------------------------------ the request's body

    async def receive(self) -> Piece:
        """Wait for more of the body; see `Wire.receive`."""
        while self._kept is None:
            if self._lookahead is None:
                return self._piece(await self._receive())
            await wait((self._lookahead,))
        piece, self._kept = self._kept, None
        return piece

    def receive_nowait(self) -> Piece | None:
        """Return what `look_ahead` found; see `Wire.receive_nowait`."""
        piece, self._kept = self._kept, None
        return piece

    def _piece(self, message: Message) -> Piece:
        if message["type"] == "http.disconnect":
            self._gone()
            raise ConnectionResetError("the client went away before the end of its request")
        self._last = not message.get("more_body", False)
        return Piece(message.get("body", b""), self._last)

    def look_ahead(self) -> None:
        """Start to wait for the next message, so that a disconnect is seen while nobody reads.

        A piece of the body that comes is kept, and nothing more is asked for until it has been read,
        unless it is the last.
        """
        if self._lookahead is None and (self._kept is None or self._last):
            self._lookahead = create_task(_next(self._receive))
            self._lookahead.add_done_callback(self._looked)

    def _looked(self, task: Task[Message]) -> None:
        self._lookahead = None
        if task.cancelled() or task.exception() is not None:
            return
        message = task.result()
        if message["type"] == "http.disconnect":
            self._gone()
        elif not self._last:
            self._kept = self._piece(message)

    def _gone(self) -> None:
        if self.on_disconnect is not None:
            self.on_disconnect()

    def close(self) -> None:
        """Look ahead no more."""
        if self._lookahead is not None:
            self._lookahead.cancel()

    # ------------------------------------------------------------ the response

    def start(self, status: int, headers: Headers, length: int | None) -> None:
        """Take the head of the response; see `Wire.start`."""
        self._trail = self._can_trail and length is None
        self._head = {
            "type": "http.response.start", "status": status, "headers": headers, "trailers": self._trail,
        }  # fmt: skip

    async def send(self, data: bytes, end: Headers | None) -> None:
        """Send a piece of the body; see `Wire.send`."""
        if self._cut:
            raise ConnectionAbortedError("the response was cut off")
        self._cut = True
        head, self._head = self._head, None
        if head is not None:
            await self._send(head)
        await self._send({"type": "http.response.body", "body": data, "more_body": end is None})
        if end is not None and self._trail:
            await self._send({"type": _TRAILERS, "headers": end, "more_trailers": False})
        self._cut = False

    def answer(self, status: int, headers: Headers, body: bytes) -> bool:
        """Return False: nothing is sent without waiting."""
        return False


async def _next(receive: Receive) -> Message:
    return await receive()


def _target(scope: Scope) -> str:
    raw, query = scope.get("raw_path"), scope.get("query_string")
    path = str(raw, "latin-1").partition("?")[0] if raw else quote(scope["path"], safe="/%:@!$&'()*+,;=~-._")
    return f"{path}?{str(query, 'latin-1')}" if query else path


def _authority(headers: Headers) -> tuple[str | None, str | None]:
    hosts = [value for name, value in headers if name == b"host"]
    if not hosts:
        return None, None
    authority = parse_authority(hosts[0].strip(b" \t")) if len(hosts) == 1 else None
    if authority is None:
        raise Refused(400, "the host header is not one host and a port")
    return authority


def _length(headers: Headers) -> int | None:
    try:
        return content_length([value.strip(b" \t") for name, value in headers if name == b"content-length"])
    except (ValueError, OverflowError):
        return None  # that is for the server to refuse


async def answer_plainly(send: Send, refused: Refused) -> None:
    """Answer a request that is not taken."""
    body = f"{refused.status} {HTTPStatus(refused.status).phrase}\n{refused.reason}\n".encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
