"""Resources of the host as arguments of the guest's exports: the guest owns them from then on."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from wasmplex.engine import Engine, EngineSettings
from wasmplex.errors import Trap

from .echo import running

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("transport")]

GUEST = Path(__file__).parents[3] / "tests" / "guests" / "built" / "kvawatch.wasm"
WATCHER = "wasmcloud:keyvalue/watcher@0.2.0"


class Bucket:
    """A store of which there is one, and which counts how often it was dropped."""

    data: dict[str, bytes]
    counts: Counter[str]
    dropped: int

    def __init__(self) -> None:
        self.data, self.counts, self.dropped = {}, Counter(), 0

    def drop(self) -> None:
        self.dropped += 1


def serving(notes: Bucket) -> dict[str, dict[str, Any]]:
    """Return the functions of everything that the guest imports."""

    async def get(bucket: Bucket, key: str) -> bytes | None:
        return bucket.data.get(key)

    async def put(bucket: Bucket, key: str, value: bytes, options: Any) -> None:
        bucket.data[key] = value

    async def delete(bucket: Bucket, key: str) -> None:
        bucket.data.pop(key, None)

    async def open_notes(name: str) -> Bucket:
        return notes

    async def increment(bucket: Bucket, key: str, delta: int) -> int:
        bucket.counts[key] += delta
        return bucket.counts[key]

    async def never(*args: Any) -> Any:
        raise AssertionError

    methods = {"get": get, "set": put, "delete": delete, "exists": never, "list-keys": never}
    return {
        "wasmcloud:keyvalue/types@0.2.0": {f"[method]bucket.{n}": f for n, f in methods.items()},
        "wasmcloud:keyvalue/store@0.2.0": {"open": open_notes},
        "wasmcloud:keyvalue/atomics@0.2.0": {"increment": increment},
        "watched": {"open": never},
    }


async def test_a_given_resource_is_the_guests_until_it_drops_it() -> None:
    notes, given = Bucket(), Bucket()
    given.data["k"] = b"new"
    async with (
        Engine(EngineSettings(use_cache=False)) as engine,
        running(engine, GUEST.read_bytes(), serving(notes)) as instance,
    ):
        for _ in range(3):
            await instance.call(f"{WATCHER}#on-set", given, "k", b"old")
            assert len(instance.objects) == 0
        await instance.call(f"{WATCHER}#on-delete", given, "k")
    assert given.dropped == 4
    assert list(notes.data.values()) == [b"set k old now new"] * 3 + [b"delete k"]


async def test_what_the_guest_did_not_drop_goes_with_the_instance() -> None:
    notes, given = Bucket(), Bucket()
    async with Engine(EngineSettings(use_cache=False)) as engine:
        async with running(engine, GUEST.read_bytes(), serving(notes)) as instance:
            with pytest.raises(Trap):
                await instance.call(f"{WATCHER}#on-set", given, "fail once", b"")
            table = instance.objects
        assert len(table) == 0
        assert notes.dropped >= 1
        assert given.dropped == 1


async def test_arguments_that_do_not_fit_reach_nobody() -> None:
    given = Bucket()
    async with Engine(EngineSettings(use_cache=False)) as engine:
        async with running(engine, GUEST.read_bytes(), serving(Bucket())) as instance:
            with pytest.raises((TypeError, ValueError)):
                await instance.call(f"{WATCHER}#on-set", given, "k", "no bytes")
            with pytest.raises(TypeError):
                await instance.call(f"{WATCHER}#on-set")
        assert given.dropped == 0  # the call was refused: the caller has it still
