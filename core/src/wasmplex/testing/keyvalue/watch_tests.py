"""The part of the kit about watching, which no interface has a function for."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
import anyio.lowlevel

from wasmplex.capabilities.keyvalue import Change
from wasmplex.testing.keyvalue.driver import Bench
from wasmplex.testing.kit import Conformance, needs

__all__ = ["WatchTests"]


class WatchTests(Conformance):
    """``watch``, which no interface has a function for."""

    @needs("watch")
    async def test_watching(self, bench: Bench) -> None:
        """watch: on-set / on-delete for the bucket, at least once, in order per key."""
        bucket = await bench.bucket("watched")
        other = await bench.bucket("other")
        await bucket.set("k", b"before")
        raw = await bench.backend.open_bucket(bench.namespace, "watched")
        with anyio.fail_after(10):
            async with raw.watch() as changes:
                for operation, expected in (
                    (bucket.set("k", b"1"), Change("k", b"1")),
                    (other.set("k", b"2"), None),
                    (bucket.set_many([("k", b"3")]), Change("k", b"3")),
                    (bucket.delete("k"), Change("k", None)),
                    (bucket.delete("k"), None),
                    (bucket.set("", b""), Change("", b"")),
                ):
                    await operation
                    if expected is not None:
                        assert await _next_new(changes, expected) == expected

    @needs("watch")
    async def test_watching_ends(self, bench: Bench) -> None:
        """watch: what is written when nobody watches any more is told to nobody, and nothing is left."""
        bucket = await bench.bucket("watched")
        raw = await bench.backend.open_bucket(bench.namespace, "watched")
        for _ in range(2):
            with anyio.fail_after(10):
                async with raw.watch() as changes:
                    await bucket.set("k", b"in")
                    assert (await anext(changes)).value == b"in"
                await bucket.set("k", b"out")


async def _next_new(changes: AsyncIterator[Change], expected: Change) -> Change:
    """Return the next change that is not the one before told again."""
    change = previous = await anext(changes)
    while change == previous and change != expected:
        change = await anext(changes)
    return change
