"""Files as streams, and directories as streams of entries."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from threading import Lock
from typing import Any

from wasmplex.plugin import Err

from host_plugin_wasi.filesystem import entries
from host_plugin_wasi.filesystem.errors import off_loop, off_loop_stream, stream_error
from host_plugin_wasi.filesystem.handles import Handle
from host_plugin_wasi.io import (
    READ_LIMIT,
    InputStream,
    OutputStream,
    Pollable,
    ReadyPollable,
    Violation,
    closed,
)

__all__ = ["CACHED", "DirectoryEntries", "FileInput", "FileOutput", "Listing", "read"]

CACHED = 64 << 10
"""Bytes that are read on the event loop when they are in memory: faster than a thread can be asked."""

_BATCH = 256

_LIST = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


async def read(handle: Handle, length: int, offset: int) -> bytes:
    """Read at most `length` bytes; ``b""`` at the end of the file.

    :raises Err: with the error code
    """
    if 0 < length <= CACHED:
        data = entries.read_cached(handle, length, offset)
        if data is not None:
            return data
    return await off_loop(handle.threads, entries.read, handle, min(length, READ_LIMIT), offset)


class _FileStream:
    """What both directions share: a hold on the file, given up at the first error or when dropped."""

    __slots__ = ("_handle",)

    def __init__(self, handle: Handle) -> None:
        self._handle: Handle | None = handle.hold()

    def _open(self) -> Handle:
        if self._handle is None:
            raise closed()
        return self._handle

    def subscribe(self) -> Pollable:
        """Return a pollable that is ready: files always are."""
        return ReadyPollable()

    def drop(self) -> None:
        """Let go of the file."""
        handle, self._handle = self._handle, None
        if handle is not None:
            handle.release()


class FileInput(_FileStream, InputStream):
    """Reads a file from an offset on."""

    __slots__ = ("_offset",)

    def __init__(self, handle: Handle, offset: int) -> None:
        super().__init__(handle)
        self._offset = offset

    async def read(self, length: int) -> bytes:
        """Read on; the stream ends where the file ended when it got there.

        :raises Err: `closed` at the end, `failed` with the error code
        """
        handle = self._open()
        if not length:
            return b""
        try:
            data = await read(handle, length, self._offset)
        except Err as error:
            self.drop()
            raise stream_error(error.value) from None
        if not data:
            raise closed()
        self._offset += len(data)
        return data


class FileOutput(_FileStream, OutputStream):
    """Writes a file from an offset on, or at its end. What `write` has taken is in the file."""

    __slots__ = ("_offset",)

    def __init__(self, handle: Handle, offset: int | None) -> None:
        super().__init__(handle)
        self._offset = offset

    def check_write(self) -> int:
        """Return how much one write may bring."""
        self._open()
        return READ_LIMIT

    async def write(self, contents: bytes) -> None:
        """Write all of `contents`.

        :raises Err: `failed` with the error code; the stream is closed from then on
        """
        handle = self._open()
        if len(contents) > READ_LIMIT:
            raise Violation("wasi:io/streams: write of more than check-write permits")
        try:
            while contents:
                contents = contents[await self._put(handle, contents) :]
        except Err:
            self.drop()
            raise

    async def _put(self, handle: Handle, contents: bytes) -> int:
        if self._offset is None:
            return await off_loop_stream(handle.threads, entries.append, handle, contents)
        count = await off_loop_stream(handle.threads, entries.write, handle, contents, self._offset)
        self._offset += count
        return count


class DirectoryEntries:
    """The resource ``directory-entry-stream``: what a directory holds, read in batches."""

    __slots__ = ("_batch", "_listing")

    def __init__(self, listing: Listing) -> None:
        self._listing = listing
        self._batch: Iterator[tuple[str, bytes]] = iter(())

    async def read_directory_entry(self) -> dict[str, Any] | None:
        """Return the next entry, None at the end.

        :raises Err: ``illegal-byte-sequence`` for one whose name is not UTF-8; the next call goes on
        """
        entry = next(self._batch, None)
        if entry is None:
            self._batch = iter(await off_loop(self._listing.threads, self._listing.next))
            entry = next(self._batch, None)
        if entry is None:
            return None
        try:
            return {"type": entry[0], "name": entry[1].decode()}
        except UnicodeDecodeError:
            raise Err("illegal-byte-sequence") from None

    async def read_some(self) -> list[tuple[str, str]]:
        """Return kind and name of some entries, none at the end.

        :raises Err: ``illegal-byte-sequence`` if the name of one is not UTF-8
        """
        batch = await off_loop(self._listing.threads, self._listing.next)
        try:
            return [(kind, name.decode()) for kind, name in batch]
        except UnicodeDecodeError:
            raise Err("illegal-byte-sequence") from None

    def drop(self) -> None:
        """Close the directory."""
        self._listing.close()


class Listing:
    """A directory being read, by one thread at a time. It takes two file descriptors.

    :ivar threads: where `next` is to be called
    """

    def __init__(self, start: Handle) -> None:
        self.threads = start.threads
        self._lock = Lock()
        self._closed = False
        with start as fd:
            # An offset of its own: the descriptor may be listed twice at once.
            self._own = Handle(start.allowance, os.open, ".", _LIST, dir_fd=fd)
        try:
            self._own.allowance.take()
        except OSError:
            self._own.release()
            raise
        with self._own as fd:
            self._entries: Any = os.scandir(fd)  # has a duplicate of it

    def next(self) -> list[tuple[str, bytes]]:
        """Return kind and name of the next entries, none at the end."""
        with self._lock, self._own:
            # Entries are looked at through the descriptor that was scanned.
            found = [(_kind(entry), os.fsencode(entry.name)) for entry in islice(self._entries, _BATCH)]
            if self._closed:
                self._end()
        return found

    def close(self) -> None:
        """Close it, or leave that to the thread that still reads it."""
        self._closed = True
        self._own.release()
        if self._lock.acquire(blocking=False):
            self._end()
            self._lock.release()

    def _end(self) -> None:
        entries, self._entries = self._entries, None
        if entries is not None:
            entries.close()
            self._own.allowance.give()

    def __del__(self) -> None:
        # Opened by a call that was cancelled before it could take the result.
        if getattr(self, "_entries", None) is not None:
            self._end()


def _kind(entry: os.DirEntry[str]) -> str:
    if entry.is_symlink():
        return "symbolic-link"
    if entry.is_dir(follow_symlinks=False):
        return "directory"
    if entry.is_file(follow_symlinks=False):
        return "regular-file"
    try:
        return entries.kind(entry.stat(follow_symlinks=False).st_mode)
    except OSError:
        return "unknown"
