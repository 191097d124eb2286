"""Answers that leave together: soon, whole, and in order."""

from __future__ import annotations

import re
from typing import Any

import anyio
import pytest
from wasmplex.capabilities.http import HttpExchange
from wasmplex.triggers.http.http1 import outbox
from wasmplex.triggers.http.http1.outbox import HELD_SECONDS, Outbox

from .loopback import bind, connected, exchange, get, serving

pytestmark = pytest.mark.anyio


class Transport:
    """Notes what is written, by all of its kind."""

    def __init__(self, name: str, log: list[tuple[str, bytes]]) -> None:
        self.name = name
        self.log = log
        self.closing = False

    def is_closing(self) -> bool:
        return self.closing

    def write(self, data: bytes) -> None:
        self.log.append((self.name, data))


class Loop:
    """An event loop whose turn ends when the test says so."""

    def __init__(self) -> None:
        self.soon: list[Any] = []

    def call_soon(self, callback: Any) -> None:
        self.soon.append(callback)

    def turn(self) -> None:
        while self.soon:
            self.soon.pop(0)()


@pytest.fixture
def log() -> list[tuple[str, bytes]]:
    return []


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [5.0]
    monkeypatch.setattr(outbox, "perf_counter", lambda: now[0])
    return now


def test_answers_leave_together_when_the_loop_has_done_its_turn(log: Any, clock: list[float]) -> None:
    box, loop = Outbox(), Loop()
    for name in "abcd":
        box.put(loop, Transport(name, log), b"1")  # type: ignore[arg-type]
        clock[0] += HELD_SECONDS / 4
    assert log == [("a", b"1")]  # nobody knew that more would follow
    loop.turn()
    assert log == [("a", b"1"), ("b", b"1"), ("c", b"1"), ("d", b"1")]
    loop.turn()
    assert len(log) == 4


def test_a_connection_that_went_wrong_takes_nobody_with_it(log: Any, clock: list[float]) -> None:
    class Wrong(Transport):
        aborted = False

        def write(self, data: bytes) -> None:
            raise RuntimeError("closed")

        def abort(self) -> None:
            self.aborted = True

    box, loop, wrong = Outbox(), Loop(), Wrong("b", log)
    for transport in (Transport("a", log), wrong, Transport("c", log)):
        box.put(loop, transport, b"1")  # type: ignore[arg-type]
    loop.turn()
    assert log == [("a", b"1"), ("c", b"1")]
    assert wrong.aborted


def test_none_waits_where_answers_take_long(log: Any, clock: list[float]) -> None:
    box, loop = Outbox(), Loop()
    for count in range(1, 5):
        clock[0] += HELD_SECONDS * 1.1
        box.put(loop, Transport("a", log), b"1")  # type: ignore[arg-type]
        assert len(log) == count
    assert not loop.soon


def test_none_waits_for_long(log: Any, clock: list[float]) -> None:
    box, loop = Outbox(), Loop()
    for name in "abcd":
        box.put(loop, Transport(name, log), b"1")  # type: ignore[arg-type]
        clock[0] += HELD_SECONDS * 0.6
    assert [name for name, _ in log] == ["a", "b", "c", "d"]
    box.put(loop, Transport("e", log), b"1")  # type: ignore[arg-type]
    assert len(log) == 4
    loop.turn()
    assert len(log) == 5


def test_a_long_answer_is_not_held(log: Any, clock: list[float]) -> None:
    box, loop = Outbox(), Loop()
    for name, size in (("a", 1), ("b", 1), ("c", 20_000)):
        box.put(loop, Transport(name, log), bytes(size))  # type: ignore[arg-type]
    assert [name for name, _ in log] == ["a", "b", "c"]


def test_a_connection_that_was_lost_meanwhile_gets_nothing(log: Any, clock: list[float]) -> None:
    box, loop = Outbox(), Loop()
    lost = Transport("a", log)
    for transport in (Transport("x", log), lost, Transport("b", log)):
        box.put(loop, transport, b"1")  # type: ignore[arg-type]
    lost.closing = True
    loop.turn()
    assert log == [("x", b"1"), ("b", b"1")]


# ---------------------------------------------------------------- on the wire


async def test_pipelined_answers_keep_their_order_whatever_way_they_leave() -> None:
    """One is held, the next is streamed, the next is held again."""

    async def handle(_: Any, exchange: HttpExchange) -> None:
        exchange.start(200, [])
        exchange.write(exchange.path_with_query.encode())
        if exchange.path_with_query == "/streamed":
            await anyio.sleep(0.01)
            exchange.write(b"!")
        exchange.finish()

    paths = ["/1", "/2", "/streamed", "/3", "/streamed", "/4"]
    async with serving(bind(handle)) as port, connected(port) as client:
        await client.send(b"".join(get(path, close=path == "/4") for path in paths))
        answers = await client.rest()
    assert re.findall(rb"/(?:\d|streamed)(?=\r|H|$)", answers) == [path.encode() for path in paths]


@pytest.mark.parametrize("close", [True, False])
async def test_an_answer_is_not_lost_when_the_connection_is_closed_after_it(close: bool) -> None:
    async def handle(_: Any, exchange: HttpExchange) -> None:
        exchange.start(200, [] if close else [(b"connection", b"close")])
        exchange.write(b"all of it")
        exchange.finish()

    async with serving(bind(handle)) as port:
        for _ in range(20):
            assert (await exchange(port, get(close=close))).body == b"all of it"
