"""The connections of one import: which to use again, which to open, which to close."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

from wasmplex.plugin import Variant

from host_plugin_wasi.http.authority import Origin
from host_plugin_wasi.http.connection import Connection
from host_plugin_wasi.http.errors import HttpError, LimitReached

__all__ = ["Pool"]

_PATIENCE = 2.0
"""Seconds that connections have to end on their own when the pool closes."""


class Pool:
    """Connections that are open, being opened or being closed, up to a limit.

    :param connect: opens a connection, or raises `HttpError`; the second argument is the loop's time at which
        to give up
    :param keep_alive: seconds that an idle one is kept
    """

    def __init__(
        self, connect: Callable[[Origin, float], Awaitable[Connection]], limit: int, keep_alive: float
    ) -> None:
        self._connect = connect
        self._limit = limit
        self._keep_alive = keep_alive
        self._count = 0
        self._open: set[Connection] = set()
        self._idle: dict[Origin, list[Connection]] = {}  # the one used last at the end
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    async def take(self, origin: Origin, until: float, *, fresh: bool) -> tuple[Connection, bool]:
        """Return a connection, and whether it was used before.

        :param until: the loop's time at which to give up
        :param fresh: take none that was used before
        :raises HttpError: if there is none
        """
        waited = False
        while not self._closed:
            if not fresh and (connection := self._idle_to(origin)) is not None:
                connection.lend()
                return connection, True
            if self._count < self._limit:
                connection = await self._new(origin, until)
                connection.lend()
                return connection, False
            self._close_longest_idle()
            await self._wait(until, ahead=waited)
            waited = True
        raise HttpError(Variant("connection-terminated"), "the workload is being closed")

    def give(self, origin: Origin, connection: Connection, *, reusable: bool) -> None:
        """Take a connection back."""
        if not reusable or self._closed or not self._keep_alive:
            connection.abort()
            return
        connection.give_back()
        connection.idle_since = asyncio.get_running_loop().time()
        self._idle.setdefault(origin, []).append(connection)
        self._wake()
        self._watch()

    async def close(self) -> None:
        """Close every connection, and wait until they are."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        while self._waiting:
            self._wake()
        for connection in [*self._open]:
            connection.close()
        await self._gone()
        for connection in [*self._open]:
            connection.abort()
        await self._gone()

    async def _gone(self) -> None:
        """Wait until all are closed, but not for ever."""
        until = asyncio.get_running_loop().time() + _PATIENCE
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                for connection in [*self._open]:
                    while not connection.closed:
                        await connection.news.wait()

    # ------------------------------------------------------------ which one

    def _idle_to(self, origin: Origin) -> Connection | None:
        while origin in self._idle:
            connection = self._pop_idle(origin, -1)
            if connection.usable():
                return connection
            connection.abort()
        return None

    def _idle_since(self, origin: Origin) -> float:
        return self._idle[origin][0].idle_since

    def _pop_idle(self, origin: Origin, index: int) -> Connection:
        idle = self._idle[origin]
        connection = idle.pop(index)
        if not idle:
            del self._idle[origin]
        return connection

    def _close_longest_idle(self) -> None:
        """Make room for a connection to somebody else."""
        if self._idle:
            self._pop_idle(min(self._idle, key=self._idle_since), 0).abort()

    async def _new(self, origin: Origin, until: float) -> Connection:
        self._count += 1
        try:
            connection = await self._connect(origin, until)
        except BaseException:
            self._count -= 1
            self._wake()
            raise
        self._open.add(connection)
        connection.on_closed = partial(self._forget, origin, connection)
        if connection.closed:
            self._forget(origin, connection)
        elif self._closed:
            connection.abort()
        return connection

    def _forget(self, origin: Origin, connection: Connection) -> None:
        """Learn that a connection is closed."""
        self._open.discard(connection)
        self._count -= 1
        idle = self._idle.get(origin, [])
        if connection in idle:
            self._pop_idle(origin, idle.index(connection))
        self._wake()

    # ------------------------------------------------------------ waiting

    async def _wait(self, until: float, *, ahead: bool) -> None:
        """Wait until a connection is free, or one may be opened.

        :param ahead: before all others: somebody else was quicker when it was this one's turn
        """
        turn = asyncio.get_running_loop().create_future()
        if ahead:
            self._waiting.appendleft(turn)
        else:
            self._waiting.append(turn)
        try:
            async with asyncio.timeout_at(until):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self._wake()  # it was this one's turn, and it does not take it
            elif turn in self._waiting:
                self._waiting.remove(turn)
            if isinstance(error, TimeoutError):
                text = f"all of max_connections, {self._limit}, are in use"
                raise LimitReached(Variant("connection-limit-reached"), text) from None
            raise

    def _wake(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    def _watch(self) -> None:
        """See to it that idle connections are closed in time."""
        if self._timer is None and self._idle and not self._closed:
            oldest = min(map(self._idle_since, self._idle))
            self._timer = asyncio.get_running_loop().call_at(oldest + self._keep_alive, self._expire)

    def _expire(self) -> None:
        self._timer = None
        late = asyncio.get_running_loop().time() - self._keep_alive
        for origin in [*self._idle]:
            while origin in self._idle and self._idle_since(origin) <= late:
                self._pop_idle(origin, 0).close()
        self._watch()
