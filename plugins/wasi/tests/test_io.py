"""Streams, pollables and errors, called as the linker calls them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from host_plugin_wasi import io, io_interfaces
from host_plugin_wasi.io import (
    Error,
    FuturePollable,
    InputStream,
    OutputStream,
    Pollable,
    ReadyPollable,
    Signal,
    SignalPollable,
    Violation,
    closed,
    failed,
    wait_any,
)
from hypothesis import given
from hypothesis import strategies as st
from wasmplex.plugin import Err, Variant

pytestmark = pytest.mark.anyio

MOST_POLLED = 100

FUNCTIONS: dict[str, Any] = {
    name: function for table in io_interfaces._INTERFACES.values() for name, function in table.items()
} | {"poll": io_interfaces._poll(MOST_POLLED)}


def call(name: str, *args: Any) -> Any:
    return FUNCTIONS[name](*args)


class Pipe(InputStream, OutputStream):
    """Both ends of a bounded buffer, in the smallest code that keeps the contract."""

    def __init__(self, room: int = 8) -> None:
        self.buffer = bytearray()
        self.room = room
        self.changed = Signal()
        self.ended = False

    def read(self, length: int) -> bytes:
        if not self.buffer and self.ended:
            raise closed()
        data = bytes(self.buffer[:length])
        del self.buffer[:length]
        self.changed.notify()
        return data

    def check_write(self) -> int:
        if self.ended:
            raise closed()
        return self.room - len(self.buffer)

    def write(self, contents: bytes) -> None:
        if len(contents) > self.check_write():
            raise Violation("too much")
        self.buffer += contents
        self.changed.notify()

    def end(self) -> None:
        self.ended = True
        self.changed.notify()

    def subscribe(self) -> Pollable:
        raise NotImplementedError


class Source(Pipe):
    def subscribe(self) -> Pollable:
        return SignalPollable(lambda: bool(self.buffer) or self.ended, self.changed)


class Sink(Pipe):
    def subscribe(self) -> Pollable:
        return SignalPollable(lambda: self.ended or self.check_write() > 0, self.changed)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_poll_returns_the_indices_of_all_that_are_ready() -> None:
    never = SignalPollable(lambda: False, Signal())
    assert await call("poll", [ReadyPollable(), never, ReadyPollable()]) == [0, 2]


async def test_poll_of_nothing_traps() -> None:
    with pytest.raises(Violation):
        await call("poll", [])


async def test_poll_of_more_than_an_instance_may_hold_traps() -> None:
    ready = ReadyPollable()
    assert await call("poll", [ready] * MOST_POLLED) == list(range(MOST_POLLED))
    with pytest.raises(Violation, match=r"limits\.handles"):
        await call("poll", [ready] * (MOST_POLLED + 1))


async def test_one_pollable_many_times_is_asked_and_attached_to_once() -> None:
    asked, signal, ready = 0, Signal(), False

    def check() -> bool:
        nonlocal asked
        asked += 1
        return ready

    task = asyncio.ensure_future(call("poll", [SignalPollable(check, signal)] * 1))
    await settle()
    task.cancel()
    alone, asked = asked, 0
    pollable = SignalPollable(check, signal)
    task = asyncio.ensure_future(call("poll", [pollable] * MOST_POLLED))
    await settle()
    assert asked == alone
    ready = True
    signal.notify()
    assert await task == list(range(MOST_POLLED))


async def test_poll_wakes_for_the_one_that_becomes_ready_and_leaves_no_waker() -> None:
    signals = [Signal() for _ in range(50)]
    ready: set[int] = set()
    pollables = [SignalPollable(lambda i=i: i in ready, s) for i, s in enumerate(signals)]  # type: ignore[misc]
    task = asyncio.ensure_future(call("poll", [*pollables, pollables[3]]))
    await settle()
    signals[7].notify()  # a false alarm
    await settle()
    assert not task.done()
    ready.add(3)
    signals[3].notify()
    assert await task == [3, 50]
    assert not any(s._wakers for s in signals)


async def test_a_cancelled_poll_leaves_no_waker_and_no_task() -> None:
    signal = Signal()
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    before = asyncio.all_tasks()
    task = asyncio.ensure_future(wait_any([SignalPollable(lambda: False, signal), FuturePollable(future)]))
    await settle()
    assert signal._wakers
    assert asyncio.all_tasks() == before | {task}
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not signal._wakers
    assert not future.done()
    future.set_result(None)


async def test_a_future_pollable_serves_several_waiters() -> None:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    pollable = FuturePollable(future)
    waiters = [asyncio.ensure_future(call("[method]pollable.block", pollable)) for _ in range(3)]
    await settle()
    waiters[0].cancel()
    await settle()
    assert not call("[method]pollable.ready", pollable)
    future.set_result(None)
    await asyncio.gather(*waiters[1:])
    assert call("[method]pollable.ready", pollable)


async def test_signal_wait_returns_at_the_next_notify() -> None:
    signal = Signal()
    signal.notify()  # forgotten: a signal has no memory
    task = asyncio.ensure_future(signal.wait())
    await settle()
    assert not task.done()
    signal.notify()
    await task
    assert not signal._wakers


async def test_blocking_read_waits_for_the_first_byte_and_then_for_the_end() -> None:
    source = Source()
    assert await call("[method]input-stream.read", source, 5) == b""
    assert await call("[method]input-stream.blocking-read", source, 0) == b""
    task = asyncio.ensure_future(call("[method]input-stream.blocking-read", source, 5))
    await settle()
    assert not task.done()
    source.write(b"abcdefg")
    assert await task == b"abcde"
    assert await call("[method]input-stream.blocking-skip", source, 9) == 2
    assert await call("[method]input-stream.skip", source, 9) == 0
    task = asyncio.ensure_future(call("[method]input-stream.blocking-skip", source, 5))
    await settle()
    source.end()
    with pytest.raises(Err) as caught:
        await task
    assert caught.value.value == Variant("closed")


async def test_blocking_write_goes_out_in_pieces_as_there_is_room() -> None:
    sink = Sink(room=8)
    data = bytes(range(100))
    task = asyncio.ensure_future(call("[method]output-stream.blocking-write-and-flush", sink, data))
    got = bytearray()
    while len(got) < 100:
        await settle()
        assert len(sink.buffer) <= 8
        got += sink.read(3)
    await task
    assert bytes(got) == data


async def test_writing_more_than_permitted_traps() -> None:
    sink = Sink(room=8)
    assert call("[method]output-stream.check-write", sink) == 8
    with pytest.raises(Violation):
        await call("[method]output-stream.write", sink, bytes(9))
    with pytest.raises(Violation):
        await call("[method]output-stream.write-zeroes", sink, 9)
    with pytest.raises(Violation):
        await call("[method]output-stream.write-zeroes", sink, 2**64 - 1)
    await call("[method]output-stream.write-zeroes", sink, 8)
    assert sink.read(9) == bytes(8)


async def test_blocking_write_zeroes_writes_them_all_and_no_more_than_its_wit_allows() -> None:
    sink = Sink(room=1000)
    task = asyncio.ensure_future(
        call("[method]output-stream.blocking-write-zeroes-and-flush", sink, io.MOST_ZEROES)
    )
    got = b""
    while len(got) < io.MOST_ZEROES:
        await settle()
        got += sink.read(900)
    await task
    assert got == bytes(io.MOST_ZEROES)
    for length in (io.MOST_ZEROES + 1, 2**64 - 1):
        with pytest.raises(Violation, match="at most 4096"):
            await call("[method]output-stream.blocking-write-zeroes-and-flush", sink, length)
    assert sink.buffer == b""


async def test_a_blocking_write_gives_way_to_others_even_where_there_is_always_room() -> None:
    class Endless(Sink):
        def check_write(self) -> int:
            return 8

        def write(self, contents: bytes) -> None:
            self.buffer += contents

    sink, turns = Endless(), 0
    task = asyncio.ensure_future(
        call("[method]output-stream.blocking-write-and-flush", sink, bytes(range(80)))
    )
    while not task.done():
        turns += 1
        await asyncio.sleep(0)
    assert turns >= 80 // 8
    assert sink.buffer == bytes(range(80))


async def test_a_blocking_write_writes_each_byte_once_as_the_room_grows() -> None:
    class Growing(Sink):
        def read(self, length: int) -> bytes:
            self.room *= 100
            return super().read(length)

    sink = Growing(room=3)
    task = asyncio.ensure_future(call("[method]output-stream.blocking-write-and-flush", sink, b"abcdefgh"))
    await settle()
    got = sink.read(8)
    await task
    assert got + sink.read(8) == b"abcdefgh"


async def test_flush_answers_when_there_is_room_again() -> None:
    sink = Sink(room=2)
    await call("[method]output-stream.write", sink, b"ab")
    await call("[method]output-stream.flush", sink)
    task = asyncio.ensure_future(call("[method]output-stream.blocking-flush", sink))
    await settle()
    assert not task.done()
    sink.read(1)
    await task


async def test_splice_moves_what_both_sides_allow() -> None:
    source, sink = Source(), Sink(room=4)
    assert await call("[method]output-stream.splice", sink, source, 10) == 0
    source.write(b"abcdef")
    assert await call("[method]output-stream.splice", sink, source, 10) == 4
    assert await call("[method]output-stream.splice", sink, source, 10) == 0
    task = asyncio.ensure_future(call("[method]output-stream.blocking-splice", sink, source, 10))
    await settle()
    assert not task.done()
    assert sink.read(4) == b"abcd"
    assert await task == 2
    assert sink.read(4) == b"ef"


async def test_blocking_splice_waits_for_the_source() -> None:
    source, sink = Source(), Sink(room=4)
    task = asyncio.ensure_future(call("[method]output-stream.blocking-splice", sink, source, 10))
    await settle()
    assert not task.done()
    source.write(b"xyz")
    assert await task == 3


async def test_a_length_beyond_reason_is_cut() -> None:
    lengths: list[int] = []

    class Greedy(Source):
        def read(self, length: int) -> bytes:
            lengths.append(length)
            return b"x"

    for name in ("read", "blocking-read", "skip", "blocking-skip"):
        await call(f"[method]input-stream.{name}", Greedy(), 2**64 - 1)
    assert lengths == [io.READ_LIMIT] * 4


async def test_methods_may_be_coroutines() -> None:
    class Slow(Source):
        async def read(self, length: int) -> bytes:  # type: ignore[override]
            await asyncio.sleep(0)
            return super().read(length)

        async def write(self, contents: bytes) -> None:  # type: ignore[override]
            await asyncio.sleep(0)
            super().write(contents)

    slow, sink = Slow(), Sink()
    await call("[method]output-stream.blocking-write-and-flush", slow, b"abcd")
    assert await call("[method]input-stream.read", slow, 1) == b"a"
    assert await call("[method]input-stream.skip", slow, 1) == 1
    assert await call("[method]output-stream.splice", sink, slow, 1) == 1
    assert await call("[method]input-stream.blocking-read", slow, 9) == b"d"


@given(st.text(), st.sampled_from(["filesystem", "network", ""]))
def test_an_error_has_the_code_of_its_own_package_only(text: str, domain: str) -> None:
    value = failed(text, domain, "no-entry").value
    assert isinstance(value, Variant)
    assert value.tag == "last-operation-failed"
    error: Error = value.value
    assert call("[method]error.to-debug-string", error) == text
    assert error.code_of("http") is None
    assert error.code_of(domain) == "no-entry"
