"""The part of the kit about sending: subjects, bodies, limits, grants, requests."""

from __future__ import annotations

from contextlib import suppress

import anyio
import pytest

from wasmplex.capabilities.messaging import Message, NoResponders
from wasmplex.testing.kit import Conformance, needs, outcome, refused
from wasmplex.testing.messaging.driver import Bench, Inbox

__all__ = ["SendingTests"]

BAD_SUBJECTS = (
    "",
    ".",
    ".a",
    "a.",
    "a..b",
    "a b",
    "a.*",
    "a.>",
    "*",
    ">",
    "a\tb",
    "a\nb",
    "a\0b",
    "a" * 1025,
)
PATTERNS = (
    # pattern, subjects that it matches, others
    ("a.b", ("a.b",), ("a", "a.c", "a.b.c", "A.b")),
    ("a.*", ("a.b", "a.c"), ("a", "a.b.c", "b.a")),
    ("*.b", ("a.b", "b.b"), ("b", "a.b.c")),
    ("a.>", ("a.b", "a.b.c.d"), ("a", "b.a")),
    ("a.*.c", ("a.b.c",), ("a.c", "a.b.b", "a.b.c.d")),
    ("ü.☃.>", ("ü.☃.1",), ("u.☃.1",)),
)


class SendingTests(Conformance):
    """``publish`` and ``request``."""

    async def test_a_message_arrives_as_it_was_sent(self, bench: Bench) -> None:
        """publish: returns when the broker has taken the message; what was sent is what arrives."""
        sender = await bench.sender()
        async with bench.subscribed("a") as inbox:
            for body in (b"", b"hello", bytes(range(256)), b"\xff" * 100_000):
                await sender.publish(bench.subject("a"), body, "answer.here")
                message = (await inbox.next()).message
                assert message.subject == bench.subject("a")
                assert message.body == body
                assert message.reply_to == "answer.here"
            await sender.publish(bench.subject("a"), b"")
            assert (await inbox.next()).message.reply_to is None

    async def test_messages_of_a_sender_arrive_in_order(self, bench: Bench) -> None:
        """Messages to one subject that are sent one after the other arrive so."""
        sender = await bench.sender()
        async with bench.subscribed("a") as inbox:
            for number in range(100):
                await sender.publish(bench.subject("a"), b"%d" % number)
            assert await inbox.take(100) == [b"%d" % number for number in range(100)]

    async def test_what_nobody_wants_is_taken(self, bench: Bench) -> None:
        """A message that nobody has subscribed to is sent all the same."""
        sender = await bench.sender()
        await sender.publish(bench.subject("nobody"), b"x")
        async with bench.subscribed("nobody") as inbox:
            assert await inbox.rest() == []

    @pytest.mark.parametrize(("pattern", "matching", "others"), PATTERNS, ids=[p for p, *_ in PATTERNS])
    async def test_patterns(
        self, bench: Bench, pattern: str, matching: tuple[str, ...], others: tuple[str, ...]
    ) -> None:
        """subjects: NATS grammar on every backend (`*`, `>`)."""
        sender = await bench.sender()
        async with bench.subscribed(pattern) as inbox, bench.subscribed("end") as end:
            for subject in (*matching, *others):
                await sender.publish(bench.subject(subject), subject.encode())
            await sender.publish(bench.subject("end"), b"")
            await end.take()
            assert await inbox.rest() == [subject.encode() for subject in matching]

    async def test_invalid_subjects(self, bench: Bench) -> None:
        """subjects: an invalid one is subject-invalid, and nothing is sent."""
        sender = await bench.sender()
        for subject in (*BAD_SUBJECTS, "a" * 1025):
            await refused("subject-invalid", sender.publish(subject, b""))
        await refused("subject-invalid", sender.publish(bench.subject("a"), b"", "no answer"))

    async def test_bodies_over_the_limit(self, bench: Bench) -> None:
        """bodies: over `max_body`: message-too-large; nothing is sent."""
        sender = await bench.sender(max_body=1000)
        async with bench.subscribed("a") as inbox:
            await refused("message-too-large", sender.publish(bench.subject("a"), b"x" * 1001))
            await sender.publish(bench.subject("a"), b"x" * 1000)
            assert await inbox.rest() == [b"x" * 1000]

    async def test_subjects_that_are_not_granted(self, bench: Bench) -> None:
        """A subject that the binding does not list is denied; so is one that a server is administered by."""
        sender = await bench.sender(publish=(bench.subject("a.*"),))
        async with bench.subscribed(">") as inbox:
            await refused("access-denied", sender.publish(bench.subject("b"), b""))
            await sender.publish(bench.subject("a.b"), b"1")
            assert await inbox.rest() == [b"1"]
        await refused("access-denied", (await bench.sender("other")).publish("$JS.API.INFO", b""))

    # ------------------------------------------------------------ requests

    @needs("request")
    async def test_a_request_gets_the_first_answer(self, bench: Bench) -> None:
        """request: first reply."""
        sender = await bench.sender()
        async with anyio.create_task_group() as tasks, bench.subscribed("ask") as inbox:
            tasks.start_soon(_answer, bench, inbox, 20)
            for number in range(20):
                answer = await sender.request(bench.subject("ask"), b"%d" % number)
                assert answer == b"re: %d" % number

    @needs("request")
    async def test_requests_at_once_get_their_own_answers(self, bench: Bench) -> None:
        """request: each of many that are under way gets the answer to itself."""
        sender, answers = await bench.sender(), {}
        async with bench.subscribed("ask") as inbox, anyio.create_task_group() as tasks:
            tasks.start_soon(_answer, bench, inbox, 50)

            async def ask(number: int) -> None:
                answers[number] = await sender.request(bench.subject("ask"), b"%d" % number)

            for number in range(50):
                tasks.start_soon(ask, number)
        assert answers == {number: b"re: %d" % number for number in range(50)}

    @needs("request")
    async def test_a_request_that_nobody_listens_to(self, bench: Bench) -> None:
        """request: no responder: broker-unavailable at once, not after the timeout."""
        sender = await bench.sender()
        with anyio.fail_after(5):
            await refused("broker-unavailable", sender.request(bench.subject("nobody"), b"", 30))

    @needs("request")
    async def test_a_request_that_nobody_answers(self, bench: Bench) -> None:
        """request: no answer in time: timeout; a late answer harms nobody."""
        sender = await bench.sender()
        async with bench.subscribed("ask") as inbox:
            await refused("timeout", sender.request(bench.subject("ask"), b"", 0.05))
            late = await inbox.next()
            assert late.message.reply_to
            with suppress(NoResponders):  # a broker may know that nobody waits any more
                await bench.backend.publish(bench.namespace, Message(late.message.reply_to, b"late"))
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_answer, bench, inbox, 1)
                assert await sender.request(bench.subject("ask"), b"2") == b"re: 2"

    @needs("request")
    async def test_a_request_refuses_what_publishing_refuses(self, bench: Bench) -> None:
        """Subjects, grants and limits are those of publish."""
        sender = await bench.sender(publish=(bench.subject("a"),), max_body=10)
        assert [
            await outcome(sender.request(subject, body, 0.1))
            for subject, body in ((bench.subject("b"), b""), ("a b", b""), (bench.subject("a"), b"x" * 11))
        ] == ["access-denied", "subject-invalid", "message-too-large"]


async def _answer(bench: Bench, inbox: Inbox, count: int) -> None:
    for _ in range(count):
        delivery = await inbox.next()
        message = delivery.message
        assert message.reply_to is not None
        await bench.backend.publish(bench.namespace, Message(message.reply_to, b"re: " + message.body))
        await delivery.ack()
