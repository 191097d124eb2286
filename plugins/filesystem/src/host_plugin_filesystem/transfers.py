"""Objects on their way: what is cached is read at once, and pieces are written while the next ones come."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import anyio
from wasmplex.capabilities.blobstore import PIECE, Reader, Steps, StoreUnavailable, Writer

from host_plugin_filesystem import operations
from host_plugin_filesystem.disk import Disk
from host_plugin_filesystem.files import Source, Staged
from host_plugin_filesystem.places import Place

__all__ = ["FileReader", "FileWriter"]

_AHEAD = 2 * PIECE
"""Bytes that wait to be written while as many are being written: a thread that has to be woken for each piece
is idle most of the time."""
_CLOSING = 5.0


class FileReader(Reader):
    """An object that is being read."""

    def __init__(self, disk: Disk, source: Source, offset: int, length: int) -> None:
        self.length = length
        self.source = source
        self._disk = disk
        self._offset = offset
        self._end = offset + length
        self._buffer = bytearray(min(PIECE, length))

    def readinto_nowait(self, buffer: memoryview) -> int:
        """See `Reader.readinto_nowait`. Less than a piece is read together with what is on the disk."""
        buffer = buffer[: self._end - self._offset]
        count = self.source.read_cached(buffer, self._offset)
        if count < min(PIECE, len(buffer)):
            return 0
        self._offset += count
        return count

    async def read(self) -> bytes:
        """See `Reader.read`."""
        length = min(PIECE, self._end - self._offset)
        if length <= 0:
            return b""
        cached = memoryview(self._buffer)[:length]
        if self.readinto_nowait(cached):
            return bytes(cached)
        data = await self._disk.run(self.source.read, length, self._offset)
        if not data:
            raise StoreUnavailable("the file was cut short")
        self._offset += len(data)
        return data

    async def close(self) -> None:
        """See `Reader.close`."""
        await _finished(self._disk, self.source.close)


class FileWriter(Writer):
    """An object that is being written."""

    def __init__(self, disk: Disk, place: Place, target: Place, staged: Staged) -> None:
        self._disk = disk
        self._place, self._target = place, target
        self._staged = staged
        self._waiting: list[bytes] = []
        self._size = 0
        self._writing: asyncio.Future[None] | None = None

    async def write(self, data: bytes | memoryview) -> None:
        """See `Writer.write`. What goes wrong with these bytes may be raised by what is called next."""
        self._waiting.append(bytes(data))
        self._size += len(data)
        if self._writing is None or self._writing.done() or self._size >= _AHEAD:
            await self._flush()

    async def _flush(self) -> None:
        """Begin to write what waits, when what came before is written."""
        if self._writing is not None:
            await self._disk.result(self._writing)
            self._writing = None
        if self._waiting:
            pieces, self._waiting, self._size = self._waiting, [], 0
            self._writing = self._disk.start(self._staged.write, pieces)

    async def copy(self, reader: FileReader) -> Steps:
        """Write what another file holds."""
        offset = 0
        while count := await self._disk.run(reader.source.copy_to, self._staged, offset):
            offset += count
            yield count

    async def commit(self) -> None:
        """See `Writer.commit`."""
        await self._flush()
        await self._flush()
        disk = self._disk
        await disk.run(operations.commit, disk.root, self._place, self._target, self._staged)

    async def close(self) -> None:
        """See `Writer.close`."""
        writing, self._writing, self._waiting = self._writing, None, []
        if writing is not None and not writing.cancel() and not writing.cancelled():
            writing.exception()  # asyncio prints the exceptions that nobody has looked at
        await _finished(self._disk, self._staged.discard)


async def _finished(disk: Disk, function: Callable[[], None]) -> None:
    """Close a file in a thread, when what is done with it has ended, and although this task is cancelled."""
    try:
        started = disk.start(function)
        with anyio.move_on_after(_CLOSING, shield=True):  # it is done later then, when a thread is free
            await disk.result(started)
    except StoreUnavailable:
        function()  # the store is closed, and with it its threads
