"""A TCP proxy that does to connections what networks do."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import anyio

__all__ = ["TcpProxy", "in_sockets"]

_CHUNK = 65536


def in_sockets(port: int) -> int:
    """Return how many bytes are in the kernel, on their way from a port of this machine. Linux alone tells.

    :raises OSError: on other systems
    """
    found = 0
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, _, queues, *_ = line.split()
        sent, received = (int(queue, 16) for queue in queues.split(":"))
        here, there = (int(address.partition(":")[2], 16) for address in (local, remote))
        found += sent if here == port else received if there == port else 0
    return found


class TcpProxy:
    """Passes connections on to a server; used as ``async with TcpProxy("127.0.0.1", 6379) as proxy``.

    :ivar port: where it listens, on loopback
    :ivar delay: seconds that each piece of data waits, in both directions
    :ivar rate: bytes per second of each connection and direction, None for no limit
    :ivar accepting: False to close new connections at once
    """

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self.port = 0
        self.delay = 0.0
        self.rate: float | None = None
        self.accepting = True
        self._answered = 0
        self._open = asyncio.Event()
        self._open.set()
        self._pairs: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close everything."""
        self._server.close()
        for task in self._tasks:
            task.cancel()
        with anyio.CancelScope(shield=True):
            while self._tasks:
                await asyncio.wait(self._tasks)

    @property
    def connections(self) -> int:
        """How many connections pass through it now."""
        return len(self._pairs)

    @property
    def answered(self) -> int:
        """How many bytes have come from the server and were put into the sockets of its clients."""
        return self._answered - sum(client.transport.get_write_buffer_size() for client, _ in self._pairs)

    def stall(self) -> None:
        """Pass nothing on, and keep all connections."""
        self._open.clear()

    def flow(self) -> None:
        """Pass data on again."""
        self._open.set()

    def reset(self) -> None:
        """End all connections with a reset, on both sides."""
        for pair in list(self._pairs):
            for writer in pair:
                _linger_none(writer)
                writer.transport.abort()

    def half_close(self) -> None:
        """Tell the clients of all connections that the server sends no more; they may go on sending."""
        for client, _ in list(self._pairs):
            with suppress(OSError, RuntimeError):
                client.write_eof()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if not self.accepting:
            writer.transport.abort()
            return
        try:
            there, back = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        pair = (writer, back)
        self._pairs.add(pair)
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._pump, reader, back)
                group.start_soon(self._pump, there, writer)
        except asyncio.CancelledError:
            pass  # the proxy is being closed; asyncio would print what a connection's task ends with
        finally:
            self._pairs.discard(pair)
            for one in pair:
                one.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, RuntimeError):
            while data := await reader.read(_CHUNK):
                if self.delay:
                    await asyncio.sleep(self.delay)
                if self.rate:
                    await asyncio.sleep(len(data) / self.rate)
                await self._open.wait()
                writer.write(data)
                if writer.get_extra_info("sockname")[1] == self.port:
                    self._answered += len(data)  # at once: who does not read has a part of it in its socket
                await writer.drain()
            await self._open.wait()
            if writer.can_write_eof():
                writer.write_eof()


def _linger_none(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    if connection is not None:
        with suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
