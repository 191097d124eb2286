"""Chunks of objects: how the library is asked for the next one."""

from __future__ import annotations

import asyncio
from typing import Any

from wasmplex.plugin import Threads

__all__ = ["Chunks"]


class Chunks:
    """Asks the library for chunks of its streams, in a thread as long as one is free.

    What it is asked for as a coroutine goes through two more threads of its own: a chunk costs the host an
    eighth less of the processor if a thread asks for it, and is there sooner. But that cannot be given up:
    the thread has the chunk when it comes, or when `connecting.STALLED` is over. So they are few, and who
    finds none free asks the other way.
    """

    def __init__(self) -> None:
        self._threads = Threads("s3")

    def next(self, stream: Any) -> asyncio.Future[Any]:
        """Return the next chunk of a stream, when it is there; none is asked for twice at once.

        It is None at the end, or a StopAsyncIteration is raised.
        """
        chunk: asyncio.Future[Any]
        if self._threads.free:
            chunk = self._threads.start(next, stream, None)
        else:
            chunk = asyncio.ensure_future(anext(stream))
        return chunk

    def close(self) -> None:
        """Let the threads end."""
        self._threads.close()
