"""Clocks, timers and randomness."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from host_plugin_wasi.clocks import Timer
from host_plugin_wasi.io import Violation, wait_any
from host_plugin_wasi.random import MOST

Bound = Callable[..., AbstractAsyncContextManager[Any]]

pytestmark = pytest.mark.anyio


async def test_clocks_read_the_time(bound: Bound) -> None:
    async with bound("wasi:clocks") as clocks:
        before = time.monotonic_ns()
        assert before <= await clocks("monotonic-clock#now") <= time.monotonic_ns()
        assert await clocks("monotonic-clock#resolution") >= 1
        now = await clocks("wall-clock#now")
        assert abs(now["seconds"] + now["nanoseconds"] / 1e9 - time.time()) < 30
        assert 0 <= now["nanoseconds"] < 10**9
        assert set(await clocks("wall-clock#resolution")) == {"seconds", "nanoseconds"}
        assert (await clocks("timezone#display", now))["name"] == "UTC"
        assert await clocks("timezone#utc-offset", now) == 0


async def test_a_timer_is_not_ready_early_and_wakes_a_poll(bound: Bound) -> None:
    async with bound("wasi:clocks") as clocks:
        start = time.monotonic_ns()
        short = await clocks("monotonic-clock#subscribe-duration", 20_000_000)
        long = await clocks("monotonic-clock#subscribe-duration", 2**64 - 1)
        at = await clocks("monotonic-clock#subscribe-instant", start + 20_000_000)
        past = await clocks("monotonic-clock#subscribe-instant", 0)
        assert past.ready()
        assert not long.ready()
        ready = await wait_any([long, short])
        assert ready == [1]
        assert time.monotonic_ns() - start >= 20_000_000
        assert at.ready()
        assert not long._handles
        assert not short._handles


async def test_a_cancelled_sleep_leaves_no_timer() -> None:
    timer = Timer(2**64 - 1)
    task = asyncio.ensure_future(timer.block())
    await asyncio.sleep(0)
    (handle,) = timer._handles.values()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert handle.cancelled()
    assert not timer._handles


async def test_a_thousand_sleeps_overlap() -> None:
    start = time.monotonic()
    await asyncio.gather(*(Timer(time.monotonic_ns() + 50_000_000).block() for _ in range(1000)))
    assert time.monotonic() - start < 25  # one after the other: 50 s


async def test_random_bytes_have_the_length_asked_for(bound: Bound) -> None:
    async with bound("wasi:random") as random:
        for interface, name in (("random", "random"), ("insecure", "insecure-random")):
            get = f"{interface}#get-{name}-bytes"
            for length in (0, 1, 17, 65_536, 65_537):
                assert len(await random(get, length)) == length
            assert await random(get, 32) != await random(get, 32)
            assert 0 <= await random(f"{interface}#get-{name}-u64") < 2**64
            with pytest.raises(Violation):
                await random(get, MOST + 1)
            with pytest.raises(Violation):
                await random(get, 2**64 - 1)
        seeds = {await random("insecure-seed#insecure-seed") for _ in range(3)}
        assert len(seeds) == 3
        assert all(0 <= half < 2**64 for seed in seeds for half in seed)


async def test_many_random_bytes_are_made_while_others_run(bound: Bound) -> None:
    async with bound("wasi:random") as random:
        for get in ("random#get-random-bytes", "insecure#get-insecure-random-bytes"):
            task, turns = asyncio.ensure_future(random(get, 1 << 20)), 0
            while not task.done():
                turns += 1
                await asyncio.sleep(0)
            assert len(set(await task)) == 256
            assert turns >= 16


async def test_one_long_answer_of_random_bytes_is_made_at_a_time(bound: Bound) -> None:
    async with bound("wasi:random") as random:
        tasks = [asyncio.ensure_future(random("random#get-random-bytes", 1 << 18)) for _ in range(4)]
        tasks[1].cancel()
        done, order = set[int](), list[int]()
        while len(done) < 4:
            await asyncio.sleep(0)
            new = {i for i, task in enumerate(tasks) if task.done()} - done
            order += sorted(new)
            done |= new
        assert [i for i in order if i != 1] == [0, 2, 3]
