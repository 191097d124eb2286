"""Several calls of one exported function, made in one crossing: a *series*.

What a call costs is mostly the way into the guest and back. Where many calls of one function come together,
the export adapter makes them one after the other: it is given the arguments of all, and leaves the results of
those that it has made. For functions that are over when they return: synchronous ones, without handles.

What the host writes from `ARENA` on, and the adapter completes::

    entries    four words for each call: where its arguments are, where its result begins and ends
    arguments  a block for each call
    results    above that; they are there until the next call

After each call the adapter writes to `MADE` where the next entry is: so it is known after a trap how many
calls there were. It begins no further one once the host has written to `PAUSED`, or the results have `FULL`
bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import takewhile
from typing import Any, ClassVar, Final, NoReturn

from wasmplex.bridge.codec.several import Body
from wasmplex.bridge.exportcodecs import ExportCodec
from wasmplex.bridge.exports import SERIES
from wasmplex.bridge.flows import Memory
from wasmplex.bridge.protocol import ARENA, MADE, PAUSED
from wasmplex.engine.memory import U8, U32, U64
from wasmplex.values import Err
from wasmplex.wit.types import ResultType

__all__ = ["Series", "begin", "is_serial", "made", "pause"]

_ENTRY: Final = 16
_FIRST: Final = struct.pack("<4I", ARENA + _ENTRY, 0, 0, 0)
_RESULT: Final = struct.Struct("<II")


def is_serial(codec: ExportCodec) -> bool:
    """Say whether calls of a function can be made in a series."""
    return not (codec.function.type.is_async or codec.handles or codec.moves)


class Series:
    """How the calls of one function get into the memory of an adapter, and their results out of it."""

    __slots__ = ("_bare", "_codec", "_count", "_fails", "_write", "number")
    entry: ClassVar[str] = SERIES
    """What the adapter exports for it."""

    def __init__(self, codec: ExportCodec, body: Body | None = None) -> None:
        result = codec.function.type.result
        self.number = codec.function.number
        self._codec = codec
        self._write = codec.write_several(body)
        self._count = len(codec.function.type.params)
        self._fails = isinstance(result, ResultType)
        self._bare = isinstance(result, ResultType) and result.ok is None
        """Whether a result that begins with 0 is no more than ok."""

    @property
    def path(self) -> str:
        """What the function is called."""
        return self._codec.function.path

    def written(self, calls: Sequence[tuple[Any, ...]]) -> tuple[int, bytes | bytearray]:
        """Return what is to lie at `ARENA` for some calls, and how many they are.

        These are all calls up to the first whose arguments do not fit.

        :raises wasmplex.wit.mismatch.ValueMismatch: if those of the very first do not
        """
        if {*map(len, calls)} - {self._count}:
            calls = self._complete(calls)
        block, places = bytearray(_ENTRY * len(calls)), list[int]()
        self._write(calls, block, ARENA, places)
        count = len(places)
        entries = [0] * (4 * count)
        entries[::4] = places
        struct.pack_into(f"<{4 * count}I", block, 0, *entries)
        return count, block

    def alone(self, args: tuple[Any, ...]) -> bytes | bytearray:
        """Return what is to lie at `ARENA` for a single call.

        :raises wasmplex.wit.mismatch.ValueMismatch: if its arguments do not fit
        """
        if len(args) != self._count:
            self._refused(args)
        return _FIRST + self._codec.write(args or None, ARENA + _ENTRY, None)

    def only(self, memory: Memory) -> Any:
        """Return what a single call has returned.

        :raises wasmplex.values.Err: if it is the err case of its result
        """
        at, end = _RESULT.unpack(memory.read(ARENA + 4, 8))
        if self._bare and not U8[memory.base + at]:
            return None
        value = self._value(memory.read(at, end - at), at)
        if self._fails and isinstance(value, Err):
            raise value
        return value

    def left(self, memory: Memory) -> bool:
        """Say whether the guest goes on after the last call."""
        return False

    def _complete(self, calls: Sequence[tuple[Any, ...]]) -> Sequence[tuple[Any, ...]]:
        """Return the calls up to the first that has not as many arguments as there are parameters."""
        if len(calls[0]) != self._count:
            self._refused(calls[0])
        return [*takewhile(lambda args: len(args) == self._count, calls)]

    def _refused(self, args: tuple[Any, ...]) -> NoReturn:
        raise TypeError(f"{self.path} takes {self._count} arguments, not {len(args)}")

    def read(self, memory: Memory, known: int, results: list[Any]) -> int:
        """Append the results of the calls that were made: what each returned, or the `Err`.

        :param known: how many calls were made whose results are known
        :return: how many were made
        """
        base, first = memory.base, ARENA + _ENTRY * known
        size = U32[(base + MADE) >> 2] - first
        entries = struct.unpack(f"<{size >> 2}I", memory.read(first, size))
        bare = self._bare
        for at, end in zip(entries[1::4], entries[2::4], strict=True):
            if bare and not U8[base + at]:
                results.append(None)
            else:
                results.append(self._value(memory.read(at, end - at), at))
        return known + size // _ENTRY

    def _value(self, block: bytes, at: int) -> Any:
        values = self._codec.read(block, at, None)
        value: Any = values[0] if values else None
        return value.value if self._fails and not isinstance(value, Err) else value


def begin(memory: Memory) -> None:
    """Note that no call has been made."""
    U64[(memory.base + MADE) >> 3] = ARENA  # and `PAUSED`, which is beside it


def made(memory: Memory) -> int:
    """Return how many calls have been made."""
    return int(U32[(memory.base + MADE) >> 2] - ARENA) // _ENTRY


def pause(memory: Memory) -> None:
    """Have no further call made."""
    U32[(memory.base + PAUSED) >> 2] = 1
