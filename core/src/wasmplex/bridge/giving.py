"""Giving up what was to feed a guest and nobody will read."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

from wasmplex.logs import get_logger

__all__ = ["give_up"]

_log = get_logger(__name__)


def give_up(source: Any) -> None:
    """Close what was to feed a stream or future and has not been read from. Never raises."""
    try:
        if asyncio.isfuture(source):
            source.cancel()
        elif (close := getattr(source, "close", None)) and not inspect.iscoroutinefunction(close):
            close()  # of a coroutine, a stream of a guest, a channel
    except Exception:  # noqa: BLE001  the others are given up all the same
        _log.warning("what was to feed a stream of a guest that has ended cannot be closed", exc_info=True)
