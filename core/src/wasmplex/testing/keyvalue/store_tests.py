"""The part of the kit about buckets, names, values, listing and limits."""

from __future__ import annotations

from typing import Any

import anyio

from wasmplex.capabilities.keyvalue import Page
from wasmplex.testing.keyvalue.driver import Bench, Handle
from wasmplex.testing.kit import Conformance, expressible, outcome, refused
from wasmplex.testing.kit.names import ODD_NAMES, PLACES, TOO_LONG

__all__ = ["StoreTests", "keys_of"]


async def keys_of(bucket: Handle, prefix: str = "") -> list[str]:
    """Return all keys of a listing, having checked each page."""
    keys: list[str] = []
    cursor: str | None = None
    while True:
        page = await bucket.list_keys(prefix, cursor)
        _check_page(page)
        keys += page.keys
        if (cursor := page.cursor) is None:
            return keys


def _check_page(page: Page) -> None:
    assert len(page.keys) <= 1000
    assert page.keys or page.cursor is None, "an empty page came with a cursor"


class StoreTests(Conformance):
    """``open``, ``get``, ``set``, ``delete``, ``exists``, ``list-keys``."""

    # ------------------------------------------------------------ opening

    async def test_opening_creates_lazily(self, bench: Bench) -> None:
        """open: creates lazily; no backend asks the operator to create buckets first."""
        bucket = await bench.bucket("never created")
        assert await bucket.get("k") is None
        assert await keys_of(bucket) == []
        await bucket.set("k", b"v")
        assert await (await bench.bucket("never created")).get("k") == b"v"

    async def test_an_unknown_bucket_that_is_not_granted(self, bench: Bench) -> None:
        """open: the identifier must be granted by `buckets`; not granted and unknown: no-such-store."""
        store = await bench.store(buckets=["granted"])
        await store.open("granted")
        await refused("no-such-store", store.open("unknown"))

    async def test_a_known_bucket_that_is_not_granted(self, bench: Bench) -> None:
        """open: not granted and known: access-denied."""
        await (await bench.bucket("known")).set("k", b"v")
        store = await bench.store(buckets=["granted"])
        await refused("access-denied", store.open("known"))

    # ------------------------------------------------------------ values

    async def test_a_value_is_kept_byte_for_byte(self, bench: Bench) -> None:
        """set: replaces the value. get: none for an absent key."""
        bucket = await bench.bucket()
        assert await bucket.get("k") is None
        for value in (b"", b"\0", bytes(range(256)), b"text", b"\xff" * 70_000, b"x" * 2**20):
            await bucket.set("k", value)
            assert await bucket.get("k") == value
            assert await bucket.exists("k") is True

    async def test_deleting(self, bench: Bench) -> None:
        """delete: idempotent. A deleted key does not exist for get, exists and list."""
        bucket = await bench.bucket()
        await bucket.delete("k")
        await bucket.set("k", b"v")
        await bucket.delete("k")
        await bucket.delete("k")
        assert await bucket.get("k") is None
        assert await bucket.exists("k") is False
        assert await keys_of(bucket) == []

    async def test_limits_on_values(self, bench: Bench) -> None:
        """limits: a value of `max_value` is taken, one more byte is quota-exceeded and writes nothing."""
        bucket = await bench.bucket(max_value=100)
        await bucket.set("k", b"x" * 100)
        await refused("quota-exceeded", bucket.set("k", b"y" * 101))
        assert await bucket.get("k") == b"x" * 100

    # ------------------------------------------------------------ names

    async def test_keys_are_any_text(self, bench: Bench) -> None:
        """Names are any UTF-8 strings; none is rejected, truncated, escapes or collides with another."""
        bucket = await bench.bucket()
        for name in ODD_NAMES:
            await bucket.set(name, b"value of " + name.encode())
        for name in ODD_NAMES:
            assert await bucket.get(name) == b"value of " + name.encode(), repr(name)
        assert sorted(await keys_of(bucket)) == sorted(ODD_NAMES)

    async def test_bucket_names_are_any_text(self, bench: Bench) -> None:
        """Names are any UTF-8 strings; buckets of different names share nothing."""
        for name in ODD_NAMES:
            await (await bench.bucket(name)).set("k", name.encode())
        for name in ODD_NAMES:
            bucket = await bench.bucket(name)
            assert await bucket.get("k") == name.encode(), repr(name)
            assert await keys_of(bucket) == ["k"]

    async def test_namespaces_and_buckets_do_not_run_into_each_other(self, bench: Bench) -> None:
        """Names never collide, also where namespace, bucket and key are put together."""
        for namespace, name in PLACES:
            bucket = await bench.bucket(name, namespace=bench.namespace + namespace)
            await bucket.set("k", f"{namespace}|{name}".encode())
        for namespace, name in PLACES:
            bucket = await bench.bucket(name, namespace=bench.namespace + namespace)
            assert await bucket.get("k") == f"{namespace}|{name}".encode()
            assert await keys_of(bucket) == ["k"]

    async def test_names_over_one_kibibyte(self, bench: Bench) -> None:
        """Names over 1 KiB: invalid-argument."""
        bucket = await bench.bucket()
        for name in TOO_LONG:
            await refused("invalid-argument", bucket.get(name))
            await refused("invalid-argument", bucket.set(name, b""))
            await refused("invalid-argument", bucket.delete(name))
            await refused("invalid-argument", bucket.exists(name))
            await refused("invalid-argument", bench.bucket(name))
        assert await keys_of(bucket) == []

    async def test_namespaces_share_nothing(self, bench: Bench) -> None:
        """Two workloads never see each other's data by accident: another namespace is another store."""
        mine = await bench.bucket(namespace=f"{bench.namespace}/shop/cache")
        theirs = await bench.bucket(namespace=f"{bench.namespace}/shop/store")
        await mine.set("k", b"mine")
        assert await theirs.exists("k") is False
        await theirs.set("k", b"theirs")
        await theirs.delete("k")
        assert await mine.get("k") == b"mine"

    async def test_one_namespace_is_shared(self, bench: Bench) -> None:
        """Sharing is asked for by giving both the same explicit `namespace`."""
        left = await bench.bucket(workload="left", label="a")
        right = await bench.bucket(workload="right", label="b")
        await left.set("k", b"v")
        assert await right.get("k") == b"v"
        await right.delete("k")
        assert await left.exists("k") is False

    # ------------------------------------------------------------ listing

    @expressible("batch")
    async def test_listing_in_pages(self, bench: Bench) -> None:
        """list-keys: at most 1,000 keys a page, never empty while a cursor is returned; all keys once."""
        bucket = await bench.bucket()
        names = await _fill(bucket, 2300)
        keys = await keys_of(bucket)
        assert len(keys) == len(set(keys))
        assert set(keys) == set(names)

    @expressible("batch")
    async def test_a_page_that_is_just_full(self, bench: Bench) -> None:
        """list-keys: at most 1,000 keys a page, never empty while a cursor is returned."""
        bucket = await bench.bucket()
        names = await _fill(bucket, 1000)
        assert sorted(await keys_of(bucket)) == names

    @expressible("batch", "prefix")
    async def test_a_prefix_filters_before_paging(self, bench: Bench) -> None:
        """list-keys: the prefix filters BEFORE paging."""
        bucket = await bench.bucket()
        await _fill(bucket, 1500, "a")
        wanted = await _fill(bucket, 3, "b*[x]%_\\")
        await _fill(bucket, 1500, "c")
        page = await bucket.list_keys("b*[x]%_\\")
        assert sorted(page.keys) == wanted
        assert page.cursor is None
        assert len(await keys_of(bucket, "a")) == 1500
        assert await keys_of(bucket, "nothing") == []

    @expressible("prefix")
    async def test_prefixes_are_compared_by_character(self, bench: Bench) -> None:
        """list-keys: a prefix is text, nothing in it has a meaning."""
        bucket = await bench.bucket()
        for name in ODD_NAMES:
            await bucket.set(name, b"")
        for prefix in ("", "a", "*", "%", "_", "\0", "é", "e", "😀", "\ud7ff", "\U0010ffff", "k" * 1024):
            expected = sorted(name for name in ODD_NAMES if name.startswith(prefix))
            assert sorted(await keys_of(bucket, prefix)) == expected, repr(prefix)

    @expressible("batch")
    async def test_a_scan_is_stable(self, bench: Bench) -> None:
        """A full scan returns every key that existed throughout exactly once, whatever is written."""
        bucket = await bench.bucket()
        staying = await _fill(bucket, 1800, "stays")
        leaving = await _fill(bucket, 600, "leaves")
        page = await bucket.list_keys()
        seen = page.keys
        while page.cursor is not None:
            await bucket.delete_many(leaving[:300])
            del leaving[:300]
            await bucket.set_many([(f"{len(seen)}-{n}", b"new") for n in range(200)])
            await bucket.set_many([(name, b"again") for name in staying[::4]])
            page = await bucket.list_keys("", page.cursor)
            _check_page(page)
            seen += page.keys
        assert sorted(key for key in seen if key.startswith("stays")) == staying
        assert len(seen) == len(set(seen))

    @expressible("batch")
    async def test_a_cursor_may_be_used_again(self, bench: Bench) -> None:
        """The cursor is opaque and stable."""
        bucket = await bench.bucket()
        await _fill(bucket, 1500)
        cursor = (await bucket.list_keys()).cursor
        first, again = await bucket.list_keys("", cursor), await bucket.list_keys("", cursor)
        assert sorted(first.keys) == sorted(again.keys)

    @expressible("batch")
    async def test_an_unknown_cursor(self, bench: Bench) -> None:
        """A malformed cursor: invalid-argument."""
        bucket = await bench.bucket()
        await _fill(bucket, 1001)
        for unknown in ("0", "999999999"):
            await refused("invalid-argument", bucket.list_keys("", unknown))

    @expressible("batch", "text")
    async def test_a_malformed_cursor(self, bench: Bench) -> None:
        """A malformed cursor: invalid-argument."""
        bucket = await bench.bucket()
        await _fill(bucket, 1001)
        cursor = (await bucket.list_keys()).cursor
        assert cursor is not None
        for malformed in ("", "😀", cursor[:-5], cursor[4:], cursor[::-1], cursor + "="):
            await refused("invalid-argument", bucket.list_keys("", malformed))

    @expressible("batch")
    async def test_a_foreign_cursor(self, bench: Bench) -> None:
        """A cursor of another bucket: invalid-argument."""
        left, right = await bench.bucket("left"), await bench.bucket("right")
        await _fill(left, 1001)
        await _fill(right, 1001)
        cursor = (await left.list_keys()).cursor
        await refused("invalid-argument", right.list_keys("", cursor))

    # ------------------------------------------------------------ deadlines and errors

    async def test_what_outlives_its_deadline_is_cancelled(self, bench: Bench) -> None:
        """A call that outlives its deadline is cancelled: timeout, and the store stays usable."""
        store = await bench.store(timeout=1e-6)
        patient = await bench.bucket()

        async def hasty(name: str, *args: Any) -> None:
            await getattr(await store.open("bucket"), name)(*args)

        for _ in range(10):
            await patient.set("k", b"before")
            for operation in (("get", "k"), ("set", "k", b"after"), ("list_keys",), ("exists", "k")):
                assert await outcome(hasty(*operation)) in ("ok", "timeout")
            assert await patient.get("k") in (b"before", b"after")
        await patient.set("k", b"last")
        await anyio.sleep(0.01)
        assert await patient.get("k") == b"last"


async def _fill(bucket: Handle, count: int, prefix: str = "k") -> list[str]:
    """Set `count` keys and return their names in order."""
    names = [f"{prefix}{number:05}" for number in range(count)]
    for start in range(0, count, 500):
        await bucket.set_many([(name, b"v") for name in names[start : start + 500]])
    return names
