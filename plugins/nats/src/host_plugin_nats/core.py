"""A subscription of core NATS: the server sends each message once, to whoever is there.

What is not handled is delivered again by this host. Where messages come faster than they are handled, they
lie unparsed in the backlog of the connection, then in its socket, and then in the server. That ends a
connection to which it could write nothing for its `write_deadline`, 10 s unless it is configured otherwise,
or for which more waits than its `max_pending`, 64 MiB. So each subscription has a connection of its own.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial

from wasmplex.capabilities.errors import CapabilityError
from wasmplex.capabilities.messaging import Deliveries, Delivery, Message, Subscription
from wasmplex.capabilities.messaging.subjects import matcher
from wasmplex.plugin import get_logger

from host_plugin_nats.headers import message_of, size_of
from host_plugin_nats.link import Link
from host_plugin_nats.parsing import Arrived

__all__ = ["core"]

logger = get_logger("wasmplex.backends.nats")

_MOST, _MOST_BYTES = 512, 4 * 2**20
"""Messages, and their bytes, that may wait here; then nothing is parsed until half of them are handled."""
_MOST_LATER, _MOST_LATER_BYTES = 10_000, 64 * 2**20
"""The same of those that are to be delivered again and whose time has not come."""
_AWAY = "nats: the connection was away: messages to %s that were sent meanwhile may be lost%s"
_BEHIND = "; this host did not keep up, and its server waits no longer than write_deadline and max_pending"
_PATIENCE = 2.0
"""Seconds after which both sides of a connection that nobody takes from are told anew that it is alive."""


@asynccontextmanager
async def core(
    make: Callable[[Callable[[], Awaitable[None]]], Link], subscription: Subscription
) -> AsyncIterator[CoreDeliveries]:
    """Subscribe while the context lasts.

    :param make: makes a connection that calls a function whenever it is there
    """
    deliveries = CoreDeliveries(subscription)
    link = make(deliveries.subscribe)
    deliveries.link = link
    with link.needs.of("subscribe", subscription.subjects, deliveries.end):
        await link.open()
        try:
            yield deliveries
        finally:
            deliveries.close()
            await link.close()


class _CoreDelivery(Delivery):
    """A delivery.

    :ivar size: bytes of body and headers
    """

    __slots__ = ("_deliveries", "size")

    def __init__(self, deliveries: CoreDeliveries, message: Message, tries: int, at: float) -> None:
        self.message, self.tries, self.first_seen = message, tries, at  # a frame less for each message
        self._deliveries = deliveries
        self.size = len(message.body)
        if message.headers:
            self.size += size_of(message.headers)

    async def ack(self) -> None:
        self._deliveries.settled()

    async def reject(self) -> None:
        self._deliveries.settled()

    async def retry(self, after: float) -> None:
        self._deliveries.again(self, after)


class CoreDeliveries(Deliveries):
    """Messages as the server sends them, and those that are to be delivered again.

    :ivar link: the connection
    """

    link: Link

    def __init__(self, subscription: Subscription) -> None:
        self._patterns = subscription.subjects
        self._group = subscription.queue_group or ""
        self._ordered = subscription.ordered
        self._earlier = [matcher(self._patterns[:n]) if n else None for n in range(len(self._patterns))]
        self._ready: deque[_CoreDelivery] = deque()
        self._later: dict[_CoreDelivery, asyncio.TimerHandle | None] = {}
        self._size = self._later_size = 0
        self._out = 0
        self._asking: deque[asyncio.Future[None]] = deque()
        self._numbers: list[int] = []
        self._paused: asyncio.TimerHandle | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._left = self._closed = False
        self._error: CapabilityError | None = None
        self._loop = asyncio.get_running_loop()

    async def subscribe(self) -> None:
        """Subscribe on a new connection.

        When this returns for the first time, the server has confirmed it. Later nobody waits for that, and
        the answer may lie behind what came before.

        :raises wasmplex.capabilities.messaging.AccessDenied: if the server refuses it
        """
        if self._stopping is not None:
            return  # others are to have what comes
        link, again = self.link, bool(self._numbers)
        self._numbers = [
            await link.listen(pattern, self._group, partial(self._put, number))
            for number, pattern in enumerate(self._patterns)
        ]
        if self._stopping is not None:  # since then, and those of before were left
            await link.leave(self._numbers, flush=False)
        elif not again:
            await link.flush()
            if self._error is not None:
                raise self._error
        else:
            subjects, why = ", ".join(self._patterns), _BEHIND if link.backlog.overflowed else ""
            logger.warning(_AWAY, subjects, why, extra={"repeats": subjects})

    async def next(self) -> Delivery | None:
        """See `Deliveries.next`."""
        while not self._ready or (self._ordered and (self._out or self._later)):
            if self._left and not self._ready and not self._later and not self._out:
                return None
            if self._error is not None and not self._ready:
                raise self._error
            turn: asyncio.Future[None] = self._loop.create_future()
            self._asking.append(turn)
            try:
                await turn
            except BaseException:
                if turn.done() and not turn.cancelled():
                    self._wake()
                raise
            finally:
                if turn in self._asking:
                    self._asking.remove(turn)
        return self._given(1)[0]

    def ready(self, most: int) -> Sequence[Delivery]:
        """See `Deliveries.ready`."""
        return () if self._ordered else self._given(min(most, len(self._ready)))

    def _given(self, count: int) -> Sequence[Delivery]:
        take = self._ready.popleft
        given = [take() for _ in range(count)]
        self._size -= sum([delivery.size for delivery in given])
        self._out += count
        if self._paused is not None and self._has_room():
            self._resume()
        return given

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        """See `Deliveries.ack`."""
        self.settled(len(deliveries))

    def end(self, error: CapabilityError) -> None:
        """Have an error raised once what has come is taken: no more comes."""
        self._error = error
        self._wake_all()

    def stop(self) -> None:
        """See `Deliveries.stop`: what the server has sent cannot be given back to it."""
        if self._stopping is None:
            self._stopping = self._loop.create_task(self._leave())

    def close(self) -> None:
        """Want nothing any more; what is lost by that is logged."""
        self._closed = True
        if self._stopping is not None:
            self._stopping.cancel()
        if self._paused is not None:
            self._paused.cancel()
        for timer in self._later.values():
            if timer is not None:
                timer.cancel()
        lost = len(self._ready) + len(self._later) + self._out
        unread = self.link.backlog.unread
        if lost or unread:
            more = f", and those in {unread} bytes that were not parsed" if unread else ""
            logger.warning("nats: %d messages were lost%s: %s", lost, more, ", ".join(self._patterns))

    # ------------------------------------------------------------ outcomes

    def settled(self, count: int = 1) -> None:
        """Count outcomes that are final."""
        self._out -= count
        if self._ordered:
            self._wake()
        elif self._left and not self._out:
            self._wake_all()

    def again(self, delivery: _CoreDelivery, after: float) -> None:
        """Deliver a message again."""
        self._out -= 1
        repeated = _CoreDelivery(self, delivery.message, delivery.tries + 1, delivery.first_seen)
        if self._stopping is not None or after <= 0:
            self._later[repeated] = None
            self._due(repeated)
        else:
            self._later[repeated] = self._loop.call_later(after, self._due, repeated)
            self._later_size += delivery.size
            much = len(self._later) > _MOST_LATER or self._later_size > _MOST_LATER_BYTES
            if much and self._paused is None:
                self._pause()

    def _due(self, delivery: _CoreDelivery) -> None:
        if delivery in self._later:
            timer = self._later.pop(delivery)
            if timer is not None:
                timer.cancel()
                self._later_size -= delivery.size
            self._size += delivery.size
            if self._ordered:
                self._ready.appendleft(delivery)
            else:
                self._ready.append(delivery)
            self._wake()

    # ------------------------------------------------------------ the server's side

    def _put(self, number: int, messages: Sequence[Arrived]) -> None:
        """Take messages that came for one of the patterns."""
        if self._closed:
            return
        earlier = self._earlier[number]
        if earlier is not None and not self._group:  # else one comes for a single pattern
            messages = [message for message in messages if not earlier.fullmatch(message.subject)]
        now = time.time()
        made = [_CoreDelivery(self, message_of(m, m.reply_to) if m.headers else m, 1, now) for m in messages]
        self._ready.extend(made)
        self._size += sum([delivery.size for delivery in made])
        for _ in messages:
            if not self._asking:
                break
            self._wake()
        if self._paused is None and (len(self._ready) > _MOST or self._size > _MOST_BYTES):
            self._pause()

    def _pause(self) -> None:
        if self._closed:
            return
        self.link.pause()
        self._paused = self._loop.call_later(_PATIENCE, self._pause)

    def _resume(self) -> None:
        if self._paused is not None:
            self._paused.cancel()
            self._paused = None
            self.link.resume()

    def _has_room(self) -> bool:
        """Say whether no more is here than half of what may be."""
        return (
            len(self._ready) <= _MOST // 2
            and self._size <= _MOST_BYTES // 2
            and len(self._later) <= _MOST_LATER // 2
            and self._later_size <= _MOST_LATER_BYTES // 2
        )

    async def _leave(self) -> None:
        """Unsubscribe, and take what the server has sent before."""
        for delivery in list(self._later):
            self._due(delivery)
        try:
            await self.link.leave(self._numbers)
        finally:
            self._left = True
            self._wake_all()

    def _wake(self) -> None:
        while self._asking:
            turn = self._asking.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    def _wake_all(self) -> None:
        while self._asking:
            self._wake()
