"""Standard streams by their descriptors, for a guest that is a command of its own."""

from __future__ import annotations

import os
from typing import Final

from wasmplex.plugin import Threads, WorkloadContext

from host_plugin_wasi.io import READ_LIMIT, InputStream, OutputStream, Pollable, ReadyPollable, closed

__all__ = ["ProcessInput", "ProcessOutput", "StandardStreams"]

_OUTPUTS: Final = {"stdout": 1, "stderr": 2}


class StandardStreams:
    """Reads and writes them off the event loop."""

    def __init__(self, threads: Threads, descriptors: tuple[int, int, int]) -> None:
        self._threads = threads
        self._descriptors = descriptors

    @classmethod
    def of(cls, workload: WorkloadContext) -> StandardStreams:
        """Return those of a workload."""
        if cls not in workload.shared:
            workload.shared[cls] = cls(
                Threads(f"stdio {workload.name}", 3), workload.grants.stdio or (0, 1, 2)
            )
        found: StandardStreams = workload.shared[cls]
        return found

    async def read(self, length: int) -> bytes:
        """Return what comes in next, ``b""`` at the end, or if there is no standard input."""
        try:
            return await self._threads.run(os.read, self._descriptors[0], min(length, READ_LIMIT))
        except OSError:
            return b""

    async def write(self, name: str, contents: bytes) -> None:
        """Write all of `contents`.

        :raises OSError: if nobody reads it
        """
        await self._threads.run(_write, self._descriptors[_OUTPUTS[name]], contents)


def _write(fd: int, contents: bytes) -> None:
    rest = memoryview(contents)
    while rest:
        rest = rest[os.write(fd, rest) :]


class ProcessInput(InputStream):
    """Standard input as an ``input-stream``."""

    __slots__ = ("_streams",)

    def __init__(self, streams: StandardStreams) -> None:
        self._streams = streams

    async def read(self, length: int) -> bytes:
        """Wait for something.

        :raises Err: `closed` at the end
        """
        if not length:
            return b""
        data = await self._streams.read(length)
        if not data:
            raise closed()
        return data

    def subscribe(self) -> Pollable:
        """Return a pollable that is ready: reading waits."""
        return ReadyPollable()


class ProcessOutput(OutputStream):
    """Standard output, or error, as an ``output-stream``."""

    __slots__ = ("_name", "_streams")

    def __init__(self, streams: StandardStreams, name: str) -> None:
        self._streams = streams
        self._name = name

    def check_write(self) -> int:
        """Return how much one write may bring."""
        return READ_LIMIT

    async def write(self, contents: bytes) -> None:
        """Write all of `contents`.

        :raises Err: `closed` if nobody reads it
        """
        try:
            await self._streams.write(self._name, contents)
        except OSError:
            raise closed() from None

    def subscribe(self) -> Pollable:
        """Return a pollable that is ready: writing waits."""
        return ReadyPollable()
