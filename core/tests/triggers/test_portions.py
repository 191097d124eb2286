"""How many messages are handed over in one go."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from wasmplex.capabilities.messaging import Message
from wasmplex.triggers.messaging import calling
from wasmplex.triggers.messaging.counts import Counts
from wasmplex.triggers.messaging.origins import Origins
from wasmplex.triggers.messaging.portions import Portions, fitting, goes_alone
from wasmplex.triggers.messaging.settings import MessagingTriggerSettings
from wasmplex.triggers.messaging.slices import SLICE

SETTINGS = MessagingTriggerSettings(subjects=("a",), max_deliver=5)


def grown(most: int = 32) -> Portions:
    portions = Portions(most)
    while portions.size < most:
        portions.took(portions.size, SLICE / 100)
    return portions


def test_who_is_quick_gets_twice_as_many_until_there_are_no_more() -> None:
    portions, sizes = Portions(20), []
    for _ in range(6):
        portions.took(portions.size, SLICE / 100)
        sizes.append(portions.size)
    assert sizes == [2, 4, 8, 16, 20, 20]


def test_fewer_than_were_wanted_prove_nothing() -> None:
    portions = Portions(32)
    portions.took(1, 0)
    portions.took(1, 0)
    assert portions.size == 2


def test_who_takes_long_gets_fewer() -> None:
    portions = grown()
    portions.took(32, SLICE * 0.75)
    assert portions.size == 32
    for _ in range(10):
        portions.took(portions.size, SLICE * 2)
    assert portions.size == 1


def test_who_waits_gets_one_at_a_time_and_longer_each_time() -> None:
    portions, needed = grown(), []
    for _ in range(8):
        portions.paused()
        messages = 0
        while portions.size == 1:
            portions.took(1, 0)
            messages += 1
        needed.append(messages)
    assert needed == [8, 16, 32, 64, 128, 256, 256, 256]
    portions.paused()
    while portions.size < 32:
        portions.took(portions.size, 0)
    portions.paused()
    assert portions._needed < 20, "it was quick again"


def test_who_cannot_take_several_is_handed_one_for_ever() -> None:
    portions = Portions(32)
    portions.took(1, 0)
    portions.refused()
    portions.took(1, 0)
    assert portions.size == 1


def test_no_more_are_handed_over_than_take_a_slice() -> None:
    portions, each = Portions(1000), SLICE / 100
    for _ in range(20):
        portions.took(portions.size, portions.size * each)
    assert 80 <= portions.size < 100


def delivered(size: int, tries: int = 1) -> Any:
    return SimpleNamespace(message=Message("a", bytes(size)), tries=tries)


@pytest.mark.parametrize(
    ("sizes", "count"),
    [([10, 10, 10], 3), ([1 << 20, 1], 1), ([10, 1 << 20, 1], 1), ([1 << 15] * 9, 2), ([0] * 5, 5), ([], 0)],
)
def test_large_messages_go_alone(sizes: list[int], count: int) -> None:
    deliveries = [delivered(size) for size in sizes]
    assert fitting(deliveries, SETTINGS) == deliveries[:count]
    assert not deliveries or count == 1 or not goes_alone(deliveries[0])


@pytest.mark.parametrize("other", [delivered(1, tries=6), delivered(101)])
def test_none_goes_that_the_component_is_not_to_be_called_with(other: Any) -> None:
    deliveries = [delivered(1), delivered(1, tries=5), other, delivered(1)]
    assert fitting(deliveries, SETTINGS.model_copy(update={"max_body": 100})) == deliveries[:2]


class Quick:
    """Handles messages in no time, one or several."""

    async def __call__(self, instance: Any, message: Any) -> None:
        pass

    def several(self, instance: Any) -> bool:
        return True

    async def each(self, instance: Any, messages: Any, outcomes: list[Any], paused: Any) -> None:
        outcomes += [None] * len(messages)


@pytest.mark.anyio
async def test_the_wait_for_an_instance_is_not_the_handlers(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(calling, "thread_time", lambda: now)

    @asynccontextmanager
    async def borrowing() -> Any:
        nonlocal now
        now += 1.0
        yield None

    workload: Any = SimpleNamespace(timeout=10.0, instance=borrowing)
    caller = calling.Caller(
        workload, Quick(), SETTINGS, Counts(), Origins("shop"), lambda taken: None, "shop"
    )
    delivery: Any = SimpleNamespace(message=None)
    assert await caller.call(delivery) is None
    assert caller.portions.size == 2


@pytest.mark.anyio
async def test_who_waits_for_its_turn_while_others_have_theirs_is_not_slow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else messages that are once handled side by side would be for ever."""
    now = 0.0
    monkeypatch.setattr(calling, "thread_time", lambda: now)

    class TakesTurns(Quick):
        async def __call__(self, instance: Any, message: Any) -> None:
            nonlocal now
            await asyncio.sleep(0)
            now += SLICE / 10

    @asynccontextmanager
    async def borrowing() -> Any:
        yield None

    workload: Any = SimpleNamespace(timeout=10.0, instance=borrowing)
    caller = calling.Caller(
        workload, TakesTurns(), SETTINGS, Counts(), Origins("shop"), lambda taken: None, "shop"
    )
    caller.portions.took(1, 2 * SLICE)
    assert caller.portions.size == 1
    delivery: Any = SimpleNamespace(message=None)

    async def work() -> None:
        for _ in range(20):
            assert await caller.call(delivery) is None

    await asyncio.gather(*[work() for _ in range(20)])
    assert caller.portions.size == 2
