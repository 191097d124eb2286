"""The part of the kit about time to live and conditional writes."""

from __future__ import annotations

import anyio
import anyio.lowlevel

from wasmplex.testing.keyvalue.driver import Bench, Handle
from wasmplex.testing.keyvalue.store_tests import keys_of
from wasmplex.testing.kit import Conformance, needs, outcome, refused

__all__ = ["TTL", "ExpiryTests"]

TTL = 300
"""Milliseconds: short enough to wait for, long enough for a few operations on a busy machine."""


class ExpiryTests(Conformance):
    """``ttl-ms`` and ``if-not-exists``."""

    @needs("ttl")
    async def test_expiry(self, bench: Bench) -> None:
        """Get / exists / list: an expired key does not exist, from the very millisecond."""
        bucket = await bench.bucket()
        await bucket.set("k", b"v", ttl_ms=TTL)
        await bucket.set("stays", b"v")
        assert await bucket.get("k") == b"v"
        if bench.exact:
            await bench.passes(TTL - 1)
            assert await bucket.get("k") == b"v"
            await bench.passes(1)
        else:
            await bench.passes(TTL)
        assert await bucket.get("k") is None
        assert await bucket.exists("k") is False
        assert await keys_of(bucket) == ["stays"]
        assert await bucket.get_many(["k"]) == [None]

    @needs("ttl")
    async def test_set_clears_expiry(self, bench: Bench) -> None:
        """set: clears an earlier expiry unless a new `ttl-ms` is given."""
        bucket = await bench.bucket()
        for key in ("plain", "batch", "again"):
            await bucket.set(key, b"1", ttl_ms=TTL)
        await bucket.set("plain", b"2")
        await bucket.set_many([("batch", b"2")])
        await bucket.set("again", b"2", ttl_ms=100 * TTL)
        await bench.passes(TTL)
        assert sorted(await keys_of(bucket)) == ["again", "batch", "plain"]

    @needs("ttl")
    async def test_a_new_expiry_replaces_the_old(self, bench: Bench) -> None:
        """set: clears an earlier expiry unless a new `ttl-ms` is given."""
        bucket = await bench.bucket()
        await bucket.set("k", b"1", ttl_ms=100 * TTL)
        await bucket.set("k", b"2", ttl_ms=TTL)
        await bench.passes(TTL)
        assert await bucket.get("k") is None

    @needs("ttl")
    async def test_no_time_to_live(self, bench: Bench) -> None:
        """set: `ttl-ms` = 0: invalid-argument, nothing written."""
        bucket = await bench.bucket()
        await refused("invalid-argument", bucket.set("k", b"v", ttl_ms=0))
        assert await bucket.exists("k") is False

    @needs("ttl")
    async def test_the_longest_time_to_live(self, bench: Bench) -> None:
        """set: any other `ttl-ms` is taken, the largest u64 too."""
        bucket = await bench.bucket()
        await bucket.set("k", b"v", ttl_ms=2**64 - 1)
        await bench.passes(TTL)
        assert await bucket.get("k") == b"v"

    @needs("if-not-exists")
    async def test_if_not_exists(self, bench: Bench) -> None:
        """if-not-exists: the loser gets precondition-failed, and the value stays."""
        bucket = await bench.bucket()
        await bucket.set("k", b"first", if_not_exists=True)
        await refused("precondition-failed", bucket.set("k", b"second", if_not_exists=True))
        assert await bucket.get("k") == b"first"
        await bucket.delete("k")
        await bucket.set("k", b"third", if_not_exists=True)
        assert await bucket.get("k") == b"third"

    @needs("if-not-exists", "ttl")
    async def test_if_not_exists_after_expiry(self, bench: Bench) -> None:
        """if-not-exists: an expired key counts as absent."""
        bucket = await bench.bucket()
        await bucket.set("k", b"first", ttl_ms=TTL, if_not_exists=True)
        await refused("precondition-failed", bucket.set("k", b"second", ttl_ms=TTL, if_not_exists=True))
        await bench.passes(TTL)
        await bucket.set("k", b"third", if_not_exists=True)
        await bench.passes(TTL)
        assert await bucket.get("k") == b"third"

    @needs("if-not-exists")
    async def test_if_not_exists_has_one_winner(self, bench: Bench) -> None:
        """if-not-exists: atomic."""
        winners: list[int] = []

        async def contend(number: int, bucket: Handle) -> None:
            result = await outcome(bucket.set("k", b"%d" % number, if_not_exists=True))
            assert result in ("ok", "precondition-failed")
            if result == "ok":
                winners.append(number)

        clients = [await bench.bucket(workload=f"client {number}") for number in range(3)]
        async with anyio.create_task_group() as group:
            for number in range(24):
                group.start_soon(contend, number, clients[number % 3])
        assert len(winners) == 1
        assert await clients[0].get("k") == b"%d" % winners[0]
