"""A task of an adapter that performs scripts."""

from __future__ import annotations

from collections import deque
from typing import Protocol

from wasmplex.bridge.flows import Flow, Script
from wasmplex.bridge.protocol import Event
from wasmplex.bridge.pulse import Pulse

__all__ = ["Actor", "Scripted"]


class Scripted(Protocol):
    """What an actor asks of the side of its adapter.

    :ivar scripts: what is to be performed
    """

    pulse: Pulse
    scripts: deque[Script]
    flows: dict[int, Flow]


class Actor:
    """A task of an adapter that performs scripts, one order at a time."""

    def __init__(self, side: Scripted) -> None:
        self.side = side
        self.record = 0
        self.armed = False
        self._script: Script | None = None

    def perform(self, event: int, a: int, b: int) -> int | None:
        """Go on with the script under way, or begin the next; None when there is none left."""
        order = None
        if event:
            self.side.pulse.busy()
        if event == Event.OPERATION and self._script is not None:
            order = self._continue((a, b))
        else:
            self.note(event, a, b)
        if self.side.scripts:
            self.side.pulse.busy()
        while order is None and self.side.scripts:
            self._script = self.side.scripts.popleft()
            order = self._continue(None)
        return order

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
            return next(self._script) if outcome is None else self._script.send(outcome)
        except StopIteration:
            self._script = None
            return None
