"""Waiting for the one lock that all connections to a file share for writing."""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

import anyio

from host_plugin_sqlite.failures import is_busy

__all__ = ["STEP", "patiently", "pauses"]

T = TypeVar("T")

STEP = 0.1
"""Seconds that SQLite itself waits for a lock, in the connection's thread; the event loop waits on."""


def pauses() -> Iterator[float]:
    """Return the seconds to wait before each new attempt: growing to 50 ms, and never in step with others."""
    longest = 0.002
    while True:
        yield random.uniform(0, longest)  # noqa: S311  spreads attempts, keeps no secret
        longest = min(2 * longest, 0.05)


async def patiently(operation: Callable[[], Awaitable[T]], seconds: float) -> T:
    """Await `operation` again and again while the file is locked by others.

    :raises sqlite3.OperationalError: the last one, once `seconds` have passed
    """
    deadline = time.monotonic() + seconds
    waits: Iterator[float] | None = None
    while True:
        try:
            return await operation()
        except sqlite3.OperationalError as error:
            waits = waits or pauses()
            pause = next(waits)
            if not is_busy(error) or time.monotonic() + pause > deadline:
                raise
        await anyio.sleep(pause)
