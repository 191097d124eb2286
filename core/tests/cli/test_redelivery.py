"""``wasmplex messages dead --redeliver`` that is ended before its time: what it says of what was done."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from host_plugin_memory import MemoryMessagingProvider
from host_plugin_memory.broker import MemoryBroker
from wasmplex.capabilities.messaging import AccessDenied, BrokerUnavailable, Kept, Message, MessagingError
from wasmplex.cli import output, paging, resending

Cli = Callable[..., Any]

GUESTS = Path(__file__).parents[3] / "tests" / "guests" / "built"
HOST = f"""
[workload.shop]
component = "{GUESTS}/handler.wasm"
default."wasmcloud:keyvalue" = {{ backend = "memory" }}
import.audit = {{ backend = "memory" }}

[workload.shop.trigger.messaging]
backend = "memory"
subjects = ["orders"]
namespace = "n"
dead_letter = "dead"
durable = true
"""
DEAD = ("messages", "dead", "host.toml", "shop")


class Broker(MemoryBroker):
    """The broker in memory, which goes on when a command ends, and fails as it is told to.

    :ivar failures: what the next removals raise
    :ivar lost_after: how many messages it takes before it is lost
    :ivar lists: how many letters it lists before it is lost
    """

    def __init__(self) -> None:
        super().__init__(MemoryMessagingProvider.settings(), MemoryMessagingProvider.features)
        self.sent: list[Message] = []
        self.failures: list[Exception] = []
        self.lost_after = self.lists = 1000

    async def close(self) -> None: ...

    async def publish(self, namespace: str, message: Message) -> None:
        if message.subject != "dead":  # else it is kept
            if len(self.sent) == self.lost_after:
                raise BrokerUnavailable("the connection is lost")
            self.sent.append(message)
        await super().publish(namespace, message)

    async def remove(self, namespace: str, subject: str, token: str) -> None:
        if self.failures:
            raise self.failures.pop()
        await super().remove(namespace, subject, token)

    async def kept(self, namespace: str, subject: str) -> AsyncIterator[Kept]:
        listed = 0
        async for letter in super().kept(namespace, subject):
            if listed == self.lists:
                raise BrokerUnavailable("the connection is lost")
            listed += 1
            yield letter

    async def left(self) -> list[str]:
        return [letter.token async for letter in self.kept("n", "dead")]


@pytest.fixture
def broker(home: Path, monkeypatch: pytest.MonkeyPatch) -> Broker:
    """A broker with three letters."""
    broker = Broker()

    async def given(*args: Any) -> Broker:
        return broker

    async def letters() -> None:
        for number in range(3):
            await broker.keep("n", Message("dead", b"%d" % number, None, {"Wasmplex-Subject": "orders"}))

    anyio.run(letters)
    monkeypatch.setattr(MemoryMessagingProvider, "open", given)
    monkeypatch.setattr(MemoryMessagingProvider, "in_process", False)
    (home / "host.toml").write_text(HOST)
    return broker


def test_a_removal_is_tried_again(cli: Cli, broker: Broker) -> None:
    broker.failures = [BrokerUnavailable("not now")] * 2
    ended = cli(*DEAD, "--redeliver")
    assert (ended.code, ended.err) == (0, "")
    assert [message.body for message in broker.sent] == [b"0", b"1", b"2"]
    assert anyio.run(broker.left) == []


@pytest.mark.parametrize("error", [AccessDenied, BrokerUnavailable])
def test_what_was_sent_and_cannot_be_removed_is_named_and_can_be_removed_later(
    cli: Cli, broker: Broker, monkeypatch: pytest.MonkeyPatch, error: type[MessagingError]
) -> None:
    monkeypatch.setattr(resending, "_PATIENCE", 0.3)
    first, second, third = anyio.run(broker.left)
    broker.failures = [error("removing is not possible")] * 1000
    ended = cli(*DEAD, "--redeliver")
    assert ended.code == 1
    assert f"the dead letter {first} in dead was sent again, and is still there" in ended.err
    assert "removing is not possible" in ended.err
    assert f"try: wasmplex messages dead host.toml shop --remove dead {first}" in ended.err
    assert [message.body for message in broker.sent] == [b"0"], "the next ones would be sent twice as well"

    broker.failures = []
    ended = cli(*DEAD, "--remove", "dead", first)
    assert ended.code == 0
    assert ended.out.splitlines()[-1] == "1 removed"
    assert anyio.run(broker.left) == [second, third]
    assert len(broker.sent) == 1, "removed alone"
    cli(*DEAD, "--redeliver")
    assert [message.body for message in broker.sent] == [b"0", b"1", b"2"]


def test_of_a_broker_that_is_lost_it_is_said_what_it_had(cli: Cli, broker: Broker) -> None:
    broker.lost_after = 1
    second = anyio.run(broker.left)[1]
    ended = cli(*DEAD, "--redeliver")
    assert ended.code == 1
    assert [line.split()[-1] for line in ended.out.splitlines()[1:]] == ["0"]
    assert f"nobody says whether the dead letter {second} in dead was sent again" in ended.err
    assert "the connection is lost" in ended.err
    assert "1 dead letter was sent again\n" in ended.err


def test_what_standard_output_does_not_take_is_said_elsewhere(
    cli: Cli, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paging, "_PAGE", 1)
    first, second, _ = anyio.run(broker.left)

    def broken(*_: object, **__: object) -> None:
        raise output.OutputError(BrokenPipeError(32, "Broken pipe"))

    monkeypatch.setattr(paging, "echo_table", broken)
    ended = cli(*DEAD, "--redeliver")
    assert ended.code == 1
    assert "2 dead letters were sent again that standard output does not name" in ended.err
    assert f"  {first} in dead\n  {second} in dead\n" in ended.err
    assert len(broker.sent) == 2


@pytest.mark.parametrize("asked", [(), ("--json",), ("--remove", "dead", "no")])
def test_a_listing_that_fails_says_nothing_of_sending(
    cli: Cli, broker: Broker, asked: tuple[str, ...]
) -> None:
    broker.lists = 2
    ended = cli(*DEAD, *asked)
    assert ended.code == 1
    assert "the connection is lost" in ended.err + ended.out
    assert "sent again" not in ended.err + ended.out


def test_a_listing_that_is_not_read_to_its_end_says_nothing_of_sending(
    cli: Cli, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paging, "_PAGE", 1)
    taken = 0

    def once(*_: object, **__: object) -> None:
        nonlocal taken
        taken += 1
        if taken > 1:
            raise output.OutputError(BrokenPipeError(32, "Broken pipe"))

    monkeypatch.setattr(paging, "echo_table", once)
    ended = cli(*DEAD)
    assert ended.code == 1
    assert "sent again" not in ended.err


def test_what_is_to_be_removed_has_to_be_there(cli: Cli, broker: Broker) -> None:
    first, *_ = anyio.run(broker.left)
    for subject, token in (("dead", "no"), ("elsewhere", first)):
        ended = cli(*DEAD, "--remove", subject, token)
        assert ended.code == 1
        assert f"shop has no dead letter {token} in {subject}" in ended.err
    assert len(anyio.run(broker.left)) == 3
    ended = cli(*DEAD, "--redeliver", "--remove", "dead", first)
    assert ended.code == 2
    record, *_ = json.loads(cli(*DEAD, "--json").out)
    assert (record["kept_in"], record["id"]) == ("dead", first)


def test_a_letter_says_which_it_was_so_that_a_stream_keeps_it_once(cli: Cli, broker: Broker) -> None:
    cli(*DEAD, "--redeliver")
    names = [(message.headers or {})["Wasmplex-Letter"] for message in broker.sent]
    assert len({*names}) == 3
