"""Books on memory: what a workload has for itself, what is common, who waits, what is ended for others."""

from __future__ import annotations

import asyncio
import threading

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wasmplex.engine.accounts import HOST, OWN, Account, MemoryBudget, Tenant

pytestmark = pytest.mark.anyio


def test_each_workload_has_something_for_itself() -> None:
    budget = MemoryBudget(800, workloads=2)
    greedy, modest = budget.tenant(), budget.tenant()
    assert not budget.take(greedy, 751)
    assert budget.take(greedy, 750)  # 50 of its own, and all that is common
    assert not budget.take(greedy, 1)
    assert budget.take(modest, 50)
    assert not budget.take(modest, 1)
    budget.give(greedy, 10)
    assert budget.take(modest, 10)
    assert budget.used == 800


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 2), st.integers(1, 400)), max_size=60))
@settings(max_examples=200)
def test_books_are_right_whatever_is_taken_and_given(steps: list[tuple[bool, int, int]]) -> None:
    budget = MemoryBudget(1000, workloads=3)
    tenants = [budget.tenant() for _ in range(3)]
    held: list[tuple[Tenant, int]] = []
    for takes, who, size in steps:
        if takes and budget.take(tenants[who], size):
            held.append((tenants[who], size))
        elif held:
            budget.give(*held.pop(size % len(held)))
        assert budget.used == sum(size for _, size in held) <= 1000
        assert [t.used for t in tenants] == [sum(n for o, n in held if o is t) for t in tenants]
        assert all(budget.take(t, 41 - t.used) for t in tenants if t.used < 41)
        for t in tenants:
            if (extra := t.used - sum(n for o, n in held if o is t)) > 0:
                budget.give(t, extra)
    for pair in held:
        budget.give(*pair)
    assert (budget.used, budget._taken) == (0, 0)


def test_an_account_is_bounded_by_its_own_limit_and_by_the_hosts() -> None:
    budget = MemoryBudget(1000, workloads=2)
    account, other = Account(budget.tenant(), 600), Account(budget.tenant(), 2000)
    assert account.take(600)
    assert not account.take(1)
    assert (account.refused, account.asked, account.used) == (OWN, 601, 600)
    assert not other.take(800)
    assert (other.refused, other.used) == (HOST, 0)
    account.give(600)
    assert other.take(800)


async def test_what_was_reserved_is_taken_first_and_the_rest_given_back() -> None:
    budget = MemoryBudget(1000, workloads=2)
    account = Account(budget.tenant(), 1000)
    assert await account.prepay(300, 1)
    assert budget.used == 300
    assert account.take(100)
    assert account.take(250)
    assert (budget.used, account.used) == (350, 350)
    assert await account.prepay(300, 1)
    account.settle()
    account.settle()
    assert budget.used == 350


async def test_who_needs_more_than_is_left_waits_until_it_is() -> None:
    budget = MemoryBudget(1000, workloads=2)
    first, second = Account(budget.tenant(), 1000), Account(budget.tenant(), 1000)
    assert first.take(900)
    got = []

    async def wait() -> None:
        got.append(await second.prepay(500, 20))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await anyio.sleep(0.01)
        assert not got
        thread = threading.Thread(target=first.give, args=(100,))  # instances may end in another thread
        thread.start()
        await anyio.to_thread.run_sync(thread.join)
        await anyio.sleep(0.01)
        assert not got
        first.give(300)
    assert got == [True]
    assert budget.used == 1000
    assert not await second.prepay(500, 0.01)
    assert second.refused == HOST
    assert not budget._waiting


async def test_idle_instances_are_ended_for_who_needs_their_memory() -> None:
    budget = MemoryBudget(1000, workloads=2)
    idle, other = Account(budget.tenant(), 1000), Account(budget.tenant(), 1000)
    instances = 8

    def end() -> bool:
        nonlocal instances
        if not instances:
            return False
        instances -= 1
        idle.give(100)
        return True

    idle.tenant.reclaim = end
    assert idle.take(800)
    assert await other.prepay(500, 1)
    assert instances == 5
    assert not await other.prepay(900, 0.01)
    assert instances == 0


async def test_idle_instances_are_ended_before_there_is_nothing_left() -> None:
    """So that those at work find what they need when they grow: nobody can wait in the middle of that."""
    budget = MemoryBudget(1000)
    budget.loop = asyncio.get_running_loop()
    account, ended = Account(budget.tenant(), 1000), 0

    def end() -> bool:
        nonlocal ended
        ended += 1
        account.give(100)
        return True

    account.tenant.reclaim = end
    assert account.take(800)
    await asyncio.sleep(0)
    assert (ended, budget.used) == (0, 800)
    assert account.take(100)
    await asyncio.sleep(0)
    assert (ended, budget.used) == (2, 700)
