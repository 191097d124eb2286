"""What an instance leaves when it has ended: nothing that only the garbage collector would find."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator
from typing import Any

import anyio
import pytest
from wasmplex.bridge import BridgedInstance, bridge
from wasmplex.bridge.pulse import Pulse
from wasmplex.bridge.shared import SharedInstance
from wasmplex.component import read
from wasmplex.engine import Engine, EngineSettings
from wasmplex.engine.text import assemble
from wasmplex.wit.types import FutureType, Primitive, StreamType, TupleType

from . import echo
from .test_streams import assert_nothing_left, back, chunks, collect, guest, settled

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("transport")]
STREAM, FUTURE = StreamType(Primitive("u8")), FutureType(Primitive("string"))


@pytest.fixture
def no_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def parts(instance: BridgedInstance) -> list[weakref.ref[Any]]:
    """Return what an instance is made of."""
    pulse = instance.state[Pulse]
    return [weakref.ref(part) for part in (instance, instance.inner, pulse, *pulse.sides)]


@pytest.mark.parametrize("kind", [BridgedInstance, SharedInstance])
@pytest.mark.parametrize("reads", [True, False], ids=["read", "unread"])
@pytest.mark.usefixtures("no_collection")
async def test_an_ended_instance_goes_at_once(kind: type[BridgedInstance], reads: bool) -> None:
    wasm = echo.echo(TupleType((STREAM, FUTURE)), asynchronous=True)
    imports = {"in": {"f0": back}}
    goes_on = kind is SharedInstance
    bridged = bridge(wasm, read(wasm), imports, assemble, transport=echo.TRANSPORT, goes_on=goes_on)
    assert bridged is not None
    async with Engine(EngineSettings(use_cache=False)) as engine:
        compiled = await engine.compile(bridged.wasm, read(bridged.wasm, composed=True))
        linked = engine.link(compiled, bridged.link(imports), "test")

        async def life() -> list[weakref.ref[Any]]:
            instance = kind(await linked.instantiate(), bridged)
            assert bridged.start is not None
            await instance.call(bridged.start)
            given = (chunks(b"abc"), asyncio.sleep(0, "x"))
            stream, future = await instance.call("out#f0", given)
            if reads:
                assert (bytes(await collect(stream)), await future) == (b"abc", "x")
            made = parts(instance)
            instance.close()
            return made

        gone = await life()
        assert len(gone) >= 5
        with anyio.fail_after(20):
            while any(part() is not None for part in gone):  # noqa: ASYNC110  nobody is told of it
                await asyncio.sleep(0.001)


async def test_a_stream_that_was_returned_and_nobody_holds_is_closed() -> None:
    async with guest(STREAM, serve=back) as instance:
        stream = await instance.call("out#f0", chunks(b"never read"))
        del stream
        await settled(instance)
        assert_nothing_left(instance)
        assert await collect(await instance.call("out#f0", chunks(b"next"))) == [*b"next"]
