"""Calls that one task makes one after the other, each cancelled alone."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest
from wasmplex.errors import CallCancelled, DeadlineExceeded
from wasmplex.loans import Lender, Loan, PooledInstance
from wasmplex.scopes import TaskScope

pytestmark = pytest.mark.anyio


class _Pool(Lender):
    """Lends nothing at all, to whoever asks."""

    def __init__(self, timeout: float = 0.0) -> None:
        super().__init__("w", 1, timeout)

    async def take(self) -> tuple[PooledInstance, int]:
        return None, 0  # type: ignore[return-value]  # nobody calls it

    def give_back(self, instance: PooledInstance, used: int) -> None:
        pass


async def _for_ever(loan: Loan) -> None:
    async with loan:
        await anyio.sleep_forever()


async def test_calls_share_a_scope_until_one_is_cancelled() -> None:
    pool, seen = _Pool(), []
    with TaskScope() as scope:
        for _ in range(3):
            async with pool.lend(scope):
                seen.append(scope.begin())
        cancelled = pool.lend(scope)
        cancelled.cancel()
        with pytest.raises(CallCancelled):
            await _for_ever(cancelled)
        async with pool.lend(scope):
            await anyio.lowlevel.checkpoint()
            seen.append(scope.begin())
    assert seen[0] is seen[1] is seen[2]
    assert seen[3] is not seen[0]


async def test_each_call_has_a_deadline_of_its_own() -> None:
    pool = _Pool(timeout=0.01)
    with TaskScope() as scope:
        for _ in range(3):
            with pytest.raises(DeadlineExceeded):
                await _for_ever(pool.lend(scope))
        await anyio.sleep(0.03)  # none of them reaches what comes between two calls
    pool.deadlines.close()


async def test_a_call_that_is_over_cannot_be_cancelled() -> None:
    pool = _Pool()
    with TaskScope() as scope:
        over = pool.lend(scope)
        async with over:
            pass
        over.cancel()
        async with pool.lend(scope):
            over.cancel()
            await anyio.lowlevel.checkpoint()


async def test_the_task_itself_is_cancelled_as_ever() -> None:
    pool, entered = _Pool(), anyio.Event()

    async def work() -> None:
        with TaskScope() as scope:
            async with pool.lend(scope):
                entered.set()
                await anyio.sleep_forever()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(work)
        await entered.wait()
        tasks.cancel_scope.cancel()
    assert tasks.cancel_scope.cancelled_caught
