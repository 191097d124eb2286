"""The memory store: bounds, eviction, exact expiry."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from host_plugin_memory import MemoryProvider, MemorySettings
from host_plugin_memory.store import AT_ONCE, MemoryBackend, MemoryBucket
from host_plugin_memory.watching import MAX_UNTOLD
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


@pytest.mark.parametrize("use", ["get", "set", "current", "increment"])
async def test_whatever_uses_an_entry_keeps_it(use: str) -> None:
    _, bucket = await opened(max_entries=3, eviction="lru")
    for name in "abc":
        await bucket.set(name, b"1")
    uses: dict[str, Callable[[], Awaitable[object]]] = {
        "get": lambda: bucket.get("a"),
        "set": lambda: bucket.set("a", b"2"),  # of the same size: the cache has nothing to count
        "current": lambda: bucket.current("a"),
        "increment": lambda: bucket.increment("a", 1),
    }
    await uses[use]()
    await bucket.set("d", b"1")
    assert await keys(bucket) == ["a", "c", "d"]


async def test_looking_whether_an_entry_exists_does_not_use_it() -> None:
    _, bucket = await opened(max_entries=2, eviction="lru")
    await bucket.set("a", b"1")
    await bucket.set("b", b"1")
    assert await bucket.exists("a")
    await bucket.set("c", b"1")
    assert await keys(bucket) == ["b", "c"]


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
    assert backend._filled == {}


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


async def test_many_that_expire_at_once_hold_up_nobody() -> None:
    many = 4 * AT_ONCE
    backend, bucket = await opened(max_entries=many)
    now = 0
    backend.clock = lambda: now
    for number in range(many):
        await bucket.set(f"{number:05}", b"1", ttl_ms=5)
    now = 5
    left = []
    for number in (many - 1, many - 2):
        await bucket.set(f"{number:05}", b"2")
        left.append(len(backend.cache))
    assert left == [many - AT_ONCE, many - 2 * AT_ONCE]
    last = f"{many - 3:05}"
    assert (await bucket.get(last), await bucket.exists(last), await bucket.current(last)) == (
        None,
        False,
        None,
    )
    found: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = await bucket.list_keys("", cursor or None, 100)
        found, cursor = found + page.keys, page.cursor
    assert found == [f"{many - 2:05}", f"{many - 1:05}"]


async def test_others_have_their_turn_while_a_bucket_is_found_to_hold_nothing() -> None:
    backend, bucket = await opened()
    backend.clock = lambda: 0
    for number in range(10 * AT_ONCE):
        await bucket.set(f"{number:05}", b"1", ttl_ms=5)
    backend.clock = lambda: 5
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    going_on = asyncio.ensure_future(others())
    assert await backend.has_bucket("shop/cache", "b") is False
    going_on.cancel()
    assert turns >= 8
    await bucket.set("live", b"1")
    assert await backend.has_bucket("shop/cache", "b") is True


async def test_room_is_made_of_all_that_has_expired() -> None:
    many = 4 * AT_ONCE
    backend, bucket = await opened(max_size=many * 1024, max_entries=many)
    now = 0
    backend.clock = lambda: now
    for number in range(many):
        await bucket.set(f"{number:05}", bytes(500), ttl_ms=5)
    with pytest.raises(QuotaExceeded):
        await bucket.set("more", b"")
    now = 5
    assert await backend.has_bucket("shop/cache", "b") is False
    await bucket.set("large", bytes(3 * many // 4 * 1024))
    assert await bucket.exists("large")


@pytest.mark.parametrize("eviction", ["none", "lru"])
async def test_an_entry_that_expires_while_it_is_written_over_is_written_over(eviction: str) -> None:
    backend, bucket = await opened(max_entries=2, max_size="2KiB", eviction=eviction)
    now = count(1)
    backend.clock = lambda: 0
    await bucket.set("a", b"old", ttl_ms=3)
    await bucket.set("b", b"x" * 800, ttl_ms=1000)
    backend.clock = lambda: next(now)  # each look at it is a millisecond later
    with suppress(QuotaExceeded):
        await bucket.set("a", b"new" * 200)
    backend.clock = lambda: 100
    assert (await keys(bucket)) == [key for key in "ab" if await bucket.get(key) is not None]
    for key in "cdef":
        with suppress(QuotaExceeded):
            await bucket.set(key, b"y" * 100)
    assert len(backend.cache) == len(await keys(bucket))


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
    assert [content.watchers for content in backend._filled.values()] == [[]]


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


async def test_values_of_the_same_size_are_new_versions_and_told() -> None:
    _, bucket = await opened()
    await bucket.set("k", b"1")
    before = await bucket.current("k")
    await bucket.set("k", b"2")
    after = await bucket.current("k")
    assert before is not None
    assert after is not None
    assert (after.value, after.version == before.version) == (b"2", False)
    async with bucket.watch() as changes:
        await bucket.set("k", b"3")
        assert await anext(changes) == Change("k", b"3")


async def test_what_is_written_over_does_not_expire() -> None:
    backend, bucket = await opened()
    now = 0
    backend.clock = lambda: now
    await bucket.set("k", b"1", ttl_ms=5)
    await bucket.set("k", b"2")
    await bucket.set("again", b"1", ttl_ms=5)
    await bucket.delete("again")
    await bucket.set("again", b"2")
    await bucket.set("longer", b"1", ttl_ms=5)
    await bucket.set("longer", b"2", ttl_ms=9)
    now = 5
    await bucket.set("other", b"")
    assert await bucket.get_many(["k", "again", "longer"]) == [b"2", b"2", b"2"]
    now = 9
    await bucket.set("k", b"3")
    assert await keys(bucket) == ["again", "k", "other"]
    assert not backend.expiry


async def test_expiry_that_does_not_count_any_more_is_forgotten() -> None:
    backend, bucket = await opened()
    for number in range(10_000):
        await bucket.set("k", b"%d" % number, ttl_ms=2**53)
    assert len(backend.expiry._heap) < 200


async def test_a_bucket_without_keys_takes_no_memory() -> None:
    backend, bucket = await opened()
    await bucket.set("k", b"1")
    await bucket.delete("k")
    for number in range(1000):
        await backend.open_bucket("n", f"b{number}")
    gc.collect()
    assert backend._filled == {}
    assert [*backend._known] == [("shop/cache", "b")]
    again = await backend.open_bucket("shop/cache", "b")
    await again.set("k", b"2")
    assert await bucket.get("k") == b"2"
