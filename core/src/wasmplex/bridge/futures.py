"""Futures of asyncio that the guest is given: each tells by itself when it is done, and needs no task."""

from __future__ import annotations

import asyncio
from typing import Any

from wasmplex.bridge.elements import Elements
from wasmplex.bridge.flows import DROP_WRITABLE, WRITE, Flow, Script, StreamEndedError, Streaming
from wasmplex.bridge.giving import give_up
from wasmplex.bridge.inflight import weight
from wasmplex.values import Err, Ok
from wasmplex.wit.types import ResultType

__all__ = ["OutgoingFuture"]


class OutgoingFuture(Flow):
    """A future to the guest whose value holds no handles."""

    def __init__(
        self, session: Streaming, elements: Elements, first: int, handle: int, source: asyncio.Future[Any]
    ) -> None:
        super().__init__(session, elements, first, handle, single=True)
        self._source: asyncio.Future[Any] | None = source
        self._waits: asyncio.Task[None] | None = None
        """Waits until there is room for the value, if there is none at once."""
        self._held = 0
        if source.done():
            self._told(source)
        else:
            source.add_done_callback(self._told)

    def settle(self) -> None:
        """Give the guest what it has come to by now; the callback waits for a turn of the loop."""
        if (source := self._source) is not None and source.done():
            self._told(source)

    def _told(self, source: asyncio.Future[Any]) -> None:
        """Give the guest what the future has come to, unless it is gone."""
        if self.done or self.session.closed or self._source is not source:
            return
        self._source = None
        try:
            self._give_outcome(source)
        except asyncio.CancelledError:  # raised as it is, it would cancel whoever calls the instance
            self.session.scheduler.fail(StreamEndedError("what a future was to be given was cancelled"))
        except Exception as error:  # noqa: BLE001  nobody else would tell the guest
            self.session.scheduler.fail(error)

    def _give_outcome(self, source: asyncio.Future[Any]) -> None:
        fallible, error = isinstance(self.elements.type, ResultType), source.exception()
        if error is not None and not (fallible and isinstance(error, Err)):
            self.session.scheduler.fail(error)
            return
        value = error if error is not None else Ok(source.result()) if fallible else source.result()
        size = weight(value)
        if self.session.scheduler.chunks.hold_at_once(size):
            self._give(value, size)
        else:
            self._waits = self.session.spawn(self._give_later(value, size))

    async def _give_later(self, value: Any, size: int) -> None:
        await self.session.scheduler.chunks.hold(size)
        self._give(value, size)

    def _give(self, value: Any, size: int) -> None:
        self._held = size
        self.session.script(self._write(value), self)

    def _write(self, value: Any) -> Script:
        if self.done:
            return
        elements, session = self.elements, self.session
        if elements.size:
            data = elements.encode([value], 0, session.handles)
            elements.fitting(1, len(data))
            if grow := self.acquire(len(data)):
                yield grow
            if elements.points:
                data = elements.encode([value], self.buffer, session.handles)
            if session.buffers:
                session.buffers[elements.memory].write(self.buffer, data)
            else:
                yield from session.fill(elements.memory, self.buffer, data)
        code, _ = yield self.copying(WRITE, self.buffer, 1)
        if self.copied(code):
            self._taken()

    def event(self, code: int) -> Script:
        """End, for the guest has taken the value, or will not."""
        self._taken()
        yield from ()

    def _taken(self) -> None:
        self.finish(DROP_WRITABLE)
        self._let_go()

    def goes_on(self) -> bool:
        """Say whether there will be something for the guest: not while it does not take what there is."""
        return not self.done and (self._source is not None or (self._waits is not None and not self._held))

    def abandon(self) -> None:
        """Wait no more."""
        if self._waits is not None:
            self._waits.cancel()
        self._let_go()
        give_up(self._source)
        self._source = None

    def _let_go(self) -> None:
        """Reckon no more with a value that was on its way."""
        held, self._held = self._held, 0
        if held:
            self.session.scheduler.chunks.taken(held)
