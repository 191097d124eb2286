"""What takes long although nothing waits, as in a store in memory, lets others have their turn."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from host_plugin_memory import MemoryBlobProvider, MemoryBlobSettings
from wasmplex.capabilities.blobstore import MAX_PAGE, PIECE, BlobStoreError
from wasmplex.interfaces.blobstore.policy import BlobStoreSettings, GuardedContainer, GuardedStore
from wasmplex.interfaces.blobstore.values import IncomingValue, ObjectNames
from wasmplex.plugin import Err, OpenContext
from wasmplex.policy import Scope

pytestmark = pytest.mark.anyio

PAGES = 5


def refused(operation: str, error: BlobStoreError) -> Err[str]:
    return Err(operation)


@pytest.fixture
async def store() -> GuardedStore:
    backend = await MemoryBlobProvider().open(MemoryBlobSettings(), OpenContext(Path()))
    return GuardedStore(backend, BlobStoreSettings(), Scope("w", None, "n"), refused)


async def put(container: GuardedContainer, name: str, data: bytes = b"") -> None:
    writer = await container.write_object(name)
    await writer.write_all(data)
    await writer.commit()
    await writer.close()


async def full(store: GuardedStore) -> GuardedContainer:
    container = await store.create_container("c")
    for number in range(PAGES * MAX_PAGE):
        await put(container, str(number))
    return container


async def turns_during(operation: Awaitable[Any]) -> tuple[Any, int]:
    """Return what comes of something, and how many turns others had meanwhile."""
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    counting = asyncio.ensure_future(count())
    try:
        return await operation, turns
    finally:
        counting.cancel()


async def names_skipped(store: GuardedStore) -> Coroutine[Any, Any, Any]:
    listing = await (await full(store)).list_objects()
    return ObjectNames(listing, await listing.next()).skip(2**64 - 1)


async def content_returned(store: GuardedStore) -> Coroutine[Any, Any, Any]:
    container = await store.create_container("c")
    await put(container, "large", bytes(PAGES * PIECE))
    return IncomingValue(await container.read_object("large", 0, 2**64 - 1), refused).consume_sync()


async def container_deleted(store: GuardedStore) -> Coroutine[Any, Any, Any]:
    await full(store)
    return store.delete_container("c")


@pytest.mark.parametrize(
    ("prepared", "result"),
    [
        (names_skipped, (PAGES * MAX_PAGE, True)),
        (content_returned, bytes(PAGES * PIECE)),
        (container_deleted, None),
    ],
)
async def test_others_have_their_turn(
    store: GuardedStore,
    prepared: Callable[[GuardedStore], Awaitable[Coroutine[Any, Any, Any]]],
    result: object,
) -> None:
    found, turns = await turns_during(await prepared(store))
    assert found == result
    assert turns >= PAGES - 1


async def test_of_a_deletion_that_is_given_up_nothing_is_left(store: GuardedStore) -> None:
    container = await full(store)
    deleting = asyncio.ensure_future(store.delete_container("c"))
    while repr(store.backend).startswith("memory: 5000 "):  # noqa: ASYNC110  what is waited for is no event
        await asyncio.sleep(0)
    deleting.cancel()
    await asyncio.wait([deleting])
    assert deleting.cancelled()
    assert repr(store.backend) == "memory: 0 objects, 0 of 268435456 bytes"
    with pytest.raises(Err):
        await container.info()
