"""The disk, as all parts of one store reach it: its directory, and the threads that work there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from wasmplex.capabilities.blobstore import StoreUnavailable
from wasmplex.plugin import Threads

from host_plugin_filesystem.failures import operation_failed
from host_plugin_filesystem.listing import Windows
from host_plugin_filesystem.root import Root

__all__ = ["Disk"]

T = TypeVar("T")


class Disk:
    """Calls what blocks in threads.

    :ivar root: the directory
    :ivar windows: the names that were read ahead
    """

    def __init__(self, root: Root, threads: Threads) -> None:
        self.root = root
        self.windows = Windows()
        self._threads = threads

    async def run(self, function: Callable[..., T], *args: Any) -> T:
        """Call something, and return what it returns.

        :raises BlobStoreError: typed, for what the system raises
        """
        with _typed():
            return await self._threads.run(function, *args)

    def start(self, function: Callable[..., T], *args: Any) -> asyncio.Future[T]:
        """Have something called; what comes of it is for `result`.

        :raises StoreUnavailable: if the store is closed
        """
        with _typed():
            return self._threads.start(function, *args)

    async def result(self, started: asyncio.Future[T]) -> T:
        """Wait for what was started, which goes on if this is cancelled.

        :raises BlobStoreError: typed, for what the system raises
        """
        await asyncio.wait([started])
        if started.cancelled():
            raise StoreUnavailable("the store is closed")
        with _typed():
            return started.result()

    async def steps(self, steps: Iterator[int]) -> AsyncIterator[int]:
        """Take the steps of an operation one by one."""
        while (count := await self.run(next, steps, None)) is not None:
            yield count


@contextmanager
def _typed() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise operation_failed(error) from error
    except RuntimeError as error:
        raise StoreUnavailable("the store is closed") from error
