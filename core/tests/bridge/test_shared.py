"""An instance that is in several calls at once: who drives it, and until when."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
from wasmplex.bridge.scheduler import Scheduler
from wasmplex.bridge.shared import SharedInstance
from wasmplex.errors import GuestExit, Trap
from wasmplex.logs import SharedOrigin

pytestmark = pytest.mark.anyio


class Actor:
    """Has calls, which the guest answers at once."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def begin(self, codec: Any, args: tuple[Any, ...]) -> Any:
        call = SimpleNamespace(codec=codec, args=args, result=asyncio.get_running_loop().create_future())
        self.calls.append(call)
        return call


def shared(actor: Actor, serve: Callable[..., Awaitable[None]]) -> SharedInstance:
    """Return an instance that `serve` drives."""
    instance = SharedInstance.__new__(SharedInstance)
    instance.inner = SimpleNamespace(call=serve, workload="shop", poisoned=False)
    codec = SimpleNamespace(function=SimpleNamespace(path="f"))
    instance.above = SimpleNamespace(codecs={"f": codec})  # type: ignore[assignment]
    instance._driver, instance._actor = None, actor  # type: ignore[assignment]
    instance._left, instance._failed, instance._together = False, False, 0
    instance._origin = SharedOrigin("shop")
    instance.state = {Scheduler: SimpleNamespace(sides=[], failure=None)}
    return instance


@pytest.mark.parametrize(("calls", "raised"), [(1, GuestExit), (2, Trap)])
async def test_an_exit_with_0_is_that_of_the_only_call(calls: int, raised: type[Exception]) -> None:
    """Of several it is nobody's success: what the others were to do is not done."""

    async def serve(*_: Any) -> None:
        raise GuestExit(0)

    instance = shared(Actor(), serve)
    with anyio.fail_after(5):
        ended = await asyncio.gather(*(instance.call("f") for _ in range(calls)), return_exceptions=True)
    assert [type(error) for error in ended] == [raised] * calls


async def test_an_exit_with_0_may_be_that_of_a_call_that_has_returned() -> None:
    actor, exits = Actor(), asyncio.Event()

    async def serve(*_: Any) -> None:
        actor.calls.pop().result.set_result("returned")
        await exits.wait()
        raise GuestExit(0)

    instance = shared(actor, serve)
    with anyio.fail_after(5):
        assert await instance.call("f") == "returned"
        second = asyncio.ensure_future(instance.call("f"))
        await asyncio.sleep(0)
        exits.set()
        with pytest.raises(Trap, match="several calls"):
            await second


async def test_a_call_that_begins_when_the_last_one_has_just_ended_is_served() -> None:
    actor, served = Actor(), 0

    async def serve(*_: Any) -> None:
        nonlocal served
        await asyncio.sleep(0)
        served += 1
        while actor.calls:
            call = actor.calls.pop()
            call.result.set_result(call.args)

    instance = shared(actor, serve)
    with anyio.fail_after(5):
        for number in range(3):  # each begins in the turn of the loop in which the driver has ended
            assert await instance.call("f", number) == (number,)
    assert served == 3
    await instance.rest()
    assert not instance.lingers


async def test_a_call_that_is_given_up_leaves_to_others_what_they_have_got() -> None:
    """They may still read what their calls have returned: only who has lent the instance knows of them."""
    actor = Actor()

    async def serve(*_: Any) -> None:
        await asyncio.Event().wait()

    instance = SharedInstance.__new__(SharedInstance)
    instance.inner = SimpleNamespace(call=serve, poisoned=False)
    instance.above = SimpleNamespace(codecs={"f": object()})  # type: ignore[assignment]
    instance._driver, instance._actor = None, actor  # type: ignore[assignment]
    instance._left = instance._failed = False
    instance._origin = SharedOrigin("shop")
    given_up = asyncio.create_task(instance.call("f"))
    await asyncio.sleep(0)
    given_up.cancel()
    await asyncio.wait([given_up])
    assert instance.poisoned
    assert instance.lingers
    assert instance._driver is not None
    instance._driver.cancel()
