"""Memory that guests had the host use goes back to the system."""

from __future__ import annotations

import asyncio
import ctypes
import threading
from pathlib import Path

import anyio
import pytest
from wasmplex.engine import pages, trimming
from wasmplex.engine.trimming import Trimming
from wasmplex.engine.worker import Worker

pytestmark = pytest.mark.anyio


@pytest.fixture
def trimmed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names: list[str] = []
    monkeypatch.setattr(pages, "trim", lambda: names.append(threading.current_thread().name))
    monkeypatch.setattr(trimming, "_SECONDS", 0.02)
    return names


async def test_much_is_trimmed_once_and_in_another_thread(trimmed: list[str]) -> None:
    worker = Worker()
    trimming = Trimming(worker)
    for _ in range(100):
        trimming.freed(1000)
    with anyio.fail_after(5):
        while not trimmed:  # noqa: ASYNC110  what is waited for is no event
            await anyio.sleep(0.005)
    await anyio.sleep(0.05)
    [name] = trimmed
    assert name != threading.current_thread().name
    trimming.freed(5000)
    await anyio.sleep(0.1)
    assert len(trimmed) == 2
    worker.close()


async def test_little_is_not_worth_it(trimmed: list[str]) -> None:
    worker = Worker()
    Trimming(worker).freed(100)
    await anyio.sleep(0.05)
    assert not trimmed
    worker.close()


def test_without_an_event_loop_nothing_is_trimmed(trimmed: list[str]) -> None:
    worker = Worker()
    trimming = Trimming(worker)
    trimming.freed(10_000)

    async def free() -> None:
        trimming.freed(1)
        worker.close()  # the engine ends before
        await asyncio.sleep(0.05)

    asyncio.run(free())
    assert not trimmed


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="the C library cannot: no glibc")
def test_trimming_gives_pages_back() -> None:
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]
    pieces = [libc.malloc(50_000) for _ in range(2_000)]
    for piece in pieces:
        ctypes.memset(piece, 1, 50_000)
    for piece in pieces[:-1]:  # the last one keeps the heap from shrinking
        libc.free(piece)
    before = _resident()
    pages.trim()
    libc.free(pieces[-1])
    assert _resident() < before - 50_000_000


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * pages.PAGE
