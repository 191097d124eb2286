"""One generated function for the arguments of several calls: a block for each, one behind the other.

A Python frame for each call would cost more than writing most arguments does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

from wasmplex.bridge.codec.read import Kinds, Slot
from wasmplex.bridge.codec.source import Source
from wasmplex.bridge.codec.whole import DONE, HEADER, REFUSALS, fixed_size, write_value
from wasmplex.bridge.codec.write import store
from wasmplex.wit.mismatch import mismatch
from wasmplex.wit.types import TupleType

__all__ = ["Body", "SeveralWriter", "several_writer"]

SeveralWriter: TypeAlias = Callable[[Sequence[Any], bytearray, int, list[int]], None]
"""``(arguments of each call, block, base, places)``: appends to a block, which begins at `base`, and to where
each call's arguments are.

What refuses the first call is raised; those before another one that does not fit are written all the same.
"""
_ALIGNED = 16
"""What the addresses of blocks are a multiple of."""


class Body(NamedTuple):
    """A stream of bytes among the parameters; they lie behind the block, and its header tells of them.

    The header has where the stream's handle belongs, where the bytes are, and how many.

    :ivar place: where the handle is in the parameters, in memory layout
    :ivar most: how many bytes there may be
    :ivar refusal: raised for more, and for a stream that is none
    """

    place: int
    most: int
    refusal: type[Exception]


def several_writer(
    type_: TupleType | None, kinds: Kinds, *, flat: bool, body: Body | None = None
) -> SeveralWriter:
    """Return a writer of the arguments of several calls, each a tuple that is as long as it has to be.

    :param flat: True for flat slots behind the header, False for memory layout there
    """
    g = Source(stream=None if body is None else lambda value: _append_body(g, body, value))
    fixed = bytes([DONE]).ljust(fixed_size(type_, flat=flat), b"\0")
    begins = g.constant([bytes(padding) + fixed for padding in range(_ALIGNED)])
    refusals, explain = g.constant(REFUSALS), g.constant(lambda value: mismatch(type_, value))
    with g.block("def write(calls,b,base,places):"):
        g.line("n=o=len(b);v=None")
        with g.block("try:"), g.block("for v in calls:"):
            g.line(f"n=len(b);o=n+{_ALIGNED - 1}&-{_ALIGNED}")
            g.line(f"b+={begins}[o-n]")
            if type_ is not None and body is not None:
                store(g, type_, "v", "o", kinds, _head(body))
            else:
                if type_ is None:
                    g.line("v=v or None")
                write_value(g, type_, kinds, f"o+{HEADER}", flat=flat)
            g.line("places.append(o+base)")
        with g.block(f"except {refusals} as x:"):
            g.line("del b[n:]")
            g.line(f"if not places: raise {explain}(v) or x from None")
    return g.function("write")


def _append_body(g: Source, body: Body, value: str) -> str:
    """Emit code that appends the bytes of a stream; return what stands for its handle."""
    g.line(f"body={value}")
    g.line(f"if body.__class__ is not bytes or len(body)>{body.most}: raise {g.constant(body.refusal)}")
    g.line("at=len(b);b+=body")
    return "0"


def _head(body: Body) -> list[Slot]:
    """Return what tells of the bytes that were appended."""
    return [(0, "I", f"o+base+{HEADER + body.place}"), (4, "I", "at+base"), (8, "I", "len(body)")]
