"""What is asked of a server, and what is heard from it, by a connection that comes back.

A lost connection fails what is under way at once; what is asked before the next one is there fails at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import count
from typing import Any, Final

import anyio
from nats import errors
from nats.aio.client import Client
from wasmplex.capabilities.errors import CapabilityError, ErrorCases
from wasmplex.capabilities.keyvalue import CASES
from wasmplex.plugin import get_logger

from host_plugin_nats import client as library
from host_plugin_nats.backlog import Backlog
from host_plugin_nats.connection import Connection
from host_plugin_nats.inbox import Inbox
from host_plugin_nats.parsing import Arrived, Take
from host_plugin_nats.rights import Needs, refused_in

__all__ = ["Headers", "Link"]

logger = get_logger("wasmplex.backends.nats")

_LONGEST_FLUSH: Final = 5
"""Seconds, or `timeout` if that is longer; those who flush bring deadlines of their own."""
_ANSWERING: Final = 0.5
"""Seconds after which somebody listens who does not answer."""

Headers = Mapping[str, str]


class Link:
    """Whoever asks a server, and hears from it.

    :ivar connection: by which that goes
    :ivar needs: who is told of rights that the user lacks
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
        self.connection = Connection(options, renew, cases, self)
        self._prepare = prepare
        self._cases = cases
        self.needs = Needs(cases)
        self._deaf = False
        """Whether no answers come, for the user may hear none."""
        self._answers: dict[str, tuple[str, asyncio.Future[Arrived]]] = {}
        self._inboxes: set[Inbox] = set()
        self._tokens = count(1)
        self.numbers = count(1)
        self._prefix = ""
        self.open = self.connection.open
        self.close = self.connection.close
        self.wait_up = self.connection.wait_up
        self._usable = self.connection.usable
        self._longest_flush = max(_LONGEST_FLUSH, float(options.get("connect_timeout", 0)))

    @property
    def is_up(self) -> bool:
        """Whether there is a connection that is ready for use."""
        return self.connection.is_up

    @property
    def backlog(self) -> Backlog:
        """What came and is not taken yet."""
        return self.connection.backlog

    @property
    def server(self) -> str:
        """The server's version, ``2.11.4``."""
        client = self.connection.client
        return "" if client is None else library.server_version(client)

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
        """Bytes of headers and value that the server takes; 0 without a connection."""
        client = self.connection.client
        return 0 if client is None else client.max_payload

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
        if self._deaf:
            raise self._hears_nothing()
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

    async def deliver(
        self,
        subject: str,
        payload: bytes,
        reply: str = "",
        headers: Headers | None = None,
        *,
        needs: str | None = None,
    ) -> None:
        """Publish, and return when the server has read it. The caller brings the deadline.

        :param needs: the right that the error names, a pattern; None for one to that subject
        :raises wasmplex.capabilities.errors.CapabilityError: `ErrorCases.denied` if the user may not
        """
        refused: list[CapabilityError] = []
        with self.needs.of("publish", [needs or subject], refused.append):
            await self.publish(subject, payload, reply, headers)
            await self.flush()
        if refused:
            raise refused[0]

    def answer(self, subject: str, payload: bytes, reply: str) -> bool:
        """Publish at once, and wait for nothing; return False, and do not, if much waits to be sent."""
        try:
            return library.write(self._usable(), subject, payload, reply)
        except errors.MaxPayloadError:
            raise self.too_long() from None
        except (errors.Error, OSError) as error:
            raise self._cases.unavailable("the connection is lost") from error

    def tell(self, subjects: Sequence[str], payload: bytes) -> bool:
        """Publish the same to several subjects at once, in one write, and wait for nothing.

        Return False, and do not, if much waits to be sent.
        """
        try:
            return library.write_all(self._usable(), subjects, payload)
        except (errors.Error, OSError) as error:
            raise self._cases.unavailable("the connection is lost") from error

    async def flush(self) -> None:
        """Return when the server has processed all that was sent before. The caller brings the deadline."""
        try:
            await library.flush(self._usable(), self._longest_flush)
        except errors.FlushTimeoutError:
            raise self._cases.timeout(f"no answer from the server within {self._longest_flush:g} s") from None
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
        client = self.connection.client
        if client is not None and client.is_connected:
            try:
                with suppress(errors.Error, OSError):
                    for number in numbers:
                        await library.leave(client, number)
                    if flush:
                        await self._flush_taken(client)
            finally:
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
        """Take nothing that comes: it is kept here, and then by the server, as long as they can.

        To be said again every few seconds, or each side takes the other for gone.
        """
        self.backlog.pause()
        self._stay_alive()

    def resume(self) -> None:
        """Take what comes again."""
        self._stay_alive()
        self.backlog.resume()

    def _stay_alive(self) -> None:
        if (client := self.connection.client) is not None:
            library.stay_alive(client)

    @asynccontextmanager
    async def inbox(self, *, flush: bool = False) -> AsyncIterator[Inbox]:
        """Return an inbox with a subject of its own.

        :param flush: whether all that was sent there before it is left is in it afterwards
        """
        client = self._usable()
        inbox = Inbox(client.new_inbox())
        inbox.number = await self.listen(inbox.subject, "", inbox.put)
        self._inboxes.add(inbox)
        inbox.needs[""] = self.needs.add("subscribe", inbox.subject, inbox.end)
        try:
            yield inbox
        finally:
            with anyio.CancelScope(shield=True):
                await self.leave([inbox.number], flush=flush)
            self._inboxes.discard(inbox)
            for need in inbox.needs.values():
                self.needs.remove(need)

    async def ask_into(
        self, subject: str, payload: bytes, inbox: Inbox, headers: Headers | None = None
    ) -> None:
        """Publish what is answered in an inbox, and end that if the user may not."""
        if subject not in inbox.needs:
            inbox.needs[subject] = self.needs.add("publish", subject, inbox.end)
        await self._publish(self._usable(), subject, payload, inbox.subject, headers)

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

    # ------------------------------------------------------------ the connection's side

    async def begin(self, client: Client) -> None:
        """See `User.begin`."""
        subscription = client.new_inbox()
        self._prefix = f"{subscription}."
        self._deaf = False
        await library.listen(client, f"{subscription}.*", "", self._answered)
        await self._prepare()

    def ended(self, error: CapabilityError) -> None:
        """See `User.ended`."""
        answers, self._answers = self._answers, {}
        for _, answer in answers.values():
            _fail(answer, error)
        for inbox in self._inboxes:
            inbox.end(error)

    def _answered(self, messages: Sequence[Arrived]) -> None:
        for message in messages:
            _, answer = self._answers.get(message.subject[len(self._prefix) :], _NOBODY)
            if answer is not None and not answer.done():
                answer.set_result(message)

    def complained(self, error: Exception) -> None:
        """Tell those whom it concerns what the server does not let us do; log what concerns nobody."""
        if (refused := refused_in(error)) is None:
            return
        if refused == ("subscribe", f"{self._prefix}*"):
            self._deaf = True
            for _, answer in self._answers.values():
                _fail(answer, self._hears_nothing())
            return
        told = self.needs.tell(refused)
        for subject, answer in self._answers.values():
            if refused == ("publish", subject):
                _fail(answer, self.needs.lacking("publish", subject))
                told = True
        if not told:
            # Of the same kind whatever the subject: somebody else may have chosen it, another each time.
            logger.warning("nats: %s", self.needs.lacking(*refused), extra={"repeats": refused.verb})

    def _hears_nothing(self) -> CapabilityError:
        """Return why no answers come; a new one each time: whoever raises one adds frames to it."""
        return self.needs.lacking("subscribe", "_INBOX.>")


_NOBODY: tuple[str, asyncio.Future[Arrived] | None] = ("", None)


def _fail(answer: asyncio.Future[Arrived], error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)
        answer.exception()  # whoever was to wait for it may be gone
