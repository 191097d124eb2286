"""Streams whose source is asked for a chunk as soon as the guest has taken the one before."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from wasmplex.bridge.eager import spawn
from wasmplex.bridge.flows import Script
from wasmplex.bridge.inflight import weight
from wasmplex.bridge.outflows import Outflow
from wasmplex.streams import ChunkSource

__all__ = ["PulledOutflow"]


class PulledOutflow(Outflow):
    """A stream from a `ChunkSource`: no task feeds it, and what is there at once is written at once."""

    def _begin(self, source: ChunkSource[Any], *, single: bool) -> None:
        self._source = source
        self._reading: asyncio.Future[Any] | None = None
        self._pull()
        if self._reading is None:
            self.session.script(self._write(), self)

    def _pull(self) -> None:
        """Take the next chunk if it is at hand, and there is room for it; else ask for it."""
        try:
            chunk = self._source.read_nowait()
            if chunk is not None and self._took(chunk):
                return
        except Exception as error:  # noqa: BLE001  raised here it would be the adapter's
            self.session.scheduler.fail(error)
            return
        reading = spawn(self._read(chunk))
        if reading.done():
            self._failed(reading)
            return
        self._reading, self._since = reading, time.monotonic()
        reading.add_done_callback(self._failed)

    def _took(self, chunk: Any) -> bool:
        """Have a chunk ready to be written, unless that has to wait; say whether it is."""
        if not len(chunk):
            self._ended()
            return True
        rest = self.elements.checked(chunk)
        if not self.session.scheduler.chunks.hold_at_once(size := weight(chunk)):
            return False
        self._held, self._rest = size, rest
        return True

    async def _read(self, chunk: Any) -> None:
        """Have the next chunk ready to be written.

        :param chunk: that chunk, if all it waits for is room
        """
        if chunk is None:
            chunk = await self._source.read()
        if self.done:
            return
        if chunk is None or not len(chunk):
            self._ended()
        elif not self._took(chunk):
            await self.session.scheduler.chunks.hold(size := weight(chunk))
            self._held, self._rest = size, self.elements.checked(chunk)
        if self._reading is not None:
            self._reading = None
            self.session.script(self._write(), self)

    def _ended(self) -> None:
        self._closing, self._unread = True, None
        for other in list(self.session.flows.values()):
            other.settle()  # a future that tells how the stream has ended

    def _failed(self, reading: asyncio.Future[Any]) -> None:
        if not reading.cancelled() and (error := reading.exception()) is not None:
            self.session.scheduler.fail(error)

    def _write(self) -> Script:
        yield from super()._write()
        if self._closing and not self.done:
            yield from self._close()

    def _emptied(self) -> None:
        self._let_go()
        self._pull()

    @property
    def waits(self) -> bool:
        """Whether there is nothing to give: the next chunk is not there."""
        return self._reading is not None

    def goes_on(self) -> bool:
        """Say whether there will be something for the guest: not while it does not take what there is."""
        return not self.done and self._reading is not None

    def _end(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
        super()._end()
