"""The values of ``wasi:blobstore``: content on its way as the streams of ``wasi:io``.

A stream waits for the store inside its `read` or `write`, as those of files do; its pollables are ready.
"""

from __future__ import annotations

from asyncio import sleep
from collections.abc import Coroutine
from typing import Any, TypeVar

from wasmplex.capabilities.blobstore import PIECE, InvalidArgument, QuotaExceeded
from wasmplex.capabilities.io import InputStream, OutputStream, Pollable, ReadyPollable, closed, failed
from wasmplex.interfaces.blobstore.transfers import GuardedListing, GuardedReader, GuardedWriter
from wasmplex.policy import Dialect
from wasmplex.values import Err

__all__ = ["MOST_AT_ONCE", "IncomingValue", "ObjectNames", "OutgoingValue", "Unplaced"]

T = TypeVar("T")

MOST_AT_ONCE = 64 * 2**20
"""Bytes that ``incoming-value-consume-sync`` returns at most."""
MOST_UNPLACED = 2**20
"""Bytes of one value that may be written before ``write-data`` says where to."""
ALL_UNPLACED = 16 * 2**20
"""Bytes of all values of a workload of which that holds."""
MOST_NAMES = 1000
"""Names that are returned at once."""


async def _streamed(operation: Coroutine[Any, Any, T]) -> T:
    """Await an operation, and raise its error as one of a stream."""
    try:
        return await operation
    except Err as error:
        raise failed(str(error.value)) from None


# ---------------------------------------------------------------- reading


class IncomingValue:
    """The resource ``incoming-value``."""

    def __init__(self, reader: GuardedReader, dialect: Dialect) -> None:
        self._reader = reader
        self._dialect = dialect

    def size(self) -> int:
        """Return how many bytes there are."""
        return self._reader.length

    async def consume_sync(self) -> bytes:
        """Return all of it.

        :raises Err: if it is more than `MOST_AT_ONCE`, or cannot be read
        """
        try:
            if self._reader.length > MOST_AT_ONCE:
                text = f"{self._reader.length} bytes are too many at once; use incoming-value-consume-async"
                raise self._dialect("incoming-value-consume-sync", QuotaExceeded(text))
            found = bytearray()
            while piece := await self._reader.read():
                found += piece
                await sleep(0)  # a store that never waits would keep everybody else waiting
            return bytes(found)
        finally:
            await self._reader.close()

    async def consume_async(self) -> BlobInput:
        """Return it as a stream, which has the reader from now on."""
        return BlobInput(self._reader)

    def drop(self) -> None:
        """Close the reader."""
        self._reader.drop()


class BlobInput(InputStream):
    """A part of an object that is being read."""

    __slots__ = ("_piece", "_reader")

    def __init__(self, reader: GuardedReader) -> None:
        self._reader = reader
        self._piece = memoryview(b"")

    async def read(self, length: int) -> bytes:
        """Return some bytes; wait for the store to have them.

        :raises Err: `closed` at the end, `failed` with the error
        """
        if not length:
            return b""
        if not self._piece:
            self._piece = memoryview(await _streamed(self._reader.read()))
        if not self._piece:
            await self._reader.close()
            raise closed()
        part, self._piece = self._piece[:length], self._piece[length:]
        return bytes(part)

    def subscribe(self) -> Pollable:
        """Return a pollable that is ready."""
        return ReadyPollable()

    def drop(self) -> None:
        """Close the reader."""
        self._reader.drop()


class ObjectNames:
    """The resource ``stream-object-names``."""

    def __init__(self, listing: GuardedListing, first: list[str]) -> None:
        self._listing = listing
        self._names = first

    async def read(self, length: int) -> tuple[list[str], bool]:
        """Return at most `length` names, and whether there are no more."""
        most = min(length, MOST_NAMES)
        found, self._names = self._names[:most], self._names[most:]
        return found, await self._at_end()

    async def skip(self, count: int) -> tuple[int, bool]:
        """Leave out `count` names; return how many those were, and whether there are no more."""
        skipped = 0
        while skipped < count and not await self._at_end():
            part = min(count - skipped, len(self._names))
            self._names = self._names[part:]
            skipped += part
            await sleep(0)
        return skipped, await self._at_end()

    async def _at_end(self) -> bool:
        if not self._names:
            self._names = await self._listing.next()
        return not self._names


# ---------------------------------------------------------------- writing


class Unplaced:
    """Counts what the values of a workload hold for which nobody has said where they go."""

    def __init__(self) -> None:
        self.size = 0


class OutgoingValue:
    """The resource ``outgoing-value``.

    :param dialect: how errors look to the guest
    """

    def __init__(self, dialect: Dialect, unplaced: Unplaced) -> None:
        self._dialect = dialect
        self._unplaced = unplaced
        self._waiting = bytearray()
        self._writer: GuardedWriter | None = None
        self._has_body = self._over = False
        self._failure: Err[Any] | None = None

    def write_body(self) -> BlobOutput:
        """Return the stream to write to; there is one.

        :raises Err: if it was returned before
        """
        if self._has_body:
            raise Err
        self._has_body = True
        return BlobOutput(self)

    async def place(self, opening: Coroutine[Any, Any, GuardedWriter]) -> None:
        """Say where it goes, and send what has been written already.

        :param opening: opens the writer
        :raises Err: if that was said before, or the store refuses
        """
        if self._writer is not None or self._over:
            opening.close()
            raise self._dialect("write-data", InvalidArgument("the value has a place already"))
        self._writer = await opening
        await self._send(self._take_waiting())

    def check(self) -> None:
        """Raise, as an error of a stream, if no more can be written."""
        if self._over:
            raise closed()
        if self._failure is not None:
            raise failed(str(self._failure.value))

    async def write(self, data: bytes) -> None:
        """Take bytes.

        :raises Err: as an error of a stream
        """
        self.check()
        if self._writer is not None:
            await _streamed(self._send(data))
            return
        self._check_unplaced(len(data))
        self._waiting += data
        self._unplaced.size += len(data)

    def _check_unplaced(self, more: int) -> None:
        if len(self._waiting) + more > MOST_UNPLACED:
            raise failed(f"write-data has to be called before more than {MOST_UNPLACED} bytes are written")
        if self._unplaced.size + more > ALL_UNPLACED:
            raise failed("too many values are written that write-data was not called for")

    async def _send(self, data: bytes | bytearray) -> None:
        assert self._writer is not None  # noqa: S101  it was placed
        try:
            await self._writer.write_all(memoryview(data))
        except Err as error:
            self._failure = error
            raise

    async def finish(self) -> None:
        """Commit.

        :raises Err: if there is no place, or something of it could not be written
        """
        self._over = True
        if self._writer is None:
            self._take_waiting()
            raise self._dialect("finish", InvalidArgument("write-data was not called for this value"))
        try:
            if self._failure is not None:
                raise self._failure
            await self._writer.commit()
        finally:
            await self._writer.close()

    def _take_waiting(self) -> bytearray:
        waiting, self._waiting = self._waiting, bytearray()
        self._unplaced.size -= len(waiting)
        return waiting

    def drop(self) -> None:
        """Leave the old object, unless this one is finished."""
        self._over = True
        self._take_waiting()
        if self._writer is not None:
            self._writer.drop()


class BlobOutput(OutputStream):
    """The stream of an outgoing value. Dropping it says nothing: `OutgoingValue.finish` does."""

    __slots__ = ("_value",)

    def __init__(self, value: OutgoingValue) -> None:
        self._value = value

    def check_write(self) -> int:
        """Return how much one write may bring.

        :raises Err: `closed` when the value is finished, `failed` with the error of an earlier write
        """
        self._value.check()
        return PIECE

    async def write(self, contents: bytes) -> None:
        """Write all of `contents`; wait for the store to have room.

        :raises Err: `closed` when the value is finished, `failed` with the error
        """
        await self._value.write(contents)

    def subscribe(self) -> Pollable:
        """Return a pollable that is ready."""
        return ReadyPollable()
