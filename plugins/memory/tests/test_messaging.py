"""The memory broker keeps the messaging contract, and no more than it may."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest
from host_plugin_memory import MemoryMessagingProvider
from host_plugin_memory.broker import MemoryBroker
from wasmplex.capabilities.messaging import (
    Deliveries,
    Message,
    MessageTooLarge,
    QuotaExceeded,
    Subscription,
)
from wasmplex.testing import MessagingConformance


class TestMemory(MessagingConformance):
    provider = MemoryMessagingProvider()


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("body", "headers", "left"),
    [
        (b"x" * 200_000, None, 5),
        (b"", {"Trace": "x" * 200_000}, 5),
        (b"", {"Trace": "é" * 100_000}, 5),
        (b"", None, 1000),
    ],
)
async def test_what_is_kept_of_dead_letters_has_a_bound(
    body: bytes, headers: dict[str, str] | None, left: int
) -> None:
    settings = MemoryMessagingProvider.settings(max_size=2**20)
    broker = MemoryBroker(settings, MemoryMessagingProvider.features)
    for number in range(1010 if left == 1000 else 8):
        await broker.keep("n", Message("dead", body, str(number), headers))
    kept = [letter async for letter in broker.kept("n", "dead")]
    assert len(kept) == left
    for letter in kept:
        await broker.remove("n", "dead", letter.token)
    await broker.keep("n", Message("dead", b"one more"))
    assert [letter.message.body async for letter in broker.kept("n", "dead")] == [b"one more"]
    await broker.close()


@pytest.mark.anyio
async def test_a_dead_letter_that_is_too_large_takes_nobody_elses_place() -> None:
    """It is refused, and then kept without its body: dropped it would be called kept."""
    settings = MemoryMessagingProvider.settings(max_size=2**20)
    broker = MemoryBroker(settings, MemoryMessagingProvider.features)
    await broker.keep("n", Message("dead", b"before"))
    with pytest.raises(MessageTooLarge, match="max_size"):
        await broker.keep("n", Message("dead", b"x" * 2**20))
    assert [letter.message.body async for letter in broker.kept("n", "dead")] == [b"before"]
    await broker.close()


@pytest.mark.anyio
async def test_what_waits_has_a_bound_headers_and_all() -> None:
    settings = MemoryMessagingProvider.settings(max_size=2**20, full_wait=0)
    broker = MemoryBroker(settings, MemoryMessagingProvider.features)
    async with broker.subscribe("n", Subscription("a workload", ("a",))):
        for _ in range(5):
            await broker.publish("n", Message("a", b"", None, {"Trace": "é" * 100_000}))
        with pytest.raises(QuotaExceeded):
            await broker.publish("n", Message("a", b"", None, {"Trace": "é" * 100_000}))
    await broker.close()


@pytest.mark.anyio
async def test_messages_go_to_the_members_of_a_group_in_turn() -> None:
    """Each of them asks for as many as it may handle: the one that was there first had all."""
    broker = MemoryBroker(MemoryMessagingProvider.settings(), MemoryMessagingProvider.features)
    wanted = Subscription("a workload", ("a",), queue_group="g")
    got: list[list[bytes]] = [[], []]

    async def take(deliveries: Deliveries, bodies: list[bytes]) -> None:
        while (delivery := await deliveries.next()) is not None:
            taken = [delivery, *deliveries.ready(100)]
            await anyio.lowlevel.checkpoint()  # handling takes a moment
            for one in taken:
                bodies.append(one.message.body)
                await one.ack()

    async with (
        broker.subscribe("n", wanted) as one,
        broker.subscribe("n", wanted) as two,
        anyio.create_task_group() as tasks,
    ):
        for deliveries, bodies in ((one, got[0]), (two, got[1])):
            for _ in range(32):
                tasks.start_soon(take, deliveries, bodies)
        await anyio.wait_all_tasks_blocked()
        for number in range(10):
            await broker.publish("n", Message("a", b"%d" % number))
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    assert sorted(got[0] + got[1]) == [b"%d" % number for number in range(10)]
    assert min(len(got[0]), len(got[1])) >= 3
    await broker.close()


@pytest.mark.anyio
async def test_what_is_left_by_one_of_a_group_goes_to_those_with_other_patterns(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What waits, what it had in hand, and what was to come again later; nothing that they do not want."""
    broker = MemoryBroker(MemoryMessagingProvider.settings(), MemoryMessagingProvider.features)
    goes = Subscription("w", ("a.>",), queue_group="g")
    async with broker.subscribe("n", Subscription("w", ("a.b", "c"), queue_group="g")) as stays:
        async with broker.subscribe("n", goes) as leaves:
            for number in range(10):
                await broker.publish("n", Message("a.b", b"%d" % number))
            await broker.publish("n", Message("a.z", b"not wanted"))
            first, second = await leaves.next(), await leaves.next()
            assert first is not None
            assert second is not None
            await second.retry(60)
        bodies = set()
        with anyio.fail_after(10):
            for _ in range(10):
                delivery = await stays.next()
                assert delivery is not None
                bodies.add(delivery.message.body)
                await delivery.ack()
    assert bodies == {b"%d" % number for number in range(10)}
    assert caplog.text.count("lost") == 1
    assert "1 message" in caplog.text
    await broker.close()
