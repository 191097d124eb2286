"""The part of the kit about receiving: groups, outcomes, durable subscriptions, stopping."""

from __future__ import annotations

import time
from collections import Counter

import anyio
import anyio.lowlevel
import pytest

from wasmplex.capabilities.messaging import Kept, Message
from wasmplex.errors import ConfigError
from wasmplex.testing.kit import Conformance, needs
from wasmplex.testing.messaging.driver import PATIENCE, Bench, Inbox

__all__ = ["DeliveryTests", "DurableTests"]


class DeliveryTests(Conformance):
    """Who gets a message, and what becomes of it."""

    async def test_everybody_gets_a_message(self, bench: Bench) -> None:
        """Without a group each subscriber gets each message; one that two patterns match it gets once."""
        sender = await bench.sender()
        async with bench.subscribed("a.*", "*.b", "a.b") as one, bench.subscribed("a.*") as two:
            await sender.publish(bench.subject("a.b"), b"1")
            assert await one.rest() == await two.rest() == [b"1"]

    @needs("queue-groups")
    async def test_those_of_a_group_share_the_messages(self, bench: Bench) -> None:
        """queue_group: each message goes to one of a group, and to each group."""
        sender, group, other = await bench.sender(), bench.name("g"), bench.name("h")
        async with (
            bench.subscribed("a", queue_group=group) as one,
            bench.subscribed("a", queue_group=group) as two,
            bench.subscribed("a", queue_group=other) as three,
        ):
            sent = [b"%d" % number for number in range(60)]
            for body in sent:
                await sender.publish(bench.subject("a"), body)
            shared = [*await one.rest(), *await two.rest()]
            assert sorted(shared) == sorted(sent)
            assert sorted(await three.rest()) == sorted(sent)

    @needs("queue-groups")
    async def test_those_of_a_group_share_whatever_their_patterns(self, bench: Bench) -> None:
        """queue_group: one of a group gets a message, also if several match it by different patterns."""
        sender, group, sent = await bench.sender(), bench.name("g"), [b"%d" % number for number in range(60)]
        async with (
            bench.subscribed("a.>", queue_group=group) as one,
            bench.subscribed("a.b", "c", queue_group=group) as two,
        ):
            for body in sent:
                await sender.publish(bench.subject("a.b"), body)
            got = [await one.rest(), await two.rest()]
            assert sorted(got[0] + got[1]) == sorted(sent)
            assert all(got), "both have their share"
            await sender.publish(bench.subject("a.c"), b"one's")
            await sender.publish(bench.subject("c"), b"two's")
            assert (await one.rest(), await two.rest()) == ([b"one's"], [b"two's"])

    async def test_nothing_comes_after_leaving(self, bench: Bench) -> None:
        """Who has left is delivered nothing, and what is sent then is not kept for it."""
        sender = await bench.sender()
        async with bench.subscribed("a") as inbox:
            await sender.publish(bench.subject("a"), b"in")
            assert await inbox.take() == [b"in"]
        await sender.publish(bench.subject("a"), b"out")
        async with bench.subscribed("a") as inbox:
            assert await inbox.rest() == []

    async def test_what_is_to_be_retried_comes_again(self, bench: Bench) -> None:
        """retry: delivered again, not before its time; each delivery says which it is."""
        sender = await bench.sender()
        async with bench.subscribed("a", queue_group=self._group(bench)) as inbox:
            await sender.publish(bench.subject("a"), b"1")
            begun, first_seen = time.monotonic(), set()
            for tries in (1, 2, 3):
                delivery = await inbox.next()
                assert (delivery.message.body, delivery.tries) == (b"1", tries)
                first_seen.add(round(delivery.first_seen, 2))
                if tries < 3:
                    await delivery.retry(0.1)
            assert time.monotonic() - begun >= 0.19
            assert len(first_seen) == 1
            assert abs(first_seen.pop() - time.time()) < 60
            await delivery.ack()
            assert await inbox.rest() == []

    async def test_others_do_not_wait_for_what_is_to_be_retried(self, bench: Bench) -> None:
        """retry: a message that waits for its time holds up no other."""
        sender = await bench.sender()
        async with bench.subscribed("a", queue_group=self._group(bench)) as inbox:
            await sender.publish(bench.subject("a"), b"late")
            await (await inbox.next()).retry(0.3)
            for number in range(5):
                await sender.publish(bench.subject("a"), b"%d" % number)
            assert await inbox.take(6) == [*(b"%d" % number for number in range(5)), b"late"]

    async def test_an_outcome_is_final(self, bench: Bench) -> None:
        """ok: ack; reject: not delivered again."""
        sender = await bench.sender()
        async with bench.subscribed("a", queue_group=self._group(bench)) as inbox:
            await sender.publish(bench.subject("a"), b"1")
            await (await inbox.next()).ack()
            await sender.publish(bench.subject("a"), b"2")
            await (await inbox.next()).reject()
            assert await inbox.rest() == []

    async def test_several_deliveries_at_once(self, bench: Bench) -> None:
        """What is there already may be taken at once; each message comes once, and `ack` of all is final."""
        sender, name = await bench.sender(), bench.name("several")
        durable = name if "durable" in bench.features else None
        sent = [b"%d" % number for number in range(20)]
        got: list[bytes] = []
        async with bench.subscribed("a", queue_group=self._group(bench), durable=durable) as inbox:
            for body in sent:
                await sender.publish(bench.subject("a"), body)
            while len(got) < len(sent):
                some = [await inbox.next(), *inbox.deliveries.ready(6)]
                assert len(some) <= 7
                got += [delivery.message.body for delivery in some]
                await inbox.deliveries.ack(some)
            assert sorted(got) == sorted(sent)
        async with bench.subscribed("a", queue_group=self._group(bench), durable=durable) as inbox:
            assert await inbox.rest() == []

    async def test_order_where_it_is_asked_for(self, bench: Bench) -> None:
        """ordered: nothing is delivered before the outcome of the one before is final."""
        sender = await bench.sender()
        async with bench.subscribed(
            "a", queue_group=self._group(bench), ordered=True, max_in_flight=1
        ) as inbox:
            for number in range(3):
                await sender.publish(bench.subject("a"), b"%d" % number)
            await (await inbox.next()).retry(0.1)
            assert await inbox.take(3) == [b"0", b"1", b"2"]

    async def test_waiting_may_be_cancelled(self, bench: Bench) -> None:
        """A wait for a delivery that is cancelled loses no message."""
        sender = await bench.sender()
        got: list[bytes] = []
        async with bench.subscribed("a") as inbox:
            for number in range(30):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(_take_one, inbox, got)
                    for _ in range(number % 4):
                        await anyio.lowlevel.checkpoint()
                    await sender.publish(bench.subject("a"), b"%d" % number)
                    tasks.cancel_scope.cancel()
            got += await inbox.rest()
        assert got == [b"%d" % number for number in range(30)]

    async def test_stopping(self, bench: Bench) -> None:
        """shutdown: who is stopped gets nothing new, and `next` ends; what was delivered can be settled."""
        sender = await bench.sender()
        async with bench.subscribed("a", queue_group=self._group(bench)) as inbox:
            await sender.publish(bench.subject("a"), b"1")
            delivery = await inbox.next()
            inbox.deliveries.stop()
            await delivery.ack()
            with anyio.fail_after(PATIENCE):
                assert await inbox.deliveries.next() is None

    @needs("queue-groups")
    async def test_what_one_of_a_group_leaves_others_get(self, bench: Bench) -> None:
        """shutdown: each of many messages is handled by somebody while those of a group come and go."""
        sender, group = await bench.sender(), bench.name("g")
        handled: Counter[bytes] = Counter()
        async with bench.subscribed("a", queue_group=group) as stays, anyio.create_task_group() as tasks:
            tasks.start_soon(_handle_all, stays, handled)
            for number in range(40):
                if number % 10 == 0:
                    async with bench.subscribed("a", queue_group=group) as goes:
                        for part in range(5):
                            await sender.publish(bench.subject("a"), b"%d.%d" % (number, part))
                        goes.deliveries.stop()
                        while (delivery := await goes.deliveries.next()) is not None:
                            handled[delivery.message.body] += 1
                            await delivery.ack()
                await sender.publish(bench.subject("a"), b"%d" % number)
            await _until(handled, 60)
            tasks.cancel_scope.cancel()
        assert set(handled.values()) == {1}

    def _group(self, bench: Bench) -> str | None:
        return bench.name("group") if "queue-groups" in bench.features else None


class DurableTests(Conformance):
    """Subscriptions that go on while nobody is there, and what is kept."""

    @needs("durable")
    async def test_a_durable_subscription_misses_nothing(self, bench: Bench) -> None:
        """durable: what is sent while nobody is there comes later; what was handled does not come again."""
        sender, name = await bench.sender(), bench.name("d")
        async with bench.subscribed("a", queue_group=name, durable=name) as inbox:
            await sender.publish(bench.subject("a"), b"1")
            assert await inbox.take() == [b"1"]
        for number in (2, 3):
            await sender.publish(bench.subject("a"), b"%d" % number)
        async with bench.subscribed("a", queue_group=name, durable=name) as inbox:
            assert await inbox.take(2) == [b"2", b"3"]
            assert await inbox.rest() == []

    @needs("durable")
    async def test_a_durable_subscription_may_name_a_subject_twice(self, bench: Bench) -> None:
        """subjects: a pattern that another one covers adds nothing, and is no error."""
        sender, name = await bench.sender(), bench.name("d")
        async with bench.subscribed("a.>", "a.b", "a.>", queue_group=name, durable=name) as inbox:
            await sender.publish(bench.subject("a.b"), b"1")
            assert await inbox.rest() == [b"1"]

    @needs("durable")
    async def test_what_has_no_outcome_comes_again(self, bench: Bench) -> None:
        """durable: what its host had not settled when it went comes again."""
        sender, name = await bench.sender(), bench.name("d")
        async with bench.subscribed("a", queue_group=name, durable=name) as inbox:
            await sender.publish(bench.subject("a"), b"1")
            await inbox.next()
        async with bench.subscribed("a", queue_group=name, durable=name) as inbox:
            assert await inbox.take() == [b"1"]

    @needs("durable")
    async def test_a_durable_subscription_belongs_to_its_workload(self, bench: Bench) -> None:
        """durable: a second workload never inherits what the first has."""
        name = bench.name("d")
        async with bench.subscribed("a", queue_group=name, durable=name, owner="first"):
            with pytest.raises(ConfigError, match="first"):
                async with bench.subscribed("a", queue_group=name, durable=name, owner="second"):
                    pass

    @needs("durable")
    async def test_two_hosts_share_a_durable_subscription(self, bench: Bench) -> None:
        """durable: several hosts in one group get each message once."""
        sender, name = await bench.sender(), bench.name("d")
        async with (
            bench.subscribed("a", queue_group=name, durable=name) as one,
            bench.subscribed("a", queue_group=name, durable=name) as two,
        ):
            sent = [b"%d" % number for number in range(40)]
            for body in sent:
                await sender.publish(bench.subject("a"), body)
            got: Counter[bytes] = Counter()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_handle_all, one, got)
                tasks.start_soon(_handle_all, two, got)
                await _until(got, 40)
                tasks.cancel_scope.cancel()
        assert got == Counter(sent)

    @needs("history")
    async def test_beginning_with_the_first(self, bench: Bench) -> None:
        """start: a new durable subscription begins with the next message, or with the first there is."""
        sender, name = await bench.sender(), bench.name("d")
        async with bench.subscribed("a", queue_group=name, durable=name):  # what keeps the messages is there
            await sender.publish(bench.subject("a"), b"1")
        for start, body, expected in (("first", b"2", [b"1", b"2"]), ("new", b"3", [b"3"])):
            other = bench.name(start)
            async with bench.subscribed("a", queue_group=other, durable=other, start=start) as inbox:
                await sender.publish(bench.subject("a"), body)
                assert await inbox.rest(0.5) == expected

    @needs("dead-letters")
    async def test_what_is_kept_stays_until_it_is_removed(self, bench: Bench) -> None:
        """Dead letters: kept with their headers, the oldest first, until they are removed."""
        place, subject = bench.namespace, bench.subject("dead")
        for number in range(3):
            headers = {"Wasmplex-Error": "für später", "Wasmplex-Tries": str(number)}
            await bench.backend.keep(place, Message(subject, b"%d" % number, None, headers))
        kept = await self._kept(bench)
        assert [letter.message.body for letter in kept] == [b"0", b"1", b"2"]
        headers = dict(kept[1].message.headers or {})
        assert (headers["Wasmplex-Error"], headers["Wasmplex-Tries"]) == ("für später", "1")
        await bench.backend.remove(place, subject, kept[1].token)
        await bench.backend.remove(place, subject, kept[1].token)
        assert [letter.message.body for letter in await self._kept(bench)] == [b"0", b"2"]
        returned = 0
        async for letter in bench.backend.kept(place, subject):
            returned += 1
            assert returned <= 2, "what is kept meanwhile is not returned: that would never end"
            await bench.backend.keep(place, letter.message)
            await bench.backend.remove(place, subject, letter.token)
        kept = await self._kept(bench)
        assert [letter.message.body for letter in kept] == [b"0", b"2"]
        for letter in kept:
            await bench.backend.remove(place, subject, letter.token)
        assert await self._kept(bench) == []

    async def _kept(self, bench: Bench) -> list[Kept]:
        return [letter async for letter in bench.backend.kept(bench.namespace, bench.subject("dead"))]

    @needs("namespaces")
    async def test_namespaces_share_nothing(self, bench: Bench) -> None:
        """Two workloads never see each other's messages by accident."""
        sender, other = await bench.sender(), await bench.sender("other", namespace=bench.namespace + "x")
        async with (
            bench.subscribed("a") as ours,
            bench.subscribed("a", namespace=bench.namespace + "x") as theirs,
        ):
            await sender.publish(bench.subject("a"), b"ours")
            await other.publish(bench.subject("a"), b"theirs")
            assert (await ours.rest(), await theirs.rest()) == ([b"ours"], [b"theirs"])


async def _take_one(inbox: Inbox, got: list[bytes]) -> None:
    delivery = await inbox.next()
    got.append(delivery.message.body)
    await delivery.ack()


async def _handle_all(inbox: Inbox, handled: Counter[bytes]) -> None:
    while (delivery := await inbox.deliveries.next()) is not None:
        handled[delivery.message.body] += 1
        await delivery.ack()


async def _until(handled: Counter[bytes], count: int) -> None:
    """Wait until so many messages have been handled."""
    with anyio.fail_after(PATIENCE):
        while len(handled) < count:  # noqa: ASYNC110  what is waited for is no event
            await anyio.sleep(0.01)
