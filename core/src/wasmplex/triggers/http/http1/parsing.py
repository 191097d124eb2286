"""Bytes of HTTP/1.1 requests in, heads and pieces of bodies out. No I/O.

No library does it as it is wanted here: whatever a proxy in front could read otherwise is refused, every
state has a bound, time is linear, and little of it. docs/internals/http.md has the comparison, and each
rule with its section of RFC 9112.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from wasmplex.triggers.http.fields import CONTROLS
from wasmplex.triggers.http.http1.chunks import ChunkedDecoder
from wasmplex.triggers.http.http1.head import CHUNKED, Head, RequestLine, parse_head, parse_request_line
from wasmplex.triggers.http.http1.incoming import CONTROL, Incoming
from wasmplex.triggers.http.refusal import Refused

__all__ = ["End", "RequestParser"]


_KEPT: Final = 2048
"""Bytes of a head that is kept for the next request of its connection, which often has the same."""
_KEPT_FIELDS: Final = 32
"""The fields of such a head: each takes more as an object than as bytes, and connections may be many."""


class End(NamedTuple):
    """The end of a body.

    :ivar trailers: what came after it, but for fields that must not
    """

    trailers: list[tuple[bytes, bytes]]


class RequestParser:
    """Parses the requests of one connection, one at a time.

    :param max_head: bytes that a request's line and headers, and its trailers, may have
    :ivar is_head: the method of the request is HEAD, whatever else is wrong with it
    """

    __slots__ = ("_body", "_in_body", "_incoming", "_kept", "_left", "_line", "_max_head", "_over", "is_head")

    def __init__(self, max_head: int) -> None:
        self._max_head = max_head
        self._incoming = Incoming()
        self._kept: tuple[bytes, Head] | None = None
        self._line: RequestLine | None = None  # of a head that has not ended
        self._in_body = False
        self._left = 0  # bytes of a body that says its length
        self._body: ChunkedDecoder | None = None
        self._over = False  # the request has come whole, and `begin` has not been called
        self.is_head = False

    @property
    def in_head(self) -> bool:
        """Say whether a head has begun and not ended."""
        return self._line is not None or bool(not self._in_body and not self._over and len(self._incoming))

    @property
    def behind(self) -> bool:
        """Say whether others should have their turn before `next_event` is called again."""
        return self._body is not None and self._body.behind

    @property
    def waiting(self) -> bool:
        """Say whether there is something behind a request that has come whole."""
        if not self._over or not len(self._incoming):
            return False
        self._incoming.skip_empty_lines()
        return len(self._incoming) > 0

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        self._incoming.add(data)

    def begin(self) -> None:
        """Go on with the next request: the one before has been dealt with."""
        self._over = False
        self.is_head = False

    def next_event(self) -> Head | bytes | End | None:
        """Return the next find: a head, pieces of its body, the end; None if there is no more yet.

        A head whose length is 0 is all there is of its request: no `End` follows. After the end of a
        request there is nothing until `begin`.

        :raises Refused: for what cannot be parsed or is not taken; not to be called again after that
        """
        if self._over:
            return None
        if not self._in_body:
            return self._next_head()
        return self._next_piece() if self._body is None else self._next_chunks(self._body)

    def _next_head(self) -> Head | None:
        incoming = self._incoming
        if self._line is None:
            incoming.skip_empty_lines()
            self.is_head = incoming.data.startswith(b"HEAD ", incoming.position)
            whole = incoming.take_at_once(b"\r\n\r\n", self._max_head)
            if whole is not None:
                return self._whole_head(whole)
            self._line = self._next_line(incoming)
        return None if self._line is None else self._next_headers(incoming, self._line)

    def _whole_head(self, head: bytes) -> Head:
        if self._kept is not None and self._kept[0] == head:
            return self._found(self._kept[1])
        lines = head.split(b"\r\n")
        if _clean(head, lines):
            found = parse_head(parse_request_line(lines[0]), lines[1:])
            is_small = len(head) <= _KEPT and len(found.headers) <= _KEPT_FIELDS
            self._kept = (head, found) if is_small else None
            return self._found(found)
        if _clean(lines[0], lines[:1]):
            parse_request_line(lines[0])  # what is wrong with it comes first
        raise Refused(400, CONTROL)

    def _next_line(self, incoming: Incoming) -> RequestLine | None:
        try:
            text = incoming.take_until(b"\r\n", self._max_head, "the target of the request is too long", 414)
        except Refused as refused:
            start = incoming.position
            if refused.status == 414 and incoming.data.find(b" ", start, start + self._max_head) < 0:
                raise Refused(501, "the method of the request is too long") from None
            raise
        if text is None:
            return None
        if not _clean(text, [text]):
            raise Refused(400, CONTROL)
        self._left = self._max_head - len(text) - 2
        return parse_request_line(text)

    def _next_headers(self, incoming: Incoming, line: RequestLine) -> Head | None:
        if incoming.data.startswith(b"\r\n", incoming.position):
            incoming.position += 2
            return self._found(parse_head(line, []))
        too_long = "the headers of the request are too large"
        block = incoming.take_until(b"\r\n\r\n", self._left, too_long, 431)
        if block is None:
            return None
        lines = block.split(b"\r\n")
        if not _clean(block, lines):
            raise Refused(400, CONTROL)
        return self._found(parse_head(line, lines))

    def _found(self, head: Head) -> Head:
        self._line = None
        self._left = head.length
        self._in_body = head.length != 0
        self._over = not self._in_body
        if head.length == CHUNKED:
            self._body = ChunkedDecoder(self._max_head)
        return head

    def _next_piece(self) -> bytes | End | None:
        if not self._left:
            return self._end([])
        piece = self._incoming.take(self._left)
        self._left -= len(piece)
        return piece or None

    def _next_chunks(self, body: ChunkedDecoder) -> bytes | End | None:
        piece = body.decode(self._incoming) if not body.ended else b""
        if not piece and body.ended:
            return self._end(body.trailers)
        return piece or None

    def _end(self, trailers: list[tuple[bytes, bytes]]) -> End:
        self._in_body = False
        self._body = None
        self._over = True
        return End(trailers)


def _clean(block: bytes, lines: list[bytes]) -> bool:
    """Say whether there are no `CONTROLS` in a block but those between its lines."""
    return len(block.translate(None, CONTROLS)) == len(block) - 2 * (len(lines) - 1)
