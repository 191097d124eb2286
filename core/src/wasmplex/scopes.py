"""Cancelling what is awaited for a call, whoever makes it: one alone, or a task that makes many."""

from __future__ import annotations

from functools import cache
from types import TracebackType
from typing import Self

import anyio

__all__ = ["TaskScope", "entered"]


@cache
def _scope_type() -> type[anyio.CancelScope]:
    """Return what `anyio.CancelScope` makes on this event loop, to be made without looking for the loop."""
    return type(anyio.CancelScope())


def entered() -> anyio.CancelScope:
    """Return a cancel scope of the current task that has been entered."""
    scope = _scope_type()()
    scope.__enter__()
    return scope


class TaskScope:
    """The cancel scope of a task that makes calls, one after the other: a context, entered by that task.

    Entering one for each call costs more than all else that borrowing an instance does. The same one does for
    all calls that nobody cancels; one that was cancelled ends with its call, and the next call gets another.

    The task must leave every other scope that it enters before the call returns.
    """

    __slots__ = ("_scope",)

    def __init__(self) -> None:
        self._scope: anyio.CancelScope | None = None

    def __enter__(self) -> Self:
        self._scope = entered()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._scope is not None:
            self._scope.__exit__(kind, error, traceback)
            self._scope = None

    def begin(self) -> anyio.CancelScope:
        """Return what cancels the call that begins now."""
        if self._scope is None:
            self._scope = entered()
        return self._scope

    def end(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        """End a call with what it raised; say whether that was because it was cancelled here."""
        scope = self._scope
        if scope is None or not scope.cancel_called:
            return False
        self._scope = None
        return scope.__exit__(kind, error, traceback)
