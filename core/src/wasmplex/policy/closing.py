"""Closing what backends have handed out, whatever happens to those who used it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Protocol

import anyio

from wasmplex.logs import get_logger

__all__ = ["Closable", "Closings"]

logger = get_logger("wasmplex.interfaces")


class Closable(Protocol):
    """What is closed once."""

    def close(self) -> Coroutine[Any, Any, None]:
        """Release everything."""


class Closings:
    """What is being closed for one binding.

    Closing is not cancelled with what it follows; it has a deadline of its own, and errors of it are logged,
    for there is nobody left to be told.

    :param seconds: how long closing one thing may take
    :param plugin: who brought the backend, for the log
    """

    def __init__(self, seconds: float, plugin: str = "") -> None:
        self._seconds = seconds
        self._plugin = plugin
        self._tasks: set[asyncio.Task[None]] = set()

    async def close(self, thing: Closable) -> None:
        """Close something, and return when it is closed."""
        try:
            with anyio.fail_after(self._seconds, shield=True):
                await thing.close()
        except Exception as error:  # noqa: BLE001  whatever it is, what has used it goes on
            who = self._plugin or "a backend"
            logger.warning("%s: a transfer was not closed: %s", who, str(error) or type(error).__name__)

    def start(self, thing: Closable) -> None:
        """Have something closed by a task of its own, for those who cannot wait."""
        task = asyncio.get_running_loop().create_task(self.close(thing))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def finish(self) -> None:
        """Wait until all is closed."""
        while self._tasks:
            await asyncio.wait(self._tasks)
