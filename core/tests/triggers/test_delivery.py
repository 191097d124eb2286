"""Clients that take their time, and clients that take nothing."""

from __future__ import annotations

import asyncio
import socket
from typing import Any, cast

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from wasmplex.capabilities.http import HttpExchange
from wasmplex.triggers.http import HttpSettings, http_application
from wasmplex.triggers.http.http1 import connection as module
from wasmplex.triggers.http.http1.connection import Connection
from wasmplex.triggers.http.http1.delivery import UNSEEN, Delivery
from wasmplex.triggers.http.http1.shared import Shared

from .loopback import bind, get, serving
from .test_connection import Transport

SIZE = 7_000_000
"""Bytes of an answer: more than systems hold of it."""


@given(st.lists(st.tuples(st.floats(0, 3.9 * 10), st.integers(1, 1000)), max_size=50))
def test_who_takes_something_in_time_is_waited_for(steps: list[tuple[float, int]]) -> None:
    delivery, now, left = Delivery(10.0), 0.0, 10**6
    delivery.begin(now, left)
    for pause, taken in steps:
        now, left = now + pause, left - taken
        assert delivery.goes_on(now, left)
    assert not delivery.goes_on(now + 10.0 * UNSEEN + 0.1, left)


class Clock:
    """An event loop at whose time the test turns."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.now = 0.0
        self.create_future = loop.create_future
        self.call_soon = loop.call_soon

    def time(self) -> float:
        return self.now


class Full(Transport):
    """Has something to give to the system."""

    left = 1000

    def get_write_buffer_size(self) -> int:
        return self.left

    @property
    def cut(self) -> bool:
        return self.closing and self.left > 0


async def watched() -> tuple[Connection, Full, Clock]:
    shared = Shared(http_application([bind(ignore)]).handle, HttpSettings(write_timeout=8.0))
    clock = Clock(asyncio.get_running_loop())
    connection = Connection(shared, cast("Any", clock))
    transport = Full()
    connection.connection_made(transport)
    return connection, transport, clock


def sweep(connection: Connection, clock: Clock, seconds: float) -> None:
    until = clock.now + seconds
    while clock.now < until:
        clock.now += 0.1
        if connection.deadline < clock.now:
            connection.expire()


async def ignore(_: Any, exchange: HttpExchange) -> None:
    exchange.start(200, [])
    exchange.write(bytes(SIZE))
    exchange.finish()


@pytest.mark.anyio
async def test_a_byte_now_and_then_is_enough() -> None:
    connection, transport, clock = await watched()
    connection.pause_writing()
    for _ in range(100):
        transport.left -= 1
        sweep(connection, clock, 8.0 * UNSEEN - 2)
    assert not transport.closing
    sweep(connection, clock, 8.0 * UNSEEN)
    assert transport.cut


@pytest.mark.anyio
async def test_an_answer_that_ends_the_connection_is_waited_for_as_well() -> None:
    connection, transport, clock = await watched()
    connection._close(linger=True)
    for _ in range(20):
        transport.left -= 1
        sweep(connection, clock, 8.0)
    assert not transport.closing
    transport.left = 0
    sweep(connection, clock, 4.0)
    assert transport.closing, "all is taken, and the client does not close"


@pytest.mark.anyio
async def test_what_closes_does_not_wait_for_ever() -> None:
    connection, transport, clock = await watched()
    connection._close(linger=False)
    transport.closing = False
    sweep(connection, clock, 8.0 * UNSEEN + 2)
    assert transport.cut


async def slowly(port: int, request: bytes, rate: float) -> int:
    """Return how many bytes come, taken at `rate` bytes a second."""
    loop, got = asyncio.get_running_loop(), 0
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.setblocking(False)
        await loop.sock_sendall(sock, request)
        with anyio.fail_after(20):
            while piece := await loop.sock_recv(sock, 65_536):
                got += len(piece)
                await anyio.sleep(len(piece) / rate)
    return got


@pytest.mark.slow
@pytest.mark.anyio
@pytest.mark.parametrize("fields", [(), ("content-length: 9000000",)], ids=["whole", "unread body"])
async def test_who_takes_little_all_the_time_gets_it_all(
    fields: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LINGER", 0.2)
    settings = {"write_timeout": 0.2, "keep_alive": 0.2, "head_timeout": 0.2}
    async with serving(bind(ignore, max_body=1 << 30), **settings) as port:
        assert await slowly(port, get("/", *fields, method="POST"), 4_000_000) > SIZE
