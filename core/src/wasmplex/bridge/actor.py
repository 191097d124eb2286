"""A task of an adapter that performs scripts."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Protocol

from wasmplex.bridge.flows import BLOCKED, Flow, Script
from wasmplex.bridge.protocol import EMPTY_HEAP, ORDERS_AHEAD, UNANSWERED, WITH_OPERANDS, Event
from wasmplex.bridge.pulse import Pulse

__all__ = ["Actor", "Scripted"]

_NO_OUTCOME = (0, 0)


class Scripted(Protocol):
    """What an actor asks of the side of its adapter.

    :ivar scripts: what is to be performed
    :ivar gives_ahead: whether the adapter can be given several orders at once
    """

    pulse: Pulse
    scripts: deque[Script]
    flows: dict[int, Flow]
    gives_ahead: bool

    def orders(self, orders: Sequence[int], /) -> int:
        """Have the adapter follow orders, the last of which is given with its operands."""


class Actor:
    """A task of an adapter that performs scripts, one order at a time."""

    def __init__(self, side: Scripted) -> None:
        self.side = side
        self.record = 0
        self.armed = False
        self._script: Script | None = None
        self._ahead: list[int] = []
        """Orders without an outcome that the adapter is to follow before the next one."""

    def perform(self, event: int, a: int, b: int) -> int | None:
        """Go on with the script under way, or begin the next; None when there is none left."""
        order = None
        if event:
            self.side.pulse.busy()
        if event == Event.OPERATION and self._script is not None:
            order = self._continue((a, b))
        else:
            if self._script is not None:  # the task has yielded, see `Op.COPY_OR_YIELD`
                self._continue((BLOCKED, 0))
            self.note(event, a, b)
        if self.side.scripts:
            self.side.pulse.busy()
        while order is None and self.side.scripts:
            self._script = self.side.scripts.popleft()
            order = self._continue(None)
        return order if not self.side.gives_ahead else self._given(order)

    def _given(self, order: int | None) -> int | None:
        """Give orders in one go: an adapter asks for each that does not lie ready for it."""
        ahead = self._ahead
        if not ahead and (order is None or order & 0xFF not in WITH_OPERANDS):
            return order
        if order is not None:
            ahead.append(order)
        self._ahead = []
        return self.side.orders(ahead)

    def note(self, event: int, a: int, b: int) -> None:
        """Take in an event of the task's waitables: a stream's or future's, or its own wake stream's."""
        if event in (Event.NONE, Event.OPERATION, Event.START):
            return
        flow = self.side.flows.get(a)
        if flow is None:
            self.armed = False
        else:
            self.side.scripts.appendleft(flow.event(b))  # before what was planned without knowing of it

    def _continue(self, outcome: tuple[int, int] | None) -> int | None:
        assert self._script is not None  # noqa: S101  both callers have one
        try:
            order = next(self._script) if outcome is None else self._script.send(outcome)
            while self.side.gives_ahead and len(self._ahead) < ORDERS_AHEAD and _is_unanswered(order):
                self._ahead.append(order)
                order = self._script.send(_NO_OUTCOME)
            return order
        except StopIteration:
            self._script = None
            return None


def _is_unanswered(order: int) -> bool:
    return order & 0xFF in UNANSWERED or order == EMPTY_HEAP
