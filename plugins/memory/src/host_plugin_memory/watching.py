"""Being told of changes."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
from wasmplex.capabilities.keyvalue import Change, StoreUnavailable

__all__ = ["MAX_UNTOLD", "Watcher"]

MAX_UNTOLD = 10_000
"""Changes that wait for a watcher."""


class Watcher(AsyncIterator[Change]):
    """The changes of a bucket, for somebody who watches it."""

    def __init__(self) -> None:
        self._send, self._receive = anyio.create_memory_object_stream[Change](MAX_UNTOLD)

    async def __anext__(self) -> Change:
        try:
            return await self._receive.receive()
        except anyio.EndOfStream:
            reason = f"the store was closed, or the watcher was {MAX_UNTOLD} changes late"
            raise StoreUnavailable(reason) from None

    def tell(self, change: Change) -> None:
        """Hand over a change; who is too slow for so many is told no more."""
        try:
            self._send.send_nowait(change)
        except (anyio.WouldBlock, anyio.ClosedResourceError):
            self.end()

    def end(self) -> None:
        """End the changes, once those handed over are told."""
        self._send.close()

    def close(self) -> None:
        """Release everything."""
        self._send.close()
        self._receive.close()
