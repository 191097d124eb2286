"""What one call costs, counted: the codec asks nobody about types and imports nothing."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any, Self

import pytest
import wasmtime
from wasmplex.engine import capi

from .test_calls import kv

pytestmark = pytest.mark.anyio

PACKAGE = str(Path(wasmtime.__file__).parent)


class Calls:
    """Counts Python functions entered, by file and name, and imports made."""

    def __init__(self) -> None:
        self.functions: Counter[tuple[str, str]] = Counter()
        self.imports = 0

    def __enter__(self) -> Self:
        sys.setprofile(self._event)
        return self

    def __exit__(self, *exception: object) -> None:
        sys.setprofile(None)

    def _event(self, frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            self.functions[frame.f_code.co_filename, frame.f_code.co_name] += 1
        elif event == "c_call" and getattr(argument, "__name__", "") == "__import__":
            self.imports += 1

    def within(self, path: str) -> list[tuple[str, str]]:
        return [key for key in self.functions if key[0].startswith(path) or key[0] == path]


async def test_no_type_query_and_no_import_during_a_call(new_instance: Any) -> None:
    async def get(self: Any, key: str) -> bytes:
        return b"value"

    guest = await new_instance("kv", kv(get=get))
    for _ in range(2):  # the first call of an export resolves it
        with Calls() as calls:
            await guest.call("init")
            await guest.call("run-get", 10, 16)
            await guest.call("run-set", 10, 100)
            await guest.call("echo-string", "text")
            await guest.call("fini")
    assert calls.within(PACKAGE) == []
    assert calls.within("<frozen importlib._bootstrap>") == []
    assert calls.imports == 0


async def test_a_host_call_enters_two_functions(new_instance: Any) -> None:
    guest = await new_instance("kv", kv())
    await guest.call("run-add", 1)
    with Calls() as few:
        await guest.call("run-add", 100)
    with Calls() as many:
        await guest.call("run-add", 1100)
    more = (many.functions - few.functions).values()
    # The callback and the host's function; a time slice that ends meanwhile adds single calls.
    assert sorted(count for count in more if count > 100) == [1000, 1000]


async def test_a_call_enters_few_functions(new_instance: Any) -> None:
    guest = await new_instance("kv", kv())
    await guest.call("run-add", 1)
    with Calls() as calls:
        await guest.call("run-add", 0)
    assert calls.functions.total() < 45, calls.functions


def test_no_type_query_is_even_bound() -> None:
    names = [getattr(function, "__name__", "") for function in vars(capi).values()]
    makers = {"wasmtime_component_resource_type_new_host", "wasmtime_component_resource_type_delete"}
    assert [name for name in names if "_type" in name and name not in makers] == []
