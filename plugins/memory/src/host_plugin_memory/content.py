"""What a bucket holds, and the order in which things expire."""

from __future__ import annotations

import math
from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from itertools import count
from typing import TypeAlias

from sortedcontainers import SortedList
from wasmplex.capabilities.keyvalue import Change

from host_plugin_memory.watching import Watcher

__all__ = ["NEVER", "Content", "Expiry", "Item", "Place", "Scope"]

NEVER = math.inf
_SMALL = 64
"""Entries that are not worth being looked through."""

Scope: TypeAlias = tuple[str, str]
"""Namespace and name of a bucket."""


class Item:
    """What is kept under a key.

    :ivar place: the bucket and the key
    :ivar version: that of the last write
    :ivar expires: the millisecond from which on it does not exist; `NEVER`
    :ivar size: bytes that count against the bounds
    """

    __slots__ = ("expires", "place", "size", "value", "version")

    def __init__(self, place: Place, value: bytes, version: int, expires: float, size: int) -> None:
        self.place = place
        self.value = value
        self.version = version
        self.expires = expires
        self.size = size


class Content:
    """The entries of one bucket, what is sorted by key, and who watches. Compared by identity."""

    __slots__ = ("__weakref__", "items", "order", "scope", "watchers")

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.items: dict[str, Item] = {}
        self.order = SortedList()
        self.watchers: list[Watcher] = []

    def tell(self, change: Change) -> None:
        """Tell all who watch."""
        for watcher in self.watchers:
            watcher.tell(change)


Place: TypeAlias = tuple[Content, str]
"""A bucket and a key in it."""


class Expiry:
    """The items that expire, the next one first.

    What was written over or deleted stays in the heap until its time comes, or until it makes up half of it.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Item]] = []
        self._numbers = count()  # so that items are never compared
        self._compact_at = _SMALL

    def __bool__(self) -> bool:
        return bool(self._heap)

    @property
    def next(self) -> float:
        """The millisecond at which the next item may expire; there has to be one."""
        return self._heap[0][0]

    def add(self, item: Item) -> None:
        """Note when an item expires."""
        if len(self._heap) >= self._compact_at:
            self._heap = [entry for entry in self._heap if _counts(entry[0], entry[2])]
            heapify(self._heap)
            self._compact_at = max(_SMALL, 2 * len(self._heap))
        heappush(self._heap, (item.expires, next(self._numbers), item))

    def due(self, now: int, most: int) -> Iterator[Item]:
        """Return items that have expired, each to be removed before the next, and forget them.

        :param most: how many are looked at, those included that do not count any more
        """
        heap = self._heap
        for _ in range(most):
            if not heap or heap[0][0] > now:
                return
            expires, _, item = heappop(heap)
            if _counts(expires, item):
                yield item

    def clear(self) -> None:
        """Forget everything."""
        self._heap.clear()


def _counts(expires: float, item: Item) -> bool:
    """Return whether an item is still there and still expires then."""
    content, key = item.place
    return item.expires == expires and content.items.get(key) is item
