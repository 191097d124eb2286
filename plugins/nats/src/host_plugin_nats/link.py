"""The connection: one at a time, replaced by a new one when it is lost.

The client library could reconnect by itself; it would also send later what was published while the server was
away, go on waiting for answers that were lost, and stay closed after some errors. Here a lost connection
fails what is under way at once, and what is asked before the next one is there fails at once.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import count
from typing import Any

import anyio
from nats import errors
from nats.aio.client import Client
from wasmplex.capabilities.errors import CapabilityError, ErrorCases
from wasmplex.capabilities.keyvalue import CASES
from wasmplex.plugin import get_logger

from host_plugin_nats import client as library
from host_plugin_nats.backlog import Backlog
from host_plugin_nats.failures import NO_SERVER, connecting_failed, refused
from host_plugin_nats.inbox import Inbox
from host_plugin_nats.parsing import Arrived, Take

__all__ = ["Link"]

logger = get_logger("wasmplex.backends.nats")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 0.5
_PING_INTERVAL = 10  # a peer that is gone without a word is noticed after two of them
_CLOSING = _ANSWERING = 0.5
_LONGEST_FLUSH = 5  # those who flush bring deadlines of their own

Headers = Mapping[str, str]


class Link:
    """A connection that comes back.

    :ivar backlog: what came and is not taken yet
    :ivar numbers: numbers for whatever has to have one that nothing else of this connection has
    :param options: for ``nats.connect``
    :param prepare: awaited with each new connection before anybody else uses it
    :param renew: returns the options of now, for a server that refuses the old ones
    :param cases: the errors of the capability that it is for; the methods raise those
    """

    def __init__(
        self,
        options: Mapping[str, Any],
        prepare: Callable[[], Awaitable[None]],
        renew: Callable[[], Awaitable[Mapping[str, Any]]],
        cases: ErrorCases = CASES,
    ) -> None:
        self._options = options
        self._prepare = prepare
        self._renew = renew
        self._cases = cases
        self._client: Client | None = None
        self._answers: dict[str, tuple[str, asyncio.Future[Arrived]]] = {}
        self._inboxes: set[Inbox] = set()
        self._tokens = count(1)
        self.numbers = count(1)
        self._prefix = ""
        self.backlog = Backlog()
        self._up = asyncio.Event()
        self._denied = False
        self._closed = False
        self._reconnecting: asyncio.Task[None] | None = None

    @property
    def is_up(self) -> bool:
        """Whether there is a connection that is ready for use."""
        return self._up.is_set()

    @property
    def server(self) -> str:
        """The server's version, ``2.11.4``."""
        return "" if self._client is None else library.server_version(self._client)

    @property
    def instance(self) -> str:
        """What tells this connection from all others; `lives` asks for it."""
        return self._prefix.removeprefix("_INBOX.").rstrip(".")

    async def lives(self, instance: str) -> bool:
        """Return whether there is a connection with that `instance` somewhere.

        The server says at once that nobody listens. Those who do listen do not answer.
        """
        try:
            async with asyncio.timeout(_ANSWERING):
                answer = await self.request(f"_INBOX.{instance}.lives")
        except TimeoutError:
            return True
        return (answer.headers or {}).get("Status") != "503"

    @property
    def max_payload(self) -> int:
        """Bytes of headers and value that the server takes."""
        return 0 if self._client is None else self._client.max_payload

    async def open(self) -> None:
        """Connect.

        :raises wasmplex.capabilities.errors.CapabilityError: typed, if that is not possible
        """
        try:
            await self._connect()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Close the connection for good."""
        self._closed = True
        with anyio.CancelScope(shield=True):
            if self._reconnecting is not None:
                self._reconnecting.cancel()
                await asyncio.wait([self._reconnecting])
            client = self._client
            if client is not None:
                with anyio.move_on_after(_CLOSING):
                    await client.close()
            self._lost(client, "it is closed")
            await self.backlog.close()
            await anyio.lowlevel.checkpoint()  # what was cancelled ends

    async def wait_up(self) -> None:
        """Wait until there is a connection."""
        await self._up.wait()

    # ------------------------------------------------------------ asking

    async def request(self, subject: str, payload: bytes = b"", headers: Headers | None = None) -> Arrived:
        """Publish, and return the first answer. The caller brings the deadline.

        :raises wasmplex.capabilities.errors.CapabilityError: `ErrorCases.unavailable` if there is no
            connection, or it is lost; `ErrorCases.exceeded` if the message is longer than the server takes
        """
        token, answer = await self.send(subject, payload, headers)
        try:
            return await answer
        finally:
            self._answers.pop(token, None)

    async def send(
        self, subject: str, payload: bytes = b"", headers: Headers | None = None
    ) -> tuple[str, asyncio.Future[Arrived]]:
        """Publish, and return the token and the future of the answer; `forget` the token at the end."""
        client = self._usable()
        token = str(next(self._tokens))
        answer: asyncio.Future[Arrived] = asyncio.get_running_loop().create_future()
        self._answers[token] = subject, answer
        try:
            await self._publish(client, subject, payload, self._prefix + token, headers)
        except BaseException:
            del self._answers[token]
            raise
        return token, answer

    def forget(self, token: str) -> None:
        """Want no answer any more."""
        self._answers.pop(token, None)

    async def publish(
        self, subject: str, payload: bytes, reply: str = "", headers: Headers | None = None
    ) -> None:
        """Publish, and wait for nothing."""
        await self._publish(self._usable(), subject, payload, reply, headers)

    def answer(self, subject: str, payload: bytes, reply: str) -> None:
        """Publish at once, and wait for nothing."""
        try:
            library.write(self._usable(), subject, payload, reply)
        except errors.MaxPayloadError:
            raise self.too_long() from None
        except (errors.Error, OSError) as error:
            raise self._cases.unavailable("the connection is lost") from error

    def tell(self, subjects: Sequence[str], payload: bytes) -> None:
        """Publish the same to several subjects at once, in one write, and wait for nothing."""
        try:
            library.write_all(self._usable(), subjects, payload)
        except (errors.Error, OSError) as error:
            raise self._cases.unavailable("the connection is lost") from error

    async def flush(self) -> None:
        """Return when the server has processed all that was sent before. The caller brings the deadline."""
        try:
            await library.flush(self._usable(), _LONGEST_FLUSH)
        except (errors.Error, OSError) as error:
            raise self._cases.unavailable("the connection is lost") from error

    async def listen(self, subject: str, queue: str, take: Take) -> int:
        """Have the messages of a subject taken; lasts until `leave`, or until the connection is lost.

        :param queue: the group whose members share the messages; empty for none
        """
        try:
            return await library.listen(self._usable(), subject, queue, take)
        except (errors.Error, OSError) as error:
            raise self._cases.unavailable("the connection is lost") from error

    async def leave(self, numbers: Collection[int], *, flush: bool = True) -> None:
        """Undo `listen`.

        :param flush: whether what the server has sent before is handled when this returns
        """
        client = self._client
        if client is not None and client.is_connected:
            with suppress(errors.Error, OSError):
                for number in numbers:
                    await library.leave(client, number)
                if flush:
                    await self._flush_taken(client)
                library.forget(client, numbers)
        if flush:
            await self.backlog.drained()

    async def _flush_taken(self, client: Client) -> None:
        """Flush, and wait until what came before is taken; as long as it takes while there is a backlog."""
        while True:
            try:
                return await library.flush(client, _LONGEST_FLUSH)
            except errors.FlushTimeoutError:
                if not self.backlog.size:
                    raise

    def pause(self) -> None:
        """Take nothing that comes: it is kept here, and then by the server, as long as they can."""
        self.backlog.pause()
        if self._client is not None:
            library.expect_no_pong(self._client)

    def resume(self) -> None:
        """Take what comes again."""
        if self._client is not None:
            library.expect_no_pong(self._client)
        self.backlog.resume()

    @asynccontextmanager
    async def inbox(self, *, flush: bool = False) -> AsyncIterator[Inbox]:
        """Return an inbox with a subject of its own.

        :param flush: whether all that was sent there before it is left is in it afterwards
        """
        client = self._usable()
        inbox = Inbox(client.new_inbox())
        inbox.number = await self.listen(inbox.subject, "", inbox.put)
        self._inboxes.add(inbox)
        try:
            yield inbox
        finally:
            with anyio.CancelScope(shield=True):
                await self.leave([inbox.number], flush=flush)
            self._inboxes.discard(inbox)

    def _usable(self) -> Client:
        if self._client is None or not self._client.is_connected:
            if self._denied:
                raise refused(self._cases, self._options)
            raise self._cases.unavailable("the connection is lost" if not self._closed else "it is closed")
        return self._client

    async def _publish(
        self, client: Client, subject: str, payload: bytes, reply: str, headers: Headers | None
    ) -> None:
        try:
            await client.publish(subject, payload, reply, None if headers is None else dict(headers))
        except errors.MaxPayloadError:
            raise self.too_long() from None
        except (errors.Error, OSError) as error:
            raise self._cases.unavailable("the connection is lost") from error

    def too_long(self) -> CapabilityError:
        """Return the error for a message over the server's limit."""
        return self._cases.exceeded(f"the server takes messages of at most {self.max_payload} bytes")

    # ------------------------------------------------------------ connecting

    async def _connect(self) -> None:
        reasons: list[Exception] = []

        async def note(error: Exception) -> None:
            if self._up.is_set():
                self._complained(error)
            else:
                reasons.append(error)

        client = library.made()
        try:
            await self._open(client, note)
        except (errors.Error, OSError) as error:
            await self._abandon(client)
            raise self._refusal([error, *reasons]) from error
        except Exception as error:
            await self._abandon(client)
            if library.is_greeted(client):
                raise
            raise self._cases.unavailable(NO_SERVER) from error
        except BaseException:
            await self._abandon(client)
            raise
        self._up.set()

    async def _open(self, client: Client, note: Callable[[Exception], Awaitable[None]]) -> None:
        """Connect, and have it ready for use; `note` is told of what the server complains of."""
        await client.connect(
            allow_reconnect=False,
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
            ping_interval=_PING_INTERVAL,
            max_outstanding_pings=2,
            pending_size=64 * 2**20,
            error_cb=note,
            **self._options,
        )
        subscription = client.new_inbox()
        self._prefix = f"{subscription}."
        await library.listen(client, f"{subscription}.*", "", self._answered)
        self._client, self._denied = client, False
        library.on_end(client, lambda: self._lost(client, "the connection is lost"))
        await self._prepare()
        library.hasten(client, self.backlog)

    async def _abandon(self, client: Client) -> None:
        self._client = None
        # Closing what never was a connection, after a failed TLS handshake say, may wait for ever.
        with anyio.move_on_after(_CLOSING, shield=True):
            await client.close()
        library.bury(client)

    def _refusal(self, reasons: list[Exception]) -> CapabilityError:
        error = connecting_failed(reasons, self._cases, self._options)
        self._denied = self._denied or isinstance(error, self._cases.denied)
        return error

    def _lost(self, client: Client | None, why: str) -> None:
        if client is not self._client:
            return
        self._client = None
        self._up.clear()
        if client is not None:
            library.bury(client)
        error = self._cases.unavailable(why)
        answers, self._answers = self._answers, {}
        for _, answer in answers.values():
            _fail(answer, error)
        for inbox in self._inboxes:
            inbox.end(error)
        if not self._closed and self._reconnecting is None:
            self._reconnecting = asyncio.get_running_loop().create_task(self._reconnect())

    async def _reconnect(self) -> None:
        longest = _FIRST_PAUSE
        while True:
            await anyio.sleep(random.uniform(longest / 2, longest))  # noqa: S311  spreads attempts
            longest = min(2 * longest, _LONGEST_PAUSE)
            try:
                if self._denied:
                    self._options = await self._renew()
                await self._connect()
            except CapabilityError as error:
                logger.debug("nats: still no connection: %s", error)
            except Exception as error:  # noqa: BLE001  whatever it is, the next attempt may succeed
                logger.warning("nats: cannot use the new connection: %s", type(error).__name__)
            else:
                self._reconnecting = None
                return

    def _answered(self, messages: Sequence[Arrived]) -> None:
        for message in messages:
            _, answer = self._answers.get(message.subject[len(self._prefix) :], _NOBODY)
            if answer is not None and not answer.done():
                answer.set_result(message)

    def _complained(self, error: Exception) -> None:
        """Tell those who wait for an answer to what the server does not let us publish."""
        text = str(error).lower()  # as the library makes it
        if "permissions violation" not in text:
            return
        for subject, answer in self._answers.values():
            if f'"{subject.lower()}"' in text:
                _fail(answer, self._cases.denied("the user lacks a permission"))


_NOBODY: tuple[str, asyncio.Future[Arrived] | None] = ("", None)


def _fail(answer: asyncio.Future[Arrived], error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)
        answer.exception()  # whoever was to wait for it may be gone
