"""The memory broker, and a version of it for each of its planted defects.

`test_messaging_kit_catches.py` runs this file in a pytest of its own. Most of the tests in here fail, as they
should.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from host_plugin_memory import MemoryMessagingProvider, MemoryMessagingSettings
from host_plugin_memory.broker import MemoryBroker
from host_plugin_memory.groups import Group
from wasmplex.capabilities.messaging import (
    BrokerUnavailable,
    Deliveries,
    Delivery,
    Kept,
    Message,
    NoReply,
    Subscription,
    contract,
)
from wasmplex.capabilities.messaging.subjects import matcher
from wasmplex.plugin import ConfigError, OpenContext, SecretStr
from wasmplex.testing import MessagingConformance
from wasmplex.testing.messaging import ContractDriver

KEPT = "test_what_is_kept_stays_until_it_is_removed"
MODEL = "test_the_broker_agrees_with_a_model"
DEFECTS = {
    # defect: the tests of the kit that must notice it
    "retry-is-ack": {"test_what_is_to_be_retried_comes_again"},
    "retry-at-once": {"test_what_is_to_be_retried_comes_again"},
    "tries-stay-one": {"test_what_is_to_be_retried_comes_again", MODEL},
    "retry-holds-up": {"test_others_do_not_wait_for_what_is_to_be_retried"},
    "ready-stays": {"test_several_deliveries_at_once"},
    "reject-is-retry": {"test_an_outcome_is_final", MODEL},
    "a-group-is-nobody": {"test_those_of_a_group_share_the_messages"},
    "a-group-for-each-pattern": {"test_those_of_a_group_share_whatever_their_patterns"},
    "who-came-first-has-all": {"test_those_of_a_group_share_whatever_their_patterns"},
    "everybody-is-a-group": {"test_everybody_gets_a_message"},
    "once-for-each-pattern": {"test_everybody_gets_a_message"},
    "star-is-greedy": {"test_patterns"},
    "rest-may-be-empty": {"test_patterns"},
    "cut-body": {"test_a_message_arrives_as_it_was_sent"},
    "lost-reply-to": {"test_a_message_arrives_as_it_was_sent"},
    "waits-for-responders": {"test_a_request_that_nobody_listens_to"},
    "one-answer-for-all": {"test_requests_at_once_get_their_own_answers"},
    "durable-forgets": {"test_a_durable_subscription_misses_nothing"},
    "covered-patterns-stay": {"test_a_durable_subscription_may_name_a_subject_twice"},
    "durable-is-anybodys": {"test_a_durable_subscription_belongs_to_its_workload"},
    "unsettled-is-lost": {"test_what_has_no_outcome_comes_again"},
    "never-ordered": {"test_order_where_it_is_asked_for"},
    "never-stops": {"test_stopping"},
    "cancelled-loses": {"test_waiting_may_be_cancelled"},
    "newest-kept-first": {KEPT},
    "kept-never-ends": {KEPT},
    "kept-without-headers": {KEPT},
    "headers-are-ascii": {KEPT},
    "removed-stays": {KEPT},
    "removing-twice-fails": {KEPT},
    "one-namespace": {"test_namespaces_share_nothing"},
    "leaves-a-task": {"test_closing_leaves_nothing_behind"},
    "tells-secrets": {"test_errors_and_status_keep_secrets"},
}


class WrongBroker(MemoryBroker):
    """A broker with one defect."""

    def __init__(self, defect: str) -> None:
        super().__init__(MemoryMessagingSettings(), MemoryMessagingProvider.features)
        self.defect = defect
        if defect == "leaves-a-task":
            self.task = asyncio.get_running_loop().create_task(asyncio.sleep(3600))

    async def publish(self, namespace: str, message: Message) -> None:
        if self.defect == "cut-body":
            message = message._replace(body=message.body[:65536])
        if self.defect == "lost-reply-to":
            message = message._replace(reply_to=None)
        await super().publish(self._place(namespace), message)

    async def request(self, namespace: str, message: Message, seconds: float) -> Message:
        space = self._space(self._place(namespace))
        if self.defect == "waits-for-responders" and not space.route(message.subject):
            await anyio.sleep(seconds)
            raise NoReply("late")
        if self.defect == "one-answer-for-all":
            waiting = [answer for answer in space.answers.values() if not answer.done()]
            if waiting:
                return await asyncio.shield(waiting[0])
        return await super().request(self._place(namespace), message, seconds)

    @asynccontextmanager
    async def subscribe(self, namespace: str, subscription: Subscription) -> AsyncIterator[Deliveries]:
        defect = self.defect
        if defect == "a-group-is-nobody":
            subscription = replace(subscription, queue_group=None)
        if defect == "a-group-for-each-pattern" and subscription.queue_group is not None:
            apart = " ".join((subscription.queue_group, *subscription.subjects))
            subscription = replace(subscription, queue_group=apart)
        if defect == "covered-patterns-stay" and subscription.durable and len(subscription.subjects) > 1:
            raise ConfigError("the subjects of a durable subscription overlap")
        if defect == "everybody-is-a-group" and subscription.queue_group is None:
            subscription = replace(subscription, queue_group="everybody", subjects=(">",))
        if defect == "durable-forgets":
            subscription = replace(subscription, durable=None)
        if defect == "durable-is-anybodys":
            subscription = replace(subscription, owner="anybody")
        if defect == "never-ordered":
            subscription = replace(subscription, ordered=False)
        if defect == "retry-holds-up":
            subscription = replace(subscription, ordered=True)
        async with super().subscribe(self._place(namespace), subscription) as deliveries:
            space = self._space(self._place(namespace))
            for key, (pattern, group) in list(space.groups.items()):
                space.groups[key] = self._wrong_pattern(pattern), group
            yield WrongDeliveries(deliveries, defect)

    def _group(self, space: Any, subscription: Subscription) -> Group:
        group = super()._group(space, subscription)
        if self.defect == "who-came-first-has-all":
            group.__class__ = AllAlike
        if self.defect == "once-for-each-pattern":
            group.__class__ = OnceForEach
        return group

    async def keep(self, namespace: str, message: Message) -> None:
        headers = message.headers or {}
        if self.defect == "kept-without-headers":
            headers = {}
        if self.defect == "headers-are-ascii":
            headers = {name: ascii(value)[1:-1] for name, value in headers.items()}
        await super().keep(namespace, message._replace(headers=headers))

    async def kept(self, namespace: str, subject: str) -> AsyncIterator[Kept]:
        letters = [letter async for letter in super().kept(namespace, subject)]
        for letter in reversed(letters) if self.defect == "newest-kept-first" else letters:
            yield letter
        while letters and self.defect == "kept-never-ends":
            last = int(letters[-1].token)
            letters = [kept async for kept in super().kept(namespace, subject) if int(kept.token) > last]
            for letter in letters:
                yield letter

    async def remove(self, namespace: str, subject: str, token: str) -> None:
        if self.defect == "removing-twice-fails":
            kept = [letter.token async for letter in super().kept(namespace, subject)]
            if token not in kept:
                raise BrokerUnavailable("there is no such message")
        if self.defect != "removed-stays":
            await super().remove(namespace, subject, token)

    def _place(self, namespace: str) -> str:
        return "" if self.defect == "one-namespace" else namespace

    def _wrong_pattern(self, pattern: re.Pattern[str]) -> re.Pattern[str]:
        if self.defect == "star-is-greedy":
            return re.compile(pattern.pattern.replace("[^.]+", ".+"))
        if self.defect == "rest-may-be-empty":
            return re.compile(re.sub(r"\\\.\.\+$", r"(\\..+)?", pattern.pattern))
        return pattern

    def __repr__(self) -> str:
        return "memory: password hunter2" if self.defect == "tells-secrets" else super().__repr__()


class AllAlike(Group):
    """A group that says of itself that it wants a message as much as each other does."""

    @property
    def load(self) -> tuple[bool, bool, float]:
        return False, False, 0.0


class OnceForEach(Group):
    """A group that has a message once for each of its patterns that matches it."""

    def put(self, message: Message, size: int, now: float) -> None:
        for pattern in self.subjects:
            if matcher((pattern,)).fullmatch(message.subject):
                super().put(message, size, now)


class WrongDeliveries(Deliveries):
    """A subscription with a defect."""

    def __init__(self, inner: Any, defect: str) -> None:
        self.inner = inner
        self.defect = defect

    async def next(self) -> Delivery | None:
        if self.defect == "never-stops" and self.inner.stopped:
            await anyio.sleep_forever()
        if self.defect == "cancelled-loses":
            delivery = await self.inner.next()
            await anyio.lowlevel.checkpoint()  # whoever is cancelled here has taken it
            return WrongDelivery(delivery, self.defect) if delivery else None
        delivery = await self.inner.next()
        return None if delivery is None else WrongDelivery(delivery, self.defect, self.inner)

    def ready(self, most: int) -> list[Delivery]:
        found = [WrongDelivery(delivery, self.defect, self.inner) for delivery in self.inner.ready(most)]
        if self.defect == "ready-stays" and found:
            self.inner.group.again(found[0].inner._held, 0)  # type: ignore[attr-defined]
        return [*found]

    def stop(self) -> None:
        self.inner.stop()


class WrongDelivery(Delivery):
    """A delivery with a defect."""

    def __init__(self, inner: Delivery, defect: str, deliveries: Any = None) -> None:
        super().__init__(inner.message, 1 if defect == "tries-stay-one" else inner.tries, inner.first_seen)
        self.inner = inner
        self.defect = defect
        if defect == "unsettled-is-lost":
            deliveries.out.discard(inner)

    async def ack(self) -> None:
        await self.inner.ack()

    async def retry(self, after: float) -> None:
        if self.defect == "retry-is-ack":
            await self.inner.ack()
        else:
            await self.inner.retry(0 if self.defect == "retry-at-once" else after)

    async def reject(self) -> None:
        if self.defect == "reject-is-retry":
            await self.inner.retry(0)
        else:
            await self.inner.reject()


class SecretSettings(MemoryMessagingSettings):
    """Settings with a secret, for a status that tells it."""

    password: SecretStr = SecretStr("hunter2")


class WrongProvider(MemoryMessagingProvider):
    """Opens brokers with a defect."""

    defect = ""
    settings = SecretSettings

    async def open(self, settings: MemoryMessagingSettings, context: OpenContext) -> MemoryBroker:
        return WrongBroker(self.defect)


class TestNone(MessagingConformance):
    """The broker without a defect, which passes."""

    provider = WrongProvider()
    drivers = (ContractDriver,)
    examples = 10


def class_of(defect: str) -> str:
    return "Test" + defect.title().replace("-", "")


@pytest.fixture(autouse=True)
def _covered_stay(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the contract leave in what it leaves out of a subscription, which no broker can put back."""
    if request.cls.provider.defect == "covered-patterns-stay":
        monkeypatch.setattr(contract, "distinct", tuple)


for _defect in DEFECTS:
    _provider = type("_Provider", (WrongProvider,), {"defect": _defect})
    _members = {"provider": _provider(), "drivers": (ContractDriver,), "examples": 20}
    globals()[class_of(_defect)] = type(class_of(_defect), (MessagingConformance,), _members)
