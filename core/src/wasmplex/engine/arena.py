"""Memory of ours that vals are built in: arenas, and ready-made blocks for ``list<u8>``."""

from __future__ import annotations

import ctypes
from typing import Any, ClassVar, Final

from wasmplex.engine.bounds import BYTES, too_many_bytes
from wasmplex.engine.capi import KINDS, any_delete, vallist_new, vallist_new_uninit
from wasmplex.engine.memory import U8, U64

__all__ = ["Arena", "put_byte_list"]

_CHUNK: Final = 16384  # bytes of payload that one template holds
_SMALL: Final = 256
_VAL: Final = 32
_U8_KINDS: Final = bytes([KINDS["u8"]]) * _SMALL


class _ByteVals:
    """A block of vals of kind u8 whose kinds are set for good, so that only the payload is scattered in."""

    __slots__ = ("address", "block", "pin")

    def __init__(self, count: int = _CHUNK) -> None:
        self.block = bytearray(_VAL * count)
        self.block[0::_VAL] = bytes([KINDS["u8"]]) * count
        self.pin = ctypes.c_char.from_buffer(self.block)  # a bytearray that is exported cannot move
        self.address = ctypes.addressof(self.pin)


# list.pop and list.append are atomic, so the pools need no lock; a block is never in two hands.
_byte_vals: list[_ByteVals] = [_ByteVals()]


def put_byte_list(target: int, data: bytes) -> None:
    """Fill the (count, vals) pair at `target` with a ``list<u8>`` that wasmtime owns.

    :raises wasmplex.errors.LimitExceeded: if it is more than `BYTES`
    """
    count = len(data)
    if count > _CHUNK:
        if count > BYTES:
            raise too_many_bytes(count)
        _put_long_byte_list(target, data)
        return
    vals = _byte_vals.pop() if _byte_vals else _ByteVals()
    if count:
        vals.block[8 : _VAL * count : _VAL] = data
    vallist_new(target, count, vals.address)
    _byte_vals.append(vals)


def _put_long_byte_list(target: int, data: bytes) -> None:
    vals = _byte_vals.pop() if _byte_vals else _ByteVals()
    vallist_new_uninit(target, len(data))
    destination = U64[(target >> 3) + 1]
    for start in range(0, len(data), _CHUNK):
        chunk = data[start : start + _CHUNK]
        size = _VAL * len(chunk)
        vals.block[8:size:_VAL] = chunk
        at = destination + _VAL * start
        U8[at : at + size] = memoryview(vals.block)[:size]
    _byte_vals.append(vals)


class Arena:
    """Scratch memory for one tree of vals that wasmtime will borrow or copy.

    The first `WORDS` words, from index `base` of `U64`, are laid out by the generated code; `alloc` gives
    more, for lists. Nothing in it moves or is freed before `release`.

    :ivar keep: append to it what must stay alive until `release`
    """

    WORDS: Final = 512
    __slots__ = ("_block", "_boxes", "_end", "_top", "base", "keep")

    _free: ClassVar[list[Arena]] = []

    def __init__(self) -> None:
        self._block = (ctypes.c_uint64 * self.WORDS)()
        self.base = ctypes.addressof(self._block) >> 3
        self._end = self.base + self.WORDS
        self._top = self._end
        self._boxes: list[int] = []
        self.keep: list[Any] = []

    @classmethod
    def take(cls, words: int) -> Arena:
        """Return an arena whose first `words` words are at the caller's disposal."""
        arena = cls._free.pop() if cls._free else cls()
        arena.begin(words)
        return arena

    def begin(self, words: int) -> None:
        """Reserve the first `words` words; `alloc` serves from what is left."""
        if words > self.WORDS:
            self.base = self._new_block(words)
            self._top = self._end
        else:
            self._top = self.base + words

    def alloc(self, words: int) -> int:
        """Return the index in `U64` of `words` words."""
        index = self._top
        if index + words > self._end:
            return self._new_block(words)
        self._top = index + words
        return index

    def _new_block(self, words: int) -> int:
        block = (ctypes.c_uint64 * max(words, 1))()
        self.keep.append(block)
        return ctypes.addressof(block) >> 3

    def byte_vals(self, data: bytes) -> int:
        """Return the address of vals of kind u8 with the bytes of `data`."""
        count = len(data)
        if count > _SMALL:  # a block of its own size: this one may be held for as long as a call waits
            vals = _ByteVals(count)
            vals.block[8::_VAL] = data
            self.keep.append(vals)
            return vals.address
        address = self.alloc(_VAL // 8 * count) << 3
        if count:
            U8[address : address + _VAL * count : _VAL] = _U8_KINDS[:count]
            U8[address + 8 : address + 8 + _VAL * count : _VAL] = data
        return address

    def own_box(self, pointer: int) -> None:
        """Free a ``resource_any`` on `release`."""
        self._boxes.append(pointer)

    def release(self) -> None:
        """Free everything and return to the pool."""
        self.base = ctypes.addressof(self._block) >> 3
        if self.keep:
            self.keep.clear()
        while self._boxes:
            any_delete(self._boxes.pop())
        if len(self._free) < 16:
            self._free.append(self)
