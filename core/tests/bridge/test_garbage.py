"""What an instance leaves when it has ended: nothing that only the garbage collector would find."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Awaitable, Callable, Iterator
from threading import get_ident
from typing import Any

import anyio
import pytest
from wasmplex.bridge import Bridged, BridgedInstance, bridge
from wasmplex.bridge.inflows import Inflow
from wasmplex.bridge.scheduler import Scheduler
from wasmplex.bridge.shared import SharedInstance
from wasmplex.component import read
from wasmplex.engine import Engine, EngineSettings, Linked
from wasmplex.engine.text import assemble
from wasmplex.errors import Trap
from wasmplex.values import Err, Ok
from wasmplex.wit.types import FutureType, Primitive, ResultType, StreamType, TupleType, ValueType

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
    scheduler = instance.state[Scheduler]
    return [weakref.ref(part) for part in (instance, instance.inner, scheduler, *scheduler.sides)]


async def started(kind: type[BridgedInstance], linked: Linked, bridged: Bridged) -> BridgedInstance:
    instance = kind(await linked.instantiate(), bridged)
    assert bridged.start is not None
    await instance.call(bridged.start)
    return instance


async def assert_gone_after(
    life: Callable[[Linked, Bridged], Awaitable[list[weakref.ref[Any]]]],
    function: Any,
    kind: type[BridgedInstance],
) -> None:
    """Hold an instance to going as soon as it has ended.

    :param life: makes one that imports `function`, calls it, ends it, and returns what it was made of
    """
    wasm = echo.echo(TupleType((STREAM, FUTURE)), asynchronous=True)
    imports = {"in": {"f0": function}}
    goes_on = kind is SharedInstance
    bridged = bridge(wasm, read(wasm), imports, assemble, transport=echo.TRANSPORT, goes_on=goes_on)
    assert bridged is not None
    async with Engine(EngineSettings(use_cache=False)) as engine:
        compiled = await engine.compile(bridged.wasm, read(bridged.wasm, composed=True))
        gone = await life(engine.link(compiled, bridged.link(imports), "test"), bridged)
        assert len(gone) >= 5
        with anyio.fail_after(20):
            while any(part() is not None for part in gone):  # noqa: ASYNC110  nobody is told of it
                await asyncio.sleep(0.001)


@pytest.mark.parametrize("kind", [BridgedInstance, SharedInstance])
@pytest.mark.parametrize("reads", [True, False], ids=["read", "unread"])
@pytest.mark.usefixtures("no_collection")
async def test_an_ended_instance_goes_at_once(kind: type[BridgedInstance], reads: bool) -> None:
    async def life(linked: Linked, bridged: Bridged) -> list[weakref.ref[Any]]:
        instance = await started(kind, linked, bridged)
        stream, future = await instance.call("out#f0", (chunks(b"abc"), asyncio.sleep(0, "x")))
        if reads:
            assert (bytes(await collect(stream)), await future) == (b"abc", "x")
        made = parts(instance)
        instance.close()
        return made

    await assert_gone_after(life, back, kind)


async def test_a_stream_that_was_returned_and_nobody_holds_is_closed() -> None:
    async with guest(STREAM, serve=back) as instance:
        stream = await instance.call("out#f0", chunks(b"never read"))
        del stream
        await settled(instance)
        assert_nothing_left(instance)
        assert await collect(await instance.call("out#f0", chunks(b"next"))) == [*b"next"]


@pytest.mark.usefixtures("no_collection")
async def test_what_a_collection_in_another_thread_finds_is_closed_in_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads, close = list[int](), Inflow.close

    def noted(flow: Inflow) -> None:
        threads.append(get_ident())
        close(flow)

    monkeypatch.setattr(Inflow, "close", noted)
    async with guest(TupleType((STREAM, FUTURE)), serve=back) as instance:
        circle: list[Any] = [await instance.call("out#f0", (chunks(b"never read"), asyncio.sleep(0, "x")))]
        circle.append(circle)
        del circle
        await asyncio.to_thread(gc.collect)
        await settled(instance)
        assert_nothing_left(instance)
    assert {*threads} == {get_ident()}


async def fails(_: Any) -> Any:
    await asyncio.sleep(0)
    raise ZeroDivisionError


async def fails_at_once(_: Any) -> Any:
    raise ZeroDivisionError


@pytest.mark.parametrize("kind", [BridgedInstance, SharedInstance])
@pytest.mark.parametrize("function", [fails, fails_at_once])
@pytest.mark.usefixtures("no_collection")
async def test_an_instance_whose_host_function_fails_goes_at_once(
    kind: type[BridgedInstance], function: Any
) -> None:
    async def life(linked: Linked, bridged: Bridged) -> list[weakref.ref[Any]]:
        instance = await started(kind, linked, bridged)
        with pytest.raises(Trap, match="ZeroDivisionError"):
            await instance.call("out#f0", (chunks(b"abc"), asyncio.sleep(0, "x")))
        made = parts(instance)
        instance.close()
        return made

    await assert_gone_after(life, function, kind)


RAISED: list[weakref.ref[Err[str]]] = []


def no() -> Err[str]:
    error = Err("no")
    RAISED.append(weakref.ref(error))
    return error


async def declines(_: Any) -> Any:
    raise no()


def declines_at_once(_: Any) -> Any:
    raise no()


@pytest.mark.parametrize("asynchronous", [True, False])
@pytest.mark.parametrize("serve", [declines, declines_at_once])
@pytest.mark.usefixtures("no_collection")
async def test_an_error_of_a_host_function_goes_when_the_guest_has_it(serve: Any, asynchronous: bool) -> None:
    RAISED.clear()
    async with guest(
        ResultType(STREAM, Primitive("string")), serve=serve, asynchronous=asynchronous
    ) as instance:
        with pytest.raises(Err):
            await instance.call("out#f0", Ok(chunks(b"abc")))
        await settled(instance)
    assert [error() for error in RAISED] == [None]


@pytest.mark.parametrize("type_", [Primitive("string"), STREAM], ids=["plain", "moving"])
@pytest.mark.usefixtures("no_collection")
async def test_an_error_that_a_call_returns_goes_with_who_has_it(type_: ValueType) -> None:
    async with guest(ResultType(type_, Primitive("string")), serve=declines) as instance:

        async def declined() -> weakref.ref[Err[str]]:
            given = Ok("x" if type_ is not STREAM else chunks(b"abc"))
            try:  # `pytest.raises` would refer to it from the frame that it refers to
                await instance.call("out#f0", given)
            except Err as error:
                return weakref.ref(error)
            raise AssertionError

        error = await declined()
        await settled(instance)
        assert error() is None
