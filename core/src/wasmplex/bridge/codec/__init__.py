"""Canonical-ABI codecs for whole functions, one generated Python function each.

A *block* is a contiguous piece of an adapter's memory: the values of one call with everything they point to.
Pointers in it are addresses in that memory; the reader is told the address of the block's first byte.

- what the adapter sends ends with the flat values of the call, 8 bytes each, or with one slot that
  points at them in memory layout where there are more than `MAX_FLAT_PARAMS`;
- what the host sends starts with `HEADER` bytes, then the flat values, 8 bytes each, or the value in memory
  layout, as the caller asks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias

from wasmplex.bridge.codec.read import Kinds, load
from wasmplex.bridge.codec.source import Source
from wasmplex.bridge.codec.whole import DONE, HEADER, REFUSALS, read_arguments, whole_call, write_result
from wasmplex.bridge.codec.write import store
from wasmplex.bridge.layout import size
from wasmplex.wit.mismatch import ValueMismatch, mismatch
from wasmplex.wit.types import TupleType, ValueType

__all__ = [
    "DONE",
    "HEADER",
    "Handles",
    "Kinds",
    "Reader",
    "ValueMismatch",
    "Writer",
    "elements",
    "reader",
    "whole_call",
    "writer",
]

Reader: TypeAlias = Callable[[Any, int, Any], Any]
"""``(block, base, handles) -> value``."""
Writer: TypeAlias = Callable[[Any, int, Any], bytearray]
"""``(value, base, handles) -> block``."""


class Handles(Protocol):
    """Turns handle numbers into Python objects and back, on behalf of the generated code."""

    def own(self, kind: int, handle: int) -> Any:
        """Return the object of an owned handle that the guest gave away."""

    def borrow(self, kind: int, handle: int) -> Any:
        """Return the object of a borrowed handle."""

    def stream(self, kind: int, handle: int) -> Any:
        """Return what reads from the readable end of a stream."""

    def future(self, kind: int, handle: int) -> Any:
        """Return what awaits the readable end of a future."""

    def give(self, sort: int, kind: int, value: Any) -> int:
        """Return a new handle for an object: sort 0 a resource, 1 a stream, 2 a future."""

    def lend(self, kind: int, value: Any) -> int:
        """Return the handle of a guest's resource, to be borrowed."""


def reader(types: Sequence[ValueType], kinds: Kinds, *, flat: bool = True) -> Reader:
    """Return a reader for a tuple of values as an adapter sends it.

    :param flat: False if the values lie in memory layout at the very start of the block
    """
    g = Source()
    with g.block("def read(m,base,h):"):
        if flat or not types:
            arguments = read_arguments(g, types, kinds)
            g.line(f"return ({''.join(f'{argument},' for argument in arguments)})")
        else:
            g.line(f"return {load(g, TupleType(tuple(types)), '0', kinds)}")
    return g.function("read")


def writer(type_: ValueType | None, kinds: Kinds, *, flat: bool, even: bool = False) -> Writer:
    """Return a writer for one value.

    :param flat: True for flat slots behind the header, False for memory layout there
    :param even: whether strings and bytes have to lie at even addresses, for the results of twins
    """
    g = Source(even=even)
    with g.block("def write(v,base,h):"):
        write_result(g, type_, kinds, flat=flat)
        g.line("return b")
    return _explaining(g.function("write"), type_)


def elements(type_: ValueType, kinds: Kinds) -> tuple[Reader, Writer]:
    """Return reader and writer for a run of elements of a stream, in memory layout, no header.

    The reader is told with the block where in it they start, and how many there are:
    ``read((block, start, count), base, h)``.
    """
    g = Source()
    with g.block("def read(mn,base,h):"):
        g.line("m,p,n=mn;r=[]")
        with g.block(f"for o in range(p,p+n*{size(type_)},{size(type_)}):"):
            g.line(f"r.append({load(g, type_, 'o', kinds)})")
        g.line("return r")
    w = Source()
    with w.block("def write(v,base,h):"):
        w.line(f"b=bytearray({size(type_)}*len(v));o=0")
        with w.block("for x in v:"):
            store(w, type_, "x", "o", kinds)
            w.line(f"o+={size(type_)}")
        w.line("return b")
    return g.function("read"), _explaining(w.function("write"), type_, many=True)


def _explaining(write: Writer, type_: ValueType | None, *, many: bool = False) -> Writer:
    """Wrap a writer so that a value it refuses is named by its path."""

    def checked(value: Any, base: int, handles: Any) -> bytearray:
        try:
            return write(value, base, handles)
        except REFUSALS as error:
            raise mismatch(type_, value, many=many) or error from None

    return checked
