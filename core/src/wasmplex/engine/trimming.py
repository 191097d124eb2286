"""Gives memory back to the system that guests had the host use, and that it needs no more.

The C library keeps what is freed for whoever asks next, unless it lies at the end of its heap. After a guest
with ten thousand resources, or a thousand calls under way, that is some MiB for each.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from wasmplex.engine import pages
from wasmplex.engine.worker import Worker

__all__ = ["Trimming"]

_MUCH: Final = 5_000
"""Objects from which on it is worth the milliseconds that it takes, in another thread."""
_SECONDS: Final = 1.0
"""How long others may free more until it is done."""


class Trimming:
    """Trims the heap of the C library now and then, as long as much is freed."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._freed = 0
        self._loop: asyncio.AbstractEventLoop | None = None

    def freed(self, count: int) -> None:
        """Note that objects of the host are being freed."""
        self._freed += count
        if self._freed < _MUCH:
            return
        with suppress(RuntimeError):  # no event loop runs
            loop = asyncio.get_running_loop()
            if self._loop is not loop:
                self._loop = loop
                loop.call_later(_SECONDS, self._trim)

    def _trim(self) -> None:
        self._freed, self._loop = 0, None
        with suppress(RuntimeError):  # the engine has been closed
            self._worker.submit(pages.trim)
