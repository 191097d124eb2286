"""Where answers go: to who asked, once, and nowhere that a server is administered from."""

from __future__ import annotations

from typing import Any

import pytest
from wasmplex.capabilities.messaging import BrokerUnavailable, Message
from wasmplex.interfaces.messaging.policy import GuardedBroker, MessagingSettings
from wasmplex.interfaces.messaging.replies import MAX_ROUTES, PATIENCE, Origin, ReplyRoutes
from wasmplex.policy import Scope


class Broker:
    """Notes what it is to send; `fails` as often as it is told."""

    circuit = None
    features = frozenset[str]()

    def __init__(self, fails: int = 0) -> None:
        self.fails = fails
        self.sent: list[str] = []

    async def publish(self, namespace: str, message: Message) -> None:
        if self.fails:
            self.fails -= 1
            raise BrokerUnavailable("gone")
        self.sent.append(message.subject)


class Refused(Exception):
    pass


def consumer(broker: Any, replies: ReplyRoutes, *publish: str) -> GuardedBroker:
    settings = MessagingSettings(publish=publish)
    return GuardedBroker(
        broker, settings, Scope("shop", "audit", "n"), lambda _, error: Refused(error.case), replies
    )


@pytest.mark.anyio
@pytest.mark.parametrize("subject", ["$JS.API.STREAM.DELETE.orders", "$SYS.REQ", "a b", "a.*", ""])
async def test_no_sender_has_a_component_send_what_it_may_not(subject: str) -> None:
    asking, own, replies = Broker(), Broker(), ReplyRoutes()
    replies.expect(subject, Origin(asking, "n"))  # type: ignore[arg-type]
    with pytest.raises(Refused, match=r"access-denied|subject-invalid"):
        await consumer(own, replies, "orders.>").publish(Message(subject, b""))
    assert (asking.sent, own.sent, len(replies)) == ([], [], 0)


@pytest.mark.anyio
async def test_an_answer_is_for_a_message_and_grants_nothing_more() -> None:
    asking, own, replies = Broker(fails=1), Broker(), ReplyRoutes()
    shop = consumer(own, replies, "orders.>")
    for _ in range(2):  # two messages that want their answers on one subject
        replies.expect("inbox.1", Origin(asking, "n"))  # type: ignore[arg-type]
    with pytest.raises(Refused, match="broker-unavailable"):
        await shop.publish(Message("inbox.1", b""))  # it has not been sent, and may be again
    for _ in range(2):
        await shop.publish(Message("inbox.1", b""))
    with pytest.raises(Refused, match="access-denied"):
        await shop.publish(Message("inbox.1", b""))
    assert (asking.sent, own.sent, len(replies)) == (["inbox.1", "inbox.1"], [], 0)


def test_what_is_not_answered_is_forgotten_in_time_and_the_longest_expected_first() -> None:
    now = 0.0
    replies, origin = ReplyRoutes(lambda: now), Origin(Broker(), "n")  # type: ignore[arg-type]
    replies.expect("late", origin)
    now = PATIENCE + 1
    assert replies.find("late") is None
    for number in range(MAX_ROUTES):
        replies.expect(f"inbox.{number}", origin)
    replies.expect("inbox.0", origin)  # again
    replies.expect("inbox.new", origin)
    assert len(replies) == MAX_ROUTES
    assert [replies.find(f"inbox.{n}") is None for n in (0, 1, 2)] == [False, True, False]
    now *= 3
    replies.expect("inbox.2", origin)
    assert len(replies) < MAX_ROUTES, "what is over goes as others come"
