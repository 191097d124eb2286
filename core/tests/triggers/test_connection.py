"""A connection without a socket: whatever comes, in whatever pieces, nothing is raised, all is answered."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st
from wasmplex.capabilities.http import HttpExchange
from wasmplex.triggers.http import HttpSettings, http_application
from wasmplex.triggers.http.http1.connection import Connection
from wasmplex.triggers.http.http1.shared import Shared

from .loopback import bind
from .table import MAX_HEAD
from .test_http_rows import responses
from .test_parsing import cut, mutated

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Transport(asyncio.Transport):
    """Takes everything, at once."""

    def __init__(self) -> None:
        super().__init__()
        self.out = b""
        self.reading = True
        self.closing = self.at_end = False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def write(self, data: Any) -> None:
        assert not self.at_end, "nothing follows the end"
        self.out += data

    def write_eof(self) -> None:
        self.at_end = True

    def can_write_eof(self) -> bool:
        return True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    abort = close


async def echo(_: Any, exchange: HttpExchange) -> None:
    body = b""
    while piece := await exchange.read():
        body += piece
    told = [exchange.method, exchange.path_with_query, exchange.authority, repr(exchange.headers), repr(body)]
    exchange.start(200, [])
    exchange.write(json.dumps([*told, repr(exchange.trailers)]).encode())
    exchange.finish()


async def talk(pieces: list[bytes]) -> bytes:
    """Return what comes back; raises what is raised in a callback of the connection."""
    loop, failures = asyncio.get_running_loop(), list[Any]()
    loop.set_exception_handler(lambda _, context: failures.append(context))
    shared = Shared(http_application([bind(echo)]).handle, HttpSettings(max_head=MAX_HEAD))
    transport, connection = Transport(), Connection(shared, loop)
    connection.connection_made(transport)
    for piece in pieces:
        for _ in range(400):
            await asyncio.sleep(0)
            if transport.reading:
                break
        if not transport.closing:
            connection.data_received(piece)
        for _ in range(10):
            await asyncio.sleep(0)
    for _ in range(60):
        await asyncio.sleep(0)
    assert not connection._lost
    connection.connection_lost(None)
    for _ in range(10):
        await asyncio.sleep(0)
    assert not failures
    assert not shared.tasks
    assert not shared.connections
    return transport.out


LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.mark.parametrize("loop", LOOPS)
def test_whatever_comes_is_answered_in_the_same_way_however_it_is_cut(loop: str) -> None:
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:

        @given(mutated(), st.lists(st.integers(0, 10_000), max_size=6))
        def check(raw: bytes, cuts: list[int]) -> None:
            whole = runner.run(talk([raw])).replace(CONTINUE, b"")
            parts = runner.run(talk(cut(raw, cuts))).replace(CONTINUE, b"")
            assert parts == whole
            statuses = [status for status, _ in responses(whole, head=raw.startswith(b"HEAD"))]
            assert 500 not in statuses

        check()
