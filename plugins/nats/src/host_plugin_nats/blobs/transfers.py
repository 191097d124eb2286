"""Objects on their way: some chunks ahead in both directions, and never more."""

from __future__ import annotations

import asyncio
import hashlib
import time
from base64 import urlsafe_b64encode
from collections import deque
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from typing import Any

import anyio
from wasmplex.capabilities.blobstore import (
    PIECE,
    BlobStoreError,
    NoSuchContainer,
    Other,
    Reader,
    StoreUnavailable,
    Writer,
)
from wasmplex.capabilities.keyvalue import KeyValueError

from host_plugin_nats.blobs.failures import failed
from host_plugin_nats.blobs.layout import CHUNK, Meta, nuid
from host_plugin_nats.blobs.objects import ObjectStream
from host_plugin_nats.delivery import outcome_parts
from host_plugin_nats.failures import ApiError
from host_plugin_nats.headers import status_of
from host_plugin_nats.inbox import Inbox, left_out
from host_plugin_nats.link import Link
from host_plugin_nats.parsing import Arrived

__all__ = ["ObjectReader", "ObjectWriter"]

_AHEAD = 4
"""Chunks that are on their way at once: 512 KiB."""
_ROUNDS = 6
_PATIENCE = 3600
"""Seconds that a reader may pause; then the server forgets where it was."""
_CLOSING = 2.0
_LOOKING = 0.5


class ObjectReader(Reader):
    """A part of an object that is being read."""

    def __init__(self, link: Link, stream: ObjectStream, meta: Meta, offset: int, length: int) -> None:
        self.length = self._left = length
        self._link = link
        self._stream = stream
        self._meta = meta
        self._chunk, self._skip = divmod(offset, meta.chunk_size)
        self._last = (offset + length - 1) // meta.chunk_size
        self._rest = memoryview(b"")
        whole = length == meta.size and meta.digest.startswith("SHA-256=")
        self._digest = hashlib.sha256() if whole else None
        self._stack = AsyncExitStack()
        self._inbox: Inbox | None = None
        self._consumer = ""
        self._wanted = 0

    async def open(self) -> None:
        """Have the server send the first chunks."""
        async with AsyncExitStack() as stack:
            first, self._consumer = await self._consumed(stack)
            self._inbox = await stack.enter_async_context(self._link.inbox())
            self._wanted = self._last - first + 1
            self._skip += (self._chunk - first) * self._meta.chunk_size
            for _ in range(min(_AHEAD, self._wanted)):
                await self._pull(self._inbox)
            self._stack = stack.pop_all()

    async def _consumed(self, stack: AsyncExitStack) -> tuple[int, str]:
        """Return a consumer, and which chunk is its first: the wanted one, or one not far before."""
        meta, stream = self._meta, self._stream
        start = meta.first + self._chunk if meta.first and self._chunk else 0
        for round_ in range(_ROUNDS):
            policy: Mapping[str, Any] = {"deliver_policy": "all"}
            if start:  # the chunks of others may be between those of this object
                policy = {"deliver_policy": "by_start_sequence", "opt_start_seq": start}
            trial = AsyncExitStack()
            context = stream.consumer(
                stream.chunks(meta.nuid), policy, headers_only=False, threshold=_PATIENCE
            )
            name, pending = await trial.enter_async_context(context)
            first = meta.chunks - pending
            if not start or first >= self._chunk or round_ == _ROUNDS - 1:
                stack.push_async_callback(trial.aclose)
                break
            await trial.aclose()
            start += self._chunk - first
        if not 0 <= first <= self._chunk:
            raise StoreUnavailable("the object was replaced or deleted meanwhile")
        return first, name

    async def _pull(self, inbox: Inbox) -> None:
        await self._stream.pull(self._consumer, inbox, {"batch": 1, "no_wait": True})
        self._wanted -= 1

    async def read(self) -> bytes:
        """See `Reader.read`."""
        try:
            while not self._rest and self._left:
                await self._next()
        except (KeyValueError, ApiError) as error:
            raise failed(error) from error
        piece = bytes(self._rest[: min(PIECE, self._left)])
        self._rest = self._rest[len(piece) :]
        self._left -= len(piece)
        if self._digest is not None and piece:
            self._digest.update(piece)
            if not self._left:
                self._check(self._digest.digest())
        return piece

    async def _next(self) -> None:
        if self._inbox is None:
            raise StoreUnavailable("the reader is closed")
        message = await self._inbox.next()
        if status_of(message) is not None:
            raise StoreUnavailable("the object was replaced or deleted meanwhile")
        if outcome_parts(message.reply_to) is None:
            left_out(message)
            return
        if self._wanted:
            await self._pull(self._inbox)
        skip = min(self._skip, len(message.body))
        self._skip -= skip
        self._rest = memoryview(message.body)[skip:]

    def _check(self, digest: bytes) -> None:
        if _written(digest).rstrip("=") != self._meta.digest.rstrip("="):
            raise Other("the content does not match its digest")

    async def close(self) -> None:
        """See `Reader.close`."""
        with anyio.move_on_after(_CLOSING, shield=True):
            await self._stack.aclose()


class ObjectWriter(Writer):
    """An object that is being written.

    :param created: when the container was, as the server says it
    """

    def __init__(self, link: Link, stream: ObjectStream, name: str, created: str) -> None:
        self._link = link
        self._stream = stream
        self._name = name
        self._created = created
        self._nuid = nuid(link.instance, next(link.numbers))
        self._instance = link.instance
        self._subject = stream.chunks(self._nuid)
        self._buffer = bytearray()
        self._sent: deque[tuple[str, asyncio.Future[Arrived]]] = deque()
        self._size = self._chunks = self._first = 0
        self._digest = hashlib.sha256()
        self._committing = False

    async def write(self, data: bytes | memoryview) -> None:
        """See `Writer.write`."""
        self._digest.update(data)
        self._size += len(data)
        self._buffer += data
        while len(self._buffer) >= CHUNK:
            chunk = bytes(memoryview(self._buffer)[:CHUNK])
            del self._buffer[:CHUNK]
            await self._send(chunk)

    def _check(self) -> None:
        """Refuse to go on over another connection: what the first one wrote may have been removed."""
        if self._instance != self._link.instance:
            raise StoreUnavailable("the connection was lost meanwhile")

    async def _look(self) -> None:
        """Look whether the container is still the one that holds our chunks."""
        if (await self._stream.look()).text != self._created:
            raise NoSuchContainer

    async def _send(self, chunk: bytes) -> None:
        self._check()
        while len(self._sent) >= _AHEAD:
            await self._acknowledged()
        sent = await self._stream.asked(lambda: self._stream.write_later(self._subject, chunk, {}))
        self._sent.append(sent)
        self._chunks += 1

    async def _acknowledged(self) -> None:
        _, answer = self._sent[0]
        while not (await asyncio.wait([answer], timeout=_LOOKING))[0]:
            await self._look()  # a stream that is deleted acknowledges nothing
        message = await self._stream.asked(lambda: answer)
        sequence = await self._stream.asked(lambda: self._sequence(message))
        token, _ = self._sent.popleft()
        self._link.forget(token)
        self._first = self._first or sequence

    async def _sequence(self, message: Arrived) -> int:
        return self._stream.written(message)

    async def commit(self) -> None:
        """See `Writer.commit`."""
        if self._buffer:
            chunk, self._buffer = bytes(self._buffer), bytearray()
            await self._send(chunk)
        while self._sent:
            await self._acknowledged()
        await self._look()
        self._check()
        meta = Meta(
            self._name,
            self._nuid,
            self._size,
            self._chunks,
            CHUNK,
            _written(self._digest.digest()),
            time.time_ns(),
            self._first,
        )
        self._committing = True
        old = await self._stream.replace(meta)
        if old is not None and old.nuid != self._nuid:
            with suppress(BlobStoreError):  # the object is there; what is left is removed later
                await self._stream.discard(old.nuid)

    async def close(self) -> None:
        """See `Writer.close`."""
        answers = [answer for _, answer in self._sent]
        with anyio.move_on_after(_CLOSING, shield=True):
            if answers:  # the server may remove chunks before it stores those that are on their way
                await asyncio.wait(answers)
            # When the message of the object is sent, it may be there although nobody has told us so.
            if self._chunks and not self._committing:
                with suppress(BlobStoreError):
                    await self._stream.discard(self._nuid)
        for token, answer in self._sent:
            self._link.forget(token)
            if not answer.cancel() and not answer.cancelled():
                answer.exception()
        self._sent.clear()


def _written(digest: bytes) -> str:
    return f"SHA-256={urlsafe_b64encode(digest).decode()}"
