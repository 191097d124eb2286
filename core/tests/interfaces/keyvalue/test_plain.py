"""The policy for a store that never waits refuses what that for all others does, in the same words."""

from __future__ import annotations

from collections.abc import Callable
from inspect import isawaitable, iscoroutinefunction
from pathlib import Path
from typing import Any

import pytest
from host_plugin_memory import MemoryProvider, MemorySettings
from wasmplex.capabilities.keyvalue import Bucket, KeyValueBackend, Page, QuotaExceeded
from wasmplex.component.shape import InstanceType
from wasmplex.interfaces.keyvalue.policy import KeyValueSettings
from wasmplex.interfaces.keyvalue.wasi import WasiKeyValue
from wasmplex.plugin import Err, ImportRequest, OpenContext, WorkloadContext
from wasmplex.testing import Delayed, Faulty, Recording

pytestmark = pytest.mark.anyio

METHODS = ("get", "set", "delete", "exists")


async def memory(**settings: Any) -> KeyValueBackend:
    return await MemoryProvider().open(MemorySettings(**settings), OpenContext(Path()))


async def served(
    backend: KeyValueBackend, granted: frozenset[str] | None = None, **settings: Any
) -> dict[str, Callable[..., Any]]:
    request = ImportRequest(
        "wasi:keyvalue/store@0.2.0-draft", "cache", InstanceType(), backend, KeyValueSettings(**settings),
        namespace="shop/cache", granted=granted,
    )  # fmt: skip
    async with WasiKeyValue().bind(WorkloadContext("shop")) as bound:
        return dict(bound.serve(request))  # type: ignore[arg-type]


async def told(functions: dict[str, Callable[..., Any]], operation: str, *args: Any) -> Any:
    """Return what the guest is told."""
    opened = await functions["open"]("b")
    try:
        result = functions[f"[method]bucket.{operation}"](opened, *args)
        return await result if isawaitable(result) else result
    except Err as error:
        return error.value


async def test_functions_are_plain_where_nothing_waits() -> None:
    for name, function in (await served(await memory())).items():
        assert iscoroutinefunction(function) == (name.rpartition(".")[2] not in METHODS)


@pytest.mark.parametrize("double", [Delayed, Faulty, Recording])
async def test_doubles_of_a_store_that_never_waits_may_wait(double: Any) -> None:
    backend = await double(MemoryProvider()).open(MemorySettings(), OpenContext(Path()))
    assert not backend.never_waits
    assert all(map(iscoroutinefunction, (await served(backend)).values()))


async def test_a_store_that_is_not_granted_is_refused() -> None:
    functions = await served(await memory(), granted=frozenset({"batch"}))
    assert all(map(iscoroutinefunction, functions.values()))


SHORT, LONG = "k" * 256, "\u20ac" * 342  # 1026 bytes in fewer characters than the limit has
REFUSED = [
    ("get", LONG), ("set", LONG, b""), ("delete", LONG), ("exists", LONG), ("get", "k" * 1025),
    ("set", "k", b"123456"), ("set", "k" * 1025, b"123456"), ("set", SHORT, b"12345"), ("get", SHORT),
    ("set", "\u20ac" * 341, b""), ("get", "\u20ac" * 341), ("delete", SHORT), ("exists", SHORT),
]  # fmt: skip


@pytest.mark.parametrize("call", REFUSED, ids=lambda call: f"{call[0]}-{len(call[1])}-{len(call[-1])}")
async def test_both_refuse_the_same(call: tuple[Any, ...]) -> None:
    said = []
    for never_waits in (True, False):
        backend = await memory()
        backend.never_waits = never_waits
        said.append(await told(await served(backend, max_value=5), *call))
    assert said[0] == said[1]


class Odd:
    """A bucket, plain or not, whose every operation does what is not allowed."""

    def __init__(self, fault: Any) -> None:
        self._fault = fault

    def _go_wrong(self) -> Any:
        if isinstance(self._fault, Exception):
            raise self._fault
        return self._fault

    def get(self, key: str) -> Any:
        return self._go_wrong()

    def set(self, key: str, value: bytes, **options: Any) -> Any:
        return self._go_wrong()

    def delete(self, key: str) -> Any:
        return self._go_wrong()

    def exists(self, key: str) -> Any:
        return self._go_wrong()


class OddBucket(Bucket):
    def __init__(self, plain: Odd) -> None:
        self.plain = plain

    async def get(self, key: str) -> bytes | None:
        return self.plain.get(key)  # type: ignore[union-attr]

    async def exists(self, key: str) -> bool:
        return self.plain.exists(key)  # type: ignore[union-attr]

    async def set(
        self, key: str, value: bytes, *, ttl_ms: int | None = None, if_not_exists: bool = False
    ) -> None:
        self.plain.set(key, value)  # type: ignore[union-attr]

    async def delete(self, key: str) -> None:
        self.plain.delete(key)  # type: ignore[union-attr]

    async def list_keys(self, prefix: str, cursor: str | None, limit: int) -> Page:
        raise NotImplementedError


class OddBackend(KeyValueBackend):
    def __init__(self, fault: Any, never_waits: bool) -> None:
        self.never_waits = never_waits
        self._fault = fault

    async def open_bucket(self, namespace: str, name: str) -> Bucket:
        return OddBucket(Odd(self._fault))

    async def has_bucket(self, namespace: str, name: str) -> bool:
        return True

    async def close(self) -> None:
        pass


@pytest.mark.parametrize("operation", METHODS)
@pytest.mark.parametrize(
    "fault",
    [QuotaExceeded("full"), ConnectionResetError("gone"), KeyError("secret"), MemoryError()],
    ids=repr,
)
async def test_both_refuse_errors_in_the_same_words(operation: str, fault: Exception) -> None:
    args = ("k", b"v") if operation == "set" else ("k",)
    said = [
        await told(await served(OddBackend(fault, never_waits)), operation, *args)
        for never_waits in (True, False)
    ]
    assert said[0] == said[1]
    assert "secret" not in repr(said[0])


@pytest.mark.parametrize("operation", ["get", "exists"])
async def test_both_refuse_results_of_a_wrong_type(operation: str) -> None:
    said = [
        await told(await served(OddBackend("no bytes", never_waits)), operation, "k")
        for never_waits in (True, False)
    ]
    assert said[0] == said[1]
    assert said[0].tag == "other"
