"""A connection to a server: bytes both ways, none more than is asked for, and how it ended."""

from __future__ import annotations

import asyncio
import select
import ssl
from collections import deque
from collections.abc import Callable
from typing import Any

from wasmplex.plugin import Variant

from host_plugin_wasi.http.errors import HttpError
from host_plugin_wasi.http.failures import failure
from host_plugin_wasi.io import Signal

__all__ = ["Connection"]

_HELD = 64 * 1024
"""Bytes that are held for a reader; the system holds what comes beyond, and then the server waits."""


class Connection(asyncio.Protocol):
    """One connection. It belongs to one exchange at a time, or lies idle in the pool.

    :ivar news: notified when something came, or it ended
    :ivar heard: whether anything came since `lend`
    :ivar idle_since: the loop's time since which nobody has used it
    """

    def __init__(self) -> None:
        self.news = Signal()
        self.heard = False
        self.idle_since = 0.0
        self.on_closed: Callable[[], None] = _nothing
        self.closed = False
        self._transport: Any = None  # of uvloop or asyncio: neither knows the other's classes
        self._pieces: deque[bytes] = deque()
        self._held = 0
        self._paused = False
        self._full = False
        self._room = Signal()
        self._lent = False
        self._ended = False
        self._error: Exception | None = None
        self._poll: select.poll | None = None

    # ------------------------------------------------------------ the event loop's

    def connection_made(self, transport: Any) -> None:
        """Take the transport."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Hold a piece for the reader; close an idle connection: nobody has asked for what comes."""
        if not self._lent:
            self.close()
            return
        self.heard = True
        self._pieces.append(data)
        self._held += len(data)
        if self._held >= _HELD and not self._paused:
            self._paused = True
            self._transport.pause_reading()
        self.news.notify()

    def eof_received(self) -> bool:
        """Note that nothing more comes. What is being sent goes on where the transport can do that."""
        tls = self._transport.get_extra_info("ssl_object")
        if tls is not None and not _was_closed_properly(tls):
            self._error = ssl.SSLEOFError("the server ended the connection without saying so in TLS")
        else:
            self._ended = True
        self.news.notify()
        if not self._lent:
            self.close()
        return tls is None and self._lent

    def connection_lost(self, exc: Exception | None) -> None:
        """Note the end, and wake everybody."""
        self.closed = True
        if not self._ended and self._error is None:
            self._error = exc or ConnectionAbortedError("the connection was closed")
        self._poll = None
        self.news.notify()
        self._room.notify()
        on_closed, self.on_closed = self.on_closed, _nothing
        on_closed()

    def pause_writing(self) -> None:
        """Have `drained` wait."""
        self._full = True

    def resume_writing(self) -> None:
        """Have `drained` wait no more."""
        self._full = False
        self._room.notify()

    # ------------------------------------------------------------ the pool's

    def lend(self) -> None:
        """Have it used for an exchange."""
        self._lent = True
        self.heard = False

    def give_back(self) -> None:
        """Have it lie idle."""
        self._lent = False
        if self._poll is None:
            self._poll = select.poll()
            self._poll.register(self._transport.get_extra_info("socket").fileno(), select.POLLIN)

    def usable(self) -> bool:
        """Say whether nothing has come while it was idle, its end included, as far as the system knows."""
        if self.closed or self._ended or self._error is not None or self._transport.is_closing():
            return False
        return self._poll is None or not self._poll.poll(0)

    # ------------------------------------------------------------ the exchange's

    @property
    def ended(self) -> bool:
        """Whether its other side has ended it, well or badly."""
        return self._ended or self._error is not None

    @property
    def pending(self) -> bool:
        """Whether something came that nobody has taken."""
        return bool(self._pieces)

    @property
    def failure(self) -> HttpError | None:
        """Why nothing more comes, if everything that came has been taken, and it is not the proper end."""
        return failure(self._error) if self._error is not None and not self._pieces else None

    def take(self, most: int) -> bytes | None:
        """Return a piece of what has come, ``b""`` at the proper end, None for nothing; see `failure`."""
        if not self._pieces:
            return b"" if self._ended and self._error is None else None
        piece = self._pieces.popleft()
        if len(piece) > most:
            self._pieces.appendleft(piece[most:])
            piece = piece[:most]
        self._held -= len(piece)
        if self._paused and self._held < _HELD and not self.closed:
            self._paused = False
            self._transport.resume_reading()
        return piece

    async def more(self, until: float | None) -> None:
        """Wait until something comes, the end included.

        :param until: the loop's time at which to give up
        :raises TimeoutError: then
        """
        if self._pieces or self.ended:
            return
        async with asyncio.timeout_at(until):
            await self.news.wait()

    def write(self, data: bytes) -> None:
        """Send bytes; call `drained` before many."""
        if not self.closed:
            self._transport.write(data)

    async def drained(self, seconds: float | None) -> None:
        """Wait until there is room to write.

        :raises HttpError: if the connection is gone, or the server takes nothing for so long
        """
        try:
            async with asyncio.timeout(seconds):
                while self._full and not self.closed:
                    await self._room.wait()
        except TimeoutError:
            raise HttpError(Variant("connection-write-timeout"), "the server takes nothing more") from None
        if self.closed:
            raise failure(self._error or ConnectionResetError())

    def close(self) -> None:
        """Close it, in an orderly way if nothing is under way."""
        if self._transport is None:
            return
        if self._lent:
            self._transport.abort()
        else:
            self._transport.close()

    def abort(self) -> None:
        """Close it at once, whatever is under way."""
        if self._transport is not None:
            self._transport.abort()


def _nothing() -> None:
    pass


def _was_closed_properly(tls: Any) -> bool:
    """Say whether the other side has sent ``close_notify``: without, anybody may have cut it short."""
    try:
        return not tls.read(1)
    except ssl.SSLZeroReturnError:
        return True
    except (ssl.SSLError, ValueError):
        return False
