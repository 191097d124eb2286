"""The store: a stream, and buckets that turn operations into messages."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Any

import anyio
from wasmplex.capabilities.keyvalue import (
    S64_MIN,
    Bucket,
    Change,
    Entry,
    KeyValueBackend,
    KeyValueError,
    Page,
    PreconditionFailed,
    Stale,
    Swapped,
    Timeout,
    next_count,
)
from wasmplex.capabilities.keyvalue.listing import Windows
from wasmplex.plugin import OpenContext, get_logger

from host_plugin_nats import NatsSettings
from host_plugin_nats.bucket import BucketStream
from host_plugin_nats.connecting import Told, address
from host_plugin_nats.failures import ApiError
from host_plugin_nats.link import Link
from host_plugin_nats.listing import BucketListing
from host_plugin_nats.opening import open_link
from host_plugin_nats.stream import EXPIRES, OPERATION, Message
from host_plugin_nats.subjects import Subjects
from host_plugin_nats.watching import watch

__all__ = ["NatsBackend"]

logger = get_logger("wasmplex.backends.nats")

ATTEMPTS = 64
"""How often a conditional write is tried while others write the same key."""
GRACE = 60
"""Seconds that the server keeps what has expired: for hosts whose clocks are late."""
MARKER_TTL = 300
"""Seconds that the mark of a deletion is kept, for those who watch or list."""
_LONGEST_TTL = 100 * 365 * 86400
_WINDOW_ITEMS, _WINDOW_BYTES = 250, 8 * 2**20
_CLEAN_EVERY = 30.0


class NatsBackend(KeyValueBackend):
    """One open store."""

    clock: Callable[[], int]

    def __init__(self, settings: NatsSettings, told: Told, features: frozenset[str]) -> None:
        self.features = features
        self.clock = lambda: time.time_ns() // 1_000_000
        self.timeout = settings.timeout
        self.windows = Windows()
        self.address = address(settings)
        self.link = Link(told.now, self._prepare, told.renew)
        self.stream = BucketStream(self.link, settings)
        self._name = settings.bucket
        self._settings = settings
        self._told = told
        self._cleaning: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"nats: {self.address}, bucket {self._name}, {'up' if self.link.is_up else 'down'}"

    @classmethod
    async def open(
        cls, settings: NatsSettings, context: OpenContext, features: frozenset[str]
    ) -> NatsBackend:
        """Connect; everything is closed again if that fails."""
        backend = cls(settings, await Told.read(settings, context), features)
        await open_link(backend.link, settings.timeout, backend.address)
        if not backend.stream.cleans:
            backend._cleaning = asyncio.create_task(backend._clean_forever())
        return backend

    async def close(self) -> None:
        """Close the connection."""
        self._told.close()
        with anyio.CancelScope(shield=True):
            if self._cleaning is not None:
                self._cleaning.cancel()
                await asyncio.wait([self._cleaning])
            await self.link.close()

    async def probe(self) -> None:
        """Ask JetStream whether it answers."""
        async with asyncio.timeout(self.timeout):
            await self.stream.last_sequence()

    async def open_bucket(self, namespace: str, name: str) -> NatsBucket:
        """Return the bucket; nothing is sent."""
        return NatsBucket(self, Subjects(self.stream.prefix, namespace, name))

    async def has_bucket(self, namespace: str, name: str) -> bool:
        """Return whether the bucket holds any key."""
        subjects, now = Subjects(self.stream.prefix, namespace, name), self.clock()
        async with aclosing(self.stream.read(subjects.all)) as batches:
            async for batch in batches:
                if any(message.lives(now) for message in batch):
                    return True
        return False

    async def _prepare(self) -> None:
        await self.stream.prepare()

    # ------------------------------------------------------------ what servers before 2.11 do not do

    async def _clean_forever(self) -> None:
        while True:
            await anyio.sleep(random.uniform(_CLEAN_EVERY / 2, _CLEAN_EVERY))  # noqa: S311  spreads hosts
            try:
                await self.clean()
            except (KeyValueError, ApiError) as error:
                logger.warning("nats: removing what has expired failed: %s", error)

    async def clean(self) -> int:
        """Remove the messages of keys that expired a while ago, and return how many there were."""
        late, count = self.clock() - GRACE * 1000, 0
        async with aclosing(self.stream.read(f"{self.stream.prefix}>")) as batches:
            async for batch in batches:
                for message in batch:
                    if message.expires is not None and message.expires <= late:
                        await self.stream.purge(message.subject, message.sequence + 1)
                        count += 1
        return count


class NatsBucket(Bucket):
    """One bucket."""

    __slots__ = ("_store", "_subjects")

    def __init__(self, store: NatsBackend, subjects: Subjects) -> None:
        self._store = store
        self._subjects = subjects

    async def get(self, key: str) -> bytes | None:
        message = await self._store.stream.get(self._subjects.of(key))
        return message.value if message is not None and message.lives(self._store.clock()) else None

    async def set(
        self, key: str, value: bytes, *, ttl_ms: int | None = None, if_not_exists: bool = False
    ) -> None:
        expires = None if ttl_ms is None else self._store.clock() + ttl_ms
        if not if_not_exists:
            await self._store.stream.write(self._subjects.of(key), value, self._headers(expires))
            return
        last, pauses = 0, _pauses()
        while True:
            if await self._write_if(key, value, last, expires):
                return
            message = await self._last(key)
            if message is not None and message.lives(self._store.clock()):
                raise PreconditionFailed("the key exists")
            last = 0 if message is None else message.sequence
            await _pause(pauses)

    async def delete(self, key: str) -> None:
        await self._store.stream.write(self._subjects.of(key), b"", self._marker())

    async def list_keys(self, prefix: str, cursor: str | None, limit: int) -> Page:
        listing = BucketListing(self._store.stream, self._subjects, prefix, self._store.clock)
        return await self._store.windows.page(listing, cursor, limit)

    async def increment(self, key: str, delta: int, *, minimum: int = S64_MIN) -> int:
        pauses = _pauses()
        while True:
            message = await self._last(key)
            live = message if message is not None and message.lives(self._store.clock()) else None
            total = next_count(live.value if live else None, delta, minimum)
            last = 0 if message is None else message.sequence
            if await self._write_if(key, b"%d" % total, last, live.expires if live else None):
                return total
            await _pause(pauses)

    async def current(self, key: str) -> Entry | None:
        return self._entry(await self._last(key))

    async def swap(
        self,
        key: str,
        value: bytes,
        *,
        require_version: str | None = None,
        require_value: bytes | None = None,
    ) -> Swapped | Stale:
        pauses = _pauses()
        while True:
            entry = self._entry(await self._last(key))
            if entry is None or require_version not in (None, entry.version):
                return Stale(entry)
            if require_value not in (None, entry.value):
                return Stale(entry)
            if await self._write_if(key, value, int(entry.version), None):
                return Swapped()
            await _pause(pauses)

    def watch(self) -> AbstractAsyncContextManager[AsyncIterator[Change]]:
        return watch(self._store.link, self._store.stream, self._subjects, self._store.timeout)

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        if not keys:
            return []
        subjects = [self._subjects.of(key) for key in keys]
        found, now = await self._store.stream.get_many(subjects), self._store.clock()
        messages = (found.get(subject) for subject in subjects)
        return [message.value if message and message.lives(now) else None for message in messages]

    async def set_many(self, items: Sequence[tuple[str, bytes]]) -> None:
        await self._write_all([(self._subjects.of(key), value, None) for key, value in items])

    async def delete_many(self, keys: Sequence[str]) -> None:
        marker = self._marker()
        await self._write_all([(self._subjects.of(key), b"", marker) for key in keys])

    # ------------------------------------------------------------ messages

    async def _last(self, key: str) -> Message | None:
        return await self._store.stream.get(self._subjects.of(key))

    def _entry(self, message: Message | None) -> Entry | None:
        if message is None or not message.lives(self._store.clock()):
            return None
        return Entry(message.value or b"", str(message.sequence))

    async def _write_if(self, key: str, value: bytes, last: int, expires: int | None) -> bool:
        """Write if the last sequence of the key is `last`; return whether it was."""
        headers = {"Nats-Expected-Last-Subject-Sequence": str(last), **(self._headers(expires) or {})}
        try:
            await self._store.stream.write(self._subjects.of(key), value, headers)
        except ApiError:
            return False
        return True

    async def _write_all(self, items: Sequence[tuple[str, bytes, Mapping[str, str] | None]]) -> None:
        """Write everything, some at a time; the first error is raised when each was tried."""
        first: Exception | None = None
        for window in _windows(items):
            sent: list[tuple[str, asyncio.Future[Any]]] = []
            try:
                for subject, value, headers in window:
                    try:
                        sent.append(await self._store.stream.write_later(subject, value, headers))
                    except KeyValueError as error:
                        first = first or error
                for _, answer in sent:
                    try:
                        self._store.stream.written(await answer)
                    except (KeyValueError, ApiError) as error:
                        first = first or error
            finally:
                for token, _ in sent:
                    self._store.stream.forget(token)
        if first is not None:
            raise first

    def _headers(self, expires: int | None) -> Mapping[str, str] | None:
        if expires is None:
            return None
        seconds = max(0, expires - self._store.clock()) // 1000 + 1 + GRACE
        headers = {EXPIRES: str(expires)}
        if self._store.stream.cleans and seconds < _LONGEST_TTL:
            headers["Nats-TTL"] = f"{seconds}s"
        return headers

    def _marker(self) -> Mapping[str, str]:
        if self._store.stream.cleans:
            return {OPERATION: "DEL", "Nats-TTL": f"{MARKER_TTL}s"}
        return {OPERATION: "DEL", EXPIRES: str(self._store.clock() + (MARKER_TTL - GRACE) * 1000)}


def _windows(
    items: Sequence[tuple[str, bytes, Mapping[str, str] | None]],
) -> Iterator[list[tuple[str, bytes, Mapping[str, str] | None]]]:
    """Cut a batch so that no part is larger than what should be under way at once."""
    window: list[tuple[str, bytes, Mapping[str, str] | None]] = []
    size = 0
    for item in items:
        window.append(item)
        size += len(item[1])
        if len(window) >= _WINDOW_ITEMS or size >= _WINDOW_BYTES:
            yield window
            window, size = [], 0
    if window:
        yield window


def _pauses() -> Iterator[float]:
    """Return the seconds before each new attempt: growing to 50 ms, never in step with others."""
    longest = 0.001
    for _ in range(ATTEMPTS):
        yield random.uniform(0, longest)  # noqa: S311  spreads attempts
        longest = min(2 * longest, 0.05)


async def _pause(pauses: Iterator[float]) -> None:
    pause = next(pauses, None)
    if pause is None:
        raise Timeout("the key is written all the time")
    await anyio.sleep(pause)
