"""The event loop of commands: all have that of ``run``, so what passes in one does not fail in the other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from typing import Any, TypeVar

__all__ = ["in_event_loop"]

T = TypeVar("T")


def in_event_loop(function: Callable[..., Awaitable[T]], *args: Any) -> T:
    """Return what the coroutine function returns; on uvloop where it is installed."""
    import anyio

    return anyio.run(function, *args, backend_options={"use_uvloop": find_spec("uvloop") is not None})
