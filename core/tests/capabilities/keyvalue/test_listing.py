"""Listing through windows: every key that stays comes exactly once, whatever the size of the windows."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wasmplex.capabilities.keyvalue import listing as keyvalue_listing
from wasmplex.capabilities.keyvalue.listing import Windows

keys = st.sets(st.text(alphabet="ab\0😀", max_size=4), max_size=40)


class Store:
    """Keys in no order, some of them twice."""

    place = "bucket"

    def __init__(self, keys: set[str]) -> None:
        self.keys = keys
        self.scans = 0

    async def begin(self) -> None:
        pass

    async def scan(self, moment: None) -> AsyncIterator[Sequence[str]]:
        self.scans += 1
        found = [*self.keys, *random.sample(sorted(self.keys), len(self.keys) // 2)]
        random.shuffle(found)
        for start in range(0, len(found), 3):
            yield found[start : start + 3]

    async def alive(self, keys: Sequence[str], moment: None) -> Sequence[bool]:
        return [key in self.keys for key in keys]


async def listed(store: Store, windows: Windows, limit: int, changes: list[tuple[str, bool]]) -> list[str]:
    page = await windows.page(store, None, limit)
    seen = list(page.keys)
    while page.cursor is not None:
        if changes:
            key, there = changes.pop()
            (store.keys.add if there else store.keys.discard)(key)
        page = await windows.page(store, page.cursor, limit)
        assert len(page.keys) <= limit
        assert store.keys.issuperset(page.keys)
        seen += page.keys
    return seen


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(keys, keys, st.integers(1, 50), st.integers(1, 10), st.integers(0, 2))
def test_what_stays_is_listed_once(
    staying: set[str], changing: set[str], size: int, limit: int, remembered: int
) -> None:
    store = Store(staying | changing)
    changes = [(key, there) for key in changing - staying for there in (True, False)]
    old, keyvalue_listing.WINDOWS = keyvalue_listing.WINDOWS, remembered
    try:
        seen = anyio.run(listed, store, Windows(size), limit, changes)
    finally:
        keyvalue_listing.WINDOWS = old
    assert len(seen) == len(set(seen))
    assert staying <= set(seen) <= staying | changing


@pytest.mark.anyio
async def test_a_window_saves_scans() -> None:
    store = Store({f"{number:04}" for number in range(1000)})
    assert len(await listed(store, Windows(), 10, [])) == 1000
    assert store.scans == 1
    store.scans = 0
    assert len(await listed(store, Windows(100), 10, [])) == 1000
    assert store.scans == 10
