"""What a host function is handed for a stream or future of the guest's."""

from __future__ import annotations

from collections.abc import Coroutine, Generator
from typing import Any

from wasmplex.bridge.flows import StreamEndedError
from wasmplex.bridge.inflows import Inflow
from wasmplex.streams import IncomingStream
from wasmplex.values import Err
from wasmplex.wit.types import ResultType

__all__ = ["BridgedStream", "IncomingFuture"]


class BridgedStream(IncomingStream[Any]):
    """What a host function is handed for a stream; when nobody holds it any more, it is closed."""

    _closed = False

    def __init__(self, flow: Inflow) -> None:
        self._flow = flow

    def read(self) -> Coroutine[Any, Any, Any]:
        """See `IncomingStream.read`."""
        return self._flow.read()

    def close(self) -> None:
        """See `IncomingStream.close`."""
        if not self._closed:
            self._closed = True
            self._flow.close()

    def __del__(self) -> None:
        if not self._closed:
            self._closed = True
            self._flow.let_go()

    def read_ahead(self, most: int) -> None:
        """See `IncomingStream.read_ahead`."""
        self._flow.read_ahead(most)


class IncomingFuture:
    """What a host function is handed for a future: await it, once or several times."""

    _closed = False

    def __init__(self, flow: Inflow) -> None:
        self._flow = flow
        self._value: list[Any] | None = None

    def close(self) -> None:
        """Let go of the guest's end: nobody will await it. Happens by itself when nobody holds the future."""
        if not self._closed:
            self._closed = True
            self._flow.close()

    def __del__(self) -> None:
        if not self._closed:
            self._closed = True
            self._flow.let_go()

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
