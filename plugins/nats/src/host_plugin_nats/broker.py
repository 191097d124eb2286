"""NATS as a broker: core NATS, and JetStream where a stream keeps the messages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress

from wasmplex.capabilities.messaging import (
    CASES,
    BrokerUnavailable,
    Deliveries,
    Kept,
    Message,
    MessageTooLarge,
    MessagingBackend,
    MessagingError,
    NoReply,
    NoResponders,
    Subscription,
    Timeout,
    Unsupported,
)
from wasmplex.plugin import ConfigError, OpenContext, get_logger

from host_plugin_nats import NatsMessagingSettings
from host_plugin_nats.answers import loaded
from host_plugin_nats.connecting import Told, address
from host_plugin_nats.consuming import durable
from host_plugin_nats.core import core
from host_plugin_nats.failures import ApiError, opening_failed
from host_plugin_nats.headers import REPLY_TO, for_server, message_of, named, size_of, status_of
from host_plugin_nats.jetstream import JetStream, failed
from host_plugin_nats.kept import messages, remove
from host_plugin_nats.link import Link
from host_plugin_nats.parsing import Arrived

__all__ = ["NatsBroker"]

logger = get_logger("wasmplex.backends.nats")

_INBOX = "_INBOX."
"""What the subjects of answers begin with.

Each is used once, and no stream keeps it. To ask the server whether that is so, or whether it has the answer,
would take as long again as the answer takes; who waits for it has a deadline, and can ask again.
"""
_JETSTREAM = frozenset({"dead-letters", "delayed-retry", "durable", "history"})


class NatsBroker(MessagingBackend):
    """One open connection, for all bindings with equal settings."""

    def __init__(self, settings: NatsMessagingSettings, told: Told, features: frozenset[str]) -> None:
        self.address = address(settings)
        self._all_features = features
        self._settings = settings
        self._told = told
        self._link = self._connection(self._prepare)
        self._jetstream = JetStream(self._link, settings)

    def __repr__(self) -> str:
        return f"nats: {self.address}, {'up' if self._link.is_up else 'down'}"

    @property
    def features(self) -> frozenset[str]:  # type: ignore[override]
        """What the server can do: without JetStream nothing is durable."""
        return self._all_features if self._jetstream.there else self._all_features - _JETSTREAM

    @classmethod
    async def open(
        cls, settings: NatsMessagingSettings, context: OpenContext, features: frozenset[str]
    ) -> NatsBroker:
        """Connect; everything is closed again if that fails."""
        broker = cls(settings, await Told.read(settings, context), features)
        try:
            async with asyncio.timeout(settings.timeout):
                await broker._link.open()
        except TimeoutError as error:
            late = Timeout("no answer from the server")
            raise opening_failed(late, broker.address, "broker", CASES, "") from error
        except MessagingError as error:
            raise opening_failed(error, broker.address, "broker", CASES, "") from error
        return broker

    def _connection(self, prepare: Callable[[], Awaitable[None]]) -> Link:
        return Link(self._told.now, prepare, self._told.renew, CASES)

    async def _prepare(self) -> None:
        await self._jetstream.prepare()

    async def close(self) -> None:
        """Close the connection."""
        self._told.close()
        await self._link.close()

    async def probe(self) -> None:
        """Ask the server whether it answers."""
        async with asyncio.timeout(self._settings.timeout):
            await self._link.flush()

    # ------------------------------------------------------------ sending

    async def publish(self, namespace: str, message: Message) -> None:
        """Return when a stream has stored the message, or the server has read it where none keeps it.

        An answer is sent without waiting for that, unless much waits to be sent.
        """
        message = for_server(message)
        self._check_size(message)
        if message.subject.startswith(_INBOX) and not message.headers:
            if not self._link.answer(message.subject, message.body, message.reply_to or ""):
                await self._send(message)
            return
        for _ in range(2):  # the stream may be gone that kept it; there may be another
            if await self._jetstream.keeping(message.subject) is None:
                break
            with suppress(NoResponders):
                await self._store(message)
                return
            self._jetstream.doubt(message.subject)
        else:
            raise BrokerUnavailable("the stream of the subject does not answer")
        await self._send(message)

    async def _send(self, message: Message) -> None:
        await self._link.deliver(message.subject, message.body, message.reply_to or "", message.headers)

    async def _store(self, message: Message) -> None:
        headers = named(message.headers) if message.headers else None
        if message.reply_to is not None:
            headers = {**(headers or {}), REPLY_TO: message.reply_to}
        if not await self._jetstream.store(message, headers):
            raise NoResponders("no stream keeps the subject any more")

    async def request(self, namespace: str, message: Message, seconds: float) -> Message:
        """Send a request and return the first answer."""
        message = for_server(message)
        self._check_size(message)
        try:
            async with asyncio.timeout(seconds):
                if await self._jetstream.keeping(message.subject) is None:
                    answer: Arrived = await self._link.request(message.subject, message.body, message.headers)
                else:
                    answer = await self._request_through_stream(message)
        except TimeoutError:
            raise NoReply(f"no answer within {seconds:g} s") from None
        if _nobody(answer):
            raise NoResponders("nobody listens to the subject")
        return message_of(answer, answer.reply_to)

    async def _request_through_stream(self, message: Message) -> Arrived:
        """Send a request that a stream keeps: its own acknowledgement is not the answer."""
        async with self._link.inbox() as inbox:
            headers = {**(message.headers or {}), REPLY_TO: inbox.subject}
            await self._link.ask_into(message.subject, message.body, inbox, headers)
            while True:
                answer = await inbox.next()
                if not _is_stored(answer):
                    return answer

    def _check_size(self, message: Message) -> None:
        size = len(message.body)
        if message.headers or message.reply_to:
            size += 64 + len((message.reply_to or "").encode()) + size_of(message.headers or {})
        if (most := self._link.max_payload) and size > most:
            raise MessageTooLarge(f"the server takes messages of at most {most} bytes")

    # ------------------------------------------------------------ receiving

    def subscribe(
        self, namespace: str, subscription: Subscription
    ) -> AbstractAsyncContextManager[Deliveries]:
        """Subscribe with a connection of its own, or as a durable consumer."""
        if subscription.durable is None:
            return core(self._listening, subscription)
        return self._durable(subscription)

    def _listening(self, subscribe: Callable[[], Awaitable[None]]) -> Link:
        return self._connection(subscribe)

    @asynccontextmanager
    async def _durable(self, subscription: Subscription) -> AsyncIterator[Deliveries]:
        await self._require_jetstream()
        async with durable(self._link, self._jetstream, subscription) as deliveries:
            yield deliveries

    async def examine(self, namespace: str, subscription: Subscription) -> None:
        """Look, for a durable one, whether there is JetStream, and whose stream and consumer there are."""
        if subscription.durable is not None:
            await self._require_jetstream()
            await self._jetstream.examine(subscription)
        elif self._jetstream.there:
            await self._jetstream.examine_letters(subscription)

    async def _require_jetstream(self) -> None:
        await self._jetstream.look_again()
        if not self._jetstream.there:
            if self._jetstream.denied is not None:
                why, fix = self._jetstream.denied
                raise ConfigError(
                    f"durable needs JetStream of the server at {self.address}", why=why, fix=fix
                )
            raise ConfigError(
                f"the server at {self.address} has no JetStream, which durable needs",
                fix="start it with -js, or remove durable",
            )

    # ------------------------------------------------------------ keeping

    async def keep(self, namespace: str, message: Message) -> None:
        """Put a message into the stream of its subject, which is made if it is missing."""
        if not self._jetstream.there:
            raise Unsupported("dead-letters")
        message = for_server(message)
        self._check_size(message)
        await self._jetstream.dead_stream(message.subject)
        await self._store(message)

    async def kept(self, namespace: str, subject: str) -> AsyncIterator[Kept]:
        """Return what is kept under a subject."""
        if not self._jetstream.there:
            raise Unsupported("dead-letters")
        stream = await self._jetstream.keeping(subject)
        if stream is not None:
            async for sequence, message in messages(self._jetstream, stream, subject):
                yield Kept(str(sequence), message)

    async def remove(self, namespace: str, subject: str, token: str) -> None:
        """Remove a message from its stream."""
        if not self._jetstream.there:  # not now at least: it is there still
            await self._jetstream.prepare()
            if not self._jetstream.there:
                raise BrokerUnavailable("JetStream is not ready")
        if (stream := await self._jetstream.keeping(subject)) is not None:
            await remove(self._jetstream, stream, int(token))


def _nobody(answer: Arrived) -> bool:
    return status_of(answer) == "503"


def _is_stored(answer: Arrived) -> bool:
    """Say whether an answer is a stream's, that it has stored the request.

    :raises wasmplex.capabilities.messaging.MessagingError: if it says that it has not
    """
    if answer.headers or not answer.body.startswith(b"{"):
        return False
    found = loaded(answer.body)
    if not isinstance(found, dict) or not {"stream", "seq"} <= found.keys():
        return False
    if isinstance(error := found.get("error"), dict):
        raise failed(ApiError(error))
    return True
