"""NATS as a broker that answers strangely, late or never: nobody waits for ever, and nothing piles up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from host_plugin_nats import NatsMessagingProvider, NatsProvider
from host_plugin_nats import client as client_module
from host_plugin_nats import link as link_module
from host_plugin_nats.broker import NatsBroker
from wasmplex.capabilities.messaging import Message, Timeout
from wasmplex.plugin import BackendError, BackendProvider, ConfigError, OpenContext
from wasmplex.testing.servers import NatsServer

from .brokers import until

pytestmark = pytest.mark.anyio

GREETING = b'INFO {"server_id":"x","version":"2.11.0","proto":1,"headers":true,"max_payload":1048576}\r\n'

Answer = Callable[["Speaker", str], bytes | None]
"""What a request to a subject is answered; None for nothing."""


class Speaker:
    """A connection of a server that speaks as much of NATS as is needed.

    :ivar number: how many there were before it
    :ivar taken: messages that it has taken to subjects of inboxes
    :param takes: set once it takes those
    """

    def __init__(
        self, number: int, writer: asyncio.StreamWriter, answer: Answer, takes: asyncio.Event
    ) -> None:
        self.number = number
        self.writer = writer
        self.taken = 0
        self._answer = answer
        self._takes = takes

    async def speak(self, reader: asyncio.StreamReader) -> None:
        self.writer.write(GREETING)
        while line := await reader.readline():
            words = line.decode().split()
            if words and words[0] == "PING":
                self.writer.write(b"PONG\r\n")
            elif words and words[0] == "PUB":
                if words[1].startswith("_INBOX."):
                    await self._takes.wait()
                    self.taken += 1
                await reader.readexactly(int(words[-1]) + 2)
                if len(words) == 4 and (body := self._answer(self, words[1])) is not None:
                    self.writer.write(b"MSG %s 1 %d\r\n%s\r\n" % (words[2].encode(), len(body), body))
        self.writer.close()


@asynccontextmanager
async def speaking(
    answer: Answer, takes: asyncio.Event | None = None
) -> AsyncIterator[tuple[str, list[Speaker]]]:
    """Yield the URL of a server, and its connections, the first first."""
    speakers: list[Speaker] = []
    if takes is None:
        takes = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        speakers.append(Speaker(len(speakers), writer, answer, takes))
        await speakers[-1].speak(reader)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}", speakers
    finally:
        server.close()
        for speaker in speakers:
            speaker.writer.close()


async def opened(stack: AsyncExitStack, url: str, **settings: Any) -> NatsBroker:
    provider = NatsMessagingProvider()
    broker = await provider.open(provider.settings(**{"url": url, **settings}), OpenContext(Path()))
    stack.push_async_callback(broker.close)
    return broker


async def test_a_stream_that_confirms_nothing_is_not_waited_for(nats_server: NatsServer) -> None:
    async with AsyncExitStack() as stack:
        broker = await opened(stack, nats_server.url, timeout=0.5)
        config = {"name": "silent", "subjects": ["silent.>"], "no_ack": True, "storage": "memory"}
        await broker._jetstream.ask("STREAM.CREATE.silent", config)
        with anyio.fail_after(30):
            with pytest.raises(ConfigError, match="the stream silent confirms no message"):
                await broker.keep("", Message("silent.dead", b"letter"))
            with pytest.raises(Timeout, match="no stream has confirmed"):
                await broker.publish("", Message("silent.a", b""))


async def test_jetstream_that_answers_nothing_is_not_waited_for() -> None:
    def answer(speaker: Speaker, subject: str) -> bytes | None:
        return b'{"type":"x"}' if subject == "$JS.API.INFO" else None

    async with speaking(answer) as (url, _), AsyncExitStack() as stack:
        broker = await opened(stack, url, timeout=0.5)
        with anyio.fail_after(30), pytest.raises(Timeout, match="JetStream has not answered"):
            await broker.publish("", Message("a", b""))


@pytest.mark.parametrize("closes", [False, True])
async def test_a_connection_that_cannot_be_made_ready_is_made_again(closes: bool) -> None:
    """The second is not answered whether there is JetStream, or is lost meanwhile."""

    def answer(speaker: Speaker, subject: str) -> bytes | None:
        if speaker.number == 1:
            if closes:
                speaker.writer.close()
            return None
        return b'{"type":"x"}' if subject == "$JS.API.INFO" else b'{"streams":[]}'

    async with speaking(answer) as (url, speakers), AsyncExitStack() as stack:
        broker = await opened(stack, url, timeout=0.5)
        speakers[0].writer.close()
        await until(lambda: len(speakers) > 2 and broker._link.is_up)
        assert "durable" in broker.features
        with anyio.fail_after(30):
            await broker.publish("", Message("a", b"x"))


@pytest.mark.parametrize("body", [b"[]", b"hello", b"\xff", b"1"])
async def test_an_answer_that_is_none_of_jetstream(body: bytes) -> None:
    async with speaking(lambda speaker, subject: body) as (url, _):
        settings: dict[str, Any] = {"url": url}
        providers: list[BackendProvider[Any]] = [NatsProvider(), NatsMessagingProvider()]
        for provider in providers:
            with pytest.raises(BackendError, match="somebody else answers"):
                await provider.open(provider.settings(**settings), OpenContext(Path()))


async def test_answers_wait_where_the_server_takes_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """They were held, however many there were."""
    monkeypatch.setattr(client_module, "_MOST_UNSENT", 2**20)
    monkeypatch.setattr(link_module, "_LONGEST_FLUSH", 30)
    takes = asyncio.Event()
    async with speaking(_with_jetstream, takes) as (url, speakers), AsyncExitStack() as stack:
        broker = await opened(stack, url)
        sent = 0

        async def answer() -> None:
            nonlocal sent
            for _ in range(40):
                await broker.publish("", Message("_INBOX.a", bytes(2**19)))
                sent += 1

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(answer)
            client: Any = broker._link.connection.client
            transport = client._transport._io_writer.transport
            await until(lambda: transport.get_write_buffer_size() > 2**20)
            with anyio.move_on_after(0.2):
                await until(lambda: sent == 40)
            assert sent < 40
            assert transport.get_write_buffer_size() <= 3 * 2**20
            takes.set()
        assert sent == 40
        await broker.probe()
        assert speakers[0].taken == 40


def _with_jetstream(speaker: Speaker, subject: str) -> bytes | None:
    return b'{"type":"x"}' if subject == "$JS.API.INFO" else b'{"streams":[]}'
