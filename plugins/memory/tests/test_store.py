"""The memory store: bounds, eviction, exact expiry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from host_plugin_memory import MemoryProvider, MemorySettings
from host_plugin_memory.store import MAX_UNTOLD, MemoryBackend, MemoryBucket
from wasmplex.capabilities.keyvalue import Change, QuotaExceeded, StoreUnavailable
from wasmplex.plugin import OpenContext

pytestmark = pytest.mark.anyio


async def opened(**settings: Any) -> tuple[MemoryBackend, MemoryBucket]:
    backend = await MemoryProvider().open(MemorySettings(**settings), OpenContext(Path()))
    return backend, await backend.open_bucket("shop/cache", "b")


async def keys(bucket: MemoryBucket) -> list[str]:
    return (await bucket.list_keys("", None, 1000)).keys


async def test_a_full_store_refuses_what_is_new_and_takes_what_is_smaller() -> None:
    _, bucket = await opened(max_size="2KiB")
    await bucket.set("a", b"x" * 500)
    await bucket.set("b", b"x" * 500)
    with pytest.raises(QuotaExceeded, match="full"):
        await bucket.set("c", b"")
    await bucket.set("a", b"")
    await bucket.set("c", b"")
    assert await keys(bucket) == ["a", "b", "c"]


async def test_a_full_store_refuses_a_key_too_many() -> None:
    _, bucket = await opened(max_entries=2)
    await bucket.set("a", b"1")
    await bucket.set("b", b"1")
    with pytest.raises(QuotaExceeded):
        await bucket.set("c", b"1")
    await bucket.set("b", b"2")
    await bucket.delete("a")
    await bucket.set("c", b"1")
    assert await keys(bucket) == ["b", "c"]


async def test_lru_drops_what_was_used_longest_ago() -> None:
    backend, bucket = await opened(max_entries=3, eviction="lru")
    for name in "abc":
        await bucket.set(name, b"1")
    await bucket.get("a")
    await bucket.set("d", b"1")
    assert await keys(bucket) == ["a", "c", "d"]
    assert "3 keys" in repr(backend)


async def test_lru_makes_room_by_size_and_never_evicts_what_it_replaces() -> None:
    _, bucket = await opened(max_size="4KiB", eviction="lru")
    for name in "abc":
        await bucket.set(name, b"x" * 512)
    await bucket.set("a", b"y" * 3000)
    assert await keys(bucket) == ["a"]
    with pytest.raises(QuotaExceeded, match="larger"):
        await bucket.set("a", b"z" * 4000)
    assert await bucket.get("a") == b"y" * 3000


async def test_expiry_is_exact_and_leaves_nothing_behind() -> None:
    backend, bucket = await opened()
    now = 1000
    backend.clock = lambda: now
    await bucket.set("k", b"1", ttl_ms=10)
    now = 1009
    assert await bucket.get("k") == b"1"
    now = 1010
    assert await bucket.get("k") is None
    assert await bucket.exists("k") is False
    assert await keys(bucket) == []
    assert await backend.has_bucket("shop/cache", "b") is False
    assert len(backend.cache) == 0
    assert backend._order == {}


async def test_expired_entries_make_room() -> None:
    backend, bucket = await opened(max_entries=1)
    now = 0
    backend.clock = lambda: now
    await bucket.set("a", b"1", ttl_ms=5)
    with pytest.raises(QuotaExceeded):
        await bucket.set("b", b"1")
    now = 5
    await bucket.set("b", b"1")
    assert await keys(bucket) == ["b"]


async def test_closing_forgets_everything() -> None:
    backend, bucket = await opened()
    await bucket.set("k", b"1")
    await backend.close()
    assert len(backend.cache) == 0


async def test_a_watcher_is_told_what_expires_and_what_is_evicted() -> None:
    backend, bucket = await opened(max_entries=2, eviction="lru")
    now = 0
    backend.clock = lambda: now
    async with bucket.watch() as changes:
        await bucket.set("expires", b"", ttl_ms=5)
        await bucket.set("old", b"")
        now = 5
        await bucket.set("new", b"")
        await bucket.set("newest", b"")
        told = [await anext(changes) for _ in range(6)]
    assert told == [
        Change("expires", b""), Change("old", b""), Change("expires", None), Change("new", b""),
        Change("old", None), Change("newest", b""),
    ]  # fmt: skip
    assert backend._watchers == {}


async def test_a_watcher_that_is_too_slow_is_told_so() -> None:
    _, bucket = await opened()
    async with bucket.watch() as changes:
        for _ in range(MAX_UNTOLD + 1):
            await bucket.set("k", b"")
        for _ in range(MAX_UNTOLD):
            await anext(changes)
        with pytest.raises(StoreUnavailable, match="late"):
            await anext(changes)


async def test_closing_ends_a_watch() -> None:
    backend, bucket = await opened()
    async with bucket.watch() as changes:
        await backend.close()
        with pytest.raises(StoreUnavailable, match="closed"):
            await anext(changes)
