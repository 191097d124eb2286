"""``wasmplex messages dead``: what is listed, what is sent again, and what has to stay."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from host_plugin_memory import MemoryMessagingProvider
from host_plugin_memory.broker import MemoryBroker
from wasmplex.capabilities.messaging import Delivery, Message
from wasmplex.cli import paging
from wasmplex.escaping import escape
from wasmplex.triggers.messaging.outcomes import LETTER, dead_letter, without_body

Cli = Callable[..., Any]

GUESTS = Path(__file__).parents[3] / "tests" / "guests" / "built"
KEPT = 'namespace = "n", dead_letter = "dead", durable = true'
HOST = f"""
[workload.shop]
component = "{GUESTS}/handler.wasm"
default."wasmcloud:keyvalue" = {{ backend = "memory" }}
import.audit = {{ backend = "memory" }}
trigger.messaging = {{ backend = "memory", subjects = ["orders"], {KEPT} }}
"""


class Broker(MemoryBroker):
    """The broker in memory, which goes on when a command ends; it notes what is published again."""

    def __init__(self) -> None:
        super().__init__(MemoryMessagingProvider.settings(), MemoryMessagingProvider.features)
        self.sent: list[Message] = []

    async def close(self) -> None: ...

    async def publish(self, namespace: str, message: Message) -> None:
        if message.subject != "dead":
            headers = {name: text for name, text in (message.headers or {}).items() if name != LETTER}
            self.sent.append(message._replace(headers=headers or None))
        await super().publish(namespace, message)


class Given(Delivery):
    async def ack(self) -> None: ...
    async def retry(self, after: float) -> None: ...
    async def reject(self) -> None: ...


@pytest.fixture
def broker(home: Path, monkeypatch: pytest.MonkeyPatch) -> Broker:
    """A broker with a letter that was too large, and one that was not, after it."""
    broker = Broker()

    async def given(*args: Any) -> Broker:
        if not broker._spaces:
            for body in (b"large", b"small"):
                letter = dead_letter(
                    Given(Message("orders", body, "inbox.1"), 5, 0.0), "dead", "shop", "max-deliver", None
                )
                await broker.keep("n", without_body(letter) if body == b"large" else letter)
        return broker

    monkeypatch.setattr(MemoryMessagingProvider, "open", given)
    monkeypatch.setattr(MemoryMessagingProvider, "in_process", False)
    (home / "host.toml").write_text(HOST)
    return broker


def test_what_was_kept_without_its_body_stays_and_the_others_are_sent(cli: Cli, broker: Broker) -> None:
    listed = json.loads(cli("messages", "dead", "host.toml", "shop", "--json").out)
    assert [(row["body"], row["tries"], row["reason"]) for row in listed] == [
        (None, 5, "max-deliver"),
        ("small", 5, "max-deliver"),
    ]
    ended = cli("messages", "dead", "host.toml", "shop", "--redeliver")
    assert ended.code == 1
    assert "1 of 2 dead letters in dead cannot be sent again" in ended.err
    assert "its body of 5 bytes was too large to be kept" in ended.err
    first_seen = {"Wasmplex-First-Seen": "1970-01-01T00:00:00.000Z"}
    assert broker.sent == [Message("orders", b"small", "inbox.1", first_seen)]
    left = json.loads(cli("messages", "dead", "host.toml", "shop", "--json").out)
    assert [row["body"] for row in left] == [None]


def listed(cli: Cli, broker: Broker, body: bytes, error: str = "") -> tuple[dict[str, Any], str]:
    """Return what is told of a letter that is kept: as JSON, and in the table."""
    cli("messages", "dead", "host.toml", "shop")  # else the broker gets letters when it is opened first
    sent = Message("orders", body, None, {"Trace": "1"})
    letter = dead_letter(Given(sent, 3, 1.5), "dead", "shop", "rejected", Exception(error))
    anyio.run(broker.keep, "n", letter)
    found: list[dict[str, Any]] = json.loads(cli("messages", "dead", "host.toml", "shop", "--json").out)
    return found[-1], cli("messages", "dead", "host.toml", "shop").out.splitlines()[-1]


def test_programs_are_told_all_of_a_letter(cli: Cli, broker: Broker) -> None:
    body, error = "ä" * 1000, "f\u00fcr sp\u00e4ter " * 9
    record, _ = listed(cli, broker, body.encode(), error)
    headers = record.pop("headers")
    assert isinstance(record.pop("id"), str)
    assert record.pop("kept_in") == "dead"
    assert record == {
        "workload": "shop", "seen": "1970-01-01T00:00:01.500Z", "subject": "orders", "reason": "rejected",
        "tries": 3, "error": error.strip(), "size": 2000, "encoding": "utf-8", "body": body,
    }  # fmt: skip
    assert (headers["Trace"], headers["Wasmplex-Tries"]) == ("1", "3")
    left_out = json.loads(cli("messages", "dead", "host.toml", "shop", "--json").out)[0]
    assert (left_out["size"], left_out["encoding"], left_out["body"]) == (5, None, None)


def test_bytes_that_are_no_text_are_told_from_a_text_that_shows_them(cli: Cli, broker: Broker) -> None:
    record, line = listed(cli, broker, b"\xff\x00")
    assert (record["encoding"], base64.b64decode(record["body"])) == ("base64", b"\xff\x00")
    assert "2 bytes: ff 00" in line
    record, line = listed(cli, broker, b"\\xff")
    assert (record["encoding"], record["body"]) == ("utf-8", "\\xff")
    assert line.endswith("  \\xff")


@pytest.mark.parametrize(
    ("body", "shown"),
    [("ä" * 40, "ä" * 40), ("ä" * 41, "ä" * 39 + "…"), ("ab" + "€" * 50, "ab" + "€" * 37 + "…")],
)
def test_the_table_says_where_it_has_cut(cli: Cli, broker: Broker, body: str, shown: str) -> None:
    _, line = listed(cli, broker, body.encode(), "e" * 61)
    assert line.split()[-2:] == ["e" * 59 + "…", shown]


def test_large_letters_are_printed_one_by_one(
    cli: Cli, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paging, "_PAGE_SIZE", 4)
    record, _ = listed(cli, broker, b"x" * 100)
    assert record["body"] == "x" * 100


def test_letters_of_tables_that_share_a_place_are_told_once_and_go_to_no_other_subject(
    cli: Cli, broker: Broker, home: Path
) -> None:
    """Whoever may publish to where they are kept may have made them."""
    more = f', {{ backend = "memory", subjects = ["*.b"], {KEPT} }}]'.replace("true", '"b"')
    text = HOST.strip().replace("trigger.messaging = {", "trigger.messaging = [{") + more
    (home / "host.toml").write_text(text)
    for subject, reply_to, workload in (
        ("a.b", "no subject", "shop"), ("a.b", "in", "store"), ("c", "in", "shop"), ("$SYS.b", "in", "shop"),
        ("a .b", "in", "shop"),
    ):  # fmt: skip
        said = {"Subject": subject, "Reply-To": reply_to, "Workload": workload}
        headers = {f"Wasmplex-{name}": text for name, text in said.items()}
        anyio.run(broker.keep, "n", Message("dead", b"", None, headers))
    ended = cli("messages", "dead", "host.toml", "shop", "--redeliver")
    assert "3 of 4 dead letters in dead cannot be sent again" in ended.err
    assert broker.sent == [Message("a.b", b"")]


@pytest.mark.parametrize("args", [[], ["--json"], ["--redeliver"]])
def test_nothing_of_a_message_begins_a_line_or_reaches_a_terminal(
    cli: Cli, broker: Broker, args: list[str]
) -> None:
    hostile = "a\x1b[2J\nb\u2028\u202ec"
    headers = {f"Wasmplex-{name}": hostile for name in ("First-Seen", "Subject", "Reason", "Tries", "Error")}
    anyio.run(broker.keep, "n", Message("dead", hostile.encode(), None, headers))
    ended = cli("messages", "dead", "host.toml", "shop", *args)
    said = ended.out + ended.err
    assert escape(said, keep="\n") == said
    assert "a\\x1b[2J\\nb" in said or args
    if args == ["--json"]:
        assert json.loads(ended.out)[-1]["error"] == hostile


def test_what_nobody_would_keep_is_sent_by_force_alone(cli: Cli, broker: Broker, home: Path) -> None:
    (home / "host.toml").write_text(HOST.replace(", durable = true", ""))
    ended = cli("messages", "dead", "host.toml", "shop", "--redeliver")
    assert ended.code == 1
    assert "2 of 2 dead letters in dead cannot be sent again" in ended.err
    assert "without durable nobody keeps a message to orders" in ended.err
    assert "--force" in ended.err
    assert (broker.sent, ended.out) == ([], "")
    ended = cli("messages", "dead", "host.toml", "shop", "--redeliver", "--force")
    assert "1 of 2 dead letters in dead cannot be sent again" in ended.err
    assert [message.body for message in broker.sent] == [b"small"]
    ended = cli("messages", "dead", "host.toml", "shop", "--force")
    assert ended.code == 2
    assert "--redeliver --force" in ended.err


def test_of_tables_that_share_a_place_all_have_to_be_durable(cli: Cli, broker: Broker, home: Path) -> None:
    more = ', { backend = "memory", namespace = "n", subjects = ["orders"], dead_letter = "dead" }]'
    (home / "host.toml").write_text(
        HOST.strip().replace("trigger.messaging = {", "trigger.messaging = [{") + more
    )
    ended = cli("messages", "dead", "host.toml", "shop", "--redeliver")
    assert "2 of 2 dead letters in dead cannot be sent again" in ended.err
    assert broker.sent == []


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5])
def test_many_letters_are_shown_by_the_page(
    cli: Cli, broker: Broker, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    async def letters() -> None:
        broker._space("n").kept.clear()
        for number in range(count):
            await broker.keep("n", Message("dead", b"%d" % number, None, {"Wasmplex-Subject": "orders"}))

    cli("messages", "dead", "host.toml", "shop")  # else the broker gets letters when it is opened first
    anyio.run(letters)
    monkeypatch.setattr(paging, "_PAGE", 2)
    bodies = [str(number) for number in range(count)]
    text = cli("messages", "dead", "host.toml", "shop", "--json").out
    assert [row["body"] for row in json.loads(text)] == bodies
    assert text == json.dumps(json.loads(text), indent=2) + "\n"
    said = cli("messages", "dead", "host.toml", "shop", "--redeliver").out.splitlines()
    if count:
        assert [line.split()[-1] for line in said if line.startswith("orders")] == bodies
        assert said[-1] == f"{count} sent again"
    else:
        assert said == ["shop has no dead letters"]


def test_what_is_sent_to_a_durable_subscription_is_kept_though_no_host_has_made_it(
    cli: Cli, broker: Broker, home: Path
) -> None:
    cli("messages", "dead", "host.toml", "shop")
    assert not broker._spaces["n"].groups, "nothing is made to list them"
    cli("messages", "dead", "host.toml", "shop", "--redeliver")
    (made,) = broker._spaces["n"].groups.values()
    assert made[1].durable
    assert broker._room.most_messages - broker._room.messages == 1


def test_of_a_broker_that_keeps_nothing_it_is_said_where_the_letters_are(cli: Cli, broker: Broker) -> None:
    broker.features = broker.features - {"dead-letters"}
    ended = cli("messages", "dead", "host.toml", "shop")
    assert ended.code == 1
    assert "no dead letters are kept in dead" in ended.err
    assert "a NATS server without JetStream: who listened has had them" in ended.err
