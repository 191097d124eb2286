"""The settings of a backend as its references say now: a password in a file may have been changed."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Final

import anyio

from wasmplex.blocking import Threads
from wasmplex.settings import Settings

__all__ = ["Reread", "Rereading"]

Reread = Callable[[], Settings | None]
"""Returns a binding's settings, read again; None if they are not valid any more. It may wait for files."""

_PAUSE: Final = 1.0
"""Seconds between two readings: a server may refuse a thousand times in one."""

_TIMEOUT: Final = 5.0
"""Seconds that a reading may take: the file may be on a file system that has gone away."""


class Rereading:
    """Reads settings again, not too often.

    :param settings: as they were read when the backend was opened
    :param changed: called with others, once for each change
    """

    def __init__(self, settings: Settings, read: Reread | None, changed: Callable[[Settings], None]) -> None:
        self._settings = settings
        self._read = read
        self._changed = changed
        self._last = -inf
        self._lock = anyio.Lock()
        self._thread = Threads("settings", 1)

    async def now(self) -> Settings:
        """Return the settings of now; those of before if they cannot be read, or not in time."""
        async with self._lock:
            if self._read is not None and anyio.current_time() - self._last >= _PAUSE:
                fresh = None
                with anyio.move_on_after(_TIMEOUT):
                    fresh = await self._thread.run(self._read)
                self._last = anyio.current_time()
                if fresh is not None and fresh != self._settings:
                    self._settings = fresh
                    self._changed(fresh)
        return self._settings
