"""Calls of an asynchronous function that is given a stream of bytes each, in one crossing.

The bytes are all there. The adapter makes the stream of each call, writes them to it, ends it, and waits for
the function to return before it makes the next call. What the host writes is what `wasmplex.bridge.series`
says, but that the header of each block says where the stream's handle belongs, where the bytes are, and how
many; they lie behind the block.

A function that returns and keeps the stream open without reading it ends the series: `PAUSED` is `LEFT` then.
What such a guest would do with it, it would do beside the next call.
"""

from __future__ import annotations

import struct
from typing import Any, Final

from wasmplex.bridge.exportcodecs import ExportCodec
from wasmplex.bridge.exports import BODIES
from wasmplex.bridge.flows import Memory
from wasmplex.bridge.protocol import HEADER, PAUSED
from wasmplex.bridge.series import Series
from wasmplex.bridge.streamed import LEFT, body_place
from wasmplex.engine.memory import U32

__all__ = ["BodySeries", "NotWhole", "takes_body"]

_GIVEN: Final = struct.Struct("<3I")
_PADDING: Final = bytes(16)
_MOST: Final = 1 << 16
"""Bytes of a body: what the adapter's memory has grown to it keeps."""


class NotWhole(TypeError):
    """A stream is no bytes, or many, so that it takes a call of its own."""


def takes_body(codec: ExportCodec) -> bool:
    """Say whether calls of a function can be made in such a series."""
    return body_place(codec.function) is not None


class BodySeries(Series):
    """How the calls of one function get into the memory of an adapter, each with the bytes of its stream."""

    __slots__ = ("_body", "_place")
    entry = BODIES

    def __init__(self, codec: ExportCodec) -> None:
        super().__init__(codec)
        place = body_place(codec.function)
        assert place is not None  # noqa: S101  `takes_body` says so
        self._place = HEADER + place
        self._body = _Body()

    def left(self, memory: Memory) -> bool:
        """Say whether the guest has kept the stream of the last call."""
        return bool(U32[(memory.base + PAUSED) >> 2] == LEFT)

    def _block(self, args: tuple[Any, ...], at: int) -> bytearray:
        block = self._codec.write(args, at, self._body)
        if odd := len(block) & 15:
            block += _PADDING[odd:]  # else a large body would be moved once more, for what comes after it
        given, self._body.given = self._body.given, b""
        _GIVEN.pack_into(block, 0, at + self._place, at + len(block), len(given))
        block += given
        return block


class _Body:
    """What writes arguments: keeps the bytes of the stream in them."""

    __slots__ = ("given",)

    def __init__(self) -> None:
        self.given = b""

    def give(self, sort: int, kind: int, value: Any) -> int:
        """Take the bytes; the adapter puts the handle there."""
        if not isinstance(value, bytes) or len(value) > _MOST:
            raise NotWhole("a stream that is no bytes, or many")
        self.given = value
        return 0
