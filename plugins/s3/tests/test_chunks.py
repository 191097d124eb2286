"""How the library is asked for chunks: by a thread, and by a coroutine where none is free."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import Iterator

import pytest
from host_plugin_s3.chunks import Chunks

pytestmark = pytest.mark.anyio


class Stream:
    """A stream of the library's kind, whose chunks come to threads when it is told so.

    :ivar waiting: released by each thread that waits for a chunk
    """

    def __init__(self) -> None:
        self.waiting = threading.Semaphore(0)
        self.flows = threading.Event()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        self.waiting.release()
        assert self.flows.wait(60)
        return b"a thread's"

    async def __anext__(self) -> bytes:
        return b"a coroutine's"


@pytest.fixture
def chunks() -> Iterator[Chunks]:
    made = Chunks()
    yield made
    made.close()


async def test_who_finds_no_thread_free_is_answered(chunks: Chunks) -> None:
    slow, quick = Stream(), Stream()
    try:
        asked = [chunks.next(slow) for _ in range(8)]
        for _ in asked:
            assert await asyncio.to_thread(slow.waiting.acquire, timeout=60)
        assert await chunks.next(quick) == b"a coroutine's"
        asked.pop().cancel()
        assert await chunks.next(quick) == b"a coroutine's", "a thread that waits for a chunk is not free"
    finally:
        slow.flows.set()
    assert await asyncio.gather(*asked) == [b"a thread's"] * 7
    quick.flows.set()
    async with asyncio.timeout(60):
        while await chunks.next(quick) != b"a thread's":  # noqa: ASYNC110  threads tell nobody that they are free
            await asyncio.sleep(0.001)


async def test_a_system_without_files_is_not_for_ever(
    chunks: Chunks, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused() -> tuple[int, int]:
        raise OSError(errno.EMFILE, "Too many open files")

    flowing = Stream()
    flowing.flows.set()
    with monkeypatch.context() as patched:
        patched.setattr(os, "pipe", refused)
        assert await chunks.next(flowing) == b"a coroutine's"
    assert await chunks.next(flowing) == b"a thread's"


async def test_threads_end_when_they_have_what_they_wait_for(chunks: Chunks) -> None:
    slow, before = Stream(), threading.enumerate()
    chunk = chunks.next(slow)
    [thread] = [one for one in threading.enumerate() if one not in before]
    chunks.close()
    assert await chunks.next(Stream()) == b"a coroutine's"
    slow.flows.set()
    assert await chunk == b"a thread's"
    await asyncio.to_thread(thread.join, 60)
    assert not thread.is_alive()


async def test_the_end(chunks: Chunks) -> None:
    assert await chunks.next(iter([])) is None
