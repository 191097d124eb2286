"""A file that a setting names and that never gives anything: what a disk that does not answer is like."""

from __future__ import annotations

import os
import threading
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import anyio
import pytest
from wasmplex.plugin import BackendError

__all__ = ["PATIENCE", "refused_in_time", "stuck"]

PATIENCE = 0.4
"""Seconds of `timeout` in the settings of who opens it."""
_RELEASED = 15.0
"""Seconds after which who waits is let go, or a test that fails would not end."""


@contextmanager
def stuck(path: Path) -> Iterator[Path]:
    """Make a FIFO that nobody writes to; in the end those go on who are stuck in it."""
    os.mkfifo(path)

    def release() -> None:
        with suppress(OSError):  # nobody is stuck
            os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))

    timer = threading.Timer(_RELEASED, release)
    timer.start()
    try:
        yield path
    finally:
        timer.cancel()
        release()


async def refused_in_time(opening: Awaitable[object], key: str, path: Path) -> None:
    """Hold who opens a backend to saying which file it is, and to leaving the event loop to others."""
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            await anyio.sleep(PATIENCE / 20)
            turns += 1

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(turn)
        with pytest.raises(BackendError) as caught:
            await opening
        tasks.cancel_scope.cancel()
    (told,) = caught.value.diagnostics
    assert told.what.startswith(f"{key} of the ")
    assert told.what.endswith(f" cannot be used: {path}")
    assert told.why == f"it could not be read within {PATIENCE:g} s"
    assert told.fix == "check the disk that it lies on"
    assert turns > 2, "the event loop stood still"
