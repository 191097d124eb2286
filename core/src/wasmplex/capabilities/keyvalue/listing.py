"""Listing in pages for backends whose servers return keys in no order, or some of them twice.

A page is cut out of a window: the sorted keys of one scan after the cursor. The cursor is the last key of a
page, so it is good for ever: while the window is remembered, the next page costs no scan; when it is not, a
new scan makes one. Keys of a remembered window are looked up before they are returned. So a listing returns
every key that existed throughout exactly once, and none that is known to be gone.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import AsyncIterator, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from wasmplex.capabilities.keyvalue import Page

__all__ = ["Listing", "Window", "Windows"]

WINDOW = 50_000
"""Keys that a window holds; a longer listing scans once for so many keys."""
WINDOWS = 8
"""Windows that a store remembers; the one longest unused is forgotten."""
LIFETIME = 60.0
"""Seconds after which a window is forgotten."""


class Listing(Protocol):
    """What a backend brings: one bucket and prefix."""

    @property
    def place(self) -> Hashable:
        """What tells it from other listings of the store."""

    async def begin(self) -> Any:
        """Return what `alive` wants to know of the moment before a scan."""

    def scan(self, moment: Any) -> AsyncIterator[Sequence[str]]:
        """Return the keys there are, in any order, some perhaps twice."""

    async def alive(self, keys: Sequence[str], moment: Any) -> Sequence[bool]:
        """Return which of the keys, found by the scan that began at `moment`, exist now."""


@dataclass
class Window:
    """Sorted keys: all there are after `after`, or the first of them."""

    after: str | None
    keys: list[str]
    complete: bool
    moment: Any = None
    made: float = field(default_factory=time.monotonic)

    @classmethod
    async def fill(cls, scan: AsyncIterator[Sequence[str]], after: str | None, size: int) -> Window:
        """Gather the first `size` keys after a key, in memory for twice as many."""
        kept: set[str] = set()
        complete = True
        async for keys in scan:
            kept.update(keys if after is None else (key for key in keys if key > after))
            if len(kept) > 2 * size:
                kept, complete = set(sorted(kept)[:size]), False
        keys = sorted(kept)
        return cls(after, keys[:size], complete and len(keys) <= size)

    def covers(self, cursor: str) -> bool:
        """Return whether what follows the cursor is in it."""
        if self.after is not None and cursor < self.after:
            return False
        return self.complete or bool(self.keys and cursor < self.keys[-1])

    def page(self, cursor: str | None, limit: int) -> Page:
        """Return the keys after the cursor."""
        start = 0 if cursor is None else bisect_right(self.keys, cursor)
        keys = self.keys[start : start + limit]
        more = start + limit < len(self.keys) or not self.complete
        return Page(keys, keys[-1] if keys and more else None)


class Windows:
    """The windows that one store remembers."""

    def __init__(self, size: int = WINDOW) -> None:
        self._size = size
        self._windows: OrderedDict[Hashable, Window] = OrderedDict()

    async def page(self, listing: Listing, cursor: str | None, limit: int) -> Page:
        """Return a page, scanning if no window has it."""
        window = None if cursor is None else self._find(listing.place, cursor)
        if window is not None:
            page = window.page(cursor, limit)
            found = await listing.alive(page.keys, window.moment) if page.keys else ()
            return Page([key for key, lives in zip(page.keys, found, strict=True) if lives], page.cursor)
        moment = await listing.begin()
        window = await Window.fill(listing.scan(moment), cursor, self._size)
        window.moment = moment
        page = window.page(cursor, limit)
        if page.cursor is not None:
            self._remember(listing.place, window)
        return page

    def _find(self, place: Hashable, cursor: str) -> Window | None:
        window = self._windows.get(place)
        if window is None or not window.covers(cursor):
            return None
        if time.monotonic() - window.made > LIFETIME:
            del self._windows[place]
            return None
        self._windows.move_to_end(place)
        return window

    def _remember(self, place: Hashable, window: Window) -> None:
        self._windows[place] = window
        self._windows.move_to_end(place)
        if len(self._windows) > WINDOWS:
            self._windows.popitem(last=False)
