"""Bodies in chunks: https://www.rfc-editor.org/rfc/rfc9112#section-7.1. Pure."""

from __future__ import annotations

import re
from typing import Final

from wasmplex.triggers.http.fields import CONTROLS, FRAMING, TOKEN, parse_fields, trailers_of
from wasmplex.triggers.http.http1.incoming import CONTROL, Incoming
from wasmplex.triggers.http.refusal import Refused

__all__ = ["ChunkedDecoder"]

_LINE: Final = 4096
"""Bytes that the line in front of a chunk may have."""
_EXTENSIONS: Final = 16 * 1024
"""Bytes that the extensions of all chunks of a body may have; RFC 9112 7.1.1 asks for a bound."""
_TOO_LONG: Final = "what stands in front of the chunks is too long"
_LARGEST: Final = 2**60
_AT_ONCE: Final = 256
"""Chunks that are looked at before others get their turn: a client may send them as small as it likes."""

# No quantifier gives back what it has taken, so that each of these takes linear time.
_TOKEN: Final = rb"[" + re.escape(TOKEN) + rb"]++"
_QUOTED: Final = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*+"'
_EXTENSION: Final = (
    rb"[ \t]*+;[ \t]*+" + _TOKEN + rb"(?:[ \t]*+=[ \t]*+(?:" + _TOKEN + rb"|" + _QUOTED + rb"))?+"
)
_HEADER: Final = re.compile(rb"([0-9A-Fa-f]{1,64}+)((?:" + _EXTENSION + rb")*+)\r\n")

_IN_HEADER, _IN_DATA, _BEHIND_DATA, _IN_TRAILERS = range(4)


class ChunkedDecoder:
    """Takes the bytes of one body as they come.

    :param max_trailers: bytes that the trailers may have
    :ivar ended: the end of the body, trailers included, has come
    :ivar trailers: the fields after the last chunk, once it has `ended`
    :ivar behind: there is more than `decode` has looked at
    """

    __slots__ = (
        "_extensions", "_left", "_lines", "_refused", "_state", "_trailers_left", "behind", "ended",
        "trailers",
    )  # fmt: skip

    def __init__(self, max_trailers: int) -> None:
        self._state = _IN_HEADER
        self._left = 0  # bytes of the chunk that are still to come
        self._extensions = 0
        self._refused: Refused | None = None
        self._lines: list[bytes] = []
        self._trailers_left = max_trailers
        self.behind = False
        self.ended = False
        self.trailers: list[tuple[bytes, bytes]] = []

    def decode(self, incoming: Incoming) -> bytes:
        """Return what of the body has come, or some of that if it takes long.

        :raises Refused: for what is no chunked body, and for lines and trailers that are too long; what was
            good before that is returned first
        """
        if self._refused is not None:
            raise self._refused
        pieces: list[bytes] = []
        try:
            self._decode(incoming, pieces)
        except Refused as refused:
            if not pieces:
                raise
            self._refused = refused
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _decode(self, incoming: Incoming, pieces: list[bytes]) -> None:
        self.behind = False
        while True:
            if self._state is _BEHIND_DATA and not self._end_of_data(incoming):
                return
            if len(pieces) >= _AT_ONCE or (self._state is _IN_HEADER and self._take_whole(incoming, pieces)):
                self.behind = True
                return
            if self._state is not _IN_DATA and not self._between(incoming):
                return
            if not (piece := incoming.take(self._left)):
                return
            pieces.append(piece)
            self._left -= len(piece)
            if not self._left:
                self._state = _BEHIND_DATA

    @staticmethod
    def _take_whole(incoming: Incoming, pieces: list[bytes]) -> bool:
        """Take whole chunks without extensions, of which there may be many; say if there are too many."""
        data, position = incoming.data, incoming.position
        find, append = data.find, pieces.append
        for _ in range(_AT_ONCE):
            start = find(b"\r\n", position, position + 18)
            digits = data[position:start]
            if start < 0 or not digits.isalnum() or b"x" in digits.lower():
                break
            try:
                end = start + 2 + int(digits, 16)
            except ValueError:
                break
            if end == start + 2 or data[end : end + 2] != b"\r\n":
                break
            append(bytes(data[start + 2 : end]))
            position = end + 2
        else:
            incoming.position = position
            return True
        incoming.position = position
        return False

    def _between(self, incoming: Incoming) -> bool:
        """Read on to the next data; say whether it has come that far."""
        if self._state is _IN_HEADER and not self._header(incoming):
            return False
        if self._state is _IN_TRAILERS:
            self._read_trailers(incoming)
        return self._state is _IN_DATA

    def _end_of_data(self, incoming: Incoming) -> bool:
        data, position = incoming.data, incoming.position
        if data.startswith(b"\r\n", position):
            incoming.position = position + 2
            self._state = _IN_HEADER
            return True
        if data[position:] not in (b"", b"\r"):
            raise Refused(400, "a chunk is not as long as it says")
        return False

    def _header(self, incoming: Incoming) -> bool:
        match = None if incoming.searched else _HEADER.match(incoming.data, incoming.position)
        if match is None:
            line = incoming.take_until(b"\r\n", _LINE, _TOO_LONG, 400)
            if line is None:
                return False
            match = _HEADER.match(line + b"\r\n")
            if match is None:
                clean = len(line.translate(None, CONTROLS)) == len(line)
                raise Refused(400, "a chunk does not begin with its size" if clean else CONTROL)
        else:
            incoming.position = match.end()
        self._extensions += len(match[2])
        if self._extensions > _EXTENSIONS or match.end() - match.start() > _LINE:
            raise Refused(400, _TOO_LONG)
        self._left = int(match[1], 16)
        if self._left > _LARGEST:
            raise Refused(413, "a chunk is larger than anything")
        self._state = _IN_DATA if self._left else _IN_TRAILERS
        return True

    def _read_trailers(self, incoming: Incoming) -> None:
        too_long = "the trailers of the request are too large"
        while (line := incoming.take_until(b"\r\n", self._trailers_left, too_long, 431)) is not None:
            if not line:
                self.trailers = self._parsed()
                self.ended = True
                self._state = _BEHIND_DATA  # nothing is read any more
                return
            if len(line.translate(None, CONTROLS)) != len(line):
                raise Refused(400, CONTROL)
            self._trailers_left -= len(line) + 2
            self._lines.append(line)

    def _parsed(self) -> list[tuple[bytes, bytes]]:
        fields = parse_fields(self._lines)
        if any(name in FRAMING for name, _ in fields):
            raise Refused(400, "a trailer says where the request ends")
        return trailers_of(fields)
