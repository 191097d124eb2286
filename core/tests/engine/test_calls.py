"""Calls in both directions through a real guest."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from wasmplex.engine import ValueMismatch
from wasmplex.errors import Trap, UsageError
from wasmplex.plugins.contracts import HostFunction
from wasmplex.values import Err, Variant

pytestmark = pytest.mark.anyio


class Bucket:
    def __init__(self) -> None:
        self.data: dict[str, bytes] = {}
        self.drops = 0

    def drop(self) -> None:
        self.drops += 1


def kv(bucket: Bucket | None = None, **functions: Any) -> dict[str, Any]:
    """Imports of the guest `kv`; keywords replace functions (``get`` and ``set`` are the methods)."""
    bucket = bucket or Bucket()
    named = {
        {"get": "[method]bucket.get", "set": "[method]bucket.set"}.get(k, k): v for k, v in functions.items()
    }
    return {
        "test:kv/store": {
            "noop": lambda: None,
            "add": lambda a, b: (a + b) & 0xFFFFFFFF,
            "strlen": len,
            "open": lambda identifier: bucket,
            "[method]bucket.get": lambda self, key: self.data.get(key),
            "[method]bucket.set": lambda self, key, value: self.data.__setitem__(key, value),
            **named,
        }
    }


async def test_sync_host_functions(new_instance: Any) -> None:
    bucket = Bucket()
    guest = await new_instance("kv", kv(bucket))
    await guest.call("init")
    assert await guest.call("run-add", 10) == 55
    assert await guest.call("run-strlen", 3, 100) == 300
    assert await guest.call("run-set", 1, 20) == 20
    (key,) = bucket.data
    assert bucket.data[key] == b"\xa5" * 20
    assert await guest.call("run-get", 2, 16) == 40
    await guest.call("fini")
    assert bucket.drops == 1


@pytest.mark.parametrize("suspensions", [0, 1, 3])
async def test_async_host_functions(new_instance: Any, suspensions: int) -> None:
    async def get(self: Bucket, key: str) -> bytes:
        for _ in range(suspensions):
            await asyncio.sleep(0)
        return key.encode()

    async def add(a: int, b: int) -> int:
        for _ in range(suspensions):
            await asyncio.sleep(0.001)
        return a + b

    guest = await new_instance("kv", kv(get=get, add=add))
    await guest.call("init")
    assert await guest.call("run-get", 3, 16) == 48
    assert await guest.call("run-add", 4) == 10


async def test_host_function_receives_its_instance(new_instance: Any) -> None:
    seen: list[Any] = []
    guest = await new_instance("kv", kv(noop=HostFunction(seen.append, context=True)))
    guest.state["tenant"] = 7
    await guest.call("run-noop", 2)
    assert seen == [guest, guest]
    assert seen[0].state == {"tenant": 7}


@pytest.mark.parametrize("text", ["", "plain", "h\u00e4ll\u00f6 \U0001f600", "x" * 100_000])
async def test_export_echoes_strings_and_bytes(new_instance: Any, text: str) -> None:
    guest = await new_instance("kv", kv())
    assert await guest.call("echo-string", text) == text
    assert await guest.call("echo-bytes", text.encode()) == text.encode()
    assert await guest.call("echo-bytes", bytearray(text.encode())) == text.encode()


async def test_typed_error_of_a_host_function_reaches_the_guest(new_instance: Any) -> None:
    def get(self: Bucket, key: str) -> bytes:
        raise Err(Variant("other", "disk on fire"))

    guest = await new_instance("kv", kv(get=get))
    await guest.call("init")
    with pytest.raises(Trap, match="unreachable"):  # what this guest does with an error
        await guest.call("run-get", 1, 4)


async def test_undeclared_exception_traps_and_is_the_cause(new_instance: Any) -> None:
    boom = ValueError("secret text")

    def noop() -> None:
        raise boom

    guest = await new_instance("kv", kv(noop=noop))
    with pytest.raises(Trap) as caught:
        await guest.call("run-noop", 1)
    assert caught.value.__cause__ is boom
    assert "test:kv/store#noop" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert guest.poisoned


async def test_undeclared_exception_after_a_suspension(new_instance: Any) -> None:
    boom = KeyError("late")

    async def noop() -> None:
        await asyncio.sleep(0)
        raise boom

    guest = await new_instance("kv", kv(noop=noop))
    with pytest.raises(Trap) as caught:
        await guest.call("run-noop", 1)
    assert caught.value.__cause__ is boom
    assert guest.poisoned


async def test_wrong_result_is_named_with_function_and_path(new_instance: Any) -> None:
    guest = await new_instance("kv", kv(get=lambda self, key: "text"))
    await guest.call("init")
    with pytest.raises(Trap) as caught:
        await guest.call("run-get", 1, 4)
    assert isinstance(caught.value.__cause__, ValueMismatch)
    assert caught.value.__cause__.path == "result.ok"
    assert "[method]bucket.get" in str(caught.value)


async def test_wrong_argument_calls_nothing(new_instance: Any) -> None:
    guest = await new_instance("kv", kv())
    with pytest.raises(ValueMismatch, match=r"run-add: n: -1 is out of range for u32"):
        await guest.call("run-add", -1)
    with pytest.raises(TypeError, match="takes 1 argument"):
        await guest.call("run-add")
    with pytest.raises(UsageError, match="did you mean 'run-add'"):
        await guest.call("run-ad")
    assert not guest.poisoned
    assert await guest.call("run-add", 2) == 3


async def test_trap_poisons_and_says_where(new_instance: Any) -> None:
    guest = await new_instance("kv", kv())
    with pytest.raises(Trap, match="unreachable") as caught:
        await guest.call("trap")
    assert "workload 'shop'" in str(caught.value)
    assert guest.poisoned
    with pytest.raises(Trap, match="the instance is gone"):
        await guest.call("run-add", 1)
