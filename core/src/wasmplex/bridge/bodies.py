"""Calls of an asynchronous function that is given a stream of bytes each, in one crossing.

The bytes are all there. The adapter makes the stream of each call, writes them to it, ends it, and waits for
the function to return before it makes the next call. What the host writes is what `wasmplex.bridge.series`
says, but that the header of each block says where the stream's handle belongs, where the bytes are, and how
many; they lie behind the block.

A function that returns and keeps the stream open without reading it ends the series: `PAUSED` is `LEFT` then.
What such a guest would do with it, it would do beside the next call.
"""

from __future__ import annotations

from typing import Any, Final

from wasmplex.bridge.codec.several import Body
from wasmplex.bridge.exportcodecs import ExportCodec
from wasmplex.bridge.exports import BODIES
from wasmplex.bridge.flows import Memory
from wasmplex.bridge.protocol import PAUSED
from wasmplex.bridge.series import Series
from wasmplex.bridge.streamed import LEFT, body_place
from wasmplex.engine.memory import U32

__all__ = ["BodySeries", "NotWhole", "takes_body"]

_MOST: Final = 1 << 16
"""Bytes of a body: what the adapter's memory has grown to it keeps."""


class NotWhole(TypeError):
    """A stream is no bytes, or many, so that it takes a call of its own."""

    def __init__(self) -> None:
        super().__init__("a stream that is no bytes, or many")


def takes_body(codec: ExportCodec) -> bool:
    """Say whether calls of a function can be made in such a series."""
    return body_place(codec.function) is not None


class BodySeries(Series):
    """How the calls of one function get into the memory of an adapter, each with the bytes of its stream."""

    __slots__ = ()
    entry = BODIES

    def __init__(self, codec: ExportCodec) -> None:
        place = body_place(codec.function)
        assert place is not None  # noqa: S101  `takes_body` says so
        super().__init__(codec, Body(place, _MOST, NotWhole))

    def left(self, memory: Memory) -> bool:
        """Say whether the guest has kept the stream of the last call."""
        return bool(U32[(memory.base + PAUSED) >> 2] == LEFT)

    def alone(self, args: tuple[Any, ...]) -> bytes | bytearray:
        """See `Series.alone`.

        :raises NotWhole: if it cannot be made so
        """
        return self.written((args,))[1]
