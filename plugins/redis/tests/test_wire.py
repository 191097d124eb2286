"""One connection to a server that keeps commands waiting: how many there are, and what becomes of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from host_plugin_redis.wire import MOST, Wire
from redis.exceptions import ConnectionError as Lost

pytestmark = pytest.mark.anyio


class Server(asyncio.Protocol):
    """Counts the commands that come, and answers when it is told to."""

    def __init__(self) -> None:
        self.commands = 0
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.commands += data.count(b"PING")

    def answer(self, count: int) -> None:
        self.transport.write(b"+PONG\r\n" * count)


@pytest.fixture
async def connected() -> AsyncIterator[tuple[Wire, Server]]:
    loop, server = asyncio.get_running_loop(), Server()
    listening = await loop.create_server(lambda: server, "127.0.0.1", 0)
    async with listening:
        port = listening.sockets[0].getsockname()[1]
        transport, wire = await loop.create_connection(Wire, "127.0.0.1", port)
        while server.transport is None:
            await anyio.lowlevel.checkpoint()
        yield wire, server
        transport.close()
        server.transport.close()


async def settled(server: Server) -> int:
    before = -1
    while before != server.commands:
        before = server.commands
        await anyio.sleep(0.05)
    return before


async def test_commands_beyond_what_may_be_under_way_wait_for_answers(connected: Any) -> None:
    wire, server = connected
    tasks = [asyncio.create_task(wire.command("PING")) for _ in range(3 * MOST)]
    assert await settled(server) == len(wire) == MOST
    server.answer(MOST // 4)
    assert await settled(server) == MOST, "not one for each answer: there is to be room first"
    server.answer(MOST // 4)
    assert await settled(server) == MOST + MOST // 2
    with anyio.fail_after(10):
        for _ in range(10):
            server.answer(len(wire))
            await settled(server)
        assert set(await asyncio.gather(*tasks)) == {b"PONG"}


async def test_commands_that_nobody_waits_for_do_not_pile_up(connected: Any) -> None:
    wire, server = connected
    for _ in range(4):
        tasks = [asyncio.create_task(wire.command("PING")) for _ in range(MOST // 2)]
        await settled(server)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert len(wire) == server.commands == MOST
    wire.retire_if_silent(0)
    with pytest.raises(Lost):
        await wire.command("PING")


async def test_those_that_wait_for_room_are_told_when_the_connection_is_lost(connected: Any) -> None:
    wire, server = connected
    tasks = [asyncio.create_task(wire.command("PING")) for _ in range(MOST + 10)]
    await settled(server)
    server.transport.abort()
    with anyio.fail_after(10):
        results = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(result) for result in results} == {Lost}
