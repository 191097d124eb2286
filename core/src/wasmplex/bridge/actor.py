"""A task of an adapter that performs scripts: as many side by side as do not touch the same thing.

The orders of all of them are given in one list, each up to its next order whose outcome decides how it goes
on; the outcomes come back together. An adapter whose memory the host does not see is given one at a time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final, Protocol

from wasmplex.bridge.flows import BLOCKED, Flow, Plan
from wasmplex.bridge.protocol import EMPTY_ARENA, EMPTY_HEAP, FINAL, UNANSWERED, Event, Op
from wasmplex.bridge.pulse import Pulse

__all__ = ["ALONE", "Actor", "Scripted"]

ALONE: Final = object()
"""Of a script that is performed while no other is."""
_NO_OUTCOME = (0, 0)
_FORGETS: Final = frozenset({EMPTY_HEAP, EMPTY_ARENA})


class Scripted(Protocol):
    """What an actor asks of the side of its adapter.

    :ivar scripts: what is to be performed
    :ivar operands_next: what a script has left for the order that it gives
    :ivar orders_most: how many orders the adapter can be given at once
    """

    pulse: Pulse
    scripts: deque[Plan]
    flows: dict[int, Flow]
    operands_next: int
    orders_most: int

    def list_orders(self, orders: Sequence[int], operands: Sequence[int], /) -> int:
        """Put orders where the adapter finds them; return the order to follow these."""

    def outcomes(self, count: int, /) -> Sequence[tuple[int, int]]:
        """Return what came of so many of them."""

    def more_events(self) -> Sequence[tuple[int, int, int]]:
        """Return what the task is told besides the event that it is told of."""


class _Lane:
    """A script under way.

    :ivar at: which of the orders that were given its next step has to wait for
    """

    __slots__ = ("at", "script", "touches")

    def __init__(self, plan: Plan) -> None:
        self.touches, self.script = plan
        self.at = 0


class Actor:
    """See the module."""

    def __init__(self, side: Scripted) -> None:
        self.side = side
        self.record = 0
        self.armed = False
        self._lanes: list[_Lane] = []
        self._orders: list[int] = []
        self._operands: list[int] = []
        self._given = 0
        """How many orders the outcome that comes next is of."""

    def follow(self, event: int, a: int, b: int) -> int:
        """Take in an event or an outcome, and return the order to follow: of scripts, or what `rest` says."""
        self.perform(event, a, b)
        if not self._lanes:
            most, orders = self.side.orders_most, self._orders
            while len(orders) < most:
                order = self.rest(Event.OPERATION if orders else event)
                is_final = order & 0xFF in FINAL
                if is_final and not orders:
                    return order
                self._add(order)
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
            side.pulse.busy()
        if event == Event.OPERATION and self._lanes:
            self._go_on((a, b))
        elif self._lanes:  # the task has yielded, see `Op.COPY_OR_YIELD` and `Op.WRITE_ALL`
            lane = self._lanes.pop()
            taken = side.outcomes(self._given)[lane.at][1] if side.orders_most > 1 else 0
            self._advance(lane, (BLOCKED, taken), side.orders_most)
        if event not in (Event.NONE, Event.OPERATION, Event.START):
            self._take_in([(event, a, b), *side.more_events()])
        if side.scripts:
            side.pulse.busy()
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
        """Begin the scripts that may be performed beside those under way."""
        scripts, lanes, most = self.side.scripts, self._lanes, self.side.orders_most
        if not lanes:
            self._advance(_Lane(scripts.popleft()), None, most)
        touched = {id(lane.touches) for lane in lanes} if scripts else set()
        while scripts and len(self._orders) < most:
            touches = scripts[0][0]
            if touched and (touches is ALONE or not touched.isdisjoint((id(touches), id(ALONE)))):
                return
            lane = _Lane(scripts.popleft())
            self._advance(lane, None, most)
            if lanes and lanes[-1] is lane:
                touched.add(id(touches))

    def _go_on(self, outcome: tuple[int, int]) -> None:
        lanes, self._lanes, most = self._lanes, [], self.side.orders_most
        outcomes = (outcome,) if self._given == 1 else self.side.outcomes(self._given)
        for left, lane in zip(range(len(lanes) - 1, -1, -1), lanes, strict=True):
            self._advance(lane, outcomes[lane.at], most - left)

    def _advance(self, lane: _Lane, outcome: tuple[int, int] | None, most: int) -> None:
        """Put down what a script orders, up to what has an outcome.

        :param most: how many orders there may be by then
        """
        side, script, orders, operands = self.side, lane.script, self._orders, self._operands
        try:
            order = next(script) if outcome is None else script.send(outcome)
            while True:
                orders.append(order)
                operands.append(side.operands_next)
                side.operands_next = 0
                if len(orders) >= most or not (order & 0xFF in UNANSWERED or order in _FORGETS):
                    break
                order = script.send(_NO_OUTCOME)
        except StopIteration:
            return
        lane.at = len(orders) - 1
        self._lanes.append(lane)

    def _add(self, order: int) -> None:
        self._orders.append(order)
        self._operands.append(self.side.operands_next)
        self.side.operands_next = 0

    def _give(self) -> int:
        orders, operands, lanes = self._orders, self._operands, self._lanes
        if lanes and (len(lanes) > 1 or lanes[0].at < len(orders) - 1):
            for lane in lanes:  # there is more to do: it may not yield
                if (op := orders[lane.at] & 0x7F) in (Op.COPY_OR_YIELD, Op.WRITE_ALL):
                    orders[lane.at] += Op.COPY - op
        self._orders, self._operands = [], []
        self._given = len(orders)
        if self.side.orders_most > 1 and (len(orders) > 1 or operands[0]):
            return self.side.list_orders(orders, operands)
        self.side.operands_next = operands[0]
        return orders[0]
