"""One connection to a server that keeps commands waiting: how many there are, and what becomes of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from host_plugin_redis.reading import Reading
from host_plugin_redis.wire import MOST, UNWANTED, Wire
from host_plugin_redis.wires import Wires
from redis.exceptions import ConnectionError as Lost

pytestmark = pytest.mark.anyio


class Server(asyncio.Protocol):
    """Counts the commands that come, and answers when it is told to."""

    def __init__(self) -> None:
        self.commands = self.answered = 0
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.commands += data.count(b"PING")

    def answer(self, count: int) -> None:
        self.answered += count
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


async def reached(server: Server, count: int) -> int:
    """Wait for so many commands, and a little longer; return how many there are."""
    with anyio.fail_after(10):
        while server.commands < count:  # noqa: ASYNC110  it has no event of its own
            await anyio.sleep(0.005)
    await anyio.sleep(0.05)
    return server.commands


async def test_commands_beyond_what_may_be_under_way_wait_for_answers(connected: Any) -> None:
    wire, server = connected
    tasks = [asyncio.create_task(wire.command("PING")) for _ in range(3 * MOST)]
    assert await reached(server, MOST) == len(wire) == MOST
    server.answer(MOST // 4)
    assert await reached(server, MOST) == MOST, "not one for each answer: there is to be room first"
    server.answer(MOST // 4)
    assert await reached(server, MOST + MOST // 2) == MOST + MOST // 2
    with anyio.fail_after(10):
        while len(wire):
            server.answer(server.commands - server.answered)
            await anyio.sleep(0.02)
        assert set(await asyncio.gather(*tasks)) == {b"PONG"}


async def test_commands_that_nobody_waits_for_do_not_pile_up(connected: Any) -> None:
    wire, server = connected
    for count in (1, 2, 2, 2):
        tasks = [asyncio.create_task(wire.command("PING")) for _ in range(MOST // 2)]
        await reached(server, count * MOST // 2)
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
    await reached(server, MOST)
    server.transport.abort()
    with anyio.fail_after(10):
        results = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(result) for result in results} == {Lost}


async def test_answers_to_commands_that_nobody_waits_for_are_not_read(connected: Any) -> None:
    wire, server = connected
    tasks = [asyncio.create_task(wire.command("PING")) for _ in range(UNWANTED)]
    await reached(server, UNWANTED)
    for task in tasks[1:]:
        task.cancel()
    await asyncio.wait(tasks[1:])
    wire.drop_if_unwanted()
    assert wire.is_open, "somebody waits for the first"
    tasks[0].cancel()
    await asyncio.wait(tasks)
    wire.drop_if_unwanted()
    assert not wire.is_open


class Transport:
    """Notes whether it is read from."""

    def __init__(self) -> None:
        self.reading = True

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None:
        assert self.reading
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading
        self.reading = True


async def test_many_connections_that_bring_much_are_read_in_turns() -> None:
    reading, transports = Reading(), [Transport() for _ in range(64)]
    piece, came, most = 256 << 10, [0] * 64, 0
    for _ in range(2000):
        before = sum(came)
        for number, transport in enumerate(transports):
            if transport.reading:
                came[number] += 1
                reading.came(piece, transport)  # type: ignore[arg-type]
        most = max(most, sum(came) - before) if before else 0
        await asyncio.sleep(0)
    assert most <= 5, "pieces in a turn, once all have begun"
    assert min(came) > 0.8 * max(came), "each has its turn"
    for _ in range(100):
        await asyncio.sleep(0)
    assert all(transport.reading for transport in transports)


async def test_connections_that_bring_little_never_wait() -> None:
    reading, transports = Reading(), [Transport() for _ in range(64)]
    for _ in range(100):
        for transport in transports:
            reading.came(4 << 10, transport)  # type: ignore[arg-type]
            assert transport.reading
        await asyncio.sleep(0)


async def test_no_connection_is_opened_beside_one_that_is_idle() -> None:
    servers: list[Server] = []

    def serve() -> Server:
        servers.append(Server())
        return servers[-1]

    async def dial() -> tuple[str, int]:
        return "127.0.0.1", listening.sockets[0].getsockname()[1]

    async def renew() -> list[tuple[str]]:
        return []

    async with await asyncio.get_running_loop().create_server(serve, "127.0.0.1", 0) as listening:
        wires = Wires(dial, [], renew, None, 10, 10)
        async with wires._opening:  # as long as one is opened, others wait
            command = asyncio.create_task(wires.execute_command("PING"))
            await anyio.sleep(0.01)
            await wires._open()
        with anyio.fail_after(10):
            while not any(server.commands for server in servers):  # noqa: ASYNC110  it has no event
                await anyio.sleep(0.001)
            for server in servers:
                server.answer(server.commands)
            assert await command == b"PONG"
        assert len(wires) == 1
        await wires.aclose()
        for server in servers:
            server.transport.close()
