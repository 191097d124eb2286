"""A task of an adapter that performs scripts: as many side by side as do not touch the same thing.

A script puts orders that have no outcome into the queue of its side, and yields one when it has to know what
comes of it. So the orders of all scripts are given in one list, and the outcomes come back together. An
adapter whose memory the host does not see is given one at a time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final, Protocol, TypeAlias

from wasmplex.bridge.flows import BLOCKED, Flow, Plan, Script
from wasmplex.bridge.protocol import FINAL, Event, Op
from wasmplex.bridge.scheduler import Scheduler

__all__ = ["ALONE", "Actor", "Scripted"]

ALONE: Final = object()
"""Of a script that is performed while no other is."""
_ALONE: Final = id(ALONE)
_YIELDING: Final = frozenset({Op.COPY_OR_YIELD, Op.WRITE_ALL})


class Scripted(Protocol):
    """What an actor asks of the side of its adapter.

    :ivar scripts: what is to be performed
    :ivar orders: what is to be given to the adapter
    :ivar operands: the operands of each of them
    :ivar operands_next: what a script has left for the order that it yields
    :ivar orders_most: how many orders the adapter can be given at once
    """

    scheduler: Scheduler
    scripts: deque[Plan]
    orders: list[int]
    operands: list[int]
    flows: dict[int, Flow]
    operands_next: int
    orders_most: int

    def list_orders(self, orders: Sequence[int], operands: Sequence[int], /) -> int:
        """Put orders where the adapter finds them; return the order to follow these."""

    def outcomes(self, count: int, /) -> Sequence[tuple[int, int]]:
        """Return what came of so many of them."""

    def more_events(self) -> Sequence[tuple[int, int, int]]:
        """Return what the task is told besides the event that it is told of."""


_Lane: TypeAlias = tuple[int, object, Script]
"""A script under way: which of the orders in the queue its next step has to wait for, and what it touches."""


class Actor:
    """See the module."""

    def __init__(self, side: Scripted) -> None:
        self.side = side
        self.record = 0
        self.armed = False
        self._lanes: list[_Lane] = []
        self._given = 0
        """How many orders the outcome that comes next is of."""

    def follow(self, event: int, a: int, b: int) -> int:
        """Take in an event or an outcome, and return the order to follow: of scripts, or what `rest` says."""
        self.perform(event, a, b)
        if not self._lanes:
            most, orders = self.side.orders_most, self.side.orders
            while len(orders) < most:
                order = self.rest(Event.OPERATION if orders else event)
                is_final = order & 0xFF in FINAL
                if is_final and not orders:
                    return order
                orders.append(order)
                self.side.operands.append(0)
                if is_final:
                    break
        return self._give()

    def rest(self, event: int) -> int:
        """Return what to do where there is no script to perform: an order without an outcome."""
        raise NotImplementedError

    def perform(self, event: int, a: int, b: int) -> None:
        """Go on with the scripts under way, and begin others; what they order is put down."""
        side = self.side
        if event:
            side.scheduler.busy()
        if self._lanes:
            if event == Event.OPERATION:
                self._go_on((a, b))
            else:  # the task has yielded, see `Op.COPY_OR_YIELD` and `Op.WRITE_ALL`
                at, touches, script = self._lanes.pop()
                taken = side.outcomes(self._given)[at][1] if side.orders_most > 1 else 0
                self._advance(touches, script, (BLOCKED, taken))
        if event not in (Event.NONE, Event.OPERATION, Event.START):
            self._take_in([(event, a, b), *side.more_events()])
        if side.scripts:
            side.scheduler.busy()
            self._begin()

    def _take_in(self, events: Sequence[tuple[int, int, int]]) -> None:
        """Plan what events give rise to: before what was planned without knowing of them."""
        plans = [plan for event in events if (plan := self.note(*event)) is not None]
        self.side.scripts.extendleft(reversed(plans))

    def note(self, event: int, a: int, b: int) -> Plan | None:
        """Take in an event of the task's waitables: a stream's or future's, or its own wake stream's."""
        flow = self.side.flows.get(a)
        if flow is None:
            self.armed = False
            return None
        return flow.touches, flow.event(b)

    def _begin(self) -> None:
        """Begin the scripts that may be performed beside those under way, while there is room for orders."""
        scripts, lanes, orders = self.side.scripts, self._lanes, self.side.orders
        touched = {id(touches) for _, touches, _ in lanes}
        while scripts and _ALONE not in touched and len(orders) < self.side.orders_most:
            touches, script = scripts[0]
            if touched and (touches is ALONE or id(touches) in touched):
                return
            scripts.popleft()
            if self._advance(touches, script, None):
                touched.add(id(touches))

    def _go_on(self, outcome: tuple[int, int]) -> None:
        """Go on with the scripts whose orders were among those that were given."""
        lanes, self._lanes, given = self._lanes, [], self._given
        outcomes = (outcome,) if given == 1 else self.side.outcomes(given)
        for at, touches, script in lanes:
            if at < given:
                self._advance(touches, script, outcomes[at])
            else:
                self._lanes.append((at - given, touches, script))

    def _advance(self, touches: object, script: Script, outcome: tuple[int, int] | None) -> bool:
        """Put down what a script orders, up to what has an outcome; say whether it has not ended.

        :param outcome: None of a script that begins
        """
        side = self.side
        try:
            order = script.send(outcome)  # type: ignore[arg-type]
        except StopIteration:
            return False
        self._lanes.append((len(side.orders), touches, script))
        side.orders.append(order)
        side.operands.append(side.operands_next)
        side.operands_next = 0
        return True

    def _give(self) -> int:
        """Give what is in the queue to the adapter: all of it, or as much as there is room for."""
        side, lanes = self.side, self._lanes
        orders, operands = side.orders, side.operands
        if lanes and (len(lanes) > 1 or lanes[0][0] < len(orders) - 1):
            for at, _, _ in lanes:  # there is more to do: it may not yield
                if (op := orders[at] & 0x7F) in _YIELDING:
                    orders[at] += Op.COPY - op
        self._given = count = min(len(orders), side.orders_most)
        if side.orders_most > 1 and (count > 1 or operands[0]):
            order = side.list_orders(orders[:count], operands[:count])
        else:
            order, side.operands_next = orders[0], operands[0]
        del orders[:count], operands[:count]
        return order
