"""What a host function is handed for a stream or future of the guest's."""

from __future__ import annotations

import weakref
from collections.abc import Generator
from typing import Any

from wasmplex.bridge.flows import StreamEndedError
from wasmplex.bridge.inflows import Inflow
from wasmplex.streams import IncomingStream
from wasmplex.values import Err
from wasmplex.wit.types import ResultType

__all__ = ["BridgedStream", "IncomingFuture"]


class BridgedStream(IncomingStream[Any]):
    """What a host function is handed for a stream; when nobody holds it any more, it is closed."""

    def __init__(self, flow: Inflow) -> None:
        self._flow = flow
        self._finalizer = weakref.finalize(self, flow.close)
        self._finalizer.atexit = False

    async def read(self) -> Any:
        """See `IncomingStream.read`."""
        return await self._flow.read()

    def close(self) -> None:
        """See `IncomingStream.close`."""
        self._finalizer()

    def read_ahead(self, most: int) -> None:
        """See `IncomingStream.read_ahead`."""
        self._flow.read_ahead(most)


class IncomingFuture:
    """What a host function is handed for a future: await it, once or several times."""

    def __init__(self, flow: Inflow) -> None:
        self._flow = flow
        self._value: list[Any] | None = None
        self._finalizer = weakref.finalize(self, flow.close)
        self._finalizer.atexit = False

    def close(self) -> None:
        """Let go of the guest's end: nobody will await it. Happens by itself when nobody holds the future."""
        self._finalizer()

    def read_ahead(self) -> None:
        """Ask the guest for the value before somebody awaits it."""
        self._flow.read_ahead(1)

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._get().__await__()

    async def _get(self) -> Any:
        if self._value is None:
            self._value = await self._flow.read()
        if not self._value:
            raise StreamEndedError("the guest has dropped its end of the future without a value")
        value = self._value[0]
        if isinstance(self._flow.elements.type, ResultType):
            if isinstance(value, Err):
                raise value
            return value.value
        return value
