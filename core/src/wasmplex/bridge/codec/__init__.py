"""Canonical-ABI codecs for whole functions, one generated Python function each.

A *block* is a contiguous piece of an adapter's memory: the values of one call with everything they point to.
Pointers in it are addresses in that memory; the reader is told the address of the block's first byte.

- what the adapter sends ends with the flat values of the call, 8 bytes each, or with one slot that
  points at them in memory layout where there are more than `MAX_FLAT_PARAMS`;
- what the host sends starts with `HEADER` bytes, then the flat values, 8 bytes each, or the value in memory
  layout, as the caller asks.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias

from wasmplex.bridge.codec.read import Kinds, lift, load
from wasmplex.bridge.codec.source import Source
from wasmplex.bridge.codec.write import lower, store
from wasmplex.bridge.layout import MAX_FLAT_PARAMS, Core, flatten, size
from wasmplex.values import Err, Ok
from wasmplex.wit.mismatch import ValueMismatch, mismatch
from wasmplex.wit.types import ResultType, TupleType, ValueType

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
    "writer",
]

HEADER = 16
"""Bytes before the values in a block that the host sends; keeps what follows 16-aligned."""
DONE = 1
"""The first word of such a block: a result follows."""

Reader: TypeAlias = Callable[[Any, int, Any], Any]
"""``(block, base, handles) -> value``."""
Writer: TypeAlias = Callable[[Any, int, Any], bytearray]
"""``(value, base, handles) -> block``."""

_SLOT = {"i32": "I", "i64": "Q", "f32": "f", "f64": "d"}
_REFUSALS = (struct.error, TypeError, KeyError, AttributeError, ValueError, OverflowError, IndexError)


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
    whole = TupleType(tuple(types))
    g = Source()
    with g.block("def read(m,base,h):"):
        cores = flatten(whole)
        if not types:
            g.line("return ()")
        elif not flat:
            g.line(f"return {load(g, whole, '0', kinds)}")
        elif len(cores) > MAX_FLAT_PARAMS:
            pointer = g.constant(struct.Struct("<I").unpack_from)
            g.line(f"p={pointer}(m,len(m)-8)[0]-base")
            g.line(f"return {load(g, whole, 'p', kinds)}")
        else:
            slots = [(8 * index, _SLOT[core], g.variable()) for index, core in enumerate(cores)]
            g.unpack(slots, "m", f"len(m)-{8 * len(slots)}")
            pairs: list[tuple[str, Core]] = [(slot[2], core) for slot, core in zip(slots, cores, strict=True)]
            g.line(f"return {lift(g, whole, iter(pairs), kinds)}")
    return g.function("read")


def writer(type_: ValueType | None, kinds: Kinds, *, flat: bool) -> Writer:
    """Return a writer for one value.

    :param flat: True for flat slots behind the header, False for memory layout there
    """
    g = Source()
    with g.block("def write(v,base,h):"):
        if type_ is None:
            g.line(f"b=bytearray({HEADER});b[0]={DONE}")
            g.line("if v is not None: raise TypeError")
        elif flat:
            g.line(f"b=bytearray({HEADER + 8 * len(flatten(type_))});b[0]={DONE}")
            slots = lower(g, type_, "v", kinds)
            g.pack([(8 * i, _SLOT[core], text) for i, (core, text) in enumerate(slots)], "b", str(HEADER))
        else:
            g.line(f"b=bytearray({HEADER + size(type_)});b[0]={DONE}")
            store(g, type_, "v", str(HEADER), kinds)
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
        except _REFUSALS as error:
            raise mismatch(type_, value, many=many) or error from None

    return checked


def split_result(type_: ValueType | None) -> ResultType | None:
    """Return the type if it is a result, whose err case a function raises."""
    return type_ if isinstance(type_, ResultType) else None


def as_result(value: Any) -> Ok[Any]:
    """Return what a host function returned as the ok case."""
    return Ok(value)


def unwrap(value: Any) -> Any:
    """Return the ok value of a function's result, or raise its err case."""
    if isinstance(value, Err):
        raise value
    return value.value
