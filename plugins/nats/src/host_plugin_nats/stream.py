"""A stream: requests to JetStream about it."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple

import anyio
from wasmplex.capabilities.keyvalue import CASES, KeyValueError, Other, StoreUnavailable

from host_plugin_nats.answers import Said, number_in, strange
from host_plugin_nats.api import Api, headers_of
from host_plugin_nats.delivery import sequence_in
from host_plugin_nats.failures import NOBODY, WRONG_SEQUENCE, ApiError, api_failed
from host_plugin_nats.headers import size_of, status_of
from host_plugin_nats.inbox import Inbox, left_out
from host_plugin_nats.link import Link
from host_plugin_nats.parsing import Arrived

__all__ = ["EXPIRES", "OPERATION", "Message", "NobodyThere", "Stream"]

EXPIRES = "Wasmplex-Expires"
"""The header that says, in Unix milliseconds, from when on a value does not exist."""
OPERATION = "KV-Operation"
_PULL = 2000
_ABSENT = {"DEL", "PURGE"}
_MOST_DIGITS = 19


class NobodyThere(StoreUnavailable):
    """Nobody answers for the stream: JetStream is not ready, or there is no such stream."""


class Message(NamedTuple):
    """The last message of a subject. `value` is None for a deletion, or if it was not asked for.

    :ivar expires: Unix milliseconds, None for never
    """

    subject: str
    sequence: int
    value: bytes | None
    exists: bool
    expires: int | None

    def lives(self, now: int) -> bool:
        """Return whether the key exists."""
        return self.exists and (self.expires is None or self.expires > now)


class Stream:
    """One JetStream stream.

    :param name: its name
    :param prefix: what all of its subjects begin with
    :param domain: the JetStream domain, None for the server's own
    """

    def __init__(self, link: Link, name: str, prefix: str, domain: str | None) -> None:
        self.name = name
        self.prefix = prefix
        self._link = link
        self._asking = Api(link, domain, CASES, NOBODY)
        self._api = self._asking.prefix
        self._put = f"{self._api}.{self.prefix}" if domain else self.prefix
        self._direct = False
        self._consumers = 0

    def configured(self, config: Said) -> None:
        """Take note of how the stream is configured."""
        # Any replica answers a direct get, and one that lags would not show what was just written.
        self._direct = config.number("num_replicas", 1) == 1 and bool(config.all.get("allow_direct"))

    @property
    def version(self) -> tuple[int, ...]:
        """The server's version."""
        parts = self._link.server.partition("-")[0].split(".")
        return tuple(number for part in parts if (number := number_in(part)) is not None)

    # ------------------------------------------------------------ asking

    async def ask(self, what: str, body: Any = None) -> Said:
        """Send a request to the JetStream API and return the answer; see `Api.ask`."""
        return await self._asking.ask(what, body)

    async def get(self, subject: str) -> Message | None:
        """Return the last message of a subject, None if there is none."""
        if not self._direct:
            return await self._get_from_leader(subject)
        answer = await self._answer(f"{self._api}.DIRECT.GET.{self.name}.{subject}")
        return _direct_message(answer)

    async def _get_from_leader(self, subject: str) -> Message | None:
        try:
            answer = await self.ask(f"STREAM.MSG.GET.{self.name}", {"last_by_subj": subject})
        except ApiError as error:
            if error.code == 10037:
                return None
            raise api_failed(error) from error
        message = answer.the("message")
        headers = headers_of(message.data("hdrs"))
        return _message(subject, message.number("seq"), message.data("data"), headers)

    async def get_many(self, subjects: Sequence[str]) -> dict[str, Message]:
        """Return the last messages of many subjects; those without one are missing."""
        if not self._direct:
            found = {subject: await self._get_from_leader(subject) for subject in dict.fromkeys(subjects)}
        elif self.version >= (2, 11):
            return await self._get_batch(list(dict.fromkeys(subjects)))
        else:
            found = {}
            sent = []
            try:
                for subject in dict.fromkeys(subjects):
                    name = f"{self._api}.DIRECT.GET.{self.name}.{subject}"
                    sent.append((subject, *await self._link.send(name)))
                for subject, _, answer in sent:
                    found[subject] = _direct_message(self.checked(await answer))
            finally:
                for _, token, _ in sent:
                    self._link.forget(token)
        return {subject: message for subject, message in found.items() if message is not None}

    async def _get_batch(self, subjects: list[str]) -> dict[str, Message]:
        found: dict[str, Message] = {}
        async with self._link.inbox() as inbox:
            while subjects:
                body = json.dumps({"multi_last": subjects}).encode()
                await self._link.ask_into(f"{self._api}.DIRECT.GET.{self.name}", body, inbox)
                pending = await self._read_batch(inbox, found)
                if not pending:
                    break
                subjects = [subject for subject in subjects if subject not in found]
        return found

    async def _read_batch(self, inbox: Inbox, found: dict[str, Message]) -> int:
        """Read one answer to the end; return how many messages the server left out of it."""
        before = len(found)
        while True:
            message = await inbox.next()
            status = status_of(message)
            if status == "204":
                left = number_in((message.headers or {}).get("Nats-Num-Pending", "0"))
                if left is None:
                    left_out(message)
                    continue
                return left if len(found) > before else 0
            if status is not None:
                if status == "404":
                    return 0
                self.checked(message)
                raise Other(f"JetStream answers {status}")
            try:
                one = _direct_message(message)
            except StoreUnavailable:
                left_out(message)
                continue
            if one is not None:
                found[one.subject] = one

    async def _answer(self, subject: str) -> Arrived:
        return self.checked(await self._link.request(subject))

    def checked(self, answer: Arrived) -> Arrived:
        """Return an answer unless it says that nobody is there."""
        if status_of(answer) == "503":
            raise NobodyThere(NOBODY)
        return answer

    # ------------------------------------------------------------ writing

    async def write(self, subject: str, value: bytes, headers: Mapping[str, str] | None = None) -> int:
        """Publish and return the sequence.

        :raises ApiError: if the expected last sequence is another
        """
        return self.written(await self._link.request(self._target(subject), value, self._fit(value, headers)))

    async def write_later(
        self, subject: str, value: bytes, headers: Mapping[str, str] | None = None
    ) -> tuple[str, asyncio.Future[Arrived]]:
        """Publish; the answer is for `written`."""
        return await self._link.send(self._target(subject), value, self._fit(value, headers))

    def forget(self, token: str) -> None:
        """Want no answer any more."""
        self._link.forget(token)

    def _target(self, subject: str) -> str:
        return self._put + subject[len(self.prefix) :]

    def _fit(self, value: bytes, headers: Mapping[str, str] | None) -> Mapping[str, str] | None:
        if headers is None:
            return None
        size = 14 + size_of(headers)
        most = self._link.max_payload  # 0 without a connection, and that is what it fails for
        if most and len(value) + size > most:  # the server would close the connection
            raise self._link.too_long()
        return headers

    def written(self, answer: Arrived) -> int:
        """Return the sequence that an answer to a write tells.

        :raises ApiError: if the expected last sequence is another
        """
        try:
            return self._asking.parsed(self.checked(answer)).number("seq")
        except ApiError as error:
            if error.code in WRONG_SEQUENCE:
                raise
            raise api_failed(error) from error

    async def purge(self, subject: str, before: int) -> None:
        """Remove what a subject holds before a sequence."""
        await self.ask(f"STREAM.PURGE.{self.name}", {"filter": subject, "seq": before})

    # ------------------------------------------------------------ reading on

    async def last_sequence(self) -> int:
        """Return the sequence of the last message."""
        try:
            return (await self.ask(f"STREAM.INFO.{self.name}")).the("state").number("last_seq")
        except ApiError as error:
            raise api_failed(error) from error

    async def read(
        self, filter_: str, *, after: int | None = None, values: bool = False
    ) -> AsyncGenerator[list[Message], None]:
        """Return the last message of each subject, or all messages after a sequence, in order, in batches."""
        policy = {"deliver_policy": "last_per_subject"}
        if after is not None:
            policy = {"deliver_policy": "by_start_sequence", "opt_start_seq": after + 1}  # type: ignore[dict-item]
        async with self.consumer(filter_, policy, headers_only=not values) as (name, pending):
            if not pending:
                return
            async with self._link.inbox() as inbox:
                more = True
                while more:
                    batch, more = await self._pull(name, inbox, {"batch": _PULL, "no_wait": True})
                    yield batch

    async def follow(self, filter_: str, after: int) -> AsyncGenerator[list[Message], None]:
        """Return all messages after a sequence, and wait for more."""
        policy = {"deliver_policy": "by_start_sequence", "opt_start_seq": after + 1}
        async with (
            self.consumer(filter_, policy, headers_only=False, threshold=60) as (name, _),
            self._link.inbox() as inbox,
        ):
            while True:
                batch, _ = await self._pull(name, inbox, {"batch": 1, "expires": 20 * 10**9})
                if batch:
                    yield batch

    async def pull(self, name: str, inbox: Inbox, request: Mapping[str, Any]) -> None:
        """Have a consumer send messages to an inbox."""
        subject = f"{self._api}.CONSUMER.MSG.NEXT.{self.name}.{name}"
        await self._link.ask_into(subject, json.dumps(request).encode(), inbox)

    async def _pull(self, name: str, inbox: Inbox, request: Mapping[str, Any]) -> tuple[list[Message], bool]:
        await self.pull(name, inbox, request)
        batch: list[Message] = []
        while len(batch) < request["batch"]:
            message = await inbox.next()
            if status_of(message) is not None:
                self.checked(message)
                return batch, False
            if (sequence := sequence_in(message.reply_to)) is None:
                left_out(message)
                continue
            batch.append(_message(message.subject, sequence, message.body, message.headers))
        return batch, True

    @asynccontextmanager
    async def consumer(
        self, filter_: str, policy: Mapping[str, Any], *, headers_only: bool, threshold: int = 10
    ) -> AsyncIterator[tuple[str, int]]:
        """Return the name of a new consumer, and how many messages it has; it ends with the context.

        :param threshold: seconds after which the server ends it by itself if nobody pulls
        """
        self._consumers += 1
        name = f"wasmplex-{id(self):x}-{self._consumers}-{secrets.token_hex(4)}"
        config = {
            "name": name,
            "ack_policy": "none",
            "filter_subject": filter_,
            "headers_only": headers_only,
            "mem_storage": True,
            "num_replicas": 1,
            "inactive_threshold": threshold * 10**9,
            **policy,
        }
        what = f"CONSUMER.CREATE.{self.name}.{name}.{filter_}"
        try:
            made = await self.ask(what, {"stream_name": self.name, "config": config})
            pending = made.number("num_pending", 0)
        except ApiError as error:
            raise api_failed(error) from error
        try:
            yield name, pending
        finally:
            # The server forgets it by itself if this gets lost.
            with suppress(KeyValueError), anyio.CancelScope(shield=True):
                await self._link.publish(f"{self._api}.CONSUMER.DELETE.{self.name}.{name}", b"")


# ---------------------------------------------------------------- decisions


def _direct_message(answer: Arrived) -> Message | None:
    headers, status = answer.headers or {}, status_of(answer)
    if status == "404":
        return None
    if status is not None:
        raise Other(f"JetStream answers {status}")
    subject, sequence = headers.get("Nats-Subject"), number_in(headers.get("Nats-Sequence"))
    if not subject or sequence is None:
        raise strange(CASES)
    return _message(subject, sequence, answer.body, headers)


def _message(subject: str, sequence: int, value: bytes, headers: Mapping[str, str] | None) -> Message:
    if not headers:
        return Message(subject, sequence, value, exists=True, expires=None)
    exists = headers.get(OPERATION) not in _ABSENT and "Nats-Marker-Reason" not in headers
    return Message(subject, sequence, value, exists, _milliseconds(headers.get(EXPIRES, "")))


def _milliseconds(text: str) -> int | None:
    """Return what a header says, which anybody may have written; None for what is no number."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < _MOST_DIGITS else None
