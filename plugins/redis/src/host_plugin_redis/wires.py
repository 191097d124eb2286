"""The connections to one server: opened when they are needed, each shared by many operations."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

from redis.exceptions import ConnectionError as Lost
from redis.exceptions import ResponseError

from host_plugin_redis.reading import Reading
from host_plugin_redis.wire import Wire

__all__ = ["Address", "Dial", "Wires"]

CROWDED = 16
"""Commands under way on every connection from which on another one is opened."""

Address: TypeAlias = "tuple[str, int] | str"
"""Host and port, or the path of a socket."""
Dial: TypeAlias = Callable[[], Awaitable[Address]]
"""Returns where the server is now."""


class Wires:
    """Sends commands over up to `limit` connections.

    :param greeting: the commands that each new connection starts with: AUTH, SELECT
    :param renew: returns those of now, for a server that refuses the old ones
    :param patience: seconds that connecting may take; half of it is how long a connection that owes an answer
        may be silent when an operation is given up
    """

    def __init__(
        self,
        dial: Dial,
        greeting: Sequence[Sequence[Any]],
        renew: Callable[[], Awaitable[Sequence[Sequence[Any]]]],
        tls: ssl.SSLContext | None,
        limit: int,
        patience: float,
    ) -> None:
        self._dial = dial
        self._greeting = greeting
        self._renew = renew
        self._tls = tls
        self._limit = limit
        self._patience = patience
        self._wires: list[Wire] = []
        self._reading = Reading()
        self._opening = asyncio.Lock()
        self._closed = False

    def __len__(self) -> int:
        """Return how many connections there are."""
        return sum(wire.is_open for wire in self._wires)

    async def execute_command(self, *words: Any) -> Any:
        """Send a command and return the answer; errors are those of the client library."""
        wire = self._free()
        if wire is None:
            async with self._opening:
                wire = self._free()  # by its length, one that is idle would be nothing
                if wire is None:
                    wire = await self._open()
        try:
            return await wire.command(*words)
        except asyncio.CancelledError:
            wire.retire_if_silent(self._patience / 2)
            wire.drop_if_unwanted()
            raise

    async def aclose(self) -> None:
        """Close all connections."""
        self._closed = True
        wires, self._wires = self._wires, []
        for wire in wires:
            wire.abort()
        await asyncio.sleep(0)  # the sockets are closed in the next turn of the loop

    def _free(self) -> Wire | None:
        """Return the connection that has least to do; None if another one should be opened."""
        best: Wire | None = None
        for wire in self._wires:
            if wire.is_open and (best is None or len(wire) < len(best)):
                best = wire
                if not best:
                    return best
        if best is not None and (len(best) < CROWDED or len(self) >= self._limit):
            return best
        return None

    async def subscribe(self, pattern: bytes) -> Wire:
        """Return a connection of its own that receives messages; `aclose` closes it too."""
        wire = await self._made()
        wire.retired = True  # from commands
        self._wires.append(wire)
        await wire.subscribe(pattern)
        return wire

    async def _open(self) -> Wire:
        wire = await self._made()
        self._wires = [one for one in self._wires if not one.is_lost]
        self._wires.append(wire)
        return wire

    async def _made(self) -> Wire:
        if self._closed:
            raise Lost("the store is closed")
        async with asyncio.timeout(self._patience):
            wire = await self._connect(await self._dial())
            try:
                await self._greet(wire)
            except BaseException:
                wire.abort()
                raise
        if self._closed:
            wire.abort()
            raise Lost("the store is closed")
        return wire

    async def _greet(self, wire: Wire) -> None:
        try:
            await wire.commands(self._greeting)
        except ResponseError:
            fresh = await self._renew()
            if fresh == self._greeting:
                raise
            await wire.commands(fresh)
            self._greeting = fresh

    def _wire(self) -> Wire:
        return Wire(self._reading)

    async def _connect(self, address: Address) -> Wire:
        loop = asyncio.get_running_loop()
        if isinstance(address, str):
            _, wire = await loop.create_unix_connection(self._wire, address)
            return wire
        host, port = address
        name = host if self._tls else None
        transport, wire = await loop.create_connection(
            self._wire, host, port, ssl=self._tls, server_hostname=name
        )
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return wire
