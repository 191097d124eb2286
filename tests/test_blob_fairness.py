"""Guests whose bytes are at hand, one piece after the other, and another workload beside them."""

from pathlib import Path

import anyio
import guests
import pytest
from wasmplex.host import Host

pytestmark = pytest.mark.anyio

CONFIG = """
[workload.readers]
component = "{blobs}"
instances = {{ max = {readers}, reuse = 1000 }}
default."wasmcloud:blobstore" = {{ backend = "filesystem", path = "blobs", namespace = "n" }}

[workload.other]
component = "{blobs}"
default."wasmcloud:blobstore" = {{ backend = "memory" }}
"""
READERS = 16
SIZE = 16 << 20
MASSES = "tests:guests/masses#"
BLOBS = "tests:guests/blobs#"


async def test_readers_of_cached_files_leave_others_their_turns(tmp_path: Path) -> None:
    path = tmp_path / "host.toml"
    path.write_text(CONFIG.format(blobs=guests.path("blobs"), readers=READERS))
    async with Host.from_config(path) as host, anyio.create_task_group() as tasks:
        for name in ("readers", "other"):
            await host.call(name, f"{BLOBS}create", "c")
        await host.call("readers", f"{MASSES}send", "c", "a", SIZE)
        reading = READERS

        async def read() -> None:
            nonlocal reading
            assert await host.call("readers", f"{MASSES}take", "c", "a") == SIZE
            reading -= 1

        for _ in range(READERS):
            tasks.start_soon(read)
        answered = 0
        while reading:
            await host.call("other", f"{BLOBS}has", "c", "a")
            answered += bool(reading)
        assert answered > READERS
