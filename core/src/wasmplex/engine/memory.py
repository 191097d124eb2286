"""Raw memory: the one module through which the engine reads and writes what addresses point at.

Each name is a view of the whole address space in units of one type: ``U64[address >> 3]`` is the
64-bit word at `address`. Access through a view costs 40 ns where a ctypes object costs a microsecond,
creates no object but the value, and range-checks integers when writing (``U8[i] = 256`` is a
ValueError, ``U8[i] = "x"`` a TypeError): the codec's validation of numbers rests on that.

Invariants; whoever uses these views keeps them:

1. An address is one that wasmtime handed to a callback and is read during that callback, or one that
   belongs to an object this process keeps alive meanwhile (an `Arena`, a ctypes buffer, a bytes object).
2. Arguments of a callback belong to wasmtime: they are read, never freed.
3. A result slot that wasmtime owns starts as the val ``bool(false)``. Its kind is written last, when the
   payload is complete and made by wasmtime's own allocator (`val_clone`, `byte_vec_new`, `vallist_new`), for
   wasmtime drops the slot by its kind also when the call fails.
4. Vals that wasmtime only borrows (arguments of exports, the source of `val_clone`) may lie in Python's
   memory. Strings in them point into bytes objects that are kept alive in the `Arena`.
5. Everything is validated before it is written: a string that is not UTF-8, a surrogate as char, a bool
   other than 0 and 1, a handle that was freed end the process, not the call.
"""

from __future__ import annotations

import ctypes
from typing import Any, Final

__all__ = [
    "BYTES_HEADER", "F32", "F64", "RAW", "S8", "S16", "S32", "S64", "U8", "U16", "U32", "U64",
    "bytes_address",
]  # fmt: skip

_SPAN = 2**48  # user space ends below it on every 64-bit platform that wasmtime runs on

RAW: Final[Any] = (ctypes.c_char * _SPAN).from_address(0)
"""``RAW[a:b]`` copies the bytes at [a, b); ``RAW[a:b:32]`` gathers every 32nd."""

U8: Final = memoryview((ctypes.c_ubyte * _SPAN).from_address(0)).cast("B")
U16: Final = U8.cast("H")
U32: Final = U8.cast("I")
U64: Final = U8.cast("Q")
S8: Final = U8.cast("b")
S16: Final = U8.cast("h")
S32: Final = U8.cast("i")
S64: Final = U8.cast("q")
F32: Final = U8.cast("f")
F64: Final = U8.cast("d")

BYTES_HEADER: Final = bytes.__basicsize__ - 1
"""Offset of the payload in a bytes object."""


def bytes_address(data: bytes) -> int:
    """Return the address of the payload of a bytes object, valid while the object lives."""
    return id(data) + BYTES_HEADER
