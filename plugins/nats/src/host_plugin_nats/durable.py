"""A durable subscription: messages that JetStream keeps until they have an outcome.

Messages are pulled: those that are being handled and, where that takes no time, some that wait here, so that
nobody waits for the server. Where it takes long, none waits: the server counts what waits here as delivered,
whether or not anybody was called with it, and others could handle it. What waits here when that begins is
given back. What waits here too long belongs to the server again, and goes to somebody else.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from itertools import repeat
from operator import itemgetter
from typing import Any, Final, cast

import anyio
from wasmplex.capabilities.messaging import (
    AccessDenied,
    BrokerUnavailable,
    Deliveries,
    Delivery,
    Message,
    MessagingError,
    Subscription,
)
from wasmplex.plugin import get_logger

from host_plugin_nats.answers import number_in
from host_plugin_nats.delivery import DurableDelivery, outcome_parts, tries_at
from host_plugin_nats.headers import message_of, status_of
from host_plugin_nats.inbox import Inbox, left_out
from host_plugin_nats.link import Link
from host_plugin_nats.outcomes import OutcomeRights
from host_plugin_nats.parsing import Arrived
from host_plugin_nats.pulling import PENDING, refusal

__all__ = ["DurableDeliveries"]

logger = get_logger("wasmplex.backends.nats")

_EXPIRES = 20.0
"""Seconds that the server remembers that messages are wanted."""
_FLUSH = 5.0
_MOST_AHEAD, _MOST_BYTES = 2048, 8 * 2**20
"""Messages that are asked for before those are handled that are there, and the bytes of a request.

What is here without an outcome the consumer bounds as well. A large request is for the server's sake, which
tells of the end of each.
"""
_COMPLETED = "Batch Completed"
"""What the server says when as much has come as was asked for, where that has a limit of bytes."""
_BODY: Final = itemgetter(Arrived._fields.index("body"))
_HEADERS: Final = itemgetter(Arrived._fields.index("headers"))
_SLOW = 0.2
"""Seconds that messages take if none of them is to wait here."""
_LONG = 1.0
"""Seconds that a message has waited here behind slow ones when it is given back, with those behind it."""
_SOON, _LATE = 0.05, 0.5
"""Seconds between two requests: more messages are asked for if they are shorter, fewer if they are longer."""


class DurableDeliveries(Deliveries):
    """A consumer that is pulled from.

    :param next_subject: where to ask for messages
    :ivar out: deliveries that have no outcome yet
    :ivar unsure: asked about the first message whether its outcome may be told; None if that is known
    """

    def __init__(self, link: Link, next_subject: str, inbox: Inbox, subscription: Subscription) -> None:
        self.out: set[DurableDelivery] = set()
        self.unsure: OutcomeRights | None = None
        self._link = link
        self._next_subject = next_subject
        self._inbox = inbox
        self._calls = max(subscription.max_in_flight, 1)
        self._least = 2 * self._calls
        self._most = self._least if subscription.ordered else max(self._least, _MOST_AHEAD)
        self._ahead = self._least if subscription.ordered else 0
        """How many may wait here, or be on the way; 0 for as many as can be handled at once."""
        self._came = self._came_bytes = 0
        """What has come since messages were asked for."""
        self._takes = 1.0
        """Seconds from a delivery to its outcome, of late; long until that is known."""
        self._fresh = subscription.ack_wait
        self._ordered = subscription.ordered
        self._waiting: deque[tuple[float, Arrived]] = deque()
        self._first = " "
        """What the subject for the outcome of a first delivery begins with; " " until one has come."""
        self._wanted = 0
        self._turn = asyncio.Lock()
        self._stopped = False
        self._reading = anyio.CancelScope()
        self._loop = asyncio.get_running_loop()
        self._asked = 0.0
        self._returning: asyncio.Task[None] | None = None
        self._easing: asyncio.Task[None] | None = None
        self._place = inbox.subject
        self._eased = 0

    def settle(self, delivery: DurableDelivery) -> None:
        """Note that a delivery has its outcome, or several that were given with it."""
        self.out.discard(delivery)
        self._takes += (self._loop.time() - delivery.given - self._takes) / 4
        if self._takes > _SLOW:
            self._ease_if_any_waits()

    def goes_on(self, delivery: DurableDelivery) -> None:
        """Note that a delivery has no outcome yet: nothing else may be heard of it for long."""
        if self._loop.time() - delivery.given > _SLOW:
            self._ease_if_any_waits()

    async def tell(self, subject: str, what: bytes) -> None:
        """Tell the server what became of a message, or is becoming of it."""
        await self._link.publish(subject, what)

    def stop(self) -> None:
        """See `Deliveries.stop`: others get at once what waits here."""
        self._stopped = True
        self._reading.cancel()
        if self._returning is None:
            self._returning = self._loop.create_task(self._give_back())

    def _ease_if_any_waits(self) -> None:
        """Begin to give back what waits behind slow ones, if that has waited for long."""
        long_ago = self._loop.time() - _LONG
        if self._stopped or self._ordered or self._easing is not None:
            return
        with suppress(MessagingError):  # told of again when messages are asked for
            self._sort(self._inbox.take())
        if self._waiting:
            self._reading.cancel()  # whoever reads would find nothing, and wait for more
        if self._waiting and self._waiting[0][0] < long_ago:
            self._easing = self._loop.create_task(self._ease())

    async def _ease(self) -> None:
        """Give back all that cannot be handled now; get what is asked for from now on under another subject.

        The server has requests of ours yet, and would send here again what it is given back. It forgets them
        where nobody listens.
        """
        try:
            await self._link.leave([self._inbox.number])
            if self._inbox.ended:
                return
            self._eased += 1
            self._inbox.subject = f"{self._place}.{self._eased}"
            self._inbox.number = await self._link.listen(self._inbox.subject, "", self._inbox.put)
            self._ahead = self._wanted = 0
            self._takes = max(self._takes, 2 * _SLOW)  # else as many are taken ahead again
            await self._return(self._left(max(self._calls - len(self.out), 0)))
        except MessagingError:
            pass  # the connection is lost, and whoever reads hears of it
        finally:
            self._easing = None

    async def next(self) -> Delivery | None:
        """See `Deliveries.next`."""
        while not self._stopped:
            if self._easing is not None:
                await asyncio.wait([self._easing])
            if self._inbox.ended:  # the server delivers to somebody else what waits here
                self._waiting.clear()
            if 0 < len(self._waiting) <= self._ahead // 2:
                self._sort(self._inbox.take())
                await self._ask()  # meanwhile somebody else may have taken the last one
            if self._stopped:
                break
            if self._waiting:
                at, message = self._waiting.popleft()
                if (delivery := await self._taken(at, message)) is not None:
                    return delivery
                continue
            async with self._turn:  # one of those who wait reads for all
                if not self._waiting and not self._stopped:
                    await self._read()
        return None

    def ready(self, most: int) -> Sequence[Delivery]:
        """See `Deliveries.ready`: what has been here for long is left to `next`."""
        if self._stopped or self._ordered or self._inbox.ended:
            return ()
        now = self._loop.time()
        if not self._waiting or self._waiting[0][0] < now - self._fresh / 3:
            return ()
        given = self._first_waiting(min(most, len(self._waiting)), now)
        self.out.update(given)
        return given

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        """See `Deliveries.ack`: all of it goes in one write."""
        ours = cast("Sequence[DurableDelivery]", deliveries)
        self.out.difference_update(ours)
        if ours:
            self.settle(ours[0])
        replies = [delivery.reply_subject for delivery in ours]
        if not self._link.tell(replies, b"+ACK"):
            for reply in replies:
                await self.tell(reply, b"+ACK")
            await self._link.flush()

    async def close(self) -> None:
        """Give back what has no outcome, so that somebody else gets it at once."""
        self.stop()
        if self._returning is not None:
            await asyncio.wait([self._returning])
        replies = [delivery.reply_subject for delivery in self.out]
        self.out.clear()
        await self._return([*self._left(), *replies])

    async def _give_back(self) -> None:
        """Give back what waits here, once the server sends no more: it would send that again."""
        if self._easing is not None:
            await asyncio.wait([self._easing])
        await self._link.leave([self._inbox.number])
        await self._return(self._left())

    def _left(self, keep: int = 0) -> list[str]:
        """Return where to tell what becomes of the messages that wait here, which are taken out.

        :param keep: how many of them are not, the first
        """
        now = self._loop.time()
        self._waiting.extend((now, message) for message in self._inbox.take() if status_of(message) is None)
        waiting = list(self._waiting)
        self._waiting = deque(waiting[:keep])
        replies = [message.reply_to for _, message in waiting[keep:]]
        return [reply for reply in replies if reply and outcome_parts(reply) is not None]

    async def _return(self, replies: Sequence[str]) -> None:
        try:
            for reply in replies:
                await self.tell(reply, b"-NAK")
            with anyio.move_on_after(_FLUSH):
                await self._link.flush()
        except MessagingError:
            pass  # the server delivers them again when their time is up

    # ------------------------------------------------------------ reading

    async def _read(self) -> None:
        """Ask for messages if few are on the way, and wait for something to come."""
        subject = self._inbox.subject
        await self._ask()
        if self._easing is not None or self._inbox.subject != subject:
            return  # what was asked for does not come
        if (message := await self._next_message()) is not None:
            try:
                if self.unsure is not None:
                    await self._make_sure(self.unsure, message)
            finally:
                self._sort([message, *self._inbox.take()])

    async def _make_sure(self, rights: OutcomeRights, message: Arrived) -> None:
        """End the subscription before the first message is handed over if its outcome may not be told."""
        try:
            if await rights.check_for(message.reply_to):
                self.unsure = None
        except AccessDenied as error:
            self._inbox.end(error)

    async def _ask(self) -> None:
        if self._inbox.ended:
            return
        now = self._loop.time()
        if self._wanted and now - self._asked > _EXPIRES:
            self._wanted = 0  # whatever was to say so is lost
        room = self._room()
        if self._wanted >= max(room // 2, 1):
            return
        if self._wanted and self._wanted + len(self._waiting) > room - room // 4:
            return  # nobody has to wait, and the server has work with each request, and tells of its end
        self._ahead = self._suited(now - self._asked)
        self._came = self._came_bytes = 0
        count = max(self._room() - self._wanted - len(self._waiting), 1)
        self._wanted += count
        self._asked = now
        most = max(_MOST_BYTES, 2 * self._link.max_payload)  # else the largest message would never come
        request: dict[str, Any] = {"batch": count, "max_bytes": most, "expires": int(_EXPIRES * 0.9 * 10**9)}
        try:
            await self._link.ask_into(self._next_subject, json.dumps(request).encode(), self._inbox)
        except BaseException:
            self._wanted -= count
            raise

    def _room(self) -> int:
        """Return how many messages may wait here, or be on the way. Who asks can handle one."""
        return self._ahead or max(self._calls - len(self.out), 1)

    def _suited(self, since: float) -> int:
        """Return what `_ahead` is to be, so many seconds after the request before."""
        if self._takes > _SLOW and not self._ordered:
            return 0
        if since < _SOON:
            fitting = _MOST_BYTES * self._came // self._came_bytes if self._came_bytes else self._most
            return min(max(2 * self._ahead, self._least), max(min(fitting, self._most), self._least))
        return max(self._ahead // 2 if since > _LATE else self._ahead, self._least)

    async def _next_message(self) -> Arrived | None:
        """Return the next message; None when stopped, or after a while."""
        if self._stopped:
            return None
        with anyio.move_on_after(_EXPIRES), anyio.CancelScope() as self._reading:
            return await self._inbox.next()
        return None

    def _sort(self, messages: Sequence[Arrived]) -> None:
        """Keep what has come, but see to what the server says itself."""
        said: Sequence[Arrived] = ()
        if any(map(_HEADERS, messages)):
            said = [message for message in messages if status_of(message) is not None]
            messages = [message for message in messages if status_of(message) is None]
        now = self._loop.time()
        self._waiting.extend(zip(repeat(now), messages, strict=False))
        self._wanted = max(self._wanted - len(messages), 0)
        self._came += len(messages)
        self._came_bytes += sum(map(len, map(_BODY, messages)))
        for message in said:
            self._hear(message)

    def _hear(self, message: Arrived) -> None:
        """See that the server says that there are no messages.

        :raises wasmplex.capabilities.messaging.BrokerUnavailable: if it takes no such request, or has no
            consumer. Whoever subscribes again, after a pause, has that put right
        """
        status, headers = status_of(message), message.headers or {}
        said = headers.get("Description") or ""
        if (refused := refusal(self._next_subject, status, headers)) is not None:
            self._wanted = 0
            raise BrokerUnavailable(refused)
        if status not in ("404", "408", "409", "503") or said == _COMPLETED:
            return
        pending = headers.get(PENDING)
        if (left := number_in(pending)) is None and pending:
            left_out(message)
            return
        self._wanted = 0 if left is None else max(self._wanted - left, 0)
        if status == "503" or "Deleted" in said:
            raise BrokerUnavailable("the consumer is gone, or JetStream is not ready")

    async def _taken(self, at: float, message: Arrived) -> DurableDelivery | None:
        now = self._loop.time()
        age = now - at
        if age > self._fresh * 0.9:
            return None  # the server delivers it to somebody else
        if (delivery := self._delivery(message, now)) is None:
            return None
        self.out.add(delivery)  # first: if that cannot be told, it is given back at once
        if age > self._fresh / 3:
            await delivery.in_progress()
        return delivery

    def _first_waiting(self, count: int, now: float) -> list[DurableDelivery]:
        """Return deliveries of the messages that have waited longest."""
        given: list[DurableDelivery] = []
        take, add, make, begin = self._waiting.popleft, given.append, tuple.__new__, object.__new__
        for _ in range(count):
            _, message = take()
            subject, body, reply, headers = message
            if headers or reply is None or not reply.startswith(self._first):
                if (checked := self._delivery(message, now)) is not None:
                    add(checked)
                continue
            delivery = begin(DurableDelivery)  # as `_delivery` does it, without a frame for each
            delivery.message = make(Message, (subject, body, None, None))
            delivery.tries, delivery.given = 1, now
            delivery._deliveries, delivery.reply_subject = self, reply  # noqa: SLF001
            add(delivery)
        return given

    def _delivery(self, message: Arrived, now: float) -> DurableDelivery | None:
        """Return a delivery; None, which is said, if the message is somebody else's."""
        reply = message.reply_to or ""
        tries = 1
        if not reply.startswith(self._first):
            if (tokens := outcome_parts(reply)) is None:
                left_out(message)
                return None
            place = tries_at(tokens)
            tries = int(tokens[place])
            self._first = ".".join([*tokens[:place], "1", ""])
        return DurableDelivery(self, message_of(message, None), tries, reply, now)
