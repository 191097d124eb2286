"""A store with a backend for each bucket: where its buckets lead, and that it has no others."""

from __future__ import annotations

from collections.abc import Callable
from inspect import isawaitable, iscoroutinefunction
from pathlib import Path
from typing import Any

import pytest
from host_plugin_memory import MemoryProvider, MemorySettings
from wasmplex.capabilities.keyvalue import KeyValueBackend
from wasmplex.component.shape import InstanceType
from wasmplex.interfaces.keyvalue.policy import KeyValueSettings
from wasmplex.interfaces.keyvalue.wasi import WasiKeyValue
from wasmplex.interfaces.keyvalue.wasmcloud import WasmcloudKeyValue
from wasmplex.plugin import Err, ImportPart, ImportRequest, InterfaceProvider, OpenContext, WorkloadContext
from wasmplex.testing import Recording

pytestmark = pytest.mark.anyio

Functions = dict[str, Callable[..., Any]]


async def memory(provider: Any = None) -> KeyValueBackend:
    opened = await (provider or MemoryProvider()).open(MemorySettings(), OpenContext(Path()))
    assert isinstance(opened, KeyValueBackend)
    return opened


async def served(
    package: InterfaceProvider, granted: frozenset[str] | None = None, **backends: KeyValueBackend
) -> Functions:
    parts = {
        name: ImportPart(backend, KeyValueSettings(max_value=4 if name == "small" else 9), "shop/kv")
        for name, backend in backends.items()
    }
    request = ImportRequest(
        f"{package.package}/store@{package.version}", None, InstanceType(), None, KeyValueSettings(),
        granted=granted, parts=parts,
    )  # fmt: skip
    async with package.bind(WorkloadContext("shop")) as bound:
        return dict(bound.serve(request))  # type: ignore[arg-type]


async def call(functions: Functions, name: str, *args: Any) -> Any:
    result = functions[name](*args)
    return await result if isawaitable(result) else result


@pytest.mark.parametrize("package", [WasiKeyValue(), WasmcloudKeyValue()])
async def test_only_the_names_that_have_a_backend_are_opened(package: InterfaceProvider) -> None:
    functions = await served(package, a=await memory(), b=await memory())
    assert (await functions["open"]("a")).store.backend is not (await functions["open"]("b")).store.backend
    for other in ("c", "", "A"):
        with pytest.raises(Err) as caught:
            await functions["open"](other)
        assert caught.value.value.tag == "no-such-store"


async def test_buckets_keep_what_is_theirs() -> None:
    """Each has its own backend and its own limits, whether one of them may wait or none."""
    for provider in (None, Recording(MemoryProvider())):
        functions = await served(WasiKeyValue(), small=await memory(), large=await memory(provider))
        plain = not iscoroutinefunction(functions["[method]bucket.get"])
        assert plain == (provider is None)
        small, large = await functions["open"]("small"), await functions["open"]("large")
        await call(functions, "[method]bucket.set", large, "k", b"12345")
        assert await call(functions, "[method]bucket.get", large, "k") == b"12345"
        assert await call(functions, "[method]bucket.get", small, "k") is None
        with pytest.raises(Err):
            await call(functions, "[method]bucket.set", small, "k", b"12345")


async def test_what_is_not_granted_is_not_opened() -> None:
    functions = await served(WasiKeyValue(), frozenset({"batch"}), a=await memory())
    with pytest.raises(Err) as caught:
        await functions["open"]("a")
    assert caught.value.value.tag == "access-denied"
