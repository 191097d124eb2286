"""The part of the kit about watching, and about what a backend declares."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from wasmplex.capabilities.keyvalue import FEATURES, Change, Unsupported
from wasmplex.testing.conformance import Conformance, needs
from wasmplex.testing.keyvalue.driver import Bench
from wasmplex.testing.keyvalue.store_tests import refused

__all__ = ["FeatureTests", "WatchTests"]


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


class FeatureTests(Conformance):
    """What a backend declares, and what it does not."""

    async def test_what_is_declared(self, bench: Bench) -> None:
        """A backend declares its features and the degree of its durability; both in known words."""
        assert self.provider.capability == "keyvalue"
        assert self.provider.features <= FEATURES
        assert bench.backend.features <= self.provider.features
        assert self.provider.durability

    async def test_what_is_not_declared_is_refused(
        self, bench: Bench, request: pytest.FixtureRequest
    ) -> None:
        """A backend that cannot honour a line declares that unsupported; it is never served wrongly."""
        operations: dict[str, Callable[[Any], Any]] = {
            "ttl": lambda bucket: bucket.set("k", b"v", ttl_ms=1000),
            "if-not-exists": lambda bucket: bucket.set("k", b"v", if_not_exists=True),
            "increment": lambda bucket: bucket.increment("k", 1),
            "cas": lambda bucket: bucket.swap("k", b"v", require_value=b""),
        }
        undeclared = FEATURES - bench.backend.features
        raw = await bench.backend.open_bucket(bench.namespace, "bucket")
        if "watch" in undeclared:
            with pytest.raises(Unsupported):
                raw.watch()
        for feature in sorted(undeclared - {"watch"}):
            with pytest.raises(Unsupported):
                await operations[feature](raw)
            if feature in request.getfixturevalue("driver_type").expresses:
                error = await refused("other", operations[feature](await bench.bucket()))
                assert feature in error.text
        assert await raw.get("k") is None
