"""What passes between a server and the driver, cut into pieces in every way; what a link has it prepare."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import asyncpg
import pytest
from host_plugin_postgres import link as link_module
from host_plugin_postgres import messages
from host_plugin_postgres.link import Link
from host_plugin_postgres.messages import close, prepare, simple
from host_plugin_postgres.tap import Answer, Collected, Tap

pytestmark = pytest.mark.anyio


class Driver:
    """Keeps what it is passed."""

    def __init__(self) -> None:
        self.data = b""
        self.lost: list[Exception | None] = []

    def data_received(self, data: bytes) -> None:
        self.data += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.append(exc)


class Transport:
    """Keeps what is sent."""

    def __init__(self) -> None:
        self.sent = b""
        self.closing = False
        self.calls: list[str] = []
        self.socket: socket.socket | None = None

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def set_write_buffer_limits(self, high: int) -> None:
        self.high = high

    def pause_reading(self) -> None:
        self.calls.append("pause")

    def resume_reading(self) -> None:
        self.calls.append("resume")

    def get_extra_info(self, name: str) -> Any:
        return self.socket if name == "socket" else None

    def is_closing(self) -> bool:
        return self.closing

    def write(self, data: bytes) -> None:
        self.sent += data


def tapped() -> tuple[Tap, Driver, Transport]:
    driver, transport = Driver(), Transport()
    return Tap(SimpleNamespace(_protocol=driver, _transport=transport)), driver, transport


def message(kind: str, body: bytes = b"") -> bytes:
    return kind.encode() + struct.pack(">I", len(body) + 4) + body


READY, IN_TRANSACTION = message("Z", b"I"), message("Z", b"T")
NOTICE, STATUS = message("N", b"SNOTICE\0\0"), message("S", b"TimeZone\0UTC\0")
OURS = [message("C", b"SET\0"), message("C", b"SELECT 2\0"), READY]
REFUSED = message("E", b"SERROR\0C40001\0Mcould not serialize\0\0")


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 64, 300, 10_000])
@pytest.mark.parametrize("wanted", [True, False])
async def test_answers_are_ours_and_the_rest_is_the_drivers(size: int, wanted: bool) -> None:
    """Rows are kept, or passed over and counted; what comes unasked is the driver's."""
    tap, driver, transport = tapped()
    rows = [message("D", bytes([n]) * n) for n in (0, 1, *[100] * 80, 250)]
    collected = Collected()
    first, second = tap.ask(simple("TABLE t"), simple("RESET ALL"), rows=collected if wanted else None)
    assert transport.sent == message("Q", b"TABLE t\0") + message("Q", b"RESET ALL\0")
    answers = [*rows[:2], NOTICE, *rows[2:], message("C", b"SELECT 83\0"), IN_TRANSACTION, STATUS, *OURS]
    stream = b"".join([NOTICE, *answers, NOTICE])
    for at in range(0, len(stream), size):
        tap.data_received(stream[at : at + size])
    assert (await first, await second) == ("SELECT 83", "SELECT 2")
    assert driver.data == NOTICE * 2 + STATUS + NOTICE
    assert tap.status == "I"
    assert tap.current is None
    assert first.count == (0 if wanted else 83)
    assert [collected.data[a:b] for a, b in pairwise(collected.starts)] == (rows if wanted else [])


async def test_what_a_statement_is_made_of() -> None:
    tap, _, _ = tapped()
    (answer,) = tap.ask(messages.prepare("s", "SELECT $1, $2"))
    types = message("t", struct.pack(">HII", 2, 23, 4_000_000_000))
    column = struct.pack(">IhIhih", 0, 0, 4_000_000_001, -1, -1, 0)
    columns = message("T", struct.pack(">H", 2) + "naïve".encode() + b"\0" + column + b"\0" + column)
    tap.data_received(message("1") + types + columns + READY)
    await answer
    assert messages.parameter_types(answer.parameters) == (23, 4_000_000_000)
    assert messages.column_types(answer.columns) == [("naïve", 4_000_000_001), ("", 4_000_000_001)]


async def test_rows_that_are_suspended_have_no_tag() -> None:
    tap, _, _ = tapped()
    begun, more = tap.ask(b"", b"")
    tap.data_received(message("C", b"BEGIN\0") + message("s") + IN_TRANSACTION)
    tap.data_received(message("C", b"SELECT 3\0") + IN_TRANSACTION)
    assert (await begun, await more) == ("", "SELECT 3")


async def test_errors_and_the_end_of_a_connection() -> None:
    tap, driver, transport = tapped()
    refused, lost = tap.ask(simple("COMMIT"), simple("RESET ALL"))
    tap.data_received(REFUSED + READY)
    with pytest.raises(asyncpg.SerializationError, match="could not serialize"):
        await refused
    tap.connection_lost(None)
    transport.closing = True
    for answer in [lost, *tap.ask(simple("COMMIT"))]:
        with pytest.raises(asyncpg.ConnectionDoesNotExistError):
            await answer
    assert driver.lost == [None]
    assert driver.data == b""


async def test_an_answer_that_nobody_wants_is_kept_from_the_driver() -> None:
    tap, driver, _ = tapped()
    answers: list[Answer] = tap.ask(simple("COMMIT"), simple("RESET ALL"))
    answers[0].cancel()
    tap.data_received(b"".join([message("C", b"COMMIT\0"), READY, *OURS]))
    assert await answers[1] == "SELECT 2"
    assert driver.data == b""


@pytest.mark.parametrize("size", [1 << 12, 1 << 30])
async def test_of_long_errors_and_notices_the_beginning_is_kept(size: int) -> None:
    """A guest may raise them as long as it likes."""
    tap, driver, _ = tapped()
    (answer,) = tap.ask(simple("DO"))
    long = b"SERROR\0C40001\0M" + b"x" * 2_000_000 + b"\0\0"
    stream = message("N", long) + message("E", long) + READY + NOTICE
    for at in range(0, len(stream), size):
        tap.data_received(stream[at : at + size])
        assert len(tap._part) <= 1 << 17
    with pytest.raises(asyncpg.SerializationError) as caught:
        await answer
    assert 60_000 < len(str(caught.value)) < 70_000
    notice, rest = driver.data[: 1 << 16], driver.data[1 << 16 :]
    assert notice[:6] == b"N" + struct.pack(">I", (1 << 16) - 1) + b"S"
    assert notice.endswith(b"x\0\0")
    assert rest == NOTICE
    assert tap.current is None


async def test_a_message_that_comes_in_many_parts_is_put_together_once() -> None:
    tap, _, _ = tapped()
    (answer,) = tap.ask(simple("TABLE t"))
    column = b"c\0" + struct.pack(">IhIhih", 0, 0, 23, 4, -1, 0)
    columns = message("T", struct.pack(">H", 20_000) + column * 20_000)
    copied = 0
    for at in range(0, len(columns), 1000):
        before = tap._part
        tap.data_received(columns[at : at + 1000])
        copied += tap._part is not before
    assert copied <= 3  # the beginning, the end
    tap.data_received(message("C", b"SELECT 0\0") + READY)
    await answer
    assert len(messages.column_types(answer.columns)) == 20_000


async def test_answers_that_are_held_stay_in_the_socket_until_somebody_wants_them() -> None:
    tap, _, transport = tapped()
    transport.socket, server = socket.socketpair()
    with server, transport.socket:
        transport.socket.setblocking(False)
        (first,) = tap.ask(simple("FETCH"), held=True)
        assert transport.calls == ["pause"]
        tap.poll()
        assert not first.done()
        server.sendall(message("C", b"FETCH 0\0") + READY)
        tap.poll()
        assert await first == "FETCH 0"
        tap.ask(simple("FETCH"), held=True)
        tap.let_in()
        tap.ask(simple("FETCH"), held=True)
        tap.ask(simple("COMMIT"))  # what is asked for next is waited for
        assert transport.calls == ["pause", "resume"] * 2
        server.close()
        tap.poll()  # the transport tells that


async def test_who_answers_in_a_moment_is_watched_and_others_ever_more_rarely(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tap, _, transport = tapped()
    transport.socket, server = socket.socketpair()
    with server, transport.socket:
        transport.socket.setblocking(False)
        (answer,) = tap.ask(simple("VALUES (1)"))
        server.sendall(message("C", b"SELECT 1\0") + READY)
        tap.watch(answer)
        assert answer.done()
        looks: list[int] = []
        monkeypatch.setattr(os, "sched_yield", lambda: looks.append(1))
        (answer,) = tap.ask(simple("SELECT pg_sleep(1)"))
        watched = []
        for number in range(20):
            before = len(looks)
            tap.watch(answer)
            if len(looks) > before:
                watched.append(number)
        assert watched == [0, 2, 6, 14]


async def test_where_others_have_the_processor_meanwhile_answers_are_not_watched_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tap, _, transport = tapped()
    clock: Any = SimpleNamespace(now=0.0, perf_counter=lambda: clock.now)
    said = message("C", b"SELECT 1\0") + READY

    def taken_away() -> None:
        clock.now += 0.002
        tap.data_received(said)

    monkeypatch.setattr("host_plugin_postgres.tap.time", clock)
    monkeypatch.setattr(os, "sched_yield", taken_away)
    transport.socket, server = socket.socketpair()
    with server, transport.socket:
        transport.socket.setblocking(False)
        watched = []
        for _ in range(4):
            (answer,) = tap.ask(simple("VALUES (1)"))
            tap.watch(answer)
            watched.append(answer.done())
            if not watched[-1]:
                tap.data_received(said)
    assert watched == [True, False, True, False]


# ---------------------------------------------------------------- what a link has prepared


class Knowing:
    """A catalogue that knows all types."""

    codecs: dict[int, Any] = {}  # noqa: RUF012  nobody adds to it

    async def learn(self, *args: object) -> None:
        pass


def linked() -> tuple[Link, Transport]:
    transport = Transport()
    connection = SimpleNamespace(_protocol=Driver(), _transport=transport)
    return Link(connection, Knowing(), "u"), transport  # type: ignore[arg-type]


async def prepared(link: Link, transport: Transport, sql: str, *, cancel: bool = False) -> bytes:
    """Prepare a statement, or be cancelled when it was sent; return what was sent."""
    transport.sent = b""
    task = asyncio.ensure_future(link.prepare(sql))
    await asyncio.sleep(0)
    if cancel:
        task.cancel()
        await asyncio.wait({task})
    transport.protocol.data_received(READY)
    if not cancel:
        await task
    return transport.sent


async def test_a_name_whose_user_was_cancelled_is_forgotten_with_the_next_statement() -> None:
    link, transport = linked()
    assert await prepared(link, transport, "SELECT 1", cancel=True) == prepare("wasmplex_1", "SELECT 1")
    again = await prepared(link, transport, "SELECT 1", cancel=True)
    assert again == close("wasmplex_1") + prepare("wasmplex_2", "SELECT 1")
    assert await prepared(link, transport, "SELECT 2") == close("wasmplex_2") + prepare(
        "wasmplex_3", "SELECT 2"
    )
    assert await prepared(link, transport, "SELECT 3") == prepare("wasmplex_4", "SELECT 3")


async def test_the_statement_longest_unused_is_forgotten_with_the_next_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(link_module, "KEPT", 2)
    link, transport = linked()
    for number in (1, 2):
        await prepared(link, transport, f"SELECT {number}")
    await link.prepare("SELECT 1")
    assert await prepared(link, transport, "SELECT 3") == prepare("wasmplex_3", "SELECT 3")
    assert await prepared(link, transport, "SELECT 4") == close("wasmplex_2") + prepare(
        "wasmplex_4", "SELECT 4"
    )
