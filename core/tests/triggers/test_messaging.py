"""The trigger ``messaging``: what becomes of a message, with the broker in memory and real guests."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from host_plugin_memory import MemoryMessagingProvider, MemoryProvider
from host_plugin_memory.broker import MemoryBroker
from wasmplex.capabilities.messaging import Message, QuotaExceeded
from wasmplex.errors import UsageError
from wasmplex.host import Host
from wasmplex.plugin import OpenContext
from wasmplex.testing import Faulty, plugin
from wasmplex.triggers.messaging.counts import Counts
from wasmplex.triggers.messaging.outcomes import resent
from wasmplex.triggers.messaging.trigger import RunningMessaging

pytestmark = pytest.mark.anyio

GUESTS = Path(__file__).parents[3] / "tests" / "guests" / "built"
HOST = """
[workload.shop]
component = "{component}"
limits = {{ timeout = "20s" }}
default."{kv}:keyvalue" = {{ backend = "memory" }}
{imports}
trigger.messaging = {{ {trigger} }}
"""
FULL = os.environ.get("WASMPLEX_FAULTS") == "full"
BACKOFF = 1.0 if FULL else 0.1
"""Seconds until the second delivery, where they are measured."""
OWN = 'backend = "memory", namespace = "n", subjects = ["orders.>"], backoff = "20ms", max_in_flight = 4'


def configuration(guest: str = "handler", trigger: str = OWN, more: str = "") -> str:
    labels = {"handler": ("audit",), "handler-old": ("orders", "audit")}.get(guest, ())
    imports = "\n".join(f'import.{label} = {{ backend = "memory" }}' for label in labels)
    kv = "wasi" if guest == "handler-old" else "wasmcloud"
    return HOST.format(component=GUESTS / f"{guest}.wasm", kv=kv, imports=imports, trigger=trigger) + more


class Running:
    """A host that serves, and the broker that it shares with its tests."""

    def __init__(self, host: Host, broker: Any) -> None:
        self.host = host
        self.broker = broker

    @property
    def counts(self) -> Counts:
        trigger = self.host._running["messaging"]
        assert isinstance(trigger, RunningMessaging)
        return trigger.intakes[0].counts

    async def publish(self, body: bytes, subject: str = "orders.new", reply_to: str | None = None) -> None:
        await self.broker.publish("n", Message(subject, body, reply_to))

    async def until(self, done: Callable[[Counts], bool]) -> Counts:
        with anyio.fail_after(20):
            while not done(self.counts):  # noqa: ASYNC110  what is waited for is no event
                await anyio.sleep(0.005)
        return self.counts

    async def seen(self, key: bytes) -> int:
        store: Any = self.host.workload("shop").imports["wasmcloud:keyvalue/store@0.2.0"]
        bucket = await store["open"]("seen")
        return int(await bucket.get(key.decode()) or b"0")


@contextlib.asynccontextmanager
async def running(
    tmp_path: Path, text: str, broker: MemoryBroker | None = None, *, provider: Any = None
) -> AsyncIterator[Running]:
    broker = broker or MemoryBroker(MemoryMessagingProvider.settings(), MemoryMessagingProvider.features)
    (tmp_path / "host.toml").write_text(text)
    plugins = [plugin(MemoryProvider(), provider or Given(broker))]
    stop, ready = anyio.Event(), anyio.Event()
    async with Host.from_config(tmp_path, plugins=plugins) as host, anyio.create_task_group() as tasks:

        async def serve() -> None:
            await host.serve(stop, started=ready.set, drain_timeout=10)

        tasks.start_soon(serve)
        with anyio.fail_after(10):
            await ready.wait()
        yield Running(host, broker)
        stop.set()


class Given(MemoryMessagingProvider):
    """Gives hosts a broker that a test has as well."""

    def __init__(self, broker: Any) -> None:
        self._broker = broker

    async def open(self, settings: Any, context: OpenContext) -> Any:
        return self._broker


@pytest.mark.parametrize("guest", ["handler", "handler-old"])
async def test_a_handler_is_called_with_each_message(tmp_path: Path, guest: str) -> None:
    async with running(tmp_path, configuration(guest)) as shop:
        for number in range(50):
            await shop.publish(b"%d" % number)
        counts = await shop.until(lambda c: c.handled == 50)
    assert (counts.delivered, counts.retried, counts.dead, counts.lost) == (50, 0, 0, 0)


async def test_what_the_answers_of_a_handler_mean(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """ok: ack. retry, other, a trap: again, then dead-lettered. reject: dead-lettered at once."""
    trigger = f'{OWN}, dead_letter = "dead", max_deliver = 3'
    bodies = (b"fine", b"twice", b"retry", b"other", b"trap", b"reject")
    async with running(tmp_path, configuration(trigger=trigger)) as shop:
        for body in bodies:
            await shop.publish(body)
        counts = await shop.until(lambda c: c.dead == 4 and c.handled == 2)
        tries = {body: await shop.seen(body) for body in bodies}
        letters = {kept.message.body: kept.message async for kept in shop.broker.kept("n", "dead")}
    assert tries == {b"fine": 1, b"twice": 2, b"retry": 3, b"other": 3, b"trap": 3, b"reject": 1}
    assert counts == Counts(delivered=13, handled=2, retried=7, dead=4)
    reasons = {body: (letter.headers or {})["Wasmplex-Reason"] for body, letter in letters.items()}
    assert reasons == {
        b"retry": "max-deliver",
        b"other": "max-deliver",
        b"trap": "max-deliver",
        b"reject": "rejected",
    }
    headers = letters[b"trap"].headers or {}
    assert headers["Wasmplex-Workload"] == "shop"
    assert headers["Wasmplex-Subject"] == "orders.new"
    assert headers["Wasmplex-Tries"] == "3"
    assert "trapped" in headers["Wasmplex-Error"]
    assert headers["Wasmplex-First-Seen"].endswith("Z")
    assert resent(letters[b"trap"], ["orders.*"], "1")[:3] == ("orders.new", b"trap", None)
    assert "after 1 delivery (rejected)" in caplog.text
    assert "the guest trapped; at: " in caplog.text
    assert "; at: " in headers["Wasmplex-Error"]
    told = [record for record in caplog.records if record.name == "wasmplex.messaging"]
    assert {record.__dict__["workload"] for record in told} == {"shop"}
    assert {record.getMessage().partition(": ")[0] for record in told} == {"orders.>"}  # not whose once more
    assert "\\n" not in caplog.text  # what line breaks are escaped to


async def test_the_deliveries_of_a_message_are_ever_further_apart(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trigger = OWN.replace('"20ms"', f'"{round(BACKOFF * 1000)}ms"') + ", max_deliver = 4"
    async with running(tmp_path, configuration(trigger=trigger)) as shop:
        await shop.publish(b"retry")
        await shop.until(lambda c: c.lost == 1)
    times = [record.created for record in caplog.records if "a message to" in record.getMessage()]
    pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
    for pause, wanted in zip(pauses, (BACKOFF, 2 * BACKOFF, 4 * BACKOFF), strict=True):
        assert pause >= wanted - 0.01
        assert not FULL or pause <= 1.2 * wanted


async def test_a_handler_that_loops_is_ended_and_called_again(tmp_path: Path) -> None:
    text = configuration(trigger=f"{OWN}, max_deliver = 2").replace('"20s"', '"200ms"')
    async with running(tmp_path, text) as shop:
        await shop.publish(b"loop")
        await shop.publish(b"fine")
        counts = await shop.until(lambda c: c.lost == 1 and c.handled == 1)
    assert counts == Counts(delivered=3, handled=1, retried=1, lost=1)


async def test_an_answer_goes_to_the_broker_that_asked(tmp_path: Path) -> None:
    """The handler answers through `audit`, which is another namespace."""
    for guest in ("handler", "handler-old"):
        async with running(tmp_path, configuration(guest)) as shop:
            answer = await shop.broker.request("n", Message("orders.ask", b"hello"), 5)
            assert answer.body == b"hello"


async def test_the_newest_of_two_handlers_is_called(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with running(tmp_path, configuration("handler-both")) as shop:
        await shop.publish(b"x")
        await shop.until(lambda c: c.handled == 1)
        assert await shop.seen(b"new") == 1
    assert "the newest is called" in caplog.text


async def test_a_body_over_the_limit_is_a_dead_letter(tmp_path: Path) -> None:
    trigger = f'{OWN}, max_body = "10", dead_letter = "dead"'
    async with running(tmp_path, configuration(trigger=trigger)) as shop:
        await shop.publish(b"x" * 11)
        await shop.publish(b"x" * 10)
        counts = await shop.until(lambda c: c.dead == 1 and c.handled == 1)
        assert counts.delivered == 1
        letters = [kept.message async for kept in shop.broker.kept("n", "dead")]
    assert [(letter.headers or {})["Wasmplex-Reason"] for letter in letters] == ["message-too-large"]


async def test_a_dead_letter_that_cannot_be_kept_leaves_the_message(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    broker = MemoryBroker(MemoryMessagingProvider.settings(), MemoryMessagingProvider.features)
    faulty = Faulty(Given(broker), name="memory")
    faulty.at("keep", QuotaExceeded("full"), times=1)
    text = configuration(trigger=f'{OWN}, dead_letter = "dead"')
    async with running(tmp_path, text, broker, provider=faulty) as shop:
        await shop.publish(b"reject")
        counts = await shop.until(lambda c: c.dead == 1)
    assert counts.delivered == 2
    assert " 1 dead letter, 0 lost" in caplog.text


async def test_draining_finishes_what_was_taken_and_loses_nothing(tmp_path: Path) -> None:
    async with running(tmp_path, configuration(trigger=OWN.replace("= 4", "= 2"))) as shop:
        for number in range(200):
            await shop.publish(b"%d" % number)
        counts = shop.counts
    assert counts.handled == 200


async def test_no_more_calls_run_than_allowed_and_publishers_wait(tmp_path: Path) -> None:
    broker = MemoryBroker(MemoryMessagingProvider.settings(max_messages=20), MemoryMessagingProvider.features)
    trigger = OWN.replace("= 4", "= 3")
    async with running(tmp_path, configuration(trigger=trigger), broker) as shop:
        most = 0
        for number in range(300):
            await shop.publish(b"%d" % number)
            most = max(most, shop.host.workload("shop").statistics().live)
        counts = await shop.until(lambda c: c.handled == 300)
    assert most <= 3
    assert counts.lost == counts.dead == 0


async def test_order_where_it_is_asked_for(tmp_path: Path) -> None:
    async with running(tmp_path, configuration(trigger=f"{OWN}, ordered = true")) as shop:
        for body in (b"twice", b"1", b"2"):
            await shop.publish(body)
        counts = await shop.until(lambda c: c.handled == 3)
    assert counts.delivered == 4


@pytest.mark.parametrize(
    ("trigger", "said"),
    [
        ('backend = "memory"', "subjects"),
        ('backend = "memory", subjects = []', "subjects"),
        ('backend = "memory", subjects = ["a..b"]', "a token of the pattern is empty"),
        ('backend = "memory", subjects = ["a b"]', "space"),
        ('backend = "memory", subjects = ["a.>.b"]', "not the last token"),
        ('backend = "memory", subjects = ["a"], dead_letter = "a.*"', "wildcard"),
        ('backend = "memory", subjects = ["a", "b.>"], dead_letter = "b.c"', "go to b.c, which it handles"),
        ('backend = "memory", subjects = ["*.*.shop"], durable = true', "go to wasmplex.dead.shop"),
        ('backend = "memory", subjects = ["a"], broadcast = true, durable = true', "exclude each other"),
        ('backend = "memory", subjects = ["a"], durable = true, start = "first"', "does not support history"),
        ('backend = "memory", subjects = ["a"], start = "first"', "needs durable"),
        ('backend = "sqlite", subjects = ["a"]', "messaging"),
        ('through = "audit", subjects = ["a"], backend = "memory"', "names a backend"),
        ('through = "nobody", subjects = ["a"]', "nobody"),
        ('subjects = ["a"]', "without a label"),
        ('backend = "memory", subject = ["a"]', "subject"),
        ('backend = "memory", subjects = ["a"], durable = "true"', "did you mean durable = true?"),
        ('through = "audit", subjects = ["a"], max_messages = 5', "write it where the backend is named: at "),
    ],
)
async def test_what_a_table_must_not_say(tmp_path: Path, trigger: str, said: str) -> None:
    (tmp_path / "host.toml").write_text(configuration(trigger=trigger))
    with pytest.raises(UsageError) as error:
        async with Host.from_config(tmp_path):
            pass
    assert said in str(error.value)
    assert "host.toml:" in str(error.value)


async def test_a_component_without_a_handler(tmp_path: Path) -> None:
    text = (
        f'[workload.shop]\ncomponent = "{GUESTS / "courier.wasm"}"\nimport.kit = {{ backend = "memory" }}\n'
    )
    (tmp_path / "host.toml").write_text(text + f"trigger.messaging = {{ {OWN} }}\n")
    with pytest.raises(UsageError, match=r"wasmcloud:messaging/handler@0\.3\.0"):
        async with Host.from_config(tmp_path):
            pass


async def test_two_tables_cannot_claim_one_durable_name(tmp_path: Path) -> None:
    table = f'{{ {OWN}, durable = "same" }}'
    text = configuration().replace(f"{{ {OWN} }}", f"[{table}, {table}]")
    (tmp_path / "host.toml").write_text(text)
    with pytest.raises(UsageError, match="two tables of workload shop claim the durable name 'same'"):
        async with Host.from_config(tmp_path):
            pass


async def test_two_workloads_cannot_claim_one_durable_name(tmp_path: Path) -> None:
    more = HOST.replace("workload.shop", "workload.store").format(
        component=GUESTS / "handler.wasm",
        kv="wasmcloud",
        imports='import.audit = { backend = "memory" }',
        trigger=f'{OWN}, durable = "same"',
    )
    text = configuration(trigger=f'{OWN}, durable = "same"', more=more)
    (tmp_path / "host.toml").write_text(text)
    with pytest.raises(UsageError, match="claim the durable name 'same'") as error:
        async with Host.from_config(tmp_path):
            pass
    assert "host.toml:" in str(error.value)
