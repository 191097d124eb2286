"""Servers of raw sockets: what a test says is sent, byte for byte, and what came is kept."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeAlias

__all__ = ["OK", "Origin", "Serve", "answering", "listening", "recording"]

Serve: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[object]]
"""What a server does with one connection; then it is closed."""

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@asynccontextmanager
async def listening(
    serve: Serve, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> AsyncIterator[int]:
    """Run `serve` for each connection; the value is the port. What it is in the midst of is cancelled."""
    connections: set[asyncio.Task[object]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await serve(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(accept, host, 0, ssl=tls, limit=1 << 20)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


def answering(answer: bytes, seen: list[bytes] | None = None) -> Serve:
    """Read a request's head, send `answer`, and so on."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            if seen is not None:
                seen.append(head)
            writer.write(answer)
            await writer.drain()

    return serve


@dataclass
class Origin:
    """A server that keeps everything that came, a buffer a connection, and answers each request with 200.

    It takes a request for whole by RFC 9112 alone: a length that was said, chunks, or nothing.
    """

    port: int = 0
    connections: list[bytearray] = field(default_factory=list)
    requests: list[tuple[bytes, bytes]] = field(default_factory=list)
    """Head and body of each."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        came = bytearray()
        self.connections.append(came)
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            came += head
            body = await self._body(head.lower(), reader)
            came += body
            self.requests.append((head, body))
            writer.write(OK.removesuffix(b"ok") if head.startswith(b"HEAD ") else OK)
            await writer.drain()

    async def _body(self, head: bytes, reader: asyncio.StreamReader) -> bytes:
        for line in head.split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name == b"content-length":
                return await reader.readexactly(int(value))
            if name == b"transfer-encoding":
                return await self._chunks(reader)
        return b""

    async def _chunks(self, reader: asyncio.StreamReader) -> bytes:
        body = b""
        while True:
            line = await reader.readuntil(b"\r\n")
            body += line
            if size := int(line, 16):
                body += await reader.readexactly(size + 2)
                continue
            while (line := await reader.readuntil(b"\r\n")) != b"\r\n":
                body += line
            return body + line


@asynccontextmanager
async def recording() -> AsyncIterator[Origin]:
    """Run an `Origin`."""
    origin = Origin()
    async with listening(origin.serve) as port:
        origin.port = port
        yield origin
