"""What the trigger ``watch`` and the exports that it calls have in common.

The trigger knows when to watch, what to do again and in which order; a handler knows which bucket a name
stands for and how the component is told.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from wasmplex.capabilities.keyvalue import Change
from wasmplex.plugins.triggers import TriggerBinding

__all__ = ["WatchHandler", "Watched"]


@dataclass(frozen=True)
class Watched:
    """A bucket that is watched for a component.

    :ivar changes: see `wasmplex.capabilities.keyvalue.Bucket.watch`
    :ivar deliver: calls the component; raises what the call raised
    :ivar largest: bytes that a value may have for the component to be told of it; None for any
    """

    changes: Callable[[], AbstractAsyncContextManager[AsyncIterator[Change]]]
    deliver: Callable[[Change], Awaitable[None]]
    largest: int | None = None


class WatchHandler(Protocol):
    """What an `ExportAdapter` for the trigger ``watch`` returns."""

    async def __call__(self, binding: TriggerBinding) -> Watched:
        """Open the bucket that the settings name, through the import that the messages come through.

        :raises wasmplex.errors.ConfigError: if the bucket is not granted, or its backend cannot be watched
        :raises wasmplex.errors.FailureError: if it cannot be opened now
        """
