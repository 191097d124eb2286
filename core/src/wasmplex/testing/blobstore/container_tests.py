"""The part of the kit about containers: creating, finding, deleting, names, grants."""

from __future__ import annotations

import time

import anyio

from wasmplex.capabilities.blobstore import ObjectId
from wasmplex.testing.blobstore.driver import Bench
from wasmplex.testing.kit import Conformance, outcome, refused
from wasmplex.testing.kit.names import ODD_NAMES, PLACES, TOO_LONG

__all__ = ["ContainerTests", "GrantTests"]

_SLACK = 5 * 10**9
"""Nanoseconds that the clock of a server may differ from ours."""


class ContainerTests(Conformance):
    """``create-container``, ``get-container``, ``delete-container``, ``container-exists``, ``info``."""

    async def test_containers_come_and_go(self, bench: Bench) -> None:
        """containers: create existing: container-already-exists; get missing: no-such-container."""
        store = await bench.store()
        await refused("no-such-container", store.container("photos"))
        assert await store.exists("photos") is False
        created = await store.create("photos")
        assert await created.name() == "photos"
        assert await store.exists("photos") is True
        await refused("container-already-exists", store.create("photos"))
        assert await (await store.container("photos")).names() == []

    async def test_deleting_a_container(self, bench: Bench) -> None:
        """containers: delete is idempotent and removes the objects."""
        store = await bench.store()
        await store.delete("photos")
        container = await store.create("photos")
        await container.put("a", b"1")
        await store.delete("photos")
        await store.delete("photos")
        assert await store.exists("photos") is False
        again = await store.create("photos")
        assert await again.names() == []
        await refused("no-such-object", again.get("a"))

    async def test_a_deleted_container_is_not_there(self, bench: Bench) -> None:
        """containers: whoever holds one that was deleted is told so by every operation."""
        store = await bench.store()
        container = await store.create("photos")
        await container.put("a", b"1")
        await store.delete("photos")
        for operation in (
            container.created_at(),
            container.get("a"),
            container.put("a", b"2"),
            container.names(),
            container.has("a"),
            container.stat("a"),
            container.delete("a"),
            container.delete_many(["a"]),
            container.delete_many([]),
            container.clear(),
        ):
            await refused("no-such-container", operation)
        assert await store.exists("photos") is False

    async def test_one_of_several_creates(self, bench: Bench) -> None:
        """containers: of several that create one at once, one succeeds."""
        store = await bench.store()
        results: list[str] = []

        async def create() -> None:
            results.append(await outcome(store.create("photos")))

        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(create)
        assert sorted(results) == ["container-already-exists"] * 4 + ["ok"]

    async def test_when_a_container_was_created(self, bench: Bench) -> None:
        """created-at: nanoseconds since the epoch."""
        before = time.time_ns()
        container = await (await bench.store()).create("photos")
        created = await container.created_at()
        assert before - _SLACK <= created <= time.time_ns() + _SLACK
        await container.put("a", b"1")
        assert await container.created_at() == created

    async def test_container_names_are_any_text(self, bench: Bench) -> None:
        """Names are any UTF-8 strings; containers of different names share nothing."""
        store = await bench.store()
        for name in ODD_NAMES:
            await (await store.create(name)).put("k", name.encode())
        for name in ODD_NAMES:
            container = await store.container(name)
            assert await container.get("k") == name.encode(), repr(name)
            assert await container.names() == ["k"]
        for number, name in enumerate(ODD_NAMES):
            if number % 2:
                await store.delete(name)
        there = [await store.exists(name) for name in ODD_NAMES]
        assert there == [not number % 2 for number in range(len(ODD_NAMES))]

    async def test_namespaces_and_containers_do_not_run_into_each_other(self, bench: Bench) -> None:
        """Names never collide, also where namespace, container and object are put together."""
        for namespace, name in PLACES:
            store = await bench.store(namespace=bench.namespace + namespace)
            await (await store.create(name)).put("k", f"{namespace}|{name}".encode())
        for namespace, name in PLACES:
            store = await bench.store(namespace=bench.namespace + namespace)
            container = await store.container(name)
            assert await container.get("k") == f"{namespace}|{name}".encode()
            assert await container.names() == ["k"]

    async def test_namespaces_share_nothing(self, bench: Bench) -> None:
        """Two workloads never see each other's data by accident: another namespace is another store."""
        mine = await bench.container(namespace=f"{bench.namespace}/shop/a")
        store = await bench.store(namespace=f"{bench.namespace}/shop/b")
        assert await store.exists("container") is False
        theirs = await store.create("container")
        await mine.put("k", b"mine")
        assert await theirs.has("k") is False
        await store.delete("container")
        assert await mine.get("k") == b"mine"

    async def test_container_names_over_one_kibibyte(self, bench: Bench) -> None:
        """Names over 1 KiB: an error that says so, for the WIT has no case for it."""
        store = await bench.store()
        for name in TOO_LONG:
            for operation in (
                store.create(name),
                store.container(name),
                store.delete(name),
                store.exists(name),
            ):
                assert "1024" in (await refused("other", operation)).text


class GrantTests(Conformance):
    """``containers`` and ``read_only`` of the binding."""

    async def test_what_is_not_granted(self, bench: Bench) -> None:
        """containers: not granted and unknown: no-such-container; known: access-denied."""
        await (await bench.container("known")).put("k", b"v")
        store = await bench.store(containers=["granted"])
        await (await store.create("granted")).put("k", b"mine")
        await refused("no-such-container", store.container("unknown"))
        await refused("access-denied", store.container("known"))
        await refused("access-denied", store.create("another"))
        await refused("access-denied", store.delete("known"))
        await refused("access-denied", store.exists("known"))
        assert await store.exists("unknown") is False
        here, there = ObjectId("granted", "k"), ObjectId("known", "k")
        for source, target in ((here, there), (there, here), (there, there)):
            await refused("access-denied", store.copy(source, target))
            await refused("access-denied", store.move(source, target))
        assert await (await bench.container("known")).get("k") == b"v"
        assert await (await store.container("granted")).get("k") == b"mine"

    async def test_reading_only(self, bench: Bench) -> None:
        """read_only: everything that changes something is access-denied, and changes nothing."""
        whole = await bench.container()
        await whole.put("k", b"v")
        store = await bench.store(read_only=True)
        container = await store.container("container")
        assert await container.get("k") == b"v"
        assert await container.names() == ["k"]
        assert (await container.stat("k")).size == 1
        place, other = ObjectId("container", "k"), ObjectId("container", "other")
        for operation in (
            store.create("new"),
            store.delete("container"),
            store.copy(place, other),
            store.move(place, other),
            store.move(place, place),
            container.put("k", b"w"),
            container.delete("k"),
            container.delete_many(["k"]),
            container.clear(),
        ):
            await refused("access-denied", operation)
        assert await whole.get("k") == b"v"
        assert await whole.names() == ["k"]
