"""How much of what servers answer is read in one turn of the event loop, all connections to one together.

Whoever asks for many large values gets them as fast as the server sends, on as many connections as there are,
and the loop would do nothing else: each takes up to some MiB of a socket before it looks at another. So when
enough has come in a turn, connections that more comes on have to wait for one of the next.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

__all__ = ["Reading"]

_ENOUGH: Final = 512 << 10
"""Bytes of one turn: about 1 ms, until they are values."""
_MUCH: Final = 64 << 10
"""Bytes of one piece after which a connection waits if others do: else it would be read in every turn."""
_WOKEN: Final = 2
"""Connections that go on in a turn; one brings 256 KiB at most before it is asked to wait again."""


class Reading:
    """Counts what comes, and has connections wait."""

    def __init__(self) -> None:
        self._bytes = 0
        self._waiting: deque[asyncio.Transport] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None

    def came(self, size: int, transport: asyncio.Transport) -> None:
        """Note that so many bytes have come on a connection; have it wait if that is enough."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._loop.call_soon(self._turn)
        self._bytes += size
        too_much = self._bytes > _ENOUGH or (self._waiting and size >= _MUCH)
        if too_much and not transport.is_closing():
            transport.pause_reading()
            self._waiting.append(transport)

    def _turn(self) -> None:
        self._bytes = 0
        for _ in range(min(_WOKEN, len(self._waiting))):
            transport = self._waiting.popleft()
            if not transport.is_closing():
                transport.resume_reading()
        if self._waiting and self._loop is not None:
            self._loop.call_soon(self._turn)
        else:
            self._loop = None
