"""``wasi:keyvalue@0.2.0-draft`` over the memory backend: what the interface adds to the policy."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from inspect import isawaitable
from pathlib import Path
from typing import Any, cast

import pytest
from host_plugin_memory import MemoryProvider, MemorySettings
from wasmplex.capabilities.keyvalue import KeyValueBackend
from wasmplex.component.shape import InstanceType
from wasmplex.errors import PluginError
from wasmplex.interfaces.keyvalue.policy import KeyValueSettings
from wasmplex.interfaces.keyvalue.wasi import Cursors, WasiKeyValue
from wasmplex.plugin import Backend, Err, ImportRequest, OpenContext, Variant, WorkloadContext

pytestmark = pytest.mark.anyio

Functions = Mapping[str, Callable[..., Any]]
Serve = Callable[..., Functions]


def other(text: str) -> Err[Variant]:
    return Err(Variant("other", text))


@pytest.fixture(params=["plain", "waits"])
async def backend(request: pytest.FixtureRequest) -> AsyncIterator[KeyValueBackend]:
    opened = await MemoryProvider().open(MemorySettings(), OpenContext(Path()))
    assert opened.never_waits
    opened.never_waits = request.param == "plain"
    yield opened
    await opened.close()


def awaited(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function to await, whether `function` is one or not."""

    async def call(*args: Any) -> Any:
        result = function(*args)
        return await result if isawaitable(result) else result

    return call


@pytest.fixture
async def serve(backend: KeyValueBackend) -> AsyncIterator[Serve]:
    async with AsyncExitStack() as stack:
        bound = await stack.enter_async_context(WasiKeyValue().bind(WorkloadContext("shop")))

        def serve(
            interface: str = "store", label: str | None = None, backend: Backend = backend, **settings: Any
        ) -> Functions:
            served = bound.serve(
                ImportRequest(
                    f"wasi:keyvalue/{interface}@0.2.0-draft",
                    label,
                    InstanceType(),
                    backend,
                    KeyValueSettings(**settings),
                    namespace=f"shop/{label or ''}",
                )
            )
            return {name: awaited(cast(Callable[..., Any], function)) for name, function in served.items()}

        yield serve


async def test_store_serves_every_function_of_the_draft(serve: Serve) -> None:
    store = serve()
    bucket = await store["open"]("b")
    assert await store["[method]bucket.get"](bucket, "k") is None
    assert await store["[method]bucket.set"](bucket, "k", b"\x00\xff") is None
    assert await store["[method]bucket.get"](bucket, "k") == b"\x00\xff"
    assert await store["[method]bucket.exists"](bucket, "k") is True
    assert await store["[method]bucket.list-keys"](bucket, None) == {"keys": ["k"], "cursor": None}
    assert await store["[method]bucket.delete"](bucket, "k") is None
    assert await store["[method]bucket.exists"](bucket, "k") is False


async def test_batch_and_atomics_work_on_a_bucket_of_a_labelled_store(serve: Serve) -> None:
    bucket = await serve(label="cache")["open"]("b")
    batch, atomics = serve("batch"), serve("atomics")
    assert await batch["set-many"](bucket, [("a", b"1"), ("b", b"2")]) is None
    assert await batch["get-many"](bucket, ["b", "x", "a", "b"]) == [
        ("b", b"2"), None, ("a", b"1"), ("b", b"2"),
    ]  # fmt: skip
    assert await atomics["increment"](bucket, "a", 41) == 42
    assert await batch["delete-many"](bucket, ["a", "b", "x"]) is None
    assert await batch["get-many"](bucket, ["a"]) == [None]


async def test_labels_do_not_share_buckets_unless_they_name_one_namespace(serve: Serve) -> None:
    buckets = [
        await serve(label="cache")["open"]("b"),
        await serve(label="store")["open"]("b"),
        await serve(label="left", namespace="common")["open"]("b"),
        await serve(label="right", namespace="common")["open"]("b"),
    ]
    for number, bucket in enumerate(buckets):
        await bucket.set("k", b"%d" % number)
    assert [await bucket.get("k") for bucket in buckets] == [b"0", b"1", b"3", b"3"]


async def test_listing_goes_on_by_number(serve: Serve) -> None:
    store = serve()
    bucket = await store["open"]("b")
    names = [f"{n:04}" for n in range(2500)]
    for start in range(0, 2500, 500):
        await bucket.set_many([(name, b"") for name in names[start : start + 500]])
    pages: list[Any] = []
    cursor = None
    while cursor is not None or not pages:
        page = await store["[method]bucket.list-keys"](bucket, cursor)
        pages.append(page["keys"])
        cursor = page["cursor"]
    assert [len(page) for page in pages] == [1000, 1000, 500]
    assert sorted(key for page in pages for key in page) == names


@pytest.mark.parametrize("cursor", [0, 7, 2**64 - 1])
async def test_an_unknown_cursor_is_refused(serve: Serve, cursor: int) -> None:
    store = serve()
    bucket = await store["open"]("b")
    with pytest.raises(Err) as refused:
        await store["[method]bucket.list-keys"](bucket, cursor)
    assert refused.value.value.value.startswith("invalid argument: list-keys: ")


async def test_a_cursor_of_another_bucket_is_refused(serve: Serve) -> None:
    store = serve()
    left, right = await store["open"]("left"), await store["open"]("right")
    for bucket in left, right:
        await bucket.set_many([(f"{n}", b"") for n in range(1000)])
        await bucket.set("more", b"")
    page = await store["[method]bucket.list-keys"](left, None)
    with pytest.raises(Err, match="invalid argument"):
        await store["[method]bucket.list-keys"](right, page["cursor"])


def test_only_so_many_cursors_are_kept() -> None:
    cursors = Cursors(limit=2)
    first, second = cursors.number("a"), cursors.number("b")
    assert cursors.text(first) == "a"
    third = cursors.number("c")
    assert [cursors.text(n) for n in (first, second, third)] == ["a", "", "c"]


@pytest.mark.parametrize(
    ("seed", "delta"), [(None, 2**63), (None, 2**64 - 1), (b"-5", 4), (b"9223372036854775807", 1)]
)
async def test_increment_outside_what_both_types_hold_is_refused_and_writes_nothing(
    serve: Serve, seed: bytes | None, delta: int
) -> None:
    bucket = await serve()["open"]("b")
    if seed is not None:
        await bucket.set("n", seed)
    with pytest.raises(Err) as refused:
        await serve("atomics")["increment"](bucket, "n", delta)
    assert refused.value.value.value.startswith("invalid argument: increment: ")
    assert await bucket.get("n") == seed


async def test_errors_are_the_drafts_three_cases(serve: Serve) -> None:
    store = serve(buckets=["mine"], max_value=3)
    await (await serve()["open"]("theirs")).set("k", b"")
    with pytest.raises(Err) as unknown:
        await store["open"]("nowhere")
    with pytest.raises(Err) as known:
        await store["open"]("theirs")
    bucket = await store["open"]("mine")
    with pytest.raises(Err) as large:
        await store["[method]bucket.set"](bucket, "k", b"four")
    assert unknown.value == Err(Variant("no-such-store"))
    assert known.value == Err(Variant("access-denied"))
    assert large.value == other("quota exceeded: set: a value of 4 bytes is over the limit of 3")


async def test_a_backend_of_another_capability_is_a_plugin_error(serve: Serve) -> None:
    class Blob(Backend):
        async def close(self) -> None: ...

    with pytest.raises(PluginError, match="Blob is no key-value backend"):
        serve(backend=Blob())


def test_what_an_import_needs_of_its_backend() -> None:
    provider = WasiKeyValue()
    needs = {name: provider.features(name, InstanceType()) for name in provider.interfaces}
    assert needs == {"store": frozenset(), "batch": frozenset(), "atomics": {"increment"}}


async def test_a_bucket_works_through_the_interfaces_that_its_own_binding_grants(
    backend: KeyValueBackend,
) -> None:
    async with WasiKeyValue().bind(WorkloadContext("shop")) as bound:

        def serve(interface: str, granted: frozenset[str] | None) -> Functions:
            name = f"wasi:keyvalue/{interface}@0.2.0-draft"
            own = backend if interface == "store" else None
            settings = KeyValueSettings()
            request = ImportRequest(name, None, InstanceType(), own, settings, "shop/x", granted=granted)
            return cast(Functions, bound.serve(request))

        increment = serve("atomics", None)["increment"]
        get_many = serve("batch", None)["get-many"]
        free = await serve("store", None)["open"]("free")
        bound_to_batch = await serve("store", frozenset({"store", "batch"}))["open"]("bound")
        assert await increment(free, "n", 1) == 1
        assert await get_many(bound_to_batch, ["n"]) == [None]
        with pytest.raises(Err) as caught:
            await increment(bound_to_batch, "n", 1)
        assert caught.value == Err(Variant("access-denied"))
