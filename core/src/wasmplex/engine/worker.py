"""A thread for the long steps of wasmtime that call nothing of the host: large instances begin and end."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

__all__ = ["Worker"]

_BACKLOG: Final = 3


class Worker:
    """One thread, started when it is first needed; what it does in wasmtime, it does without the GIL."""

    def __init__(self) -> None:
        self._executor: ThreadPoolExecutor | None = None
        self._closed = False
        # Two counts with one writer each, instead of one that two threads write.
        self._posted = 0
        self._done = 0

    @property
    def busy(self) -> bool:
        """True if it has so much to do that it is better to do something oneself."""
        return self._closed or self._posted - self._done >= _BACKLOG

    def submit(self, function: Callable[..., Any], *args: Any) -> Future[Any]:
        """Have a function called; return the future of its result.

        :raises RuntimeError: if the worker has been closed
        """
        if self._closed:
            raise RuntimeError("the worker has been closed")
        if self._executor is None:
            self._executor = ThreadPoolExecutor(1, thread_name_prefix="wasmplex instances")
        future = self._executor.submit(self._count, function, *args)
        self._posted += 1
        return future

    def _count(self, function: Callable[..., Any], *args: Any) -> Any:
        try:
            return function(*args)
        finally:
            self._done += 1

    def close(self, *, wait: bool = True) -> None:
        """End the thread, after what it has to do; wait for that."""
        self._closed = True
        executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown(wait)
