"""The pool of instances that are in several calls at once: who counts what, and who is told."""

from __future__ import annotations

import asyncio
from asyncio import Task, create_task, sleep

import anyio
import pytest
from wasmplex.errors import DeadlineExceeded, LimitExceeded
from wasmplex.sharing import SharedPool

pytestmark = pytest.mark.anyio


class Instance:
    """Nothing goes on in it but what a test says."""

    workload = "w"

    def __init__(self) -> None:
        self.state: dict[object, object] = {}
        self.poisoned = self.lingers = False
        self.closed = 0

    async def call(self, export: str, *args: object) -> object:
        return None

    def calls_each(self, export: str) -> bool:
        return False

    def calls_made(self) -> int:
        return 0

    async def call_each(self, export: str, calls: object, results: list[object], paused: object) -> None:
        results.append(None)

    async def rest(self) -> None:
        while self.lingers:  # noqa: ASYNC110
            await sleep(0)

    def close(self) -> None:
        self.closed += 1


class Factory:
    """Makes instances, when its gate is open."""

    def __init__(self) -> None:
        self.made: list[Instance] = []
        self.gate = anyio.Event()
        self.gate.set()

    async def __call__(self) -> Instance:
        await sleep(0)
        await self.gate.wait()
        self.made.append(Instance())
        return self.made[-1]


def pool(factory: Factory, **changes: float) -> SharedPool:
    options = {"maximum": 1, "reuse": 100, "concurrency": 2, "queue": 10, "timeout": 5.0} | changes
    return SharedPool(factory, name="w", **options)  # type: ignore[arg-type]


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await sleep(0)


async def gone(task: Task[object]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_calls_share_an_instance_up_to_its_concurrency() -> None:
    factory = Factory()
    p = pool(factory, maximum=2)
    taken = [await p.take() for _ in range(4)]
    assert [instance for instance, _ in taken] == [factory.made[0]] * 2 + [factory.made[1]] * 2
    waiting = create_task(p.take())
    await turns()
    assert p.statistics() == (2, 0, 1, 2)
    p.give_back(taken[2][0], 1)
    assert (await waiting)[0] is factory.made[1]


async def test_no_more_wait_than_may() -> None:
    p = pool(Factory(), concurrency=1, queue=1)
    await p.take()
    waiting = create_task(p.take())
    await turns()
    with pytest.raises(LimitExceeded, match="w' is full"):
        await p.take()
    await gone(waiting)


async def test_an_instance_that_trapped_ends_though_the_one_it_was_handed_to_is_gone() -> None:
    factory = Factory()
    p = pool(factory)
    (first, _), (second, _) = await p.take(), await p.take()
    waiting = create_task(p.take())
    await turns()
    p.give_back(first, 1)  # its room goes to the one that waits
    factory.made[0].poisoned = True
    p.give_back(second, 1)
    await gone(waiting)
    assert factory.made[0].closed == 1
    with anyio.fail_after(20):
        assert (await p.take())[0] is factory.made[1]


async def test_a_place_that_is_promised_is_taken() -> None:
    factory = Factory()
    p = pool(factory, reuse=1, concurrency=1)
    (first, _) = await p.take()
    waiting = create_task(p.take())
    await turns()
    p.give_back(first, 1)  # used up: the one that waits is to make another
    newcomer = create_task(p.take())
    assert p.statistics().live <= 1
    (second, _) = await waiting
    await turns()
    assert (p.statistics().live, len(factory.made)) == (1, 2)
    p.give_back(second, 1)
    await newcomer


async def test_a_promise_to_one_that_is_gone_goes_to_the_next() -> None:
    factory = Factory()
    p = pool(factory, reuse=1, concurrency=1)
    (first, _) = await p.take()
    waiting = [create_task(p.take()) for _ in range(2)]
    await turns()
    p.give_back(first, 1)
    await gone(waiting[0])
    with anyio.fail_after(20):
        assert (await waiting[1])[0] is factory.made[1]


async def test_several_may_wait_until_it_is_drained() -> None:
    p = pool(Factory())
    (instance, _) = await p.take()
    drains = [create_task(p.drain()) for _ in range(2)]
    await turns()
    p.give_back(instance, 1)
    with anyio.fail_after(20):
        await asyncio.gather(*drains)


async def test_what_waits_is_told_when_what_lingers_is_ended() -> None:
    factory = Factory()
    p = pool(factory)
    (instance, _) = await p.take()
    factory.made[0].lingers = True
    p.give_back(instance, 1)
    drained = create_task(p.drain())
    await turns()
    assert not drained.done()
    factory.made[0].lingers = False
    assert p.end_idle()
    with anyio.fail_after(20):
        await drained
    assert factory.made[0].closed == 1


async def test_what_lingers_too_long_is_ended() -> None:
    factory = Factory()
    p = pool(factory, timeout=0.05)
    (instance, _) = await p.take()
    factory.made[0].lingers = True
    p.give_back(instance, 1)
    with anyio.fail_after(20):
        while not factory.made[0].closed:  # noqa: ASYNC110
            await sleep(0.01)
    assert p.statistics().live == 0


@pytest.mark.parametrize("concurrency", [1, 16])
async def test_a_call_that_is_late_among_others_is_told_of_concurrency(concurrency: int) -> None:
    p = pool(Factory(), timeout=0.01, concurrency=concurrency)
    with pytest.raises(DeadlineExceeded) as caught:
        async with p.lend():
            await anyio.sleep_forever()
    told = str(caught.value)
    assert "limits.timeout" in told
    assert ("instances.concurrency = 1" in told) is (concurrency > 1)
