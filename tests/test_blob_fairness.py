"""A guest whose bytes are at hand, one piece after the other, and another workload beside it."""

from pathlib import Path
from typing import Any

import anyio
import guests
import pytest
from host_plugin_memory.blobs import MemoryContainer
from wasmplex.capabilities.blobstore import PIECE, Reader
from wasmplex.host import Host

pytestmark = pytest.mark.anyio

CONFIG = """
[workload.reader]
component = "{blobs}"
instances = {{ max = 1, reuse = 1000 }}
limits = {{ timeout = "60s" }}
default."wasmcloud:blobstore" = {{ backend = "memory" }}

[workload.other]
component = "{blobs}"
default."wasmcloud:blobstore" = {{ backend = "memory" }}
"""
SIZE = 256 << 20


class Endless(Reader):
    """An object of any bytes, which are all at hand."""

    length = left = SIZE

    def readinto_nowait(self, buffer: memoryview) -> int:
        count = min(len(buffer), self.left)
        self.left -= count
        return count

    async def read(self) -> bytes:
        self.left -= PIECE
        return bytes(PIECE)

    async def close(self) -> None:
        pass


async def test_who_has_all_at_hand_leaves_others_their_turns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def read_object(*_: Any) -> Endless:
        return Endless()

    monkeypatch.setattr(MemoryContainer, "read_object", read_object)
    path = tmp_path / "host.toml"
    path.write_text(CONFIG.format(blobs=guests.path("blobs")))
    async with Host.from_config(path) as host, anyio.create_task_group() as tasks:
        for name in ("reader", "other"):
            await host.call(name, "tests:guests/blobs#create", "c")
        reading = True

        async def read() -> None:
            nonlocal reading
            assert await host.call("reader", "tests:guests/masses#take", "c", "a") == SIZE
            reading = False

        tasks.start_soon(read)
        answered = 0
        while reading:
            await host.call("other", "tests:guests/blobs#has", "c", "a")
            answered += 1
            await anyio.lowlevel.checkpoint()
        assert answered > 10
