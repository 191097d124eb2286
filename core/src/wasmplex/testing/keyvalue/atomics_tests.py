"""The part of the kit about counters, compare-and-swap and batches."""

from __future__ import annotations

import anyio
import anyio.lowlevel

from wasmplex.capabilities.keyvalue import S64_MAX, S64_MIN, Stale, Swapped
from wasmplex.testing.keyvalue.driver import Bench, Handle
from wasmplex.testing.keyvalue.expiry_tests import TTL
from wasmplex.testing.keyvalue.store_tests import keys_of
from wasmplex.testing.kit import Conformance, expressible, needs, refused

__all__ = ["AtomicsTests", "BatchTests"]


class AtomicsTests(Conformance):
    """``increment``, ``current``, ``swap``."""

    @needs("increment")
    async def test_counting(self, bench: Bench) -> None:
        """increment: the counter is decimal ASCII, so `get` shows it and `set` can seed it. Absent = 0."""
        bucket = await bench.bucket()
        assert await bucket.increment("n", 5) == 5
        assert await bucket.get("n") == b"5"
        await bucket.set("n", b"42")
        assert await bucket.increment("n", 0) == 42
        assert await bucket.increment("n", 58) == 100
        assert await bucket.get("n") == b"100"

    @needs("increment")
    @expressible("signed")
    async def test_counting_down(self, bench: Bench) -> None:
        """increment: counts in s64."""
        bucket = await bench.bucket()
        assert await bucket.increment("n", -7) == -7
        assert await bucket.get("n") == b"-7"
        await bucket.set("n", b"%d" % S64_MAX)
        assert await bucket.increment("n", S64_MIN) == -1
        assert await bucket.increment("n", S64_MIN + 1) == S64_MIN
        assert await bucket.get("n") == b"%d" % S64_MIN

    @needs("increment")
    async def test_what_is_no_number_is_not_counted(self, bench: Bench) -> None:
        """increment: a value that is not a decimal s64: invalid-argument, nothing written."""
        bucket = await bench.bucket()
        for value in (b"", b"x", b"12345678\0", b"1.5", b" 1", b"1 ", b"+1", b"0x10", b"01", b"-0", b"1_000",
                      b"\x01\0\0\0\0\0\0\0", "١".encode(), b"9223372036854775808", b"1e3"):  # fmt: skip
            await bucket.set("n", value)
            await refused("invalid-argument", bucket.increment("n", 1))
            assert await bucket.get("n") == value

    @needs("increment")
    async def test_overflow(self, bench: Bench) -> None:
        """increment: overflow: invalid-argument, nothing written."""
        bucket = await bench.bucket()
        await bucket.set("n", b"%d" % (S64_MAX - 1))
        assert await bucket.increment("n", 1) == S64_MAX
        await refused("invalid-argument", bucket.increment("n", 1))
        await refused("invalid-argument", bucket.increment("n", S64_MAX))
        assert await bucket.get("n") == b"%d" % S64_MAX

    @needs("increment", "ttl")
    async def test_counting_keeps_expiry(self, bench: Bench) -> None:
        """increment: keeps the key's expiry. An expired key counts as absent."""
        bucket = await bench.bucket()
        await bucket.set("n", b"5", ttl_ms=TTL)
        assert await bucket.increment("n", 1) == 6
        await bench.passes(TTL)
        assert await bucket.get("n") is None
        assert await bucket.increment("n", 1) == 1
        await bench.passes(TTL)
        assert await bucket.get("n") == b"1"

    @needs("increment")
    async def test_counting_is_atomic(self, bench: Bench) -> None:
        """increment: atomic, so no count is lost and none is given out twice."""
        seen: list[int] = []

        async def count(bucket: Handle) -> None:
            for _ in range(5):
                seen.append(await bucket.increment("n", 1))  # noqa: PERF401  the loop is what is tested

        clients = [await bench.bucket(workload=f"client {number}") for number in range(3)]
        async with anyio.create_task_group() as group:
            for number in range(12):
                group.start_soon(count, clients[number % 3])
        assert sorted(seen) == list(range(1, 61))
        assert await clients[0].get("n") == b"60"

    @needs("cas")
    async def test_current(self, bench: Bench) -> None:
        """cas.current: value and version, none if absent."""
        bucket = await bench.bucket()
        assert await bucket.current("k") is None
        await bucket.set("k", b"v")
        entry = await bucket.current("k")
        assert entry is not None
        assert entry.value == b"v"
        assert await bucket.current("k") == entry

    @needs("cas")
    async def test_versions_are_never_used_again(self, bench: Bench) -> None:
        """version: changes on every write, never repeats, also across delete and re-create (ABA)."""
        bucket = await bench.bucket()
        versions: list[str] = []

        async def note() -> None:
            entry = await bucket.current("k")
            assert entry is not None
            versions.append(entry.version)

        for _ in range(3):
            await bucket.set("k", b"A")
            await note()
            await bucket.set("k", b"A")
            await note()
            await bucket.set_many([("k", b"B")])
            await note()
            await bucket.swap("k", b"A", require_value=b"B")
            await note()
            await bucket.delete("k")
        await bucket.set("k", b"A")
        await note()
        assert len(set(versions)) == len(versions)

    @needs("cas", "ttl")
    async def test_versions_are_never_used_again_after_expiry(self, bench: Bench) -> None:
        """version: never repeats for a key in the life of the store."""
        bucket = await bench.bucket()
        await bucket.set("k", b"A", ttl_ms=TTL)
        before = await bucket.current("k")
        assert before is not None
        await bench.passes(TTL)
        assert await bucket.current("k") is None
        await bucket.set("k", b"A")
        assert await bucket.swap("k", b"B", require_version=before.version) == Stale(
            await bucket.current("k")
        )

    @needs("cas", "increment")
    async def test_counting_changes_the_version(self, bench: Bench) -> None:
        """version: changes on every write."""
        bucket = await bench.bucket()
        await bucket.increment("n", 1)
        before = await bucket.current("n")
        await bucket.increment("n", 0)
        after = await bucket.current("n")
        assert before is not None
        assert after is not None
        assert before.version != after.version

    @needs("cas")
    async def test_swap_without_a_condition(self, bench: Bench) -> None:
        """cas.swap: no condition: invalid-argument."""
        bucket = await bench.bucket()
        await bucket.set("k", b"v")
        await refused("invalid-argument", bucket.swap("k", b"w"))
        assert await bucket.get("k") == b"v"

    @needs("cas")
    async def test_swap_writes_if_all_conditions_hold(self, bench: Bench) -> None:
        """cas.swap: conditions all hold: swapped. Else stale(current)."""
        bucket = await bench.bucket()
        await bucket.set("k", b"1")
        entry = await bucket.current("k")
        assert entry is not None
        wrong = [
            {"require_value": b"2"},
            {"require_version": "x"},
            {"require_version": entry.version, "require_value": b"2"},
            {"require_version": "x", "require_value": b"1"},
            {"require_version": "", "require_value": b""},
        ]
        for conditions in wrong:
            assert await bucket.swap("k", b"9", **conditions) == Stale(entry)  # type: ignore[arg-type]
            assert await bucket.current("k") == entry
        assert await bucket.swap("k", b"2", require_version=entry.version) == Swapped()
        assert await bucket.swap("k", b"3", require_value=b"2") == Swapped()
        entry = await bucket.current("k")
        assert entry is not None
        assert await bucket.swap("k", b"", require_version=entry.version, require_value=b"3") == Swapped()
        assert await bucket.swap("k", b"end", require_value=b"") == Swapped()
        assert await bucket.get("k") == b"end"

    @needs("cas")
    async def test_swap_of_an_absent_key(self, bench: Bench) -> None:
        """cas.swap: an absent key with a condition: stale(none)."""
        bucket = await bench.bucket()
        assert await bucket.swap("k", b"v", require_value=b"") == Stale(None)
        assert await bucket.swap("k", b"v", require_version="1") == Stale(None)
        assert await bucket.exists("k") is False

    @needs("cas", "ttl")
    async def test_swap_clears_expiry(self, bench: Bench) -> None:
        """cas.swap: clears expiry. An expired key is absent."""
        bucket = await bench.bucket()
        await bucket.set("k", b"1", ttl_ms=TTL)
        await bucket.set("gone", b"1", ttl_ms=TTL)
        assert await bucket.swap("k", b"2", require_value=b"1") == Swapped()
        await bench.passes(TTL)
        assert await bucket.get("k") == b"2"
        assert await bucket.swap("gone", b"2", require_value=b"1") == Stale(None)

    @needs("cas")
    async def test_limits_on_swapped_values(self, bench: Bench) -> None:
        """limits: a value over `max_value`: quota-exceeded."""
        bucket = await bench.bucket(max_value=3)
        await bucket.set("k", b"1")
        await refused("quota-exceeded", bucket.swap("k", b"4444", require_value=b"1"))
        assert await bucket.get("k") == b"1"

    @needs("cas")
    async def test_swap_is_atomic(self, bench: Bench) -> None:
        """cas.swap: atomic: of those who saw one version, one swaps."""

        async def add_one(bucket: Handle) -> None:
            for _ in range(3):
                while True:
                    entry = await bucket.current("n")
                    assert entry is not None
                    total = b"%d" % (int(entry.value) + 1)
                    if await bucket.swap("n", total, require_version=entry.version) == Swapped():
                        break
                    await anyio.lowlevel.checkpoint()

        clients = [await bench.bucket(workload=f"client {number}") for number in range(3)]
        await clients[0].set("n", b"0")
        async with anyio.create_task_group() as group:
            for number in range(6):
                group.start_soon(add_one, clients[number % 3])
        assert await clients[0].get("n") == b"18"


class BatchTests(Conformance):
    """``get-many``, ``set-many``, ``delete-many``."""

    @expressible("batch")
    async def test_get_many(self, bench: Bench) -> None:
        """get-many: positional, duplicates allowed; none for absent."""
        bucket = await bench.bucket()
        names = [f"k{number}" for number in range(20)]
        await bucket.set_many([(name, name.encode()) for name in names])
        asked = [*reversed(names), "absent", "k3", "k3", "", "k0"]
        assert await bucket.get_many(asked) == [
            (name, name.encode()) if name in names else None for name in asked
        ]

    @expressible("batch")
    async def test_empty_batches(self, bench: Bench) -> None:
        """Batches may be empty."""
        bucket = await bench.bucket()
        assert await bucket.get_many([]) == []
        await bucket.set_many([])
        await bucket.delete_many([])
        assert await keys_of(bucket) == []

    @expressible("batch")
    async def test_set_many_and_delete_many(self, bench: Bench) -> None:
        """set-many / delete-many: every item is attempted; absent keys are no error; the last of two wins."""
        bucket = await bench.bucket()
        await bucket.set_many([("a", b"1"), ("b", b"2"), ("a", b"3"), ("", b"")])
        assert await bucket.get_many(["a", "b", ""]) == [("a", b"3"), ("b", b"2"), ("", b"")]
        await bucket.delete_many(["a", "absent", "a", ""])
        assert await keys_of(bucket) == ["b"]

    @expressible("batch")
    async def test_an_item_that_fails_does_not_stop_the_others(self, bench: Bench) -> None:
        """set-many / delete-many: not atomic; every item is attempted; first error returned."""
        bucket = await bench.bucket(max_value=3)
        await refused("quota-exceeded", bucket.set_many([("a", b"1"), ("b", b"4444"), ("c", b"3")]))
        assert await bucket.get_many(["a", "b", "c"]) == [("a", b"1"), None, ("c", b"3")]
        await refused("invalid-argument", bucket.delete_many(["a", "k" * 1025, "c"]))
        assert await keys_of(bucket) == []

    @expressible("batch")
    async def test_limits_on_batches(self, bench: Bench) -> None:
        """limits: a batch of 1,000 items is taken, one more is quota-exceeded."""
        bucket = await bench.bucket()
        names = [f"k{number}" for number in range(1001)]
        await refused("quota-exceeded", bucket.set_many([(name, b"v") for name in names]))
        assert await keys_of(bucket) == []
        await bucket.set_many([(name, b"v") for name in names[:1000]])
        await refused("quota-exceeded", bucket.get_many(names))
        assert await bucket.get_many(names[:1000]) == [(name, b"v") for name in names[:1000]]
        await refused("quota-exceeded", bucket.delete_many(names))
        await bucket.delete_many(names[:1000])
        assert await keys_of(bucket) == []
