"""JetStream for messaging: which stream keeps a subject, durable consumers, what is kept in a stream."""

from __future__ import annotations

import re
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from hashlib import blake2b
from typing import Any

from wasmplex.capabilities.errors import CapabilityError
from wasmplex.capabilities.messaging import (
    CASES,
    AccessDenied,
    Message,
    MessageTooLarge,
    Subscription,
    Timeout,
)
from wasmplex.plugin import ConfigError, get_logger

from host_plugin_nats import NatsMessagingSettings
from host_plugin_nats.answers import Said
from host_plugin_nats.api import Api, answered
from host_plugin_nats.consumers import (
    OWNER,
    check_confirms,
    check_keeps,
    check_lasts,
    check_overlap,
    check_start,
    consumer_config,
    is_as_wanted,
    listed,
)
from host_plugin_nats.failures import FULL, NO_STREAM, UNREADY, ApiError, api_failed
from host_plugin_nats.headers import status_of
from host_plugin_nats.link import Link
from host_plugin_nats.outcomes import OutcomeRights
from host_plugin_nats.rights import granting, is_lacking

__all__ = ["JetStream", "failed"]

logger = get_logger("wasmplex.backends.nats")

DEAD_STREAM = "wasmplex_dead"
"""The stream that is made for dead letters; the names of others begin with it.

No stream of a durable name has such a name: ``wasmplex-NAME``.
"""
_SHARED = {"wasmplex.dead.": (DEAD_STREAM, None), "wasmplex.lastcalls.": ("wasmplex_lastcalls", 2**20)}
"""What subjects begin with that one stream keeps, and the bytes that this may have, if any bound is set."""
KNOWN = 10_000
"""Subjects of which it is remembered which stream keeps them."""
LIFETIME = 5.0
"""Seconds that this is remembered, and that JetStream is not there."""
_GONE = "nats: the stream %s is gone, which kept messages to %s: they are kept by nobody now"
_NOT_THERE = (
    "nats: JetStream does not answer, and with it the stream %s: nobody says that messages to %s are kept"
)
_MADE_ANEW = (
    "nats: the consumer %s of the stream %s was gone, and with it which messages waited to be handled: "
    'another one begins anew, with start = "%s"'
)
_UNKNOWN: tuple[float, str | None] = 0.0, None
_NO_CONSUMER = 10014
_TOO_LARGE = {10054, 10097}
"""The message, or its headers alone."""
_OVERLAP = 10065


class JetStream:
    """JetStream behind one connection.

    :ivar there: whether the account has it
    :ivar denied: why the user may not ask for it, and what is to be done about that; None if he may
    :ivar outcomes: whether he may tell what becomes of messages
    """

    def __init__(self, link: Link, settings: NatsMessagingSettings) -> None:
        self.there = False
        self.denied: tuple[str, str] | None = None
        self._had: set[tuple[str, str]] = set()
        """Streams, and consumers of them that there were."""
        self.outcomes = OutcomeRights(link, settings.domain)
        self._looked = 0.0
        """When it was last found out whether it is there."""
        self._link = link
        self._settings = settings
        self._api = Api(link, settings.domain, CASES, "JetStream is not ready", settings.timeout)
        self._confirming: dict[str, float] = {}
        """Streams that confirm what they store, and until when that is taken for granted."""
        self._keeping: OrderedDict[str, tuple[float, str | None]] = OrderedDict()

    @property
    def api(self) -> str:
        """What the subjects of its requests begin with."""
        return self._api.prefix

    async def prepare(self) -> None:
        """Find out whether it is there: it may begin after the server.

        :raises wasmplex.capabilities.messaging.MessagingError: if it says neither, or the connection is lost
        """
        self._looked = time.monotonic()
        for subject in self._keeping:
            self.doubt(subject)
        self.denied, denied = None, self.denied
        try:
            answer = await self._api.request("INFO")
        except AccessDenied as error:  # the server does all the rest
            if not is_lacking(error):
                raise
            fix = granting(error)
            if fix.endswith(".API.INFO"):  # which is the first of those that are needed
                fix = f"let the user publish to {self.api}.> and $JS.ACK.>"
            self.there, self.denied = False, (str(error), fix)
            if denied is None:
                logger.info("nats: JetStream is not used: %s", error)
            return
        self.there = False
        if status_of(answer) != "503":
            with suppress(ApiError):
                self._api.parsed(answer)
                self.there = True

    async def look_again(self) -> None:
        """Find out anew whether it is there, if it was not some time ago."""
        if not self.there and self._looked + LIFETIME < time.monotonic():
            await self.prepare()

    async def ask(self, what: str, body: Any = None) -> Said:
        """Send a request to the API and return the answer; see `Api.ask`."""
        return await self._api.ask(what, body)

    async def store(self, message: Message, headers: Mapping[str, str] | None) -> bool:
        """Publish a message, and return whether a stream has it; if not, none keeps its subject.

        :raises wasmplex.capabilities.messaging.Timeout: if none says so in time
        """
        seconds = self._settings.timeout
        late = Timeout(f"no stream has confirmed the message within {seconds:g} s")
        answer = await answered(self._link, message.subject, message.body, headers, seconds, late)
        if status_of(answer) == "503":
            return False
        try:
            self._api.parsed(answer)
        except ApiError as error:
            raise failed(error) from error
        return True

    # ------------------------------------------------------------ streams

    async def keeping(self, subject: str) -> str | None:
        """Return the stream that keeps the messages of a subject; None if there is none.

        Whoever may not ask for JetStream does not, until there is a new connection, or somebody needs it.
        """
        if self.denied is None:
            await self.look_again()
        until, name = self._keeping.get(subject, _UNKNOWN)
        if self.there and until >= time.monotonic():
            return name
        names = await self._overlapping(subject) if self.there else []
        if name is not None and not names:
            logger.warning(_GONE if self.there else _NOT_THERE, name, subject, extra={"repeats": name})
        name = names[0] if names else None
        self._keeping[subject] = time.monotonic() + LIFETIME, name
        if len(self._keeping) > KNOWN:
            self._keeping.popitem(last=False)
        return name

    def doubt(self, subject: str) -> None:
        """Look again which stream keeps a subject; it is a warning if none does any more."""
        if (found := self._keeping.get(subject)) is not None:
            self._keeping[subject] = 0.0, found[1]

    async def _overlapping(self, pattern: str) -> list[str]:
        try:
            answer = await self.ask("STREAM.NAMES", {"subject": pattern})
        except ApiError as error:
            raise failed(error) from error
        return list(answer.names("streams"))

    async def stream_for(self, subscription: Subscription) -> str:
        """Return the stream that keeps all subjects of a subscription; it is made if there is none.

        :raises wasmplex.errors.ConfigError: if several keep them, or one keeps a part of them
        """
        name, there = await self._found(subscription)
        await self.examine_letters(subscription)
        return name if there else await self._made(name, subscription.subjects, "interest")

    async def examine(self, subscription: Subscription) -> None:
        """Raise what `stream_for` and `consumer` would, but for what only making them can tell."""
        name, there = await self._found(subscription)
        if there:
            await self._owned(name, subscription)
        else:
            self._may_make(name, subscription.subjects)
        await self.examine_letters(subscription)
        await self.outcomes.check(name, subscription.durable or "")

    async def examine_letters(self, subscription: Subscription) -> None:
        """Raise what `dead_stream` would of a stream that is there."""
        if (subject := subscription.dead_letters) is not None:
            name = await self.keeping(subject)
            if name is not None:
                check_confirms(name, await self._stream(name))

    async def _found(self, subscription: Subscription) -> tuple[str, bool]:
        """Return the name of the stream for a subscription, and whether there is one.

        :raises wasmplex.errors.ConfigError: if several keep its subjects, or one keeps a part of them
        """
        wanted, name = subscription.subjects, self._settings.stream
        check_overlap(wanted)
        if name is None:
            names = sorted({name for pattern in wanted for name in await self._overlapping(pattern)})
            if len(names) > 1:
                raise ConfigError(
                    f"the subjects {listed(wanted)} are in several streams: {', '.join(names)}",
                    why="a durable subscription is one consumer of one stream",
                    fix="write a table of trigger.messaging for each of them",
                )
            name = names[0] if names else f"wasmplex-{subscription.durable}"
        if (config := await self._stream(name)) is None:
            return name, False
        check_confirms(name, config)
        check_lasts(name, config)
        check_keeps(name, config, wanted)
        return name, True

    async def dead_stream(self, subject: str) -> str:
        """Return the stream that keeps dead letters or notes of a subject; it is made if there is none.

        :raises wasmplex.errors.ConfigError: if it cannot be made, or confirms nothing
        """
        if (name := await self.keeping(subject)) is not None:
            if self._confirming.get(name, 0.0) < time.monotonic():
                check_confirms(name, await self._stream(name))
                self._confirming[name] = time.monotonic() + LIFETIME
            return name
        self.doubt(subject)
        for prefix, (name, most) in _SHARED.items():
            if subject.startswith(prefix):
                return await self._made(name, [f"{prefix}>"], "limits", most)
        shown = re.sub(r"[^A-Za-z0-9]", "-", subject)[:150]
        digest = blake2b(subject.encode(), digest_size=8).hexdigest()  # "a.b" and "a-b" are two subjects
        return await self._made(f"{DEAD_STREAM}-{shown}-{digest}", [subject], "limits")

    async def _stream(self, name: str) -> Said | None:
        try:
            return (await self.ask(f"STREAM.INFO.{name}")).the("config")
        except ApiError as error:
            if error.code == NO_STREAM:
                return None
            raise failed(error) from error

    def _may_make(self, name: str, subjects: Sequence[str]) -> None:
        if not self._settings.create:
            raise ConfigError(
                f"no stream keeps {listed(subjects)}",
                why="create is false",
                fix=f"nats stream add {name} --subjects '{','.join(subjects)}'",
            )

    async def _made(self, name: str, subjects: Sequence[str], retention: str, most: int | None = None) -> str:
        self._may_make(name, subjects)
        settings = self._settings
        bytes_ = settings.max_bytes or -1  # a server may reserve them
        config = {
            "name": name,
            "subjects": list(subjects),
            "retention": retention,
            "storage": settings.storage,
            "num_replicas": settings.replicas,
            "max_bytes": min(bytes_, most or bytes_),
            "discard": "new",
        }
        try:
            await self.ask(f"STREAM.CREATE.{name}", config)
        except ApiError as error:
            if error.code in UNREADY or error.code in FULL:
                raise failed(error) from error
            raise ConfigError(
                f"the stream {name} cannot be made for {listed(subjects)}",
                why=str(error),
                fix='stream = "..." names the one to use',
            ) from error
        return name

    # ------------------------------------------------------------ consumers

    async def consumer(self, stream: str, subscription: Subscription) -> str:
        """Return the durable consumer of a subscription; it is made if there is none.

        :raises wasmplex.errors.ConfigError: if it belongs to another workload
        """
        name = subscription.durable or ""
        found = await self._owned(stream, subscription)
        config = consumer_config(found, await self._stream(stream), subscription)
        if found is not None and is_as_wanted(found, config):
            self._had.add((stream, name))
            return name
        try:
            await self.ask(
                f"CONSUMER.CREATE.{stream}.{name}", {"stream_name": stream, "config": config, "action": ""}
            )
        except ApiError as error:
            if error.code in UNREADY or error.code in FULL:
                raise failed(error) from error
            raise ConfigError(
                f"the durable subscription {name!r} of the stream {stream} cannot be made", why=str(error)
            ) from error
        if found is None and (stream, name) in self._had:
            logger.warning(_MADE_ANEW, name, stream, subscription.start, extra={"repeats": name})
        self._had.add((stream, name))
        return name

    async def _owned(self, stream: str, subscription: Subscription) -> Said | None:
        """Return how the consumer of a subscription is configured; None if there is none.

        :raises wasmplex.errors.ConfigError: if it belongs to another workload
        """
        name, owner = subscription.durable or "", subscription.owner
        found = await self._consumer(stream, name)
        if found is not None:
            theirs = found.part("metadata").all.get(OWNER)
            if theirs != owner:
                whose = f"belongs to the workload {theirs!r}" if theirs else "was made by somebody else"
                raise ConfigError(
                    f"the durable subscription {name!r} of the stream {stream} {whose}",
                    fix=f'durable = "{owner}", or: nats consumer rm {stream} {name}',
                )
        elif (config := await self._stream(stream)) is not None:
            check_start(stream, config, subscription)
        return found

    async def _consumer(self, stream: str, name: str) -> Said | None:
        try:
            return (await self.ask(f"CONSUMER.INFO.{stream}.{name}")).the("config")
        except ApiError as error:
            if error.code == _NO_CONSUMER:
                return None
            raise failed(error) from error


def failed(error: ApiError) -> CapabilityError:
    """Return what an error of JetStream means to whoever sends or receives."""
    if error.code in _TOO_LARGE:
        return MessageTooLarge("the stream takes no message of this size")
    return api_failed(error, CASES)
