"""What passes between a server and the driver, cut into pieces in every way."""

from __future__ import annotations

import struct
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import asyncpg
import pytest
from host_plugin_postgres.tap import Answer, Collected, Tap, simple

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

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

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
OURS = [message("C", b"COMMIT\0"), READY, message("C", b"SET\0"), message("C", b"SELECT 2\0"), READY]
THEIRS = [message("2"), message("D", bytes(range(200))), message("C", b"SELECT 1\0"), IN_TRANSACTION]
REFUSED = message("E", b"SERROR\0C40001\0Mcould not serialize\0\0")


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 64, 10_000])
async def test_answers_are_ours_and_the_rest_is_the_drivers(size: int) -> None:
    tap, driver, transport = tapped()
    first, second = tap.ask(simple("COMMIT"), simple("RESET ALL"))
    assert transport.sent == message("Q", b"COMMIT\0") + message("Q", b"RESET ALL\0")
    stream = b"".join([NOTICE, *OURS[:2], STATUS, *OURS[2:], *THEIRS, NOTICE])
    for at in range(0, len(stream), size):
        tap.data_received(stream[at : at + size])
    assert (await first, await second) == ("COMMIT", "SELECT 2")
    assert driver.data == b"".join([NOTICE, STATUS, *THEIRS, NOTICE])
    assert tap.status == "T"


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
    tap.data_received(b"".join([*OURS, *THEIRS]))
    assert await answers[1] == "SELECT 2"
    assert driver.data == b"".join(THEIRS)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 64, 300, 10_000])
async def test_rows_are_kept_from_the_driver_where_they_are_collected(size: int) -> None:
    tap, driver, _ = tapped()
    rows = [message("D", bytes([n]) * n) for n in (0, 1, 100, 250)]
    control = [message("2"), message("C", b"SELECT 4\0"), IN_TRANSACTION]
    stream = b"".join([control[0], *rows[:2], NOTICE, *rows[2:], *control[1:], *THEIRS])
    end = len(stream) - len(b"".join(THEIRS))
    collected = tap.collected = Collected()
    for at in range(0, end, size):
        tap.data_received(stream[at : min(at + size, end)])
    tap.collected = None
    tap.data_received(stream[end:])
    assert collected.data == b"".join(rows)
    assert [collected.data[a:b] for a, b in pairwise(collected.starts)] == rows
    assert driver.data == b"".join([control[0], NOTICE, *control[1:], *THEIRS])
