"""Deadlines that share a timer."""

from __future__ import annotations

import anyio
import pytest
from wasmplex.deadlines import Deadlines

pytestmark = pytest.mark.anyio


async def test_each_scope_gets_its_time_and_no_more() -> None:
    deadlines = Deadlines(0.1)
    ended: list[int] = []

    async def run(number: int) -> None:
        await anyio.sleep(number * 0.04)
        with anyio.CancelScope() as scope:
            deadlines.start(scope)
            begun = anyio.current_time()
            await anyio.sleep_forever()
        assert anyio.current_time() - begun >= 0.099
        ended.append(number)

    async with anyio.create_task_group() as tasks:
        for number in range(4):
            tasks.start_soon(run, number)
    assert ended == [0, 1, 2, 3]
    deadlines.close()


async def test_what_has_ended_is_left_alone_and_what_follows_is_not_forgotten() -> None:
    deadlines = Deadlines(0.05)
    early = anyio.CancelScope()
    deadlines.start(early)
    deadlines.stop(early)
    with anyio.fail_after(5), anyio.CancelScope() as late:
        await anyio.sleep(0.03)
        deadlines.start(late)
        await anyio.sleep_forever()
    assert late.cancel_called
    assert not early.cancel_called
    deadlines.close()


@pytest.mark.parametrize("seconds", [0, 0.02])
async def test_no_time_is_no_deadline_and_closing_ends_them_all(seconds: float) -> None:
    deadlines = Deadlines(seconds)
    with anyio.CancelScope() as scope:
        deadlines.start(scope)
        if seconds:
            deadlines.close()
        await anyio.sleep(0.05)
    assert not scope.cancel_called
