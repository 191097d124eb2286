"""Environment, exit, and what a guest prints."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from host_plugin_wasi.log import LINE_LIMIT, LineLog, LogOutput
from host_plugin_wasi.log_budget import LINE_COST, LogBudget
from hypothesis import given
from hypothesis import strategies as st
from wasmplex.plugin import Err, Grants, GuestExit, Limits, Ok, Variant

Bound = Callable[..., AbstractAsyncContextManager[Any]]

pytestmark = pytest.mark.anyio


def plenty() -> LogBudget:
    return LogBudget("w", 1 << 40)


class Records(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.name} {record.stream} {record.getMessage()}")  # type: ignore[attr-defined]


@pytest.fixture
def lines() -> Iterator[list[str]]:
    logger = logging.getLogger("wasmplex.guest")
    handler = Records()
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield handler.lines
    finally:
        logger.removeHandler(handler)


async def test_nothing_of_the_host_is_seen_by_default(bound: Bound, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "hunter2")
    async with bound("wasi:cli") as cli:
        assert await cli("environment#get-environment") == []
        assert await cli("environment#get-arguments") == []
        assert await cli("environment#initial-cwd") is None
        for name in ("stdin", "stdout", "stderr"):
            assert await cli(f"terminal-{name}#get-terminal-{name}") is None


async def test_granted_environment_and_arguments(bound: Bound) -> None:
    async with bound("wasi:cli", Grants(env={"A": "1", "B": ""}, args=("app", "-v"))) as cli:
        assert await cli("environment#get-environment") == [("A", "1"), ("B", "")]
        assert await cli("environment#get-arguments") == ["app", "-v"]


async def test_exit_keeps_the_code(bound: Bound) -> None:
    async with bound("wasi:cli") as cli:
        for function, argument, code in (
            ("exit#exit", Ok(), 0),
            ("exit#exit", Err(), 1),
            ("exit#exit-with-code", 0, 0),
            ("exit#exit-with-code", 77, 77),
        ):
            with pytest.raises(GuestExit) as caught:
                await cli(function, argument)
            assert caught.value.code == code


async def test_stdin_is_empty(bound: Bound) -> None:
    async with bound("wasi:cli") as cli, bound("wasi:io") as io:
        stdin = await cli("stdin#get-stdin")
        assert (await io("streams#[method]input-stream.subscribe", stdin)).ready()
        for name in ("read", "blocking-read", "skip", "blocking-skip"):
            with pytest.raises(Err) as caught:
                await io(f"streams#[method]input-stream.{name}", stdin, 10)
            assert caught.value.value == Variant("closed")


async def test_output_becomes_log_lines(bound: Bound, lines: list[str]) -> None:
    async with bound("wasi:cli") as cli, bound("wasi:io") as io:
        out, err = await cli("stdout#get-stdout"), await cli("stderr#get-stderr")
        write = "streams#[method]output-stream.blocking-write-and-flush"
        await io(write, out, b"one\ntw")
        await io(write, err, b"bad\n")
        await io(write, out, b"o\r\n\nthree")
        assert await io("streams#[method]output-stream.check-write", out) > 0
        await io("streams#[method]output-stream.blocking-flush", out)
        assert lines == [
            "wasmplex.guest.w stdout one",
            "wasmplex.guest.w stderr bad",
            "wasmplex.guest.w stdout two",
            "wasmplex.guest.w stdout ",
        ]
        again = await cli("stdout#get-stdout")
        out.drop()
        await io(write, again, b" men")
        assert len(lines) == 4
        again.drop()
        err.drop()
        assert lines[4:] == ["wasmplex.guest.w stdout three men"]


def test_a_long_line_is_cut_and_the_next_is_whole(lines: list[str]) -> None:
    log = LineLog("w", "stdout", plenty())
    for _ in range(5):
        log.write(b"x" * LINE_LIMIT)
    log.write(b"\nnext\n")
    assert lines[0].endswith(f"xxx [{4 * LINE_LIMIT} bytes cut]")
    assert lines[1:] == ["wasmplex.guest.w stdout next"]


def test_a_guest_cannot_forge_records_or_drive_the_terminal(lines: list[str]) -> None:
    LineLog("w", "stdout", plenty()).write("a\tb\x1b[2J\rERROR forged\x85x\u2028y\x00\n".encode())
    assert lines == ["wasmplex.guest.w stdout a\tb\\x1b[2J\\rERROR forged\\x85x\\u2028y\\x00"]


@given(st.lists(st.binary(max_size=20)))
def test_every_line_is_logged_once_however_it_is_cut(pieces: list[bytes]) -> None:
    logger = logging.getLogger("wasmplex.guest.cuts")
    handler = Records()
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        output = LogOutput(LineLog("cuts", "stderr", plenty()))
        for piece in pieces:
            written = output.write(piece)
            assert written is None
        output.drop()
    finally:
        logger.removeHandler(handler)
    whole = b"".join(pieces)
    assert len(handler.lines) == whole.count(b"\n") + (not whole.endswith(b"\n") and whole != b"")
    assert not any(c < " " and c != "\t" for line in handler.lines for c in line)


@given(st.lists(st.sampled_from([b"", b"a", b"long line"]), max_size=300))
def test_many_lines_at_once_are_all_logged_in_order(words: list[bytes]) -> None:
    logger = logging.getLogger("wasmplex.guest.many")
    handler = Records()
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)

    async def write() -> None:
        output = LogOutput(LineLog("many", "stdout", plenty()))
        if (written := output.blocking_write_and_flush(b"\n".join(words))) is not None:
            await written
        output.drop()

    try:
        asyncio.run(write())
    finally:
        logger.removeHandler(handler)
    expected = words[:-1] if words and not words[-1] else words
    assert handler.lines == [f"wasmplex.guest.many stdout {word.decode()}" for word in expected]


async def test_a_flood_of_lines_lets_others_run() -> None:
    output = LogOutput(LineLog("flood", "stdout", plenty()))
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counter = asyncio.ensure_future(count())
    written = output.write(b"\n" * 10_000)
    assert written is not None
    await written
    counter.cancel()
    assert turns > 100


# ---------------------------------------------------------------- how much in a second


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def warnings() -> Iterator[list[str]]:
    """What the plugin itself says."""
    said: list[str] = []

    class Said(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.levelno >= logging.WARNING:
                said.append(record.getMessage())

    logger, handler = logging.getLogger("wasmplex.wasi"), Said()
    logger.addHandler(handler)
    try:
        yield said
    finally:
        logger.removeHandler(handler)


async def test_what_is_over_the_rate_is_counted_and_left_out(lines: list[str], warnings: list[str]) -> None:
    clock = Clock()
    budget = LogBudget("w", 3 * (LINE_COST + 10), clock)
    log = LineLog("w", "stdout", budget)
    line = b"x" * 9 + b"\n"
    for _ in range(20):
        log.write(line)
    assert len(lines) == 4  # the last of them into debt
    budget.report()
    said = "workload 'w': its guests wrote more than limits.log_bytes_per_second: "
    assert warnings == [f"{said}16 lines (160 bytes) were left out"]
    clock.now += 1
    log.write(line)
    assert len([text for text in lines if "xxx" in text]) == 5
    budget.report()
    assert len(warnings) == 1


async def test_all_instances_of_a_workload_share_the_rate(lines: list[str]) -> None:
    budget = LogBudget("w", 10 * LINE_COST, Clock())
    for _ in range(8):
        for stream in ("stdout", "stderr"):
            LineLog("w", stream, budget).write(b"a\n" * 5)
    assert len(lines) == 10
    budget.report()


async def test_what_was_left_out_is_said_a_second_later_without_being_asked(
    warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("host_plugin_wasi.log_budget._REPORT", 0.01)
    LineLog("w", "stdout", LogBudget("w", 1, Clock())).write(b"a\nb\nc\n")
    async with asyncio.timeout(30):
        while not warnings:  # noqa: ASYNC110  it comes by a timer
            await asyncio.sleep(0.01)
    assert "2 lines (4 bytes)" in warnings[0]


async def test_a_flood_that_is_left_out_costs_no_step_for_each_line(lines: list[str]) -> None:
    class Counting(LogBudget):
        asked = 0

        @property
        def dry(self) -> bool:
            Counting.asked += 1
            return super().dry

    budget = Counting("w", 1, Clock())
    log = LineLog("w", "stdout", budget)
    log.write(b"first\n")
    await log.write(b"begun" + b"\n" * 50_000 + b"rest")  # type: ignore[misc]
    assert Counting.asked < 100
    assert len(lines) == 1
    assert (budget._lines, budget._bytes) == (50_000, 50_005)
    budget.report()


async def test_the_budget_of_a_workload_comes_from_its_limits(bound: Bound, lines: list[str]) -> None:
    limits = Limits(log_bytes_per_second=2 * LINE_COST)
    async with bound("wasi:cli", limits=limits) as cli, bound("wasi:io") as io:
        for name in ("stdout", "stderr"):
            output = await cli(f"{name}#get-{name}")
            await io("streams#[method]output-stream.blocking-write-and-flush", output, b"a\nb\nc\n")
            output.drop()
        assert len(lines) == 2


async def test_what_a_line_is_escaped_with_counts_as_well(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "wasmplex.guest.w")
    budget = LogBudget("w", 5 * LINE_COST, Clock())
    log = LineLog("w", "stdout", budget)
    for _ in range(3):
        log.write(b"\0" * LINE_COST + b"\n")
    assert sum(record.name == "wasmplex.guest.w" for record in caplog.records) == 1, (
        "each takes four bytes for one"
    )
    budget.report()


async def test_others_have_their_turn_while_much_is_written_into_the_log() -> None:
    """Also where nothing of it ends a line, as in a file that is spliced."""
    output = LogOutput(LineLog("much", "stdout", plenty()))
    pauses = 0
    for _ in range(1024):
        if (pending := output.write(bytes(64 << 10))) is not None:
            pauses += 1
            await pending
    assert pauses >= 256
