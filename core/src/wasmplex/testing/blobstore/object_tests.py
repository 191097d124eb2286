"""The part of the kit about objects: content, ranges, listing, deleting, copying, moving."""

from __future__ import annotations

import time

from wasmplex.capabilities.blobstore import PIECE, ObjectId
from wasmplex.testing.blobstore.driver import Bench
from wasmplex.testing.kit import Conformance, long, outcome, refused
from wasmplex.testing.kit.names import ODD_NAMES, TOO_LONG

__all__ = ["ObjectTests", "PlaceTests", "pattern"]

_SLACK = 5 * 10**9
"""Nanoseconds that the clock of a server may differ from ours."""
_MANY = 1203
"""Objects that are more than one page."""


def pattern(size: int, seed: int = 0) -> bytes:
    """Return bytes in which every place can be told from those near it."""
    return b"".join(number.to_bytes(4) for number in range(seed, seed + size // 4 + 1))[:size]


class ObjectTests(Conformance):
    """``write-data``, ``get-data``, ``has-object``, ``object-info``, ``list-objects``, ``delete-objects``."""

    async def test_content_is_kept_byte_for_byte(self, bench: Bench) -> None:
        """write-data: replaces the object, whatever its bytes and its size."""
        container = await bench.container()
        for data in (b"", b"\0", bytes(range(256)), b"text", pattern(PIECE + 1), pattern(3 * PIECE), b"end"):
            await container.put("k", data)
            assert await container.get("k") == data
            assert (await container.stat("k")).size == len(data)
        assert await container.names() == ["k"]

    async def test_what_is_not_there(self, bench: Bench) -> None:
        """get-data: a missing object is no-such-object, by every operation that needs one."""
        container = await bench.container()
        await refused("no-such-object", container.get("k"))
        await refused("no-such-object", container.get("k", 5, 1))
        await refused("no-such-object", container.stat("k"))
        assert await container.has("k") is False

    async def test_ranges(self, bench: Bench) -> None:
        """get-data: inclusive, clamped to the object; past the end: empty; end < start: empty."""
        container = await bench.container()
        data = pattern(2 * PIECE + 10)
        await container.put("k", data)
        last = len(data) - 1
        for start, end in (
            (0, 0), (0, 1), (3, 3), (0, last), (0, last + 1), (5, 2**63), (last, last), (last, 2**64 - 1),
            (PIECE - 1, PIECE), (PIECE, 2 * PIECE - 1), (1, last - 1), (0, 2**64 - 1), (1, 2**64 - 2),
            (last + 1, last + 1), (last + 1, 2**64 - 1), (2**63, 2**63 + 5), (2**64 - 1, 2**64 - 1),
            (1, 0), (last, 0), (2**64 - 1, 0), (4, 2),
        ):  # fmt: skip
            expected = data[start : end + 1] if start <= end else b""
            assert await container.get("k", start, end) == expected, (start, end)

    async def test_ranges_of_nothing(self, bench: Bench) -> None:
        """get-data: every range of an empty object is empty."""
        container = await bench.container()
        await container.put("k", b"")
        for start, end in ((0, 0), (0, 2**64 - 1), (1, 5), (5, 1)):
            assert await container.get("k", start, end) == b""

    async def test_deleting(self, bench: Bench) -> None:
        """delete-object: idempotent; what was deleted is in no listing and cannot be read."""
        container = await bench.container()
        await container.delete("k")
        await container.put("k", b"v")
        await container.put("other", b"w")
        await container.delete("k")
        await container.delete("k")
        await refused("no-such-object", container.get("k"))
        assert await container.has("k") is False
        assert await container.names() == ["other"]
        await container.put("k", b"again")
        assert await container.get("k") == b"again"

    async def test_deleting_several(self, bench: Bench) -> None:
        """delete-objects: idempotent, duplicates allowed; the others stay."""
        container = await bench.container()
        for name in "abcd":
            await container.put(name, name.encode())
        await container.delete_many(["a", "nowhere", "c", "a"])
        await container.delete_many([])
        assert sorted(await container.names()) == ["b", "d"]

    async def test_a_bad_name_does_not_keep_the_others(self, bench: Bench) -> None:
        """delete-objects: every one is attempted, the first error is returned."""
        container = await bench.container()
        await container.put("a", b"")
        await container.put("b", b"")
        await refused("other", container.delete_many(["a", "x" * 1025, "b"]))
        assert await container.names() == []

    async def test_clearing(self, bench: Bench) -> None:
        """clear: the objects go, the container stays."""
        container = await bench.container()
        await container.clear()
        for name in ("a", "a/b", "..", ""):
            await container.put(name, b"x")
        await container.clear()
        assert await container.names() == []
        await container.put("a", b"y")
        assert await container.get("a") == b"y"

    @long
    async def test_listing_is_paged(self, bench: Bench) -> None:
        """list-objects: everything, once, however many pages that is."""
        container = await bench.container()
        names = {f"{number:04}" for number in range(_MANY)}
        for name in sorted(names):
            await container.put(name, b"")
        found = await container.names()
        assert sorted(found) == sorted(names)
        await container.clear()
        assert await container.names() == []

    async def test_object_names_are_any_text(self, bench: Bench) -> None:
        """Names are any UTF-8 strings; none is rejected, truncated, escapes or collides with another."""
        container = await bench.container()
        for name in ODD_NAMES:
            await container.put(name, b"content of " + name.encode())
        for name in ODD_NAMES:
            assert await container.get(name) == b"content of " + name.encode(), repr(name)
        assert sorted(await container.names()) == sorted(ODD_NAMES)
        await container.delete_many(ODD_NAMES[::2])
        assert sorted(await container.names()) == sorted(ODD_NAMES[1::2])

    async def test_object_names_over_one_kibibyte(self, bench: Bench) -> None:
        """Names over 1 KiB: an error that says so, for the WIT has no case for it."""
        container = await bench.container()
        for name in TOO_LONG:
            for operation in (
                container.get(name), container.put(name, b""), container.has(name), container.stat(name),
                container.delete(name),
            ):  # fmt: skip
                assert "1024" in (await refused("other", operation)).text
        assert await container.names() == []

    async def test_when_an_object_was_written(self, bench: Bench) -> None:
        """created-at: nanoseconds since the epoch, of the last write."""
        container = await bench.container()
        before = time.time_ns()
        await container.put("k", b"v")
        first = (await container.stat("k")).created_at
        assert before - _SLACK <= first <= time.time_ns() + _SLACK
        await container.put("k", b"w")
        assert (await container.stat("k")).created_at >= first

    async def test_limits_on_objects(self, bench: Bench) -> None:
        """limits: an object of `max_object` is taken; one more byte is quota-exceeded, the old one whole."""
        container = await bench.container(max_object=100)
        await container.put("k", b"x" * 100)
        await refused("quota-exceeded", container.put("k", b"y" * 101))
        await refused("quota-exceeded", container.put("new", b"y" * 70_000))
        assert await container.get("k") == b"x" * 100
        assert await container.names() == ["k"]

    async def test_what_is_abandoned_leaves_the_old_object(self, bench: Bench) -> None:
        """write-data: only what ends normally commits, whether nothing, a part or almost all was written."""
        container = await bench.container()
        await container.put("k", b"old")
        for size in (0, 1, PIECE + 1, 3 * PIECE):
            await container.abandon("k", b"n" * size)
            await container.abandon("new", b"n" * size)
            assert await container.get("k") == b"old"
            assert await container.names() == ["k"]


class PlaceTests(Conformance):
    """``copy-object``, ``move-object``."""

    async def test_copying(self, bench: Bench) -> None:
        """copy: within a container and across containers of the binding; overwrites; the source stays."""
        store = await bench.store()
        first, second = await store.create("first"), await store.create("second")
        data = pattern(2 * PIECE + 3)
        await first.put("k", data)
        await second.put("k", b"old")
        await store.copy(ObjectId("first", "k"), ObjectId("first", "copy"))
        await store.copy(ObjectId("first", "k"), ObjectId("second", "k"))
        assert await first.get("copy") == await second.get("k") == await first.get("k") == data
        await first.put("k", b"changed")
        assert await first.get("copy") == await second.get("k") == data

    async def test_moving(self, bench: Bench) -> None:
        """move: as copy, and the source is gone."""
        store = await bench.store()
        first, second = await store.create("first"), await store.create("second")
        data = pattern(PIECE + 3)
        await first.put("k", data)
        await second.put("k", b"old")
        await store.move(ObjectId("first", "k"), ObjectId("first", "moved"))
        assert await first.names() == ["moved"]
        await store.move(ObjectId("first", "moved"), ObjectId("second", "k"))
        assert await first.names() == []
        assert await second.names() == ["k"]
        assert await second.get("k") == data

    async def test_moving_onto_itself(self, bench: Bench) -> None:
        """Moving onto itself is a no-op; so is copying. What is not there is still not there."""
        store = await bench.store()
        container = await store.create("first")
        await container.put("k", b"v")
        place = ObjectId("first", "k")
        await store.move(place, place)
        await store.copy(place, place)
        assert await container.get("k") == b"v"
        nowhere = ObjectId("first", "nowhere")
        await refused("no-such-object", store.move(nowhere, nowhere))
        gone = ObjectId("gone", "k")
        await refused("no-such-container", store.move(gone, gone))

    async def test_what_cannot_be_copied(self, bench: Bench) -> None:
        """copy, move: missing source: no-such-object; container: no-such-container. Nothing is lost."""
        store = await bench.store()
        container = await store.create("first")
        await container.put("k", b"v")
        place = ObjectId("first", "k")
        for operation in (store.copy, store.move):
            for nowhere in (ObjectId("first", "nowhere"), ObjectId("first", "n" * 1024)):
                await refused("no-such-object", operation(nowhere, place))
                await refused("no-such-object", operation(nowhere, ObjectId("first", "new")))
            await refused("no-such-container", operation(place, ObjectId("gone", "k")))
            await refused("no-such-container", operation(ObjectId("gone", "k"), place))
            assert await container.get("k") == b"v"
            assert await container.names() == ["k"]

    async def test_odd_names_are_copied_and_moved(self, bench: Bench) -> None:
        """Names are any UTF-8 strings, also where an object goes from one place to another."""
        store = await bench.store()
        await store.create("../from")
        target = await store.create("to/..")
        source = await store.container("../from")
        for name in ODD_NAMES:
            await source.put(name, name.encode())
            await store.copy(ObjectId("../from", name), ObjectId("to/..", name))
        assert sorted(await target.names()) == sorted(ODD_NAMES)
        for name in ODD_NAMES:
            await store.move(ObjectId("../from", name), ObjectId("to/..", "moved"))
            assert await target.get("moved") == name.encode(), repr(name)
        assert await source.names() == []

    async def test_names_over_one_kibibyte_are_not_copied(self, bench: Bench) -> None:
        """Names over 1 KiB: an error that says so."""
        store = await bench.store()
        container = await store.create("first")
        await container.put("k", b"v")
        place = ObjectId("first", "k")
        for other in (ObjectId("first", TOO_LONG[0]), ObjectId(TOO_LONG[0], "k")):
            assert await outcome(store.copy(place, other)) == "other"
            assert await outcome(store.move(other, place)) == "other"
        assert await container.names() == ["k"]
