"""Answers that leave together."""

from __future__ import annotations

from asyncio import AbstractEventLoop, WriteTransport
from time import perf_counter
from typing import Final

__all__ = ["HELD_SECONDS", "Outbox"]

HELD_SECONDS: Final = 0.00025
"""How long an answer may be held, and how soon it has to come after the one before to be held at all."""
_LARGE: Final = 16 * 1024
"""Bytes of an answer from which on it is not held."""


class Outbox:
    """Holds short answers of all connections of a server until those that are being made as well are ready.

    A client that waits is woken for each answer, which costs as much as making a short one; a client of many
    connections, such as a proxy, that finds several at a time is woken once.
    """

    def __init__(self) -> None:
        self._held: list[tuple[WriteTransport, bytes]] = []
        self._since = self._last = 0.0

    def put(self, loop: AbstractEventLoop, transport: WriteTransport, data: bytes) -> None:
        """Write the end of an answer, at the latest when the loop has done what it has to do now."""
        now, held = perf_counter(), self._held
        soon, self._last = now - self._last < HELD_SECONDS, now
        if not held:
            if not soon:
                transport.write(data)
                return
            self._since = now
            loop.call_soon(self.flush)
        held.append((transport, data))
        if len(data) > _LARGE or now - self._since > HELD_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what is held, now. To be called before anything else is done with a transport."""
        held, self._held = self._held, []
        for transport, data in held:
            if transport.is_closing():
                continue
            try:
                transport.write(data)
            except (OSError, RuntimeError):  # one connection that went wrong is not the others' concern
                transport.abort()
