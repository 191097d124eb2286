"""What leaves of a response, and when, where the client takes less than is written."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
from wasmplex.triggers.http.asgi import AsgiWire
from wasmplex.triggers.http.exchange import Exchange
from wasmplex.triggers.http.http1.cycle import Cycle
from wasmplex.triggers.http.http1.head import Head
from wasmplex.triggers.http.http1.parsing import RequestParser
from wasmplex.triggers.http.suspension import attentive

pytestmark = pytest.mark.anyio

CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


class Line:
    """A connection; `full` while its client takes nothing."""

    client = ""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.full: asyncio.Future[None] | None = None
        self.sent = b""
        self.answers = 0

    def write(self, data: bytes) -> None:
        self.sent += data

    write_last = write

    async def writable(self) -> None:
        while self.full is not None:
            await asyncio.shield(self.full)

    def default_headers(self, *, date: bool, server: bool) -> bytes:
        return b""

    def answered(self, cycle: object) -> None:
        self.answers += 1

    def want_body(self) -> None: ...

    def close(self) -> None: ...

    reset = close

    def stop(self) -> None:
        self.full = self.loop.create_future()

    def go_on(self) -> None:
        full, self.full = self.full, None
        assert full is not None
        full.set_result(None)


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(20):
        while not condition():
            await anyio.lowlevel.checkpoint()


def opened() -> tuple[Line, Exchange]:
    line, parser = Line(), RequestParser(1024)
    parser.feed(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
    head = parser.next_event()
    assert isinstance(head, Head)
    return line, Exchange(Cycle(line, head), 0)


async def handled(exchange: Exchange, handler: Callable[[], Awaitable[None]]) -> None:
    async def awaited() -> None:
        await handler()

    await attentive(awaited(), exchange.nudge)


async def test_the_end_of_a_response_is_sent_once() -> None:
    """A handler waits for its delivery: what is held leaves when a handler waits, but that has been taken."""
    line, exchange = opened()

    async def handler() -> None:
        exchange.start(200, [])
        exchange.write(b"one")
        await until(lambda: bool(line.sent))
        line.stop()
        exchange.write(b"two")
        exchange.finish()
        line.loop.call_later(0.01, line.go_on)
        await exchange.deliver()

    await handled(exchange, handler)
    await anyio.wait_all_tasks_blocked()
    assert line.sent == CHUNKED + b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"
    assert line.answers == 1


async def test_what_was_held_when_a_delivery_was_cancelled_still_leaves() -> None:
    line, exchange = opened()
    exchange.start(200, [(b"content-length", b"6")])
    exchange.write(b"one")
    await exchange.flush()
    line.stop()
    exchange.write(b"two")
    exchange.finish()
    with anyio.move_on_after(0.01) as deadline:
        await exchange.deliver()
    assert deadline.cancelled_caught
    line.go_on()
    await exchange.flush()
    assert line.sent.endswith(b"\r\n\r\nonetwo")
    assert exchange.complete


async def test_after_a_delivery_to_a_server_that_was_cancelled_nothing_more_is_sent() -> None:
    """How much of it the server has taken nobody knows."""
    sent: list[str] = []

    async def send(message: Any) -> None:
        sent.append(message["type"])
        await anyio.sleep_forever()

    async def receive() -> Any: ...

    exchange = Exchange(AsgiWire({"method": "GET", "path": "/", "headers": []}, receive, send), 0)
    exchange.start(200, [])
    exchange.write(b"one")
    exchange.finish()
    with anyio.move_on_after(0.01):
        await exchange.deliver()
    with pytest.raises(ConnectionAbortedError, match="cut off"):
        await exchange.flush()
    assert sent == ["http.response.start"]
    assert not exchange.complete
