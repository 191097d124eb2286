"""One subscription's messages: those that wait, those that are being handled, and who asks for the next.

A group is a queue group, or a single subscriber. It has a message from the moment the broker takes it until
its outcome is final; whoever takes the last place in the broker's room makes publishers wait.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import TypeAlias

from wasmplex.capabilities.messaging import BrokerUnavailable, Deliveries, Delivery, Message, Subscription

__all__ = ["Group", "Key", "MemoryDeliveries", "Room", "Shared"]

Key: TypeAlias = "tuple[str, str] | tuple[str, str, tuple[str, ...]]"
"""What tells a group from the others of its namespace: kind, name, and the patterns of a queue group."""


class Room:
    """How much a broker may hold, and who waits for some of it."""

    def __init__(self, messages: int, size: int) -> None:
        self.messages = messages
        self.size = size
        self.most_size = size
        self.most_messages = messages
        self._waiting: deque[asyncio.Event] = deque()

    def take(self, size: int, times: int) -> bool:
        """Take the room for a message that goes to several groups; say whether there was any."""
        if self._waiting or not self._fits(size, times):
            return False
        self._hold(size, times)
        return True

    def ever(self, size: int, times: int) -> bool:
        """Say whether an empty broker would have the room."""
        return times <= self.most_messages and size * times <= self.most_size

    async def wait(self, size: int, times: int, seconds: float) -> None:
        """Wait for the room and take it, in the order of those who wait.

        :raises TimeoutError: if there was none after some seconds
        """
        turn = asyncio.Event()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(seconds):
                while self._waiting[0] is not turn or not self._fits(size, times):
                    turn.clear()
                    await turn.wait()
            self._hold(size, times)
        finally:
            self._waiting.remove(turn)
            self._wake()

    def give(self, size: int) -> None:
        """Give back the room of a message."""
        self.messages += 1
        self.size += size
        if self._waiting:
            self._wake()

    def _fits(self, size: int, times: int) -> bool:
        return times <= self.messages and size * times <= self.size

    def _hold(self, size: int, times: int) -> None:
        self.messages -= times
        self.size -= size * times

    def _wake(self) -> None:
        if self._waiting:
            self._waiting[0].set()


class _Held:
    """A message in a group."""

    __slots__ = ("first_seen", "message", "size", "timer", "tries")

    def __init__(self, message: Message, size: int, now: float) -> None:
        self.message = message
        self.size = size
        self.first_seen = now
        self.tries = 0
        self.timer: asyncio.TimerHandle | None = None


class Group:
    """The messages of one subscription.

    :param key: what tells it from the others of its namespace
    :ivar members: those who are subscribed and have not been stopped
    """

    def __init__(self, key: Key, subscription: Subscription, room: Room) -> None:
        self.key = key
        self.durable = subscription.durable is not None
        self.owner = subscription.owner
        self.subjects = subscription.subjects
        self.ordered = subscription.ordered
        self.members: set[MemoryDeliveries] = set()
        self._room = room
        self._ready: deque[_Held] = deque()
        self._later: dict[_Held, None] = {}
        self._out: dict[_Held, None] = {}
        self._asking: dict[MemoryDeliveries, deque[asyncio.Future[None]]] = {}
        """Those who wait for a message; the member whose turn it is comes first."""
        self.closed = False

    def __len__(self) -> int:
        return len(self._ready) + len(self._later) + len(self._out)

    @property
    def load(self) -> tuple[bool, bool, float]:
        """How little a message is wanted: whether nobody is there, nobody is free, and how much waits."""
        return not self.members, not self._asking, len(self) / (len(self.members) or 1)

    # ------------------------------------------------------------ the broker's side

    def put(self, message: Message, size: int, now: float) -> None:
        """Add a message whose room has been taken."""
        self._ready.append(_Held(message, size, now))
        if self._asking:
            self._wake()

    def hand_over(self, heirs: Callable[[str], Sequence[Group]]) -> None:
        """Give what is here to others who want it, at once. Nobody has any of it in hand.

        :param heirs: returns the groups that may have the messages of a subject
        """
        self.hurry()
        kept: deque[_Held] = deque()
        for held in self._ready:
            if found := heirs(held.message.subject):
                min(found, key=_load).adopt(held)
            else:
                kept.append(held)
        self._ready = kept

    def adopt(self, held: _Held) -> None:
        """Take a message that another group has left, with its room."""
        self._ready.append(held)
        self._wake()

    def close(self) -> int:
        """Let everybody go who asks, and forget what is there; return how many messages that were."""
        self.closed = True
        lost = len(self)
        for held in [*self._ready, *self._later, *self._out]:
            self._forget(held)
        self._ready.clear()
        self._later.clear()
        self._out.clear()
        self.wake_all()
        return lost

    # ------------------------------------------------------------ the members' side

    async def next(self, member: MemoryDeliveries) -> Delivery | None:
        """Wait for a message."""
        while not self._available():
            if self.closed:
                raise BrokerUnavailable("the broker is closed")
            if member.stopped and (self._stays or not len(self)):
                return None
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._asking.setdefault(member, deque()).append(turn)
            try:
                await turn
            except BaseException:
                if turn.done() and not turn.cancelled():
                    self._wake()  # it was woken for a message that it cannot take any more
                raise
            finally:
                self._ask_no_more(member, turn)
        if member.stopped and self._stays:
            self._wake()
            return None
        return self._deliver(member)

    def ready(self, member: MemoryDeliveries, most: int) -> list[Delivery]:
        """Return messages that are there already: a member's share of them."""
        if self.ordered or (member.stopped and self._stays):
            return []
        share = -(-len(self._ready) // max(len(self.members), 1))
        return [self._deliver(member) for _ in range(min(most, share))]

    def _deliver(self, member: MemoryDeliveries) -> Delivery:
        held = self._ready.popleft()
        held.tries += 1
        self._out[held] = None
        delivery = _Delivery(self, held, member)
        member.out.add(delivery)
        return delivery

    @property
    def _stays(self) -> bool:
        """Whether what is here will be handled by others, or later."""
        return bool(self.members) or self.durable

    def _available(self) -> bool:
        return bool(self._ready) and not (self.ordered and (self._out or self._later))

    def wake_all(self) -> None:
        """Have everybody look again who asks."""
        while self._asking:
            self._wake()

    def _wake(self) -> None:
        """Have one look who asks: of the members, one after the other."""
        while self._asking:
            member, turns = next(iter(self._asking.items()))
            turn = turns.popleft()
            del self._asking[member]
            if turns:
                self._asking[member] = turns
            if not turn.done():
                turn.set_result(None)
                return

    def _ask_no_more(self, member: MemoryDeliveries, turn: asyncio.Future[None]) -> None:
        turns = self._asking.get(member)
        if turns is not None and turn in turns:
            turns.remove(turn)
            if not turns:
                del self._asking[member]

    # ------------------------------------------------------------ outcomes

    def finish(self, held: _Held) -> None:
        """Forget a message whose outcome is final."""
        if held in self._out:
            del self._out[held]
            self._forget(held)
            if self.ordered or not len(self):
                self.wake_all()

    def again(self, held: _Held, after: float) -> None:
        """Deliver a message again."""
        if held not in self._out:
            return
        del self._out[held]
        self._later[held] = None
        if after > 0 and self._stays:
            held.timer = asyncio.get_running_loop().call_later(after, self._due, held)
        else:
            self._due(held)

    def hurry(self) -> None:
        """Deliver at once what was to be delivered later: nobody will be there."""
        for held in list(self._later):
            self._due(held)

    def _due(self, held: _Held) -> None:
        if held not in self._later:
            return
        del self._later[held]
        if held.timer is not None:
            held.timer.cancel()
            held.timer = None
        if self.ordered:
            self._ready.appendleft(held)
        else:
            self._ready.append(held)
        self._wake()

    def _forget(self, held: _Held) -> None:
        if held.timer is not None:
            held.timer.cancel()
        self._room.give(held.size)


@dataclass(frozen=True, slots=True)
class Shared:
    """Those of one queue group whose patterns differ: one of them gets a message that several match."""

    groups: tuple[Group, ...]

    def put(self, message: Message, size: int, now: float) -> None:
        """Add a message to the one that has most need of it."""
        min(self.groups, key=_load).put(message, size, now)


_load = attrgetter("load")


class _Delivery(Delivery):
    __slots__ = ("_group", "_held", "_member")

    def __init__(self, group: Group, held: _Held, member: MemoryDeliveries) -> None:
        super().__init__(held.message, held.tries, held.first_seen)
        self._group = group
        self._held = held
        self._member = member

    async def ack(self) -> None:
        self._member.out.discard(self)
        self._group.finish(self._held)

    async def retry(self, after: float) -> None:
        self._member.out.discard(self)
        self._group.again(self._held, after)

    async def reject(self) -> None:
        self._member.out.discard(self)
        self._group.finish(self._held)

    def give_back(self) -> None:
        """Deliver it to somebody else; it does not count as tried."""
        self._held.tries -= 1
        self._group.again(self._held, 0)


class MemoryDeliveries(Deliveries):
    """One member of a group.

    :ivar out: deliveries that have no outcome yet
    """

    def __init__(self, group: Group) -> None:
        self.group = group
        self.stopped = False
        self.out: set[_Delivery] = set()
        group.members.add(self)

    async def next(self) -> Delivery | None:
        """See `Deliveries.next`."""
        return await self.group.next(self)

    def ready(self, most: int) -> list[Delivery]:
        """See `Deliveries.ready`."""
        return self.group.ready(self, most)

    def stop(self) -> None:
        """See `Deliveries.stop`."""
        if not self.stopped:
            self.stopped = True
            self.group.members.discard(self)
            if not self.group.members and not self.group.durable:
                self.group.hurry()
            self.group.wake_all()

    def give_back(self) -> None:
        """Have others handle what has no outcome."""
        for delivery in list(self.out):
            delivery.give_back()
        self.out.clear()
