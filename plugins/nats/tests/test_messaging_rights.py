"""NATS as a broker for users who may not do everything: what is missing is said, and nobody waits for it."""

from __future__ import annotations

import logging
import os
import re
import signal
import traceback
from pathlib import Path

import anyio
import pytest
from host_plugin_nats import jetstream
from host_plugin_nats.broker import NatsBroker
from host_plugin_nats.delivery import DurableDelivery
from host_plugin_nats.rights import refused_in
from nats.errors import Error
from wasmplex.capabilities.messaging import AccessDenied, Delivery, Message, Subscription
from wasmplex.plugin import ConfigError
from wasmplex.testing.servers import NatsServer

from .brokers import durable, heard, opened, refused, until, user_who

pytestmark = pytest.mark.anyio


async def allow(nats: NatsServer, before: str, now: str = 'publish: { allow: ">" }') -> None:
    """Give the user other rights, also by the connection that is there."""
    file, done = nats.folder / "nats.conf", "Reloaded server configuration"
    text, times = file.read_text(), nats.log().count(done)
    assert before in text
    file.write_text(text.replace(before, now))
    assert nats.pid is not None
    os.kill(nats.pid, signal.SIGHUP)
    await until(lambda: nats.log().count(done) > times)


@pytest.mark.parametrize("group", ["workers", None])
@pytest.mark.parametrize("pattern", ["Orders.*", 'Orders."new".>', "Orders.a\\b", "Orders.\u00a0"])
async def test_a_subscription_that_the_server_refuses_is_none(group: str | None, pattern: str) -> None:
    """It was taken for confirmed, and nothing ever came."""
    with user_who('subscribe: { deny: "Orders.>" }') as (url, _, _):
        async with opened(url) as broker:
            denied = re.escape(f"no right to subscribe to {pattern}")
            with anyio.fail_after(20), pytest.raises(AccessDenied, match=denied):
                async with broker.subscribe("", Subscription("w", ("other", pattern), queue_group=group)):
                    pass
            async with broker.subscribe("", Subscription("w", ("other",), queue_group=group)) as inbox:
                await broker.publish("", Message("other", b"1"))
                assert len(await heard(inbox, 1)) == 1


async def test_a_right_that_is_taken_away_ends_the_subscription() -> None:
    with user_who('subscribe: [">"]') as (url, _, nats):
        async with opened(url) as broker, broker.subscribe("", Subscription("w", ("orders",))) as inbox:
            await broker.publish("", Message("orders", b"1"))
            assert len(await heard(inbox, 1)) == 1
            await allow(nats, 'subscribe: [">"]', 'subscribe: { deny: "orders" }')
            with anyio.fail_after(20), pytest.raises(AccessDenied, match="no right to subscribe to orders"):
                await inbox.next()


async def test_a_user_without_rights_to_jetstream_has_the_rest(caplog: pytest.LogCaptureFixture) -> None:
    """The broker did not open, and user and password were blamed."""
    may = 'publish: { deny: "$JS.>" }'
    with user_who(may) as (url, _, _), caplog.at_level(logging.INFO, "wasmplex"):
        async with opened(url) as broker:
            assert "durable" not in broker.features
            async with broker.subscribe("", Subscription("w", ("orders",))) as inbox:
                await broker.publish("", Message("orders", b"1"))
                assert len(await heard(inbox, 1)) == 1
            with pytest.raises(ConfigError, match=r"no right to publish to \$JS\.API\.INFO"):
                await broker.examine("", durable("d", "orders"))
    assert caplog.text.count("JetStream is not used") == 1


async def test_who_may_hear_no_answers_is_told_so_at_once() -> None:
    """It was said that the server does not answer."""
    with user_who('subscribe: { deny: "_INBOX.>" }') as (url, _, _):
        async with opened(url) as broker:
            await broker.publish("", Message("orders", b"1"))
            with (
                anyio.fail_after(5),
                pytest.raises(AccessDenied, match=r"no right to subscribe to _INBOX\.>"),
            ):
                await broker.request("", Message("ask", b""), 60)


@pytest.mark.parametrize(
    ("may", "domain", "fix"),
    [
        ('subscribe: { deny: "_INBOX.>" }', None, "let the user subscribe to _INBOX.>"),
        ('publish: { deny: "$JS.>" }', None, "let the user publish to $JS.API.> and $JS.ACK.>"),
        ('publish: { deny: "$JS.>" }', "hub", "let the user publish to $JS.hub.API.> and $JS.ACK.>"),
    ],
)
async def test_what_is_to_be_granted_is_what_is_missing(may: str, domain: str | None, fix: str) -> None:
    """Who may hear no answers was told to let the user publish."""
    with user_who(may) as (url, _, _), anyio.fail_after(20):
        async with opened(url, domain=domain) as broker:
            await refused(broker, durable("d", "orders"))
            with pytest.raises(ConfigError) as raised:
                await broker.examine("", durable("d", "orders"))
            assert [one.fix for one in raised.value.diagnostics] == [fix]


async def test_a_server_that_lets_nobody_in_is_no_missing_right() -> None:
    """JetStream counted as not there, for good, and the user as one without rights to it."""
    with user_who('publish: { allow: ">" }') as (url, _, nats), anyio.fail_after(60):
        async with opened(url) as broker:
            await allow(nats, "password: pw", "password: other")
            await until(lambda: not broker._link.is_up and broker._link.connection._denied)
            with pytest.raises(AccessDenied, match="the server refuses the credentials"):
                await broker._jetstream.prepare()
            assert broker._jetstream.denied is None


async def test_who_may_not_ask_for_jetstream_asks_no_more_while_only_publishing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The server had a line in its log every five seconds for as long as anything was published."""
    monkeypatch.setattr(jetstream, "LIFETIME", 0.0)
    may = 'publish: { deny: "$JS.>" }'
    with user_who(may) as (url, _, nats), anyio.fail_after(30):
        async with opened(url) as broker:
            for _ in range(5):
                await broker.publish("", Message("orders", b"1"))
            assert nats.log().count("Publish Violation") == 1
            await allow(nats, may)
            async with broker.subscribe("", durable("d", "orders")) as inbox:  # and who needs it asks
                await broker.publish("", Message("orders", b"1"))
                assert len(await heard(inbox, 1)) == 1
            assert "durable" in broker.features


async def test_a_message_that_may_not_be_published_is_an_error() -> None:
    with user_who('publish: { deny: "audit.>" }') as (url, _, _):
        async with opened(url) as broker:
            with pytest.raises(AccessDenied, match=r"no right to publish to audit\.A"):
                await broker.publish("", Message("audit.A", b"1"))
            await broker.publish("", Message("orders", b"1"))


@pytest.mark.parametrize(
    "denied", ["$JS.API.CONSUMER.MSG.NEXT.>", "$JS.ACK.>", "$JS.API.STREAM.CREATE.>", "$JS.API.STREAM.NAMES"]
)
async def test_a_durable_subscription_says_which_right_it_lacks(denied: str) -> None:
    """Without the first it waited for ever."""
    named = r"no right to publish to " + denied.removesuffix(">").replace("$", r"\$")

    async def handle_all(broker: NatsBroker) -> None:
        async with broker.subscribe("", durable("d", "orders")) as inbox:
            await broker.publish("", Message("orders", b"1"))
            while (delivery := await inbox.next()) is not None:
                await delivery.ack()

    with user_who(f'publish: {{ deny: "{denied}" }}') as (url, _, _), anyio.fail_after(30):
        async with opened(url) as broker:
            with pytest.raises((AccessDenied, ConfigError), match=named):
                await handle_all(broker)


MAY_NOT_ACK = 'publish: { deny: "$JS.ACK.>" }'
MAY_NOT_ACK_THIS = 'publish: { deny: ["$JS.ACK.*.d.>", "$JS.ACK.*.*.*.d.>"] }'
ACK_DENIED = r"no right to publish to \$JS\.ACK\."


async def handed(broker: NatsBroker, wanted: Subscription) -> list[Delivery]:
    """Take what a subscription hands over until it is refused, or nothing comes."""
    taken: list[Delivery] = []

    async def take() -> None:
        async with broker.subscribe("", wanted) as inbox:
            with anyio.move_on_after(5):
                while (delivery := await inbox.next()) is not None:
                    taken.extend([delivery, *inbox.ready(10)])
                    await inbox.ack(taken)

    with pytest.raises(AccessDenied, match=ACK_DENIED):
        await take()
    return taken


@pytest.mark.parametrize("may", [MAY_NOT_ACK, MAY_NOT_ACK_THIS])
async def test_who_may_tell_no_outcomes_is_handed_no_message(may: str) -> None:
    """Each subscription handled them all again, or put them to the dead letters again."""
    wanted = durable("d", "orders", ack_wait=1.0)
    with user_who(may) as (url, all_, nats), anyio.fail_after(60):
        async with opened(url) as broker, opened(all_) as other:
            async with other.subscribe("", wanted):
                pass
            for number in range(3):
                await other.publish("", Message("orders", b"%d" % number))
            for _ in range(3):
                assert await handed(broker, wanted) == []
            with pytest.raises(AccessDenied, match=ACK_DENIED):
                await broker.examine("", wanted)
            await allow(nats, may)
            async with broker.subscribe("", wanted) as inbox:
                delivery = await inbox.next()
                assert delivery is not None
                assert delivery.tries == 1
                await delivery.ack()


@pytest.mark.parametrize("form", ["$JS.ACK.*.d.>", "$JS.ACK.*.*.*.d.>"])
@pytest.mark.parametrize("newer", ["false", "true"])
async def test_one_who_may_tell_outcomes_in_one_form_alone_is_handed_messages_if_the_server_has_that(
    form: str, newer: str
) -> None:
    """Which form its server has nobody can say before the first message."""
    wanted = durable("d", "orders", ack_wait=1.0)
    flag = f"feature_flags {{ js_ack_fc_v2: {newer} }}"
    with user_who(MAY_NOT_ACK, flag) as (url, all_, nats), anyio.fail_after(60):
        async with opened(all_) as other:
            async with other.subscribe("", wanted):
                pass
            await other.publish("", Message("orders", b"0"))
            async with other.subscribe("", wanted) as inbox:
                first = await inbox.next()
                assert isinstance(first, DurableDelivery)
                assert (first.reply_subject.split(".")[3] != "d") == (newer == "true")
                is_used = (newer == "true") == (form == "$JS.ACK.*.*.*.d.>")
                await first.ack()
        await allow(nats, MAY_NOT_ACK, f'publish: {{ allow: ["$JS.API.>", "{form}"] }}')
        async with opened(url) as broker, opened(all_) as other:
            await other.publish("", Message("orders", b"1"))
            if is_used:
                async with broker.subscribe("", wanted) as inbox:
                    delivery = await inbox.next()
                    assert delivery is not None
                    assert delivery.tries == 1
                    await delivery.ack()
                    await other.publish("", Message("orders", b"2"))
                    assert len(await heard(inbox, 1)) == 1
            else:
                for _ in range(3):
                    assert await handed(broker, wanted) == []
                await anyio.sleep(1.5)  # what the first of them had taken is delivered again
                async with other.subscribe("", wanted) as inbox:
                    delivery = await inbox.next()
                    assert delivery is not None
                    assert delivery.tries == 2


async def test_a_right_to_tell_outcomes_that_is_taken_away_ends_the_work() -> None:
    """What was handled meanwhile is handled again, and nothing else."""
    wanted = durable("d", "orders", ack_wait=1.0)
    granted = 'publish: { allow: ">" }'
    with user_who(granted) as (url, _, nats), anyio.fail_after(60):
        async with opened(url) as broker:
            async with broker.subscribe("", wanted) as inbox:
                await broker.publish("", Message("orders", b"1"))
                first = await inbox.next()
                assert first is not None
                await allow(nats, granted, MAY_NOT_ACK)
                await first.ack()
                with pytest.raises(AccessDenied, match=ACK_DENIED):
                    await inbox.next()
            for _ in range(2):
                assert await handed(broker, wanted) == []


async def test_the_rights_that_the_documentation_names_are_enough() -> None:
    text = (Path(__file__).parents[1] / "README.md").read_text()
    _, begin, rest = text.partition("publish: { allow")
    rights = (begin + rest.partition("```")[0]).replace("\n", " ")
    with user_who(rights.replace("subscribe:", ", subscribe:")) as (url, _, _), anyio.fail_after(60):
        async with opened(url) as broker:
            wanted = durable("d", "orders.>")
            await broker.examine("", wanted)
            async with broker.subscribe("", wanted) as inbox:
                await broker.publish("", Message("orders.1", b"1"))
                delivery = await inbox.next()
                assert delivery is not None
                await broker.keep("", Message("wasmplex.dead.w", b"1"))
                await delivery.reject()
            letters = [letter async for letter in broker.kept("", "wasmplex.dead.w")]
            assert [letter.message.body for letter in letters] == [b"1"]
            await broker.remove("", "wasmplex.dead.w", letters[0].token)
            assert [letter async for letter in broker.kept("", "wasmplex.dead.w")] == []


async def test_a_request_that_a_stream_keeps_and_that_may_not_be_sent_is_an_error() -> None:
    """No answer came until the deadline, and it was said that nobody answers."""
    with user_who('publish: { deny: "audit.>" }') as (url, all_, _), anyio.fail_after(20):
        async with opened(url) as broker, opened(all_) as other:
            async with other.subscribe("", durable("d", "audit.>")):
                pass
            with pytest.raises(AccessDenied, match=r"no right to publish to audit\.a"):
                await broker.request("", Message("audit.a", b""), 60)


async def test_an_answer_that_may_not_be_sent_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with user_who('publish: { deny: "_INBOX.>" }') as (url, all_, _):
        async with opened(url) as broker, opened(all_) as asker, anyio.create_task_group() as tasks:
            async with broker.subscribe("", Subscription("w", ("ask",))) as inbox:

                async def ask() -> None:
                    with anyio.move_on_after(20):
                        await asker.request("", Message("ask", b""), 60)

                tasks.start_soon(ask)
                (message,) = await heard(inbox, 1)
                await broker.publish("", Message(message.reply_to or "", b"answer"))
                await until(lambda: "no right to publish to _INBOX." in caplog.text)
            tasks.cancel_scope.cancel()


def test_what_is_no_missing_right_concerns_nobody() -> None:
    """What is one is tested above with what servers say."""
    assert refused_in(Error("nats: slow consumer")) is None
    assert refused_in(Error('nats: Permissions Violation for Publish to "never ends')) is None
    assert refused_in(Error(r'Permissions Violation for Publish to "\xff\Uffffffff"')) == (
        "publish",
        "\ufffd\ufffd",
    )


@pytest.mark.parametrize(
    "subject", ['audit.a"b', "audit.a\\b", "audit.\u00a0x", "audit.'", "audit.\u200bx", "audit.Ü.\U000e0001"]
)
async def test_a_missing_right_to_a_subject_that_the_server_quotes_is_an_error(subject: str) -> None:
    """Publishing returned, and the message was nowhere."""
    with user_who('publish: { deny: "audit.>" }') as (url, _, _), anyio.fail_after(20):
        async with opened(url) as broker:
            with pytest.raises(AccessDenied, match=re.escape(f"no right to publish to {subject}")):
                await broker.publish("", Message(subject, b"1"))
            with pytest.raises(AccessDenied, match=re.escape(f"no right to publish to {subject}")):
                await broker.request("", Message(subject, b"1"), 60)


async def test_a_missing_right_concerns_no_subject_that_is_the_same_but_for_its_case() -> None:
    """What was sent counted as refused if the other was at the same time."""
    with user_who('publish: { deny: "audit.a" }') as (url, _, _), anyio.fail_after(20):
        async with opened(url) as broker, anyio.create_task_group() as tasks:

            async def refused() -> None:
                with pytest.raises(AccessDenied, match=r"publish to audit\.a$"):
                    await broker.publish("", Message("audit.a", b"1"))

            for _ in range(20):
                tasks.start_soon(refused)
                tasks.start_soon(broker.publish, "", Message("Audit.a", b"1"))


async def test_an_error_that_is_raised_often_holds_no_more_each_time() -> None:
    """One was kept, and with it the frames of each request that had failed, and what was to be sent."""
    with user_who('subscribe: { deny: "_INBOX.>" }') as (url, _, _), anyio.fail_after(20):
        async with opened(url) as broker:
            lengths = []
            for _ in range(20):
                with pytest.raises(AccessDenied) as raised:
                    await broker.request("", Message("ask", b""), 60)
                lengths.append(len(traceback.extract_tb(raised.value.__traceback__)))
            assert lengths[-1] <= lengths[0] + 1


async def test_answers_that_may_not_be_sent_are_one_kind_of_line(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever asked had a line in the log each time, for each waits under another subject."""
    with user_who('publish: { deny: "_INBOX.>" }') as (url, _, _):
        async with opened(url) as broker:
            for number in range(20):
                await broker.publish("", Message(f"_INBOX.Who{number}.x", b"answer"))
            lines = [r for r in caplog.records if "no right to publish to _INBOX.Who" in r.getMessage()]
            with anyio.fail_after(20):
                while len(lines) < 20:
                    await anyio.sleep(0.01)
                    lines = [r for r in caplog.records if "to publish to _INBOX.Who" in r.getMessage()]
            assert len({(r.msg, r.__dict__["repeats"]) for r in lines}) == 1
