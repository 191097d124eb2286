"""Notice when a coroutine begins to wait, without a task of its own."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from types import coroutine
from typing import Any, TypeVar

__all__ = ["attentive"]

T = TypeVar("T")


@coroutine
def attentive(inner: Coroutine[Any, Any, T], on_wait: Callable[[], None]) -> Generator[Any, Any, T]:
    """Await `inner`, and call `on_wait` each time before it lets the event loop go on without it.

    Only giving way to others once, as a guest does at the end of its time slice, is not waiting; doing so
    twice in a row is. It costs one frame while nothing waits, and is cancelled and closed as `inner` itself
    would be.
    """
    send, throw = inner.send, inner.throw
    error: BaseException | None = None
    value: Any = None
    gave_way = False
    while True:
        try:
            waiting = send(value) if error is None else throw(error)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        finally:
            error = None  # else it would keep, by its traceback, the frame that keeps it
        if waiting is not None or gave_way:
            on_wait()
        gave_way = waiting is None
        try:
            value, error = (yield waiting), None
        except BaseException as thrown:  # noqa: BLE001  handed on to `inner`, whatever it is
            error = thrown
