"""Objects on their way: read as the server sends them, and written in parts as they come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import anyio
import obstore
from obstore.store import S3Store
from wasmplex.capabilities.blobstore import PIECE, Other, Reader, StoreUnavailable, Writer
from wasmplex.plugin import StreamClosed, channel

from host_plugin_s3.failures import Failure, failed
from host_plugin_s3.leases import Lease

__all__ = ["ObjectReader", "ObjectWriter"]

_UPLOADS = 2
"""Parts of one object that are on their way at once."""
_ABORTING = 5.0
_AHEAD = 13 << 15
"""Bytes that the guest may be busy with when more is asked for; the library reads 408 KiB at once."""
_NOTHING = memoryview(b"")
"""A rest of no bytes that keeps no chunk: the memory of one is taken for the next."""


class ObjectReader(Reader):
    """A part of an object that is being read, with one request.

    :param stream: the library's
    """

    def __init__(self, length: int, stream: AsyncIterator[Any] | None) -> None:
        self.length = self._left = length
        self._stream = stream
        self._coming: asyncio.Future[Any] | None = None
        """The next chunk, which the library has been asked for."""
        self._rest = _NOTHING

    def readinto_nowait(self, buffer: memoryview) -> int:
        """See `Reader.readinto_nowait`: of the chunk that came last."""
        coming = self._coming
        if not self._rest and coming is not None and _has_come(coming):
            self._coming = None
            self._rest = memoryview(coming.result())
        part = self._taken(len(buffer))
        count = len(part)
        buffer[:count] = part
        if count and self._left and not self._rest and count <= _AHEAD:
            self._ask()
        return count

    def next_at_hand(self) -> asyncio.Future[Any] | None:
        """See `Reader.next_at_hand`: the library's next chunk, if it is not there and no failure."""
        self._ask()
        return None if self._coming is None or self._coming.done() else self._coming

    def _ask(self) -> None:
        if self._coming is None and self._stream is not None:
            self._coming = asyncio.ensure_future(anext(self._stream))
            self._coming.add_done_callback(_look_at)

    async def read(self) -> bytes:
        """See `Reader.read`."""
        while not self._rest and self._left:
            self._rest = memoryview(await self._next())
        return bytes(self._taken(PIECE))

    def _taken(self, most: int) -> memoryview:
        part = self._rest[: min(most, self._left)]
        self._left -= len(part)
        self._rest = self._rest[len(part) :] or _NOTHING
        return part

    async def _next(self) -> Any:
        if self._stream is None:
            raise StoreUnavailable("the reader is closed")
        coming: Awaitable[Any] = self._coming or anext(self._stream)
        self._coming = None
        try:
            return await coming
        except StopAsyncIteration:
            raise StoreUnavailable("the object was cut short") from None
        except Failure as error:
            raise failed(error) from error

    async def close(self) -> None:
        """See `Reader.close`."""
        if self._coming is not None:
            self._coming.cancel()
        self._stream = self._coming = None  # with the stream, its connection goes
        self._rest = _NOTHING


def _has_come(chunk: asyncio.Future[Any]) -> bool:
    return chunk.done() and not chunk.cancelled() and chunk.exception() is None


def _look_at(chunk: asyncio.Future[Any]) -> None:
    """Look at an exception that `read` may not come to raise: asyncio prints those that nobody has seen."""
    if not chunk.cancelled():
        chunk.exception()


class _Aborted(Exception):
    """Raised into the upload that is not to be finished; the library then aborts it on the server."""


class ObjectWriter(Writer):
    """An object that is being written: with one request if it is small, in parts if it is not.

    :param metadata: stored with it
    :param part_size: bytes of a part, and what is small
    :param check: raises if the container is gone
    :param lease: what says that this host uploads in parts
    """

    def __init__(
        self,
        store: S3Store,
        key: str,
        metadata: Mapping[str, str] | None,
        part_size: int,
        check: Callable[[], Awaitable[object]],
        lease: Lease,
    ) -> None:
        self._store = store
        self._key = key
        self._metadata = None if metadata is None else dict(metadata)
        self._part_size = part_size
        self._check = check
        self._lease = lease
        self._leased = False
        self._pieces: list[bytes] = []
        self._size = 0
        self._sender, self._receiver = channel()
        self._upload: asyncio.Future[Any] | None = None

    async def write(self, data: bytes | memoryview) -> None:
        """See `Writer.write`."""
        if self._upload is not None:
            await self._hand_over(self._upload, bytes(data))
            return
        self._pieces.append(bytes(data))
        self._size += len(data)
        if self._size > self._part_size:
            self._leased = True
            try:
                await self._lease.hold(self._store)
            except Failure as error:
                raise failed(error) from error
            self._upload = self._begin(self._parts(), in_parts=True)

    async def commit(self) -> None:
        """See `Writer.commit`."""
        await self._check()
        if self._upload is None:
            self._upload = self._begin(b"".join(self._pieces), in_parts=False)
        self._sender.close()
        await asyncio.wait([self._upload])
        _look(self._upload)

    async def close(self) -> None:
        """See `Writer.close`."""
        upload, self._pieces = self._upload, []
        if self._leased:
            self._lease.release()
        self._sender.abort(_Aborted())
        if upload is not None and not upload.done():
            with anyio.move_on_after(_ABORTING, shield=True):
                await asyncio.wait([upload])
            upload.cancel()
        self._receiver.close()
        if upload is not None and upload.done() and not upload.cancelled():
            upload.exception()  # asyncio prints the exceptions that nobody has looked at

    def _begin(self, content: bytes | AsyncIterator[bytes], *, in_parts: bool) -> asyncio.Future[Any]:
        uploading: Any = obstore.put_async(
            self._store,
            self._key,
            content,
            attributes=self._metadata,
            use_multipart=in_parts,
            chunk_size=self._part_size,
            max_concurrency=_UPLOADS,
        )
        future: asyncio.Future[Any] = asyncio.ensure_future(uploading)
        return future

    async def _parts(self) -> AsyncIterator[bytes]:
        pieces, self._pieces = self._pieces[::-1], []
        while pieces:
            yield pieces.pop()
        async for piece in self._receiver:
            yield piece

    async def _hand_over(self, upload: asyncio.Future[Any], piece: bytes) -> None:
        sending = asyncio.ensure_future(self._sender.send(piece))
        try:
            await asyncio.wait([sending, upload], return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not sending.done():
                sending.cancel()
        if sending.done() and not sending.cancelled() and isinstance(sending.exception(), StreamClosed):
            await asyncio.wait([upload])  # it takes no more, and says why in a moment
        if upload.done():
            _look(upload)
            raise Other("the upload ended before its end")
        sending.result()


def _look(upload: asyncio.Future[Any]) -> None:
    """Raise what an upload that is done has raised, typed."""
    try:
        upload.result()
    except Failure as error:
        raise failed(error) from error
