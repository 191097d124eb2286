"""Connections of a pool, without a server: who is given which, and when."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from host_plugin_postgres.link import NOTHING_PREPARED
from host_plugin_postgres.pool import Pool

pytestmark = pytest.mark.anyio


class Link:
    """A connection whose server says that it is clean when it is looked at."""

    is_open, is_busy, in_transaction = True, False, False

    def __init__(self, user: str) -> None:
        self.user = user
        self.clean: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.looked = 0

    def end(self, *, commit: bool) -> tuple[None, asyncio.Future[str]]:
        assert not commit
        self.clean = asyncio.get_running_loop().create_future()
        return None, self.clean

    def poll(self) -> None:
        self.looked += 1
        if not self.clean.done():
            self.clean.set_result(NOTHING_PREPARED)

    def abort(self) -> None:
        pass


async def test_a_session_that_is_clean_is_the_next_ones_before_the_loop_has_its_turn() -> None:
    made: list[Any] = []

    async def connect(user: str) -> Any:
        made.append(Link(user))
        return made[-1]

    pool = Pool(connect, size=2)
    first: Any = await pool.take("u")
    for _ in range(3):
        pool.ending(first, commit=False, plain=True)
        assert await pool.take("u") is first
    await asyncio.sleep(0)  # what the loop was to do is done already
    assert (len(pool), pool.idle, first.looked) == (1, 0, 3)
    assert await pool.take("u") is not first
