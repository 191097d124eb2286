"""A message broker in the memory of the host process: subjects, groups, requests, bounds.

Nothing is awaited between looking at the groups and giving them a message, so a message reaches all groups
that match it or none. A broker that is full makes publishers wait: that is what keeps its memory flat.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from re import Pattern

from wasmplex.capabilities.messaging import (
    BrokerUnavailable,
    Deliveries,
    Kept,
    Message,
    MessageTooLarge,
    MessagingBackend,
    NoReply,
    NoResponders,
    QuotaExceeded,
    Subscription,
)
from wasmplex.capabilities.messaging.subjects import matcher
from wasmplex.plugin import ConfigError, get_logger

from host_plugin_memory import MemoryMessagingSettings
from host_plugin_memory.groups import Group, Key, MemoryDeliveries, Room, Shared
from host_plugin_memory.letters import Letters
from host_plugin_memory.sizes import size_of

__all__ = ["MemoryBroker"]

logger = get_logger("wasmplex.backends.memory")

MAX_ROUTES = 10_000
"""Subjects whose groups are remembered; the one longest unused is forgotten."""
INBOX = "_INBOX."


@dataclass
class _Space:
    """A namespace: what is subscribed in it, who waits for an answer, what is kept."""

    groups: dict[Key, tuple[Pattern[str], Group]] = field(default_factory=dict)
    routes: OrderedDict[str, tuple[Group | Shared, ...]] = field(default_factory=OrderedDict)
    answers: dict[str, asyncio.Future[Message]] = field(default_factory=dict)
    kept: dict[str, Letters] = field(default_factory=dict)

    def alike(self, name: tuple[str, str], subject: str) -> list[Group]:
        """Return those of a queue group that get the messages of a subject: their patterns differ."""
        groups = [group for pattern, group in self.groups.values() if pattern.fullmatch(subject)]
        return [group for group in groups if group.key[:2] == name]

    def route(self, subject: str) -> tuple[Group | Shared, ...]:
        """Return the groups that get the messages of a subject; one queue group gets them once."""
        found = self.routes.get(subject)
        if found is None:
            named: dict[Hashable, list[Group]] = {}
            for pattern, group in self.groups.values():
                if pattern.fullmatch(subject):
                    named.setdefault(group.key[:2], []).append(group)
            alike = (tuple(groups) for groups in named.values())
            found = tuple(Shared(groups) if len(groups) > 1 else groups[0] for groups in alike)
            self.routes[subject] = found
            if len(self.routes) > MAX_ROUTES:
                self.routes.popitem(last=False)
        return found


class MemoryBroker(MessagingBackend):
    """One open broker, for all bindings with equal settings."""

    def __init__(self, settings: MemoryMessagingSettings, features: frozenset[str]) -> None:
        self.features = features
        self._settings = settings
        self._room = Room(settings.max_messages, settings.max_size)
        self._spaces: dict[str, _Space] = {}
        self._numbers = count(1)
        self._closed = False

    def __repr__(self) -> str:
        waiting = self._room.most_messages - self._room.messages
        return f"memory: {waiting} messages, {self._room.most_size - self._room.size} bytes"

    async def close(self) -> None:
        """Forget everything; what is lost by that is logged."""
        self._closed = True
        for space in self._spaces.values():
            for _, group in space.groups.values():
                _log_lost(group, group.close())
            for answer in space.answers.values():
                if not answer.done():
                    answer.set_exception(BrokerUnavailable("the broker is closed"))
                    answer.exception()
        self._spaces.clear()

    # ------------------------------------------------------------ sending

    async def publish(self, namespace: str, message: Message) -> None:
        """Give a message to every group that wants it; wait while the broker is full."""
        space = self._space(namespace)
        if message.subject.startswith(INBOX) and self._answered(space, message):
            return
        groups = space.route(message.subject)
        if not groups:
            if message.subject.startswith(INBOX):
                raise NoResponders("nobody waits for this answer")
            return
        size = size_of(message)
        if not self._room.take(size, len(groups)):
            await self._wait_for_room(size, len(groups))
            if (now_wanting := space.route(message.subject)) != groups:
                for _ in groups:
                    self._room.give(size)
                await self.publish(namespace, message)
                return
            groups = now_wanting
        now = time.time()
        for group in groups:
            group.put(message, size, now)

    async def _wait_for_room(self, size: int, times: int) -> None:
        if not self._room.ever(size, times):
            raise QuotaExceeded("the message is larger than the whole broker may be")
        try:
            await self._room.wait(size, times, self._settings.full_wait)
        except TimeoutError:
            raise QuotaExceeded("the broker is full: its messages are not handled fast enough") from None

    def _answered(self, space: _Space, message: Message) -> bool:
        answer = space.answers.pop(message.subject, None)
        if answer is None or answer.done():
            return False
        answer.set_result(message)
        return True

    async def request(self, namespace: str, message: Message, seconds: float) -> Message:
        """Send a request, and wait for the first answer."""
        space = self._space(namespace)
        if not space.route(message.subject):
            raise NoResponders("nobody listens to the subject")
        inbox = f"{INBOX}{next(self._numbers)}"
        answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        space.answers[inbox] = answer
        try:
            async with asyncio.timeout(seconds):
                await self.publish(namespace, message._replace(reply_to=inbox))
                return await answer
        except TimeoutError:
            raise NoReply(f"no answer within {seconds:g} s") from None
        finally:
            space.answers.pop(inbox, None)

    # ------------------------------------------------------------ subscribing

    @asynccontextmanager
    async def subscribe(self, namespace: str, subscription: Subscription) -> AsyncIterator[Deliveries]:
        """Join the group of the subscription, or make one."""
        space = self._space(namespace)
        group = self._group(space, subscription)
        member = MemoryDeliveries(group)
        try:
            yield member
        finally:
            member.stop()
            member.give_back()
            if not group.members and not group.durable:
                if space.groups.pop(group.key, None) is not None:
                    space.routes.clear()
                    group.hand_over(partial(space.alike, group.key[:2]))
                _log_lost(group, group.close())

    def _group(self, space: _Space, subscription: Subscription) -> Group:
        key = self._key(subscription)
        if key not in space.groups:
            space.groups[key] = matcher(subscription.subjects), Group(key, subscription, self._room)
            space.routes.clear()
        group = space.groups[key][1]
        if group.owner != subscription.owner and group.durable:
            name = subscription.durable
            raise ConfigError(
                f"the durable subscription {name!r} belongs to the workload {group.owner!r}",
                fix=f'durable = "{subscription.owner}"',
            )
        if group.durable and group.subjects != subscription.subjects:  # the configuration has changed
            group.subjects = subscription.subjects
            space.groups[key] = matcher(subscription.subjects), group
            space.routes.clear()
        return group

    def _key(self, subscription: Subscription) -> Key:
        if subscription.durable is not None:
            return "durable", subscription.durable
        if subscription.queue_group is not None:
            return "group", subscription.queue_group, subscription.subjects
        return "single", str(next(self._numbers))

    def _space(self, namespace: str) -> _Space:
        if self._closed:
            raise BrokerUnavailable("the broker is closed")
        space = self._spaces.get(namespace)
        if space is None:
            space = self._spaces[namespace] = _Space()
        return space

    # ------------------------------------------------------------ keeping

    async def keep(self, namespace: str, message: Message) -> None:
        """Publish a message and keep it; of too many under one subject the oldest go.

        :raises MessageTooLarge: if it alone is more than may be kept
        """
        most = self._settings.max_size
        if size_of(message) > most:
            raise MessageTooLarge("what is kept under a subject has max_size at most")
        await self.publish(namespace, message)
        kept = self._space(namespace).kept
        if (letters := kept.get(message.subject)) is None:
            letters = kept[message.subject] = Letters(most)
        if gone := letters.add(Kept(str(next(self._numbers)), message)):
            logger.warning("memory: more is kept than may be, so that %d messages are dropped", gone)

    async def kept(self, namespace: str, subject: str) -> AsyncIterator[Kept]:
        """Return what is kept under a subject."""
        for kept in self._space(namespace).kept.get(subject, ()):
            yield kept

    async def remove(self, namespace: str, subject: str, token: str) -> None:
        """Keep a message no longer."""
        space = self._space(namespace)
        if (kept := space.kept.get(subject)) is None:
            return
        kept.remove(token)
        if not len(kept):
            del space.kept[subject]


def _log_lost(group: Group, lost: int) -> None:
    if lost:
        what = ", ".join(group.subjects)
        logger.warning("memory: %d messages of workload %s were lost: %s", lost, group.owner, what)
