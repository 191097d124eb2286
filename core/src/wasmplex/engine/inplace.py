"""Bytes that functions linked directly take from the guest's memory, and put there, themselves.

A ``list<u8>`` that passes through wasmtime's C API is a value of 32 bytes for each byte, twice. So components
are changed (`wasmplex.bridge.inplace`) to import some functions with pairs of numbers in the place of bytes.
As a parameter the pair is what the list is in the canonical ABI, address and length: the bytes are read where
they are. As a result it is a token and the length: the guest makes room, and has `Places.fill` put the
bytes there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from wasmplex.engine.accounts import LinearMemory
from wasmplex.engine.memory import RAW, U8
from wasmplex.errors import LimitExceeded, Trap
from wasmplex.wit.types import FuncType, ListType, Primitive

__all__ = ["IN_PLACE", "MOST", "Fill", "InPlace", "InPlaceFunction", "Places"]

MOST: Final = 16 << 20
"""The most bytes that one argument may be: the host copies them, and others wait meanwhile."""
_PIECE: Final = 1 << 20
"""Bytes that are put in place by one call: between two, the guest can be interrupted."""


@dataclass(frozen=True, slots=True)
class InPlace(ListType):
    """A ``list<u8>`` that crosses as a pair of u32. To Python it is bytes like any other."""


IN_PLACE: Final = InPlace(Primitive("u8"))


@dataclass(frozen=True, slots=True)
class InPlaceFunction:
    """A host function with bytes in place.

    :ivar name: what the function is called that it stands for
    :ivar call: the Python that serves it
    :ivar context: whether that wants the calling instance first
    :ivar type: its type, with `IN_PLACE` for what crosses as a pair
    """

    name: str
    call: Callable[..., Any]
    context: bool
    type: FuncType


class Fill:
    """Stands for the host function that puts bytes where the guest has made room for them: `Places.fill`."""


class Places:
    """The bytes on their way between the host and the memory of one instance.

    :param memory: that memory; it never moves
    """

    __slots__ = ("_kept", "_memory", "_next", "_workload")

    def __init__(self, memory: LinearMemory, workload: str) -> None:
        self._memory = memory
        self._workload = workload
        self._kept: dict[int, memoryview] = {}
        self._next = 1

    def read(self, at: int, size: int) -> bytes:
        """Return an argument.

        :raises wasmplex.errors.Trap: if it does not lie in the memory
        :raises wasmplex.errors.LimitExceeded: if it is more than `MOST`
        """
        if at + size > self._memory.size:
            raise Trap(
                f"workload {self._workload!r}: the guest trapped",
                why="list pointer/length out of bounds of memory",
            )
        if size > MOST:
            raise LimitExceeded(
                f"workload {self._workload!r}: an argument of {size} bytes",
                why=f"at most {MOST} cross at once",
            )
        start = self._memory.base + at
        data: bytes = RAW[start : start + size]
        return data

    def keep(self, data: bytes) -> int:
        """Keep a result until it is put in place; return its token."""
        token, self._next = self._next, self._next + 1 & 0xFFFF_FFFF
        if data:
            self._kept[token] = memoryview(data)
        return token

    def fill(self, token: int, to: int) -> int:
        """Put the next bytes of a result at an address; return how many.

        :raises wasmplex.errors.Trap: if the guest has made no room for them there
        """
        rest = self._kept[token]
        piece = rest[:_PIECE]
        if to + len(piece) > self._memory.size:
            raise Trap(
                f"workload {self._workload!r}: the guest trapped",
                why="realloc return: beyond end of memory",
            )
        start = self._memory.base + to
        U8[start : start + len(piece)] = piece
        if len(piece) == len(rest):
            del self._kept[token]
        else:
            self._kept[token] = rest[len(piece) :]
        return len(piece)
