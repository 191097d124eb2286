"""What requests of HTTP 0.3 cost in crossings between guest and host: counts, which no machine changes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import anyio
import guests
import pytest
from host_plugin_wasi.p3.fields import Fields3
from host_plugin_wasi.p3.http import _TYPES
from host_plugin_wasi.p3.messages import Request, Response
from wasmplex.bridge import bridge
from wasmplex.bridge.exporting import ExportSession
from wasmplex.bridge.session import Session
from wasmplex.bridge.shared import SharedInstance
from wasmplex.component import read
from wasmplex.engine import Engine, EngineSettings
from wasmplex.engine.text import assemble

pytestmark = pytest.mark.anyio

CALLS = 16
HANDLE = "wasi:http/handler@0.3.0#handle"


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that gets an entry for each step, and each exchange of handles, of any adapter."""
    seen: list[str] = []
    for side in (Session, ExportSession):
        for name in ("step", "resume"):
            monkeypatch.setattr(side, name, _noted(getattr(side, name), name, seen))
    return seen


def _noted(method: Callable[..., Any], name: str, seen: list[str]) -> Callable[..., Any]:
    def call(*args: Any) -> Any:
        seen.append(name)
        return method(*args)

    return call


def request() -> Request:
    trailers: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    return Request.new(Fields3(), None, trailers, None)[0]


async def answer(instance: SharedInstance) -> bytes:
    response: Response = await instance.call(HANDLE, request())
    body = response.take()
    data = b"".join([piece async for piece in body.stream()])
    assert await body.trailers() is None
    assert response.outcome is not None
    response.outcome.say(None)
    return data


async def test_requests_that_come_together_cross_together(monkeypatch: pytest.MonkeyPatch) -> None:
    wasm = guests.component("hello3")
    imports = {"wasi:http/types@0.3.0": _TYPES}
    bridged = bridge(wasm, read(wasm), imports, assemble, transport="memory", goes_on=True)
    assert bridged is not None
    assert bridged.start is not None
    async with Engine(EngineSettings(use_cache=False)) as engine:
        compiled = await engine.compile(bridged.wasm, read(bridged.wasm, composed=True))
        linked = engine.link(compiled, bridged.link(imports), "test")
        instance = SharedInstance(await linked.instantiate(), bridged)
        with anyio.fail_after(30):
            await instance.call(bridged.start)
            seen = counted(monkeypatch)
            answers = await asyncio.gather(*(answer(instance) for _ in range(CALLS)))
            await instance.rest()
        instance.close()
    assert answers == [b"hello, world\n"] * CALLS
    assert "resume" not in seen  # what is exchanged for what is known when the adapter is made
    assert len(seen) < 2 * CALLS
