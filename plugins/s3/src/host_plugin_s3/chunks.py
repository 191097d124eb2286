"""Chunks of objects: how the library is asked for the next one."""

from __future__ import annotations

import asyncio
import os
import threading
from contextlib import suppress
from typing import Any

__all__ = ["Chunks"]

_MOST = 8


class Chunks:
    """Asks the library for chunks of its streams, in a thread as long as one is free.

    What it is asked for as a coroutine goes through two more threads of its own: a chunk costs the host a
    sixth less of the processor if a thread asks for it, and is there sooner. But that cannot be given up: the
    thread has the chunk when it comes, or when `connecting.STALLED` is over. So they are few, and who finds
    none free asks the other way.
    """

    def __init__(self) -> None:
        self._threads: list[_Thread] = []
        self._idle: list[_Thread] = []
        self._closed = False

    def next(self, stream: Any) -> asyncio.Future[Any]:
        """Return the next chunk of a stream, when it is there; none is asked for twice at once.

        It is None at the end, or a StopAsyncIteration is raised.
        """
        thread = self._free()
        if thread is not None:
            return thread.ask(stream)
        chunk: asyncio.Future[Any] = asyncio.ensure_future(anext(stream))
        return chunk

    def _free(self) -> _Thread | None:
        if self._closed:
            return None
        if self._idle:
            return self._idle.pop()
        if len(self._threads) < _MOST:
            with suppress(OSError, RuntimeError):  # the system has no more files or threads
                self._threads.append(_Thread(self._idle))
                return self._threads[-1]
        return None

    def close(self) -> None:
        """Let the threads end, each when it has what it waits for."""
        self._closed = True
        for thread in self._threads:
            thread.end()
        self._threads.clear()


class _Thread:
    """A thread that asks for a chunk whenever it is told to.

    It is told by a pipe: who writes there lets go of the interpreter, and the thread goes on. Woken by a
    lock, it would at once wait for the interpreter: a twentieth more of the processor.

    :param idle: where it puts itself when it has nothing to do
    """

    def __init__(self, idle: list[_Thread]) -> None:
        self._idle = idle
        self._asked: tuple[asyncio.Future[Any], Any] | None = None
        self._told, self._tell = os.pipe()
        os.set_blocking(self._tell, False)  # there is never more than one byte in it
        try:
            threading.Thread(target=self._run, name="s3", daemon=True).start()
        except RuntimeError:
            os.close(self._told)
            os.close(self._tell)
            raise

    def ask(self, stream: Any) -> asyncio.Future[Any]:
        """Have it ask for the next chunk; return what will be that."""
        chunk: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._asked = chunk, stream
        os.write(self._tell, b"\0")
        return chunk

    def end(self) -> None:
        """Let it end."""
        os.close(self._tell)

    def _run(self) -> None:
        while os.read(self._told, 1):
            self._answer()
        os.close(self._told)

    def _answer(self) -> None:
        assert self._asked is not None  # noqa: S101  it is told when there is something
        (future, stream), self._asked = self._asked, None
        chunk = error = None
        try:
            chunk = next(stream, None)
        except BaseException as raised:  # noqa: BLE001  it is raised where the chunk is awaited
            error = raised.with_traceback(None)  # that is this frame, which has the error
        self._idle.append(self)
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            future.get_loop().call_soon_threadsafe(_settle, future, chunk, error)


def _settle(future: asyncio.Future[Any], chunk: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(chunk)
    else:
        future.set_exception(error)
