"""Connections that are lost while they are made ready, by a server that is made for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest
from host_plugin_nats.link import Link
from wasmplex.capabilities.errors import CapabilityError
from wasmplex.capabilities.keyvalue import StoreUnavailable, Timeout

pytestmark = pytest.mark.anyio

INFO = b'INFO {"server_id":"x","version":"2.11.0","proto":1,"headers":true,"max_payload":1048576}\r\n'


class FakeServer:
    """Greets, answers pings, and closes some connections at the first that is published.

    :ivar closed: which connections it closes, from 1 on
    """

    def __init__(self, *closed: int) -> None:
        self.closed = closed
        self.writers: list[asyncio.StreamWriter] = []
        self.url = ""
        self.silent = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        number = len(self.writers)
        writer.write(INFO)
        while line := await reader.readline():
            if line == b"PING\r\n" and self.silent:
                continue
            if line == b"PING\r\n":
                writer.write(b"PONG\r\n")
            elif line.startswith(b"PUB") and number in self.closed:
                break
        writer.close()


@asynccontextmanager
async def faked(*closed: int) -> AsyncIterator[FakeServer]:
    fake = FakeServer(*closed)
    server = await asyncio.start_server(fake.serve, "127.0.0.1", 0)
    fake.url = f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield fake
    finally:
        server.close()
        for writer in fake.writers:
            writer.close()
        await server.wait_closed()


async def test_a_connection_that_is_lost_while_it_is_made_ready_is_none() -> None:
    """Though whoever makes it ready takes that for an answer, as of a server without JetStream."""
    async with faked(2, 3) as server:

        async def prepare() -> None:
            try:
                await link.publish("ready", b"")
                async with asyncio.timeout(0.5):
                    await link.request("ready")
            except (CapabilityError, TimeoutError):
                pass

        async def renew() -> dict[str, object]:
            return {}

        link = Link({"servers": [server.url]}, prepare, renew)
        await link.open()
        try:
            server.writers[0].close()
            with anyio.fail_after(30):
                while len(server.writers) < 4 or not link.is_up:  # noqa: ASYNC110  nothing else says so
                    await anyio.sleep(0.01)
            await link.flush()
        finally:
            await link.close()
        with pytest.raises(StoreUnavailable, match="closed"):
            link.connection.usable()


async def test_who_waits_until_all_is_sent_hears_at_once_that_the_connection_is_lost() -> None:
    async with faked() as server:

        async def prepare() -> None: ...

        async def renew() -> dict[str, object]:
            return {}

        link = Link({"servers": [server.url]}, prepare, renew)
        await link.open()
        try:
            server.silent = True
            async with anyio.create_task_group() as tasks:
                with anyio.fail_after(4):  # less than the time after which it is given up
                    tasks.start_soon(drop_soon, server)
                    with pytest.raises(StoreUnavailable, match="lost"):
                        await link.flush()
            link._longest_flush = 0.1
            with anyio.fail_after(30):
                await link.wait_up()
                server.silent = True
                with pytest.raises(Timeout, match=r"within 0\.1 s"):
                    await link.flush()
        finally:
            await link.close()


async def drop_soon(server: FakeServer) -> None:
    await anyio.sleep(0.2)
    server.silent = False
    server.writers[0].close()


async def test_the_first_one_is_refused() -> None:
    async with faked(1) as server:

        async def prepare() -> None:
            await link.publish("ready", b"")
            await anyio.sleep(0.3)

        async def renew() -> dict[str, object]:
            return {}

        link = Link({"servers": [server.url]}, prepare, renew)
        with pytest.raises(StoreUnavailable, match="lost"):
            await link.open()
        assert not link.is_up
        attempts = len(server.writers)
        await anyio.sleep(0.5)
        assert len(server.writers) == attempts, "it does not go on"


async def test_who_has_used_a_connection_that_could_not_be_made_ready_is_told() -> None:
    """Its answer will not come."""
    async with faked() as server:
        asked: list[asyncio.Task[object]] = []

        async def prepare() -> None:
            asked.append(asyncio.ensure_future(link.request("asked")))
            await anyio.sleep(0.1)
            raise StoreUnavailable("not ready")

        async def renew() -> dict[str, object]:
            return {}

        link = Link({"servers": [server.url]}, prepare, renew)
        with pytest.raises(CapabilityError):
            await link.open()
        with pytest.raises(StoreUnavailable, match="the connection is lost"):
            async with asyncio.timeout(20):
                await asked[0]
        await link.close()
