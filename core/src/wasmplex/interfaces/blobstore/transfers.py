"""Content on its way, as guests hold it: readers, writers and listings, each step with its deadline."""

from __future__ import annotations

import asyncio
from asyncio import sleep
from collections.abc import AsyncIterator
from typing import Any

from wasmplex.capabilities.blobstore import (
    MAX_PAGE,
    PIECE,
    Container,
    Page,
    QuotaExceeded,
    Reader,
    StoreUnavailable,
    Writer,
)
from wasmplex.policy import Guard, operation
from wasmplex.policy.closing import Closings

__all__ = ["GuardedListing", "GuardedReader", "GuardedWriter"]


class GuardedReader:
    """A part of an object that is being read. Whoever has it closes it; the end closes it as well.

    :ivar length: how many bytes it has
    """

    __slots__ = ("_closings", "_failure", "_left", "_reader", "guard", "length")

    def __init__(self, guard: Guard, closings: Closings, reader: Reader) -> None:
        self.guard = guard
        self.length = self._left = reader.length
        self._closings = closings
        self._reader: Reader | None = reader
        self._failure: Exception | None = None

    def readinto_nowait(self, buffer: memoryview) -> int:
        """See `Reader.readinto_nowait`; what goes wrong in there is raised by `read`."""
        reader = self._reader
        if not self._left or reader is None or not self._is_up:
            return 0
        room = buffer[: self._left]
        try:
            count = reader.readinto_nowait(room)
        except Exception as error:  # noqa: BLE001  whatever it is, it is refused where it can be raised
            self._failure = error
            return 0
        if not 0 <= count <= len(room):
            self._failure = ValueError(f"readinto_nowait returned {count} of {len(room)} bytes")
            return 0
        self._left -= count
        return count

    def next_at_hand(self) -> asyncio.Future[Any] | None:
        """See `Reader.next_at_hand`; it is done at the deadline as well, and `read` then says why."""
        reader = self._reader
        if not self._left or reader is None or self._failure is not None or not self._is_up:
            return None
        try:
            coming = reader.next_at_hand()
        except Exception as error:  # noqa: BLE001  whatever it is, it is refused where it can be raised
            self._failure = error
            return None
        if coming is not None and not coming.done():
            expiry = coming.get_loop().call_later(self.guard.idle, self._expire, coming)
            coming.add_done_callback(lambda _: expiry.cancel())
        return coming

    def _expire(self, coming: asyncio.Future[Any]) -> None:
        if coming.cancel():
            self._failure = TimeoutError(f"no answer within {self.guard.idle:g} s")

    @property
    def _is_up(self) -> bool:
        circuit = self.guard.circuit
        return circuit is None or not circuit.is_open

    @operation("get-data", "blobstore", returns=bytes, transfer=True)
    async def read(self) -> bytes:
        """Return the next bytes, none at the end.

        :raises StoreUnavailable: if the backend has less than it said: a part is not taken for the whole
        """
        if self._failure is not None:
            raise self._failure
        if not self._left or self._reader is None:
            return b""
        piece = await self._reader.read()
        self._left -= len(piece)
        if self._left < 0 or not piece:
            raise StoreUnavailable("the object has another length than the store said")
        return piece

    async def close(self) -> None:
        """Release everything; a second time it does nothing."""
        reader, self._reader = self._reader, None
        if reader is not None:
            await self._closings.close(reader)

    def drop(self) -> None:
        """Have it closed, where nobody can wait for that."""
        reader, self._reader = self._reader, None
        if reader is not None:
            self._closings.start(reader)


class GuardedWriter:
    """An object that is being written. Whoever has it closes it; without `commit`, the old one stays.

    :param most: how many bytes it may have
    """

    __slots__ = ("_closings", "_left", "_most", "_writer", "guard")

    def __init__(self, guard: Guard, closings: Closings, writer: Writer, most: int) -> None:
        self.guard = guard
        self._most = self._left = most
        self._closings = closings
        self._writer: Writer | None = writer

    @operation("write-data", "blobstore", transfer=True)
    async def write(self, data: bytes | memoryview) -> None:
        """Take at most `PIECE` bytes.

        :raises QuotaExceeded: if the object is too large
        """
        if len(data) > self._left:
            raise QuotaExceeded(f"an object of more than {self._most} bytes is over the limit")
        if data:
            await self._open().write(data)
            self._left -= len(data)

    @operation("write-data", "blobstore", transfer=True)
    async def commit(self) -> None:
        """Put the object in its place."""
        await self._open().commit()

    def _open(self) -> Writer:
        if self._writer is None:
            raise StoreUnavailable("the transfer is over")
        return self._writer

    async def write_all(self, data: bytes | memoryview) -> None:
        """Take any number of bytes."""
        if len(data) <= PIECE:
            await self.write(data)
            return
        view = memoryview(data)
        for start in range(0, len(view), PIECE):
            await self.write(view[start : start + PIECE])

    async def close(self) -> None:
        """Release everything; a second time it does nothing."""
        writer, self._writer = self._writer, None
        if writer is not None:
            await self._closings.close(writer)

    def drop(self) -> None:
        """Have it closed, where nobody can wait for that."""
        writer, self._writer = self._writer, None
        if writer is not None:
            self._closings.start(writer)


class GuardedListing:
    """The names of a container's objects, a page at a time.

    :param first: the first page, which has been read
    """

    __slots__ = ("_container", "_page", "guard")

    def __init__(self, guard: Guard, container: Container, first: Page) -> None:
        self.guard = guard
        self._container = container
        self._page: Page | None = first

    @operation("list-objects", "blobstore", returns=list, transfer=True)
    async def next(self) -> list[str]:
        """Return some more names; none at the end."""
        while self._page is not None:
            names, cursor = self._page
            if names:
                self._page = Page([], cursor)
                return names
            self._page = None if cursor is None else await self._container.list_objects(cursor, MAX_PAGE)
            await sleep(0)  # pages for which nothing waits would keep everybody else waiting
        return []

    async def __aiter__(self) -> AsyncIterator[list[str]]:
        while names := await self.next():
            yield names
