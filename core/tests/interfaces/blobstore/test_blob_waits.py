"""Readers that tell of bytes at hand: how long is waited for that, and what is said where it goes wrong."""

from __future__ import annotations

import asyncio

import pytest
from wasmplex.capabilities.blobstore import CASES, BlobStoreError, Reader
from wasmplex.interfaces.blobstore.transfers import GuardedReader
from wasmplex.policy import Guard
from wasmplex.policy.closing import Closings

pytestmark = pytest.mark.anyio


class Telling(Reader):
    """Tells by a future of its own."""

    length = 10

    def __init__(self) -> None:
        self.coming: asyncio.Future[None] | None = asyncio.get_running_loop().create_future()

    def next_at_hand(self) -> asyncio.Future[None]:
        if self.coming is None:
            raise ZeroDivisionError
        return self.coming

    async def read(self) -> bytes:
        return b"read"

    async def close(self) -> None:
        pass


def guarded(reader: Reader, idle: float) -> GuardedReader:
    def told(operation: str, error: Exception) -> Exception:
        assert isinstance(error, BlobStoreError)
        return error

    return GuardedReader(Guard(CASES, told, timeout=5.0, idle=idle), Closings(1.0), reader)


async def test_what_does_not_come_is_waited_for_until_the_deadline() -> None:
    reader = guarded(Telling(), 0.02)
    coming = reader.next_at_hand()
    assert coming is not None
    await asyncio.wait([coming], timeout=5)
    assert coming.cancelled()
    assert reader.next_at_hand() is None
    with pytest.raises(CASES.timeout, match="no answer before the deadline"):
        await reader.read()


async def test_what_has_come_has_no_deadline() -> None:
    reader = guarded(Telling(), 0.02)
    coming = reader.next_at_hand()
    assert coming is not None
    coming.set_result(None)
    await asyncio.sleep(0.05)
    assert await reader.read() == b"read"


async def test_a_reader_that_cannot_tell_is_refused() -> None:
    telling = Telling()
    telling.coming = None
    reader = guarded(telling, 5.0)
    assert reader.next_at_hand() is None
    with pytest.raises(CASES.other, match="ZeroDivisionError"):
        await reader.read()


async def test_nothing_is_waited_for_once_a_reader_is_closed() -> None:
    reader = guarded(Telling(), 5.0)
    await reader.close()
    assert reader.next_at_hand() is None
