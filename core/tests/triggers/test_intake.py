"""The messages of one table: whatever goes wrong with one, the others are handled and none is lost."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import anyio
import pytest
from host_plugin_memory import MemoryMessagingProvider
from host_plugin_memory.broker import MemoryBroker
from host_plugin_memory.groups import _Delivery as Delivered
from wasmplex.capabilities.messaging import (
    BrokerUnavailable,
    Deliveries,
    Delivery,
    Message,
    MessageTooLarge,
    Other,
    Subscription,
)
from wasmplex.capabilities.messaging.handling import HandlerFailed, HandlerRejected
from wasmplex.errors import ConfigError, GuestExit, LimitExceeded
from wasmplex.logs import get_logger
from wasmplex.plugins.triggers import TriggerBinding, TriggerSource
from wasmplex.triggers import resuming
from wasmplex.triggers.messaging import calling
from wasmplex.triggers.messaging.counts import Counts
from wasmplex.triggers.messaging.intake import Intake
from wasmplex.triggers.messaging.outcomes import dead_letter, resent
from wasmplex.triggers.messaging.portions import EACH
from wasmplex.triggers.messaging.settings import MessagingTriggerSettings
from wasmplex.triggers.messaging.slices import Slices

pytestmark = pytest.mark.anyio

logger = get_logger("wasmplex.test")


class Shop:
    """A workload whose instances nobody makes; `refusals` is how often there is none."""

    name = "shop"
    timeout = 30.0
    refusals = 0

    def __init__(self) -> None:
        self.served: list[int] = []
        self.made = 0

    def calls_made(self) -> int:
        return self.made

    def instance(self) -> Loan:
        return Loan(self)


class Loan:
    """Of an instance that serves 10 calls yet."""

    calls_left = 10

    def __init__(self, shop: Shop) -> None:
        self.shop = shop

    async def __aenter__(self) -> Shop:
        if self.shop.refusals:
            self.shop.refusals -= 1
            raise LimitExceeded("the workload is full", why="two", fix="wait")
        return self.shop  # it stands in for its instances as well

    async def __aexit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, LimitExceeded):
            error.called = True

    def note_calls(self, count: int) -> None:
        self.shop.served.append(count)


class Broker(MemoryBroker):
    """The broker in memory, which takes `most` bytes a message, and `breaks` as often as it is told."""

    most = 1 << 20

    def __init__(self) -> None:
        super().__init__(MemoryMessagingProvider.settings(), MemoryMessagingProvider.features)
        self.breaks: list[Exception] = []
        self.unready: list[Exception] = []

    @contextlib.asynccontextmanager
    async def subscribe(self, namespace: str, subscription: Subscription) -> AsyncIterator[Deliveries]:
        if self.breaks and isinstance(self.breaks[0], ConfigError):
            raise self.breaks.pop(0)
        async with super().subscribe(namespace, subscription) as deliveries:
            yield _Breaking(deliveries, self.breaks, self.unready)

    async def keep(self, namespace: str, message: Message) -> None:
        headers = sum(len(name) + len(value) for name, value in (message.headers or {}).items())
        if len(message.body) + headers > self.most:
            raise MessageTooLarge("more than the server takes")
        await super().keep(namespace, message)

    async def letters(self) -> list[Message]:
        return [kept.message async for kept in self.kept("n", "dead")]


class _Breaking(Deliveries):
    """Raises what is planned instead of asking for the next delivery, or for those that are there."""

    def __init__(self, inner: Deliveries, breaks: list[Exception], unready: list[Exception]) -> None:
        self.inner, self.breaks, self.unready = inner, breaks, unready

    async def next(self) -> Any:
        if self.breaks:
            raise self.breaks.pop(0)
        delivery = await self.inner.next()
        return _Often(delivery) if delivery and delivery.message.body.startswith(b"often") else delivery

    def ready(self, most: int) -> Any:
        if self.unready:
            raise self.unready.pop(0)
        return self.inner.ready(most)

    def stop(self) -> None:
        self.inner.stop()


class _Often(Delivery):
    """A delivery of a message that has been delivered nine times, to whomever."""

    identity = "7"
    before = 9

    def __init__(self, inner: Delivery) -> None:
        super().__init__(inner.message, self.before + inner.tries, inner.first_seen)
        self.ack, self.retry, self.reject = inner.ack, inner.retry, inner.reject  # type: ignore[method-assign]

    async def ack(self) -> None: ...
    async def retry(self, after: float) -> None: ...
    async def reject(self) -> None: ...


class Each:
    """A handler that takes several messages in one go; a body that says so takes until it is let go on."""

    def __init__(self, handle: Callable[[bytes], Any]) -> None:
        self.handle = handle
        self.sizes: list[int] = []
        self.go_on = anyio.Event()

    async def __call__(self, instance: Any, message: Message) -> None:
        outcomes: list[Any] = []
        await self.each(instance, [message], outcomes, lambda: None)
        if outcomes[0] is not None:
            raise outcomes[0]

    def several(self, instance: object) -> bool:
        return True

    async def each(
        self,
        instance: Any,
        messages: Sequence[Message],
        outcomes: list[Any],
        paused: Callable[[], None],
    ) -> None:
        self.sizes.append(len(messages))
        for instance.made, message in enumerate(messages):
            if message.body == b"wait":
                paused()
                await self.go_on.wait()
                outcomes.append(None)
                return
            outcomes.append(self.handle(message.body))


class Bench:
    """An intake that runs, calling `handle` with bodies."""

    def __init__(self, handle: Callable[[bytes], Any] | Each, **settings: Any) -> None:
        self.broker = Broker()
        self.shop = Shop()
        told = MessagingTriggerSettings(subjects=("orders",), backoff=0.001, **settings)
        source = TriggerSource(self.broker, namespace="n", plugin="memory")

        async def handler(instance: object, message: Message) -> None:
            assert not isinstance(handle, Each)
            handle(message.body)

        self.reported: Counter[str] = Counter()
        binding = TriggerBinding(
            self.shop,  # type: ignore[arg-type]
            told,
            handler,
            "host.toml:3",
            source,
            self._report,
        )
        self.intake = Intake(binding, handle if isinstance(handle, Each) else handler, Slices())

    def _report(self, outcome: str, seconds: float) -> None:
        assert seconds >= 0
        self.reported[outcome] += 1

    async def send(self, body: bytes, headers: dict[str, str] | None = None) -> None:
        await self.broker.publish("n", Message("orders", body, None, headers))

    async def until(self, done: Callable[[Counts], bool]) -> None:
        with anyio.fail_after(20):
            while not done(self.intake.counts):  # noqa: ASYNC110  what is waited for is no event
                await anyio.sleep(0.001)


@contextlib.asynccontextmanager
async def serving(handle: Callable[[bytes], Any] | Each, **settings: Any) -> AsyncIterator[Bench]:
    bench = Bench(handle, **settings)
    async with anyio.create_task_group() as tasks:
        with anyio.fail_after(20):
            await tasks.start(bench.intake.run)
        try:
            yield bench
            bench.intake.stop()
            with anyio.fail_after(20):
                await bench.intake.finish()
        finally:
            tasks.cancel_scope.cancel()


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resuming, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(calling, "FULL_PAUSE", 0.001)
    monkeypatch.setattr(calling, "thread_time", float)  # handlers take no time, however busy the machine is


async def test_a_call_that_passes_too_much_has_failed_like_a_trap() -> None:
    calls: list[bytes] = []

    def handle(body: bytes) -> None:
        calls.append(body)
        if body == b"large":
            raise LimitExceeded("a list of a million values is passed")

    async with serving(handle, max_deliver=3, dead_letter="dead") as bench:
        await bench.send(b"large")
        await bench.send(b"good")
        await bench.until(lambda c: c.dead == 1 and c.handled == 1)
        (letter,) = await bench.broker.letters()
    assert sorted(calls) == [b"good", b"large", b"large", b"large"]
    assert "million values" in (letter.headers or {})["Wasmplex-Error"]


async def test_waiting_for_an_instance_is_no_failure_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(lambda body: None, max_deliver=1) as bench:
        bench.shop.refusals = 10
        await bench.send(b"x")
        await bench.until(lambda c: c.handled == 1)
    assert bench.intake.counts == Counts(delivered=1, handled=1)
    assert caplog.text.count("wait for an instance") == 1


async def test_an_error_that_nobody_foresaw_is_of_one_message(caplog: pytest.LogCaptureFixture) -> None:
    def handle(body: bytes) -> None:
        if body == b"odd":
            raise TypeError("expected a string")

    async with serving(handle, max_deliver=2) as bench:
        await bench.send(b"odd")
        await bench.send(b"good")
        await bench.until(lambda c: c.lost == 1 and c.handled == 1)
    assert bench.intake.counts == Counts(delivered=3, handled=1, retried=1, lost=1)
    assert [bool(record.exc_info) for record in caplog.records] == [True, True]


@pytest.mark.parametrize("dead_letter", [None, "dead"])
async def test_the_outcome_of_each_delivery_is_reported(dead_letter: str | None) -> None:
    def handle(body: bytes) -> Exception | None:
        return OSError("a driver's own") if body == b"bad" else None

    async with serving(Each(handle), max_deliver=3, dead_letter=dead_letter) as bench:
        for body in (b"bad", *[b"good"] * 20):
            await bench.send(body)
        await bench.until(lambda c: c.dead + c.lost == 1 and c.handled == 20)
    assert bench.reported == {"ack": 20, "retry": 2, "dead" if dead_letter else "lost": 1}


async def test_an_exit_with_0_is_as_good_as_a_return() -> None:
    def handle(body: bytes) -> None:
        raise GuestExit(body[0])

    async with serving(handle, max_deliver=2) as bench:
        await bench.send(b"\0")
        await bench.send(b"\3")
        await bench.until(lambda c: c.lost == 1 and c.handled == 1)
    assert bench.intake.counts == Counts(delivered=3, handled=1, retried=1, lost=1)


async def test_an_outcome_that_cannot_be_told_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(lambda body: None) as bench:
        group = next(iter(bench.broker._space("n").groups.values()))[1]
        finish, failures = group.finish, [OSError("a driver's own")]

        def failing(*args: Any) -> None:
            finish(*args)
            if failures:
                raise failures.pop()

        monkeypatch.setattr(group, "finish", failing)
        await bench.send(b"x")
        await bench.send(b"y")
        await bench.until(lambda c: c.handled == 2 and c.unsettled == 1)


@pytest.mark.parametrize("error", [ConfigError("no leader, so no stream"), OSError("a driver's own")])
async def test_a_subscription_comes_back_whatever_broke_it(error: Exception) -> None:
    """A cluster without a leader cannot say that it has a stream; that ends no host."""
    async with serving(lambda body: None, durable=True, max_in_flight=1) as bench:
        bench.broker.breaks += [OSError("gone"), error, error]
        await bench.send(b"before")
        await bench.until(lambda c: not bench.broker.breaks)
        await bench.send(b"after")
        await bench.until(lambda c: c.handled == 2)


async def test_of_a_letter_that_is_too_large_is_kept_what_can_be(caplog: pytest.LogCaptureFixture) -> None:
    def handle(body: bytes) -> None:
        raise TypeError

    async with serving(handle, max_deliver=1, dead_letter="dead") as bench:
        bench.broker.most = 600
        sent = (b"x" * 590, {"Trace": "1"}), (b"y", {"Much": "y" * 600}), (b"z" * 590, {"Much": "y" * 600})
        for number, (body, headers) in enumerate(sent, 1):
            await bench.send(body, headers)
            await bench.until(lambda c, number=number: c.dead == number)  # type: ignore[misc]
        letters = await bench.broker.letters()
        bench.broker.most = 10
        await bench.send(b"")
        await bench.until(lambda c: c.lost == 1)
    kept = [(letter.body, *_left_out(letter)) for letter in letters]
    assert kept == [(b"", "590", None), (b"y", None, "1"), (b"", "590", "1")]
    assert [(letter.headers or {}).get("Trace") for letter in letters] == ["1", None, None]
    for said in ("its body,", "its sender's headers,", "its sender's headers and its body,"):
        assert f"dead without {said}" in caplog.text
    assert "too large for a dead letter" in caplog.text
    with pytest.raises(ValueError, match="its body of 590 bytes"):
        resent(letters[0], ["orders"], "1")
    assert resent(letters[1], ["orders"], "2")[:3] == ("orders", b"y", None)


def _left_out(letter: Message) -> tuple[str | None, str | None]:
    headers = letter.headers or {}
    return headers.get("Wasmplex-Body-Left-Out"), headers.get("Wasmplex-Headers-Left-Out")


def test_no_header_of_a_sender_passes_for_one_of_the_host() -> None:
    class Given:
        message = Message(
            "orders", b"x", None, {"Wasmplex-Reply-To": "$JS.API", "wasmplex-error": "none", "Trace": "1"}
        )
        tries, first_seen = 1, 0.0

    letter = dead_letter(Given(), "dead", "shop", "rejected", None)  # type: ignore[arg-type]
    assert not {"Wasmplex-Reply-To", "wasmplex-error"} & (letter.headers or {}).keys()
    again = resent(letter, ["*"], "1")
    headers = dict(again.headers or {})
    assert headers.pop("Wasmplex-Letter") != (resent(letter, ["*"], "2").headers or {})["Wasmplex-Letter"]
    first_seen = {"Wasmplex-First-Seen": "1970-01-01T00:00:00.000Z"}
    assert again._replace(headers=headers) == Message("orders", b"x", None, {"Trace": "1", **first_seen})


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("1970-01-01T00:00:01.500Z", "1970-01-01T00:00:01.500Z"),
        ("1970-01-01T02:00:01+02:00", "1970-01-01T00:00:01.000Z"),
        ("1970-01-01T00:00:03.000Z", "1970-01-01T00:00:02.000Z"),
        ("1970-01-01", "1970-01-01T00:00:02.000Z"),
        ("-1", "1970-01-01T00:00:02.000Z"),
        ("0001-01-01T00:00:00+01:00", "1970-01-01T00:00:02.000Z"),
        ("9999-12-31T23:59:59-01:00", "1970-01-01T00:00:02.000Z"),
    ],
)
def test_a_letter_that_was_sent_again_was_first_seen_before_that(said: str, told: str) -> None:
    """Whoever may send can write a header; no message was seen after its delivery."""

    class Given:
        message = Message("orders", b"x", None, {"Wasmplex-First-Seen": said})
        tries, first_seen = 1, 2.0

    letter = dead_letter(Given(), "dead", "shop", "rejected", None)  # type: ignore[arg-type]
    assert (letter.headers or {})["Wasmplex-First-Seen"] == told


@pytest.mark.parametrize(
    ("said", "told"),
    [("für später 📦", "für später 📦"), ("a\nb\x1b", "a b\\x1b"), ("ü" * 501, "ü" * 499 + "…")],
)
def test_the_error_of_a_letter_is_in_the_words_of_the_handler(said: str, told: str) -> None:
    class Given:
        message, tries, first_seen = Message("orders", b"x"), 1, 2.0

    error = HandlerFailed(said)
    letter = dead_letter(Given(), "dead", "shop", "rejected", error)  # type: ignore[arg-type]
    assert (letter.headers or {})["Wasmplex-Error"] == told


# ---------------------------------------------------------------- several in one go


async def test_a_quick_handler_gets_several_messages_in_one_go() -> None:
    handler = Each(lambda body: None)
    async with serving(handler, max_in_flight=8) as bench:
        for number in range(200):
            await bench.send(b"%d" % number)
        await bench.until(lambda c: c.handled == 200)
    assert bench.intake.counts == Counts(delivered=200, handled=200)
    assert max(handler.sizes) == 10, "as many as the instance may serve yet"
    assert sum(handler.sizes) == 200
    assert handler.sizes.count(1) < 8, "who has the first turn takes what the others wait with"


async def test_large_messages_are_taken_one_at_a_time() -> None:
    handler = Each(lambda body: None)
    async with serving(handler, max_in_flight=8) as bench:
        for _ in range(40):
            await bench.send(bytes(1 << 16))
        await bench.until(lambda c: c.handled == 40)
    assert bench.shop.served == []
    assert handler.sizes == 40 * [1]


async def test_of_several_only_the_one_that_failed_is_repeated() -> None:
    seen: list[bytes] = []

    def handle(body: bytes) -> Exception | None:
        seen.append(body)
        if body == b"17":
            raise OSError("a trap")
        return HandlerFailed("again") if body == b"30" else None

    async with serving(Each(handle), max_deliver=2, dead_letter="dead") as bench:
        for number in range(100):
            await bench.send(b"%d" % number)
        await bench.until(lambda c: c.handled == 98 and c.dead == 2)
        letters = await bench.broker.letters()
    assert bench.intake.counts == Counts(delivered=102, handled=98, retried=2, dead=2)
    assert sorted(letter.body for letter in letters) == [b"17", b"30"]
    assert len(seen) == 102


@pytest.mark.parametrize("several", [False, True])
async def test_records_say_which_delivery_they_are_of(
    caplog: pytest.LogCaptureFixture, several: bool
) -> None:
    """The id that a message has, or one of the delivery, in what is logged of it from then on."""

    def handle(body: bytes) -> Exception | None:
        logger.warning("handles %s", body.decode())
        if body not in (b"3", b"4"):
            return None
        if several:
            return HandlerFailed("again")
        raise HandlerFailed("again")

    caplog.set_level("WARNING", "wasmplex")
    headers = {3: {"X-Request-Id": "order-3"}, 4: {"x-request-id": "no\tid"}}
    async with serving(Each(handle) if several else handle, max_in_flight=8, max_deliver=2) as bench:
        for number in range(40):
            await bench.send(b"%d" % number, headers.get(number))
        await bench.until(lambda c: c.handled == 38 and c.lost == 2)
    told: dict[str, list[str]] = {}
    for record in caplog.records:
        told.setdefault(record.request_id, []).append(record.getMessage())  # type: ignore[attr-defined]
    assert [bool(re.search("handles 3|failed|given up", text)) for text in told.pop("order-3")] == [True] * 4
    assert len(told) == 40, "but for that message: one each for 39, and for a second delivery"
    assert all(re.fullmatch("[0-9a-f]{16}", ident) for ident in told)
    assert sorted(len(texts) for texts in told.values()) == [1] * 38 + [2] * 2
    assert not bench.intake._origins._named


async def test_what_was_handled_before_a_pause_is_told_whatever_is_cancelled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun, told = list[int](), list[int]()

    async def slow(self: Deliveries, deliveries: Sequence[Any]) -> None:
        begun.append(len(deliveries))
        await anyio.sleep(0.05)
        told.append(len(deliveries))

    handler = Each(lambda body: None)
    bench = Bench(handler, max_in_flight=8)
    async with anyio.create_task_group() as tasks:
        await tasks.start(bench.intake.run)
        for number in range(100):
            await bench.send(b"%d" % number)
        await bench.until(lambda c: c.handled == 100)
        monkeypatch.setattr(_Breaking, "ack", slow)
        for body in (b"1", b"2", b"3", b"4", b"wait"):
            await bench.send(body)
        await bench.until(lambda c: bool(begun))
        tasks.cancel_scope.cancel()
    assert told == begun


async def test_messages_behind_one_that_waits_are_handled_by_others() -> None:
    handler = Each(lambda body: None)
    async with serving(handler) as bench:
        for number in range(100):
            await bench.send(b"%d" % number if number != 50 else b"wait")
        await bench.until(lambda c: c.handled == 99)
        handler.go_on.set()
        await bench.until(lambda c: c.handled == 100)
    assert bench.intake.counts == Counts(delivered=100, handled=100)


async def test_calls_of_little_time_do_not_share_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Shop, "timeout", 0.5)
    handler = Each(lambda body: None)
    async with serving(handler) as bench:
        for number in range(50):
            await bench.send(b"%d" % number)
        await bench.until(lambda c: c.handled == 50)
    assert set(handler.sizes) == {1}


async def test_no_more_go_to_an_instance_than_it_may_serve() -> None:
    handler = Each(lambda body: None)
    async with serving(handler, max_in_flight=16) as bench:
        for number in range(600):
            await bench.send(b"%d" % number)
        await bench.until(lambda c: c.handled == 600)
    assert max(handler.sizes) == Loan.calls_left


async def test_what_is_not_to_be_handled_is_not_handed_over_among_others() -> None:
    seen: list[bytes] = []
    async with serving(Each(seen.append), max_body=10, dead_letter="dead") as bench:
        for number in range(100):
            await bench.send(b"%d" % number if number % 7 else b"x" * 11)
        await bench.until(lambda c: c.handled + c.dead == 100)
    assert bench.intake.counts == Counts(delivered=85, handled=85, dead=15)
    assert b"x" * 11 not in seen


async def test_no_more_is_taken_than_is_about_to_be_handed_over() -> None:
    taken: list[int] = []
    handler = Each(lambda body: taken.append(len(bench.intake._out)))
    async with serving(handler, max_in_flight=16) as bench:
        for number in range(2000):
            await bench.send(b"%d" % number)
        await bench.until(lambda c: c.handled == 2000)
    assert max(handler.sizes) > 1
    assert max(taken) <= (EACH + 2) * 16, "one for each worker, and what one of them hands over"


async def test_a_subscription_that_has_nothing_ready_but_an_error_ends_no_call(
    caplog: pytest.LogCaptureFixture,
) -> None:
    handler = Each(lambda body: None)
    async with serving(handler, durable=True, max_in_flight=4, max_deliver=1) as bench:
        await bench.send(b"wait")
        for number in range(20):
            await bench.send(b"%d" % number)
        await bench.until(lambda c: c.handled == 20)
        bench.broker.unready.append(OSError("a driver's own"))
        for number in range(60):
            await bench.send(b"%d" % number)
        await bench.until(lambda c: not bench.broker.unready)
        handler.go_on.set()
        await bench.until(lambda c: c.handled == 81)
    assert bench.intake.counts == Counts(delivered=81, handled=81)
    assert "the subscription broke" in caplog.text


async def test_of_several_outcomes_those_after_one_that_cannot_be_told_are_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    handler = Each(lambda body: None)
    async with serving(handler) as bench:
        group = next(iter(bench.broker._space("n").groups.values()))[1]
        finish = group.finish

        def failing(held: Any) -> None:
            if held.message.body == b"50":
                raise OSError("a driver's own")
            finish(held)

        monkeypatch.setattr(group, "finish", failing)
        for number in range(100):
            await bench.send(b"%d" % number)
        await bench.until(lambda c: c.handled == 100 and c.unsettled > 0)
        assert len(group) == 1
        group.close()
    assert max(handler.sizes) > 1


async def test_what_was_delivered_too_often_is_handed_over_once_more(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nobody may have been called with it: what waits in a host that ends counts as delivered."""
    seen: list[bytes] = []
    async with serving(seen.append, dead_letter="dead") as bench:
        await bench.send(b"often")
        await bench.until(lambda c: c.handled == 1)
        assert "has had no outcome in 9 deliveries: the component is called a last time" in caplog.text
        await bench.until(lambda c: not bench.broker._spaces["n"].kept)
    assert seen == [b"often"]


@pytest.mark.parametrize("place", ["wasmplex.lastcalls.shop", "wasmplex.dead.shop.begun"])
async def test_with_what_a_last_call_was_begun_nobody_is_called_again(place: str) -> None:
    """Also if a host has noted it where they were among the dead letters."""
    seen: list[bytes] = []
    async with serving(seen.append, dead_letter="dead") as bench:
        await bench.broker.keep("n", Message(f"{place}.7", b""))
        await bench.send(b"often")
        await bench.until(lambda c: c.dead == 1)
        await bench.until(lambda c: [*bench.broker._spaces["n"].kept] == ["dead"])
    assert seen == []


async def test_who_looks_at_dead_letters_sees_no_notes(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[str] = []
    keep = Broker.keep

    async def noted(self: Broker, namespace: str, message: Message) -> None:
        kept.append(message.subject)
        await keep(self, namespace, message)

    monkeypatch.setattr(Broker, "keep", noted)
    async with serving(lambda body: None, durable=True) as bench:
        await bench.send(b"often")
        await bench.until(lambda c: c.handled == 1)
    assert kept == ["wasmplex.lastcalls.shop.7"]


async def test_who_is_not_called_for_want_of_an_instance_has_a_last_call_left() -> None:
    seen: list[bytes] = []
    async with serving(seen.append, dead_letter="dead") as bench:
        bench.shop.refusals = 3
        await bench.send(b"often")
        await bench.until(lambda c: c.handled == 1)
    assert seen == [b"often"]


@pytest.mark.parametrize("several", [False, True])
async def test_a_message_that_waits_for_its_dead_letter_is_not_handled_again(
    several: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[bytes] = []
    refusals = [BrokerUnavailable("full")] * 3
    keep = Broker.keep

    def refuse(body: bytes) -> Exception | None:
        seen.append(body)
        if several:
            return HandlerRejected("bad")
        raise HandlerRejected("bad")

    async def full(self: Broker, namespace: str, message: Message) -> None:
        if message.subject == "dead" and refusals:
            raise refusals.pop()
        await keep(self, namespace, message)

    monkeypatch.setattr(Broker, "keep", full)
    monkeypatch.setattr(_Often, "before", 0)
    async with serving(Each(refuse) if several else refuse, max_deliver=1, dead_letter="dead") as bench:
        await bench.send(b"often")
        await bench.until(lambda c: c.dead == 1)
        (letter,) = await bench.broker.letters()
    assert seen == [b"often"]
    assert "bad" in (letter.headers or {})["Wasmplex-Error"]
    assert "a last time" not in caplog.text


async def test_a_last_call_that_cannot_be_noted_is_not_made(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[bytes] = []
    keep = Broker.keep

    async def refuse(self: Broker, namespace: str, message: Message) -> None:
        if message.subject != "dead":
            raise MessageTooLarge("there is no room")
        await keep(self, namespace, message)

    monkeypatch.setattr(Broker, "keep", refuse)
    async with serving(seen.append, dead_letter="dead") as bench:
        await bench.send(b"often")
        await bench.until(lambda c: c.dead == 1)
        (letter,) = await bench.broker.letters()
    assert seen == []
    assert "cannot be noted: " in (letter.headers or {})["Wasmplex-Error"]
    assert "the component is called a last time" not in caplog.text


@pytest.mark.parametrize("asked", ["keep", "kept", "ack", "reject"])
async def test_a_broker_that_never_answers_keeps_nothing_from_being_handled(
    asked: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What it was asked is given up after `ack_wait`, which is said; then its calls are free for others."""
    unanswered: list[object] = []
    does = getattr(Delivered, asked, None)

    async def silence(*args: Any) -> None:
        unanswered.append(args)
        if does is not None:
            await does(*args)
        await anyio.sleep_forever()

    async def silent_notes(*args: Any) -> AsyncIterator[object]:
        await silence(*args)
        yield None

    def handle(body: bytes) -> None:
        if body == b"bad":
            raise HandlerRejected("no")

    async with serving(handle, dead_letter="dead", max_in_flight=2, ack_wait=1) as bench:
        with monkeypatch.context() as patched:
            if asked in ("ack", "reject"):
                patched.setattr(Delivered, asked, silence)
            else:
                patched.setattr(bench.broker, asked, silent_notes if asked == "kept" else silence)
            for _ in range(2):
                await bench.send({"kept": b"often", "ack": b"good"}.get(asked, b"bad"))
            await bench.until(lambda c: len(unanswered) == 2)
        for _ in range(10):
            await bench.send(b"good")
        await bench.until(lambda c: c.handled >= 10)
    assert "no answer" in caplog.text


async def test_what_brokers_and_workloads_say_in_several_lines_is_one(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ack = Delivered.ack

    async def fail(delivery: Delivered) -> None:
        await ack(delivery)
        raise Other("first\nsecond")

    async with serving(lambda body: None) as bench:
        bench.shop.refusals = 1
        with monkeypatch.context() as patched:
            patched.setattr(Delivered, "ack", fail)
            await bench.send(b"x")
            await bench.until(lambda c: c.unsettled == 1)
    messages = [record.getMessage() for record in caplog.records]
    assert any("wait for an instance: the workload is full" in message for message in messages)
    assert any("did not reach the broker: " in message and "first second" in message for message in messages)
    assert not any("\n" in message for message in messages)
