"""A host that writes blobs until it is killed, and what must be true of the store afterwards."""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wasmplex.capabilities.blobstore import PIECE, BlobStoreBackend, Container, NoSuchObject
from wasmplex.plugin import OpenContext
from wasmplex.plugins import Registry

__all__ = ["Kills", "content", "opened", "read"]

NAMES = ("a", "b/../c", "d" * 300)
"""One writer each."""
_SIZES = (0, 1, 1000, PIECE, 3 * PIECE + 7)


def content(number: int, largest: int) -> bytes:
    """Return what the write with that number writes."""
    sizes = (*_SIZES, largest)
    return (b"%08d" % number) * (sizes[number % len(sizes)] // 8 + 1)


async def opened(backend: str, settings: Mapping[str, Any], base: Path) -> BlobStoreBackend:
    """Open a store as a host does."""
    provider = await asyncio.to_thread(lambda: Registry().backend(backend, "blobstore"))
    store = await provider.open(provider.settings(**settings), OpenContext(base=base))
    assert isinstance(store, BlobStoreBackend)
    return store


async def read(container: Container, name: str) -> bytes | None:
    """Return an object, None if there is none."""
    try:
        reader = await container.read_object(name, 0, None)
    except NoSuchObject:
        return None
    try:
        data = bytearray()
        while piece := await reader.read():
            data += piece
        return bytes(data)
    finally:
        await reader.close()


# ---------------------------------------------------------------- the host that is killed


async def _write_forever(
    backend: str, settings: Mapping[str, Any], base: Path, start: int, most: int
) -> None:
    store = await opened(backend, settings, base)
    container = await store.get_container("ns", "c")

    async def write(name: str, number: int) -> None:
        while True:
            number += len(NAMES)
            say("begin", name, number)
            writer = await container.write_object(name)
            data = content(number, most)
            for begin in range(0, len(data), PIECE):
                await writer.write(data[begin : begin + PIECE])
            if number % 7:
                await writer.commit()
                say("done", name, number)
            await writer.close()

    await asyncio.gather(*(write(name, start + index) for index, name in enumerate(NAMES)))


def say(*words: object) -> None:
    os.write(1, json.dumps(words).encode() + b"\n")


# ---------------------------------------------------------------- whoever kills it


@dataclass
class Kills:
    """Kills hosts, and looks at what they leave.

    :ivar largest: bytes of the largest objects
    :ivar possible: by object, the numbers of the writes that it may hold
    """

    backend: str
    settings: Mapping[str, Any]
    base: Path
    random: random.Random
    largest: int = 6 * PIECE
    number: int = 0
    possible: dict[str, set[int]] = field(default_factory=dict)
    acknowledged: int = 0
    killed: int = 0

    async def create(self) -> None:
        """Make the container that is written to."""
        store = await opened(self.backend, self.settings, self.base)
        await store.create_container("ns", "c")
        await store.close()

    def kill(self, longest: float) -> None:
        """Start a host, and kill it up to so many seconds after its first write has begun, or has ended."""
        self.killed += 1
        arguments = [
            self.backend,
            json.dumps(self.settings),
            str(self.base),
            str(self.number),
            str(self.largest),
        ]
        command = [sys.executable, "-m", "faults.blobs", *arguments]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as host:
            assert host.stdout is not None
            lines = [host.stdout.readline()]
            while self.killed % 2 and lines[-1] and b'"done"' not in lines[-1]:
                lines.append(host.stdout.readline())
            time.sleep(self.random.uniform(0, longest))
            host.kill()
            lines += host.stdout.readlines()
        assert lines[0], "the host did not start"
        for line in lines:
            if line.endswith(b"\n"):
                self._heard(*json.loads(line))

    def _heard(self, what: str, name: str, number: int) -> None:
        self.number = max(self.number, number)
        if what == "done":
            self.possible[name] = {number}
            self.acknowledged += 1
        elif number % 7:
            self.possible.setdefault(name, {-1}).add(number)

    async def look(self, store: BlobStoreBackend) -> None:
        """Hold the store to what was acknowledged: none of it is lost, and nothing is seen in part."""
        container = await store.get_container("ns", "c")
        there: set[str] = set()
        for name in NAMES:
            data = await read(container, name)
            number = -1 if data is None else int(data[:8])
            assert number in self.possible.get(name, {-1}), (name, number, self.possible)
            assert data is None or data == content(number, self.largest)
            self.possible[name] = {number}
            if data is not None:
                there.add(name)
        assert {*(await container.list_objects(None, 1000)).names} == there


if __name__ == "__main__":
    asyncio.run(
        _write_forever(sys.argv[1], json.loads(sys.argv[2]), Path(sys.argv[3]), *map(int, sys.argv[4:]))
    )
