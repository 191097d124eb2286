"""A state machine that sends and handles messages in any order, and knows what is to come."""

# Rules are named after what they do.
# ruff: noqa: D102

from __future__ import annotations

from collections import Counter
from contextlib import AsyncExitStack
from functools import partial
from itertools import cycle
from typing import ClassVar

import anyio
from hypothesis import strategies as st
from hypothesis.stateful import rule

from wasmplex.capabilities.messaging import Delivery
from wasmplex.capabilities.messaging.subjects import matcher
from wasmplex.testing.kit import ClientMachine
from wasmplex.testing.messaging.driver import PATIENCE, SILENCE, Bench, Inbox, Sender

__all__ = ["MessagingMachine"]

GROUPS = {"all": (">",), "a": ("a.*",), "both": ("a.b", "b.>")}
"""The durable groups, and the patterns of each."""
MEMBERS = ("first", "second")

groups = st.sampled_from(sorted(GROUPS))
members = st.sampled_from(MEMBERS)
subjects = st.sampled_from(["a.b", "a.c", "b.a", "b.a.c", "c"])
outcomes = st.sampled_from(["ack", "ack", "retry", "reject"])


class MessagingMachine(ClientMachine):
    """The rules. A group has each message that was sent to it until its outcome is final, and no other.

    :cvar sender: sends everything
    """

    bench: ClassVar[Bench]
    sender: ClassVar[Sender]

    @classmethod
    async def prepare(cls) -> None:
        """Bind what sends."""
        cls.sender = await cls.bench.sender()

    def __init__(self) -> None:
        super().__init__()
        self.run_number = next(self.numbers)
        self.sent = 0
        self.agrees = True
        self.due: dict[str, Counter[bytes]] = {group: Counter() for group in GROUPS}
        self.tries: dict[tuple[str, bytes], int] = {}
        self.out: list[tuple[str, Delivery]] = []
        self.stacks = {member: AsyncExitStack() for member in MEMBERS}
        self.inboxes: dict[tuple[str, str], Inbox] = {}
        for group in GROUPS:
            for member in MEMBERS:
                self.run(partial(self._join, group, member))

    async def _join(self, group: str, member: str) -> None:
        root, name = f"m{self.run_number}", self.bench.name(f"{self.run_number}-{group}")
        patterns = [f"{root}.{pattern}" for pattern in GROUPS[group]]
        inbox = self.bench.subscribed(*patterns, queue_group=name, durable=name)
        self.inboxes[group, member] = await self.stacks[member].enter_async_context(inbox)

    # ------------------------------------------------------------ rules

    @rule(subject=subjects)
    def send(self, subject: str) -> None:
        self.sent += 1
        body = b"%d" % self.sent
        self.run(partial(self.sender.publish, self.bench.subject(f"m{self.run_number}.{subject}"), body))
        for group, patterns in GROUPS.items():
            if matcher(patterns).fullmatch(subject):
                self.due[group][body] += 1

    @rule(group=groups, member=members)
    def take(self, group: str, member: str) -> None:
        self._take(group, member)

    @rule(group=groups, member=members)
    def give_up_waiting(self, group: str, member: str) -> None:
        async def wait() -> Delivery | None:
            with anyio.move_on_after(0.001):
                return await self.inboxes[group, member].deliveries.next()
            return None

        delivery = self.run(wait)
        if delivery is not None:
            self._took(group, delivery)

    @rule(outcome=outcomes, number=st.integers(0, 100))
    def settle(self, outcome: str, number: int) -> None:
        # No precondition: whether something came in a millisecond is not for Hypothesis to see.
        for due in GROUPS if not self.out else ():
            self._take(due, MEMBERS[number % len(MEMBERS)])
        if not self.out:
            return
        group, delivery = self.out.pop(number % len(self.out))
        if outcome == "retry":
            self.run(partial(delivery.retry, 0))
            self._take(group, MEMBERS[number % len(MEMBERS)])
            return
        self.run(delivery.ack if outcome == "ack" else delivery.reject)
        self.due[group] -= Counter([delivery.message.body])

    # ------------------------------------------------------------ the model

    def _free(self, group: str) -> Counter[bytes]:
        """Return what may be delivered: due, and not being handled."""
        return self.due[group] - Counter(d.message.body for owner, d in self.out if owner == group)

    def _take(self, group: str, member: str) -> None:
        if any(self._free(group).values()):
            self.agrees = False  # until it has come
            self._took(group, self.run(partial(self._next, group, member)))

    async def _next(self, group: str, member: str) -> Delivery:
        """Return the next delivery to a group: by one member, or by another that the broker sent it to."""
        with anyio.fail_after(PATIENCE):
            for asked in cycle(sorted(MEMBERS, key=lambda other: other != member)):
                with anyio.move_on_after(SILENCE):
                    delivery = await self.inboxes[group, asked].deliveries.next()
                    assert delivery is not None, "the subscription ended"
                    return delivery
        raise AssertionError("unreachable")

    def _took(self, group: str, delivery: Delivery) -> None:
        body, self.agrees = delivery.message.body, False
        assert self._free(group)[body], f"{body!r} was delivered to {group} and is not due"
        tries = self.tries[group, body] = self.tries.get((group, body), 0) + 1
        assert delivery.tries == tries, f"delivery {tries} says that it is number {delivery.tries}"
        self.out.append((group, delivery))
        self.agrees = True

    def teardown(self) -> None:
        """Handle all that is left, what is being handled once more: it has to come, and nothing else."""
        self.run(self._finish)

    async def _finish(self) -> None:
        try:
            for _, delivery in self.out:
                await delivery.retry(0)
            await self.stacks[MEMBERS[1]].aclose()  # what the broker has sent it goes back
            for group, due in self.due.items() if self.agrees else ():
                inbox = self.inboxes[group, MEMBERS[0]]
                with anyio.fail_after(PATIENCE):
                    for _ in range(sum(due.values())):
                        delivery = await inbox.next()
                        assert due[delivery.message.body], f"{delivery.message.body!r} is not due"
                        due[delivery.message.body] -= 1
                        # It may be more: what the broker has sent to who left was a delivery as well.
                        seen = self.tries.get((group, delivery.message.body), 0)
                        assert delivery.tries > seen, f"number {delivery.tries} was there before"
                        await delivery.ack()
        finally:
            for stack in self.stacks.values():
                await stack.aclose()
