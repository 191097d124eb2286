"""Several calls of one export in one crossing: what each returned, and how many there were if not all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from wasmplex.bridge import BridgedInstance
from wasmplex.engine import Engine, EngineSettings
from wasmplex.engine.text import assemble
from wasmplex.errors import Trap
from wasmplex.values import Err
from wasmplex.wit.mismatch import ValueMismatch

from . import echo

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("uninterrupted")]

GUEST = """(component
  (import "in" (instance $i
    (export "f" (func (param "v" (list u8)) (result (result (list u8) (error string)))))
    (export "g" (func (param "v" (list u8)) (result (result (error string)))))
    (export "h" (func (param "v" (list u8))))))
  (export "out" (instance $i)))"""


class Series:
    """Calls of one export, with what came of them."""

    def __init__(self, instance: BridgedInstance) -> None:
        self.instance = instance
        self.results: list[Any] = []
        self.paused: list[int] = []

    def note(self) -> None:
        self.paused.append(len(self.results))

    async def call(self, *bodies: Any, export: str = "f") -> list[Any]:
        self.results = []
        calls = [(body,) for body in bodies]
        with anyio.fail_after(20):
            await self.instance.call_each(f"out#{export}", calls, self.results, self.note)
        return [f"err: {one.value}" if isinstance(one, Err) else one for one in self.results]


@asynccontextmanager
async def series(serve: Callable[[bytes], Any], transport: str = "memory") -> AsyncIterator[Series]:
    echo.TRANSPORT, before = transport, echo.TRANSPORT  # type: ignore[assignment]
    imports = {"in": dict.fromkeys("fgh", serve)}
    try:
        async with (
            Engine(EngineSettings(use_cache=False)) as engine,
            echo.running(engine, assemble(GUEST), imports) as instance,
        ):
            yield Series(instance)
    finally:
        echo.TRANSPORT = before


def obey(body: bytes) -> bytes:
    if body == b"refuse":
        raise Err("as I was told")
    if body == b"fail":
        raise OSError("disk on fire")
    return body[::-1]


async def test_each_call_has_its_own_result() -> None:
    large = [bytes([number]) * 50_000 for number in range(10)]  # more than there is room for at first
    async with series(obey) as calls:
        assert await calls.call(b"ab", b"refuse", b"", b"cd") == [b"ba", "err: as I was told", b"", b"dc"]
        assert await calls.call(*large) == large
        assert await calls.call(b"ab") == [b"ba"]
        assert await calls.instance.call("out#f", b"ab") == b"ba"
        with pytest.raises(Err, match="as I was told"):
            await calls.instance.call("out#f", b"refuse")
        assert not calls.instance.poisoned
    assert calls.paused == []


async def test_in_which_call_a_guest_is_that_calls_the_host() -> None:
    seen: list[int] = []
    async with series(lambda body: seen.append(calls.instance.calls_made())) as calls:
        await calls.call(*[b"a"] * 5, export="h")
        await calls.call(*[b"a"] * 2, export="h")
    assert seen == [0, 1, 2, 3, 4, 0, 1]


@pytest.mark.parametrize("export", ["g", "h"])
async def test_calls_without_a_value_are_counted(export: str) -> None:
    async with series(lambda body: None) as calls:
        assert await calls.call(b"a", b"b", b"c", export=export) == [None, None, None]


async def test_of_a_call_that_fails_it_is_known_which_one_it_was() -> None:
    async with series(obey) as calls:
        with pytest.raises(Trap) as caught:
            await calls.call(b"ab", b"cd", b"fail", b"ef")
        assert calls.results == [b"ba", b"dc"]
        assert calls.instance.poisoned
    assert "host function in#f failed" in caught.value.render()
    assert "wasmplex" not in caught.value.render()


async def test_after_a_wait_no_further_call_is_begun() -> None:
    seen: list[bytes] = []

    async def serve(body: bytes) -> bytes:
        seen.append(body)
        if body == b"wait":
            await asyncio.sleep(0)
        return body

    async with series(serve) as calls:
        assert await calls.call(b"a", b"b", b"wait", b"c", b"d") == [b"a", b"b", b"wait"]
        assert calls.paused == [2]
        assert await calls.call(b"c", b"d") == [b"c", b"d"]
    assert seen == [b"a", b"b", b"wait", b"c", b"d"]


async def test_of_a_series_that_is_given_up_the_results_are_known() -> None:
    async def serve(body: bytes) -> bytes:
        if body == b"wait":
            asyncio.get_running_loop().call_soon(scope.cancel)
            await asyncio.Event().wait()
        return body

    async with series(serve) as calls:
        with anyio.CancelScope() as scope:
            await calls.call(b"a", b"b", b"wait", b"c")
        assert scope.cancelled_caught
        assert calls.results == [b"a", b"b"]
        assert calls.instance.poisoned


async def test_what_does_not_fit_is_refused_alone() -> None:
    async with series(obey) as calls:
        assert await calls.call(b"ab", "text", b"cd") == [b"ba"]
        with pytest.raises(ValueMismatch):
            await calls.call("text", b"cd")
        assert calls.results == []
        assert await calls.call(b"cd") == [b"dc"]


async def test_where_there_are_no_series_the_first_call_is_made() -> None:
    async with series(obey, "strings") as calls:
        assert await calls.call(b"ab", b"cd") == [b"ba"]
        assert await calls.call(b"refuse", b"cd") == ["err: as I was told"]


async def test_large_results_end_a_series_before_they_fill_the_memory() -> None:
    async with series(lambda body: bytes(400_000)) as calls:
        assert await calls.call(*[b""] * 8) == [bytes(400_000)] * 3
        assert await calls.call(b"", b"") == [bytes(400_000)] * 2
    assert calls.paused == []
