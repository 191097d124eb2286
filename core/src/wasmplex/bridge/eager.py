"""Tasks that run at once until they first wait: they have asked for it before the guest is suspended."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine, Generator
from contextvars import copy_context
from typing import Any, TypeVar

__all__ = ["spawn"]

T = TypeVar("T")

if sys.version_info >= (3, 12):

    def spawn(coroutine: Coroutine[Any, Any, T]) -> asyncio.Future[T]:
        """Run a coroutine to its first wait; return what will be its result, and stops it if cancelled."""
        return asyncio.Task(coroutine, loop=asyncio.get_running_loop(), eager_start=True)

else:
    _PASSED_ON: Any = object()
    _ENDED: Any = object()

    def spawn(coroutine: Coroutine[Any, Any, T]) -> asyncio.Future[T]:
        """Run a coroutine to its first wait; return what will be its result, and stops it if cancelled."""
        loop, context, begun = asyncio.get_running_loop(), copy_context(), _Begun(coroutine)
        task, outer = loop.create_task(begun, context=context), asyncio.current_task()
        _switch(loop, outer, task)
        try:
            begun.first = context.run(coroutine.send, None)
        except StopIteration as stop:
            return _ended(loop, stop.value, None)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001  it is the result
            return _ended(loop, None, error)
        finally:
            _switch(loop, task, outer)
            del outer  # it may end with an error that refers to this frame
        return task

    def _switch(
        loop: asyncio.AbstractEventLoop, one: asyncio.Task[Any] | None, other: asyncio.Task[Any] | None
    ) -> None:
        """Have `asyncio.current_task` return another one (Python, "Extending asyncio")."""
        if one is not None:
            asyncio.tasks._leave_task(loop, one)  # noqa: SLF001
        if other is not None:
            asyncio.tasks._enter_task(loop, other)  # noqa: SLF001

    def _ended(
        loop: asyncio.AbstractEventLoop, result: Any, error: BaseException | None
    ) -> asyncio.Future[Any]:
        """Return a result that is there; the task that was to wait for it has nothing to do."""
        ended: asyncio.Future[Any] = loop.create_future()
        if error is None:
            ended.set_result(result)
        elif isinstance(error, asyncio.CancelledError):
            ended.cancel()
        else:
            ended.set_exception(error)
        return ended

    class _Begun(Coroutine[Any, Any, Any]):
        """A coroutine whose first step was taken before that of its task.

        :ivar first: what it has yielded then
        """

        __slots__ = ("_coroutine", "first")

        def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
            self._coroutine = coroutine
            self.first = _ENDED

        def __await__(self) -> Generator[Any, Any, Any]:
            raise NotImplementedError

        def send(self, value: Any) -> Any:
            if (first := self.first) is _PASSED_ON:
                return self._coroutine.send(value)
            if first is _ENDED:
                raise StopIteration
            self.first = _PASSED_ON
            return first

        def throw(self, *args: Any) -> Any:
            first, self.first = self.first, _PASSED_ON
            if first is _ENDED:
                raise StopIteration
            if asyncio.isfuture(first) and first.cancel():
                return first  # its task waits for that, and is told when it is over
            try:
                return self._coroutine.throw(*args)
            finally:
                del args  # else the error would refer to itself, by its traceback and this frame

        def close(self) -> None:
            self._coroutine.close()
