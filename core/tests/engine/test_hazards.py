"""What must not happen: a blocked loop, a hung call, an instance used after it broke, a process that ends."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import weakref
from collections.abc import Iterator
from typing import Any

import anyio
import pytest
from wasmplex.component import read
from wasmplex.engine import Engine, EngineSettings
from wasmplex.engine.store import STATES
from wasmplex.engine.ticker import CALM_TICK_SECONDS, Ticker
from wasmplex.errors import Trap
from wasmplex.plugins.contracts import HostFunction
from wasmtime import wat2wasm

from .test_calls import Bucket, kv

pytestmark = pytest.mark.anyio

FOREVER = 2**63


async def test_looping_guest_lets_others_run_and_ends_at_its_deadline(new_instance: Any) -> None:
    looping, other = await new_instance("kv", kv()), await new_instance("kv", kv())
    answers = 0
    deadline = anyio.CancelScope()

    async def loop() -> None:
        deadline.deadline = anyio.current_time() + 0.3
        with deadline:
            await looping.call("spin", FOREVER)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(loop)
        while not deadline.cancelled_caught:
            assert await other.call("run-add", 3) == 6
            answers += 1
            await anyio.sleep(0.001)
    assert answers > 10
    assert looping.poisoned
    assert not other.poisoned


async def test_looping_guest_is_not_slowed_by_idle_ticker(new_instance: Any) -> None:
    """The ticker must go on while one call runs for long, or the loop would starve after a while."""
    guest = await new_instance("kv", kv())
    ticker = guest._linked.compiled.services.ticker
    with anyio.move_on_after(1.5):
        await guest.call("spin", FOREVER)
    before = ticker.ticks
    await anyio.sleep(0.05)
    assert ticker.ticks > before


async def test_cancel_reaches_the_host_function(new_instance: Any) -> None:
    seen = []

    async def noop() -> None:
        try:
            await anyio.sleep(60)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise
        finally:
            seen.append("finally")

    guest = await new_instance("kv", kv(noop=noop))
    with anyio.move_on_after(0.02) as scope:
        await guest.call("run-noop", 1)
    assert scope.cancelled_caught
    assert seen == ["cancelled", "finally"]
    assert guest.poisoned
    with pytest.raises(Trap, match="gone"):
        await guest.call("run-add", 1)


async def test_deadline_within_a_host_function_leaves_the_guest_usable(new_instance: Any) -> None:
    async def add(a: int, b: int) -> int:
        with anyio.move_on_after(0.01):
            await anyio.sleep(60)
        return a + b

    guest = await new_instance("kv", kv(add=add))
    assert await guest.call("run-add", 3) == 6
    assert not guest.poisoned


async def test_host_function_runs_in_the_task_of_the_call(new_instance: Any) -> None:
    request = contextvars.ContextVar[str]("request")
    seen = []

    async def noop() -> None:
        before = asyncio.current_task()
        await asyncio.sleep(0)
        seen.append((request.get(), before is asyncio.current_task()))

    guest = await new_instance("kv", kv(noop=noop))
    request.set("r1")
    await guest.call("run-noop", 1)
    assert seen == [("r1", True)]


async def test_host_function_may_use_tasks_timeouts_and_threads(new_instance: Any) -> None:
    async def add(a: int, b: int) -> int:
        async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
            slow = tasks.create_task(asyncio.sleep(0.001, a))
            fast = tasks.create_task(anyio.to_thread.run_sync(lambda: b))
        return slow.result() + fast.result()

    guest = await new_instance("kv", kv(add=add))
    assert await guest.call("run-add", 3) == 6


async def test_calls_of_one_instance_take_turns(new_instance: Any) -> None:
    running, most = 0, 0

    async def noop() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.002)
        running -= 1

    guest = await new_instance("kv", kv(noop=noop))
    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(guest.call, "run-noop", 2)
    assert most == 1


def test_another_event_loop(guest_text: Any) -> None:
    uvloop = pytest.importorskip("uvloop")

    async def noop() -> None:
        await asyncio.sleep(0.001)
        with anyio.move_on_after(0.001):
            await asyncio.get_running_loop().create_future()

    async def run() -> None:
        wasm = bytes(wat2wasm(guest_text("kv")))
        async with Engine(EngineSettings(use_cache=False)) as engine:
            linked = engine.link(await engine.compile(wasm, read(wasm)), kv(noop=noop), "shop")
            instance = await linked.instantiate()
            with anyio.move_on_after(0.05) as spun:
                await (spinning := await linked.instantiate()).call("spin", FOREVER)
            assert spun.cancelled_caught
            spinning.close()
            await instance.call("run-noop", 2)
            instance.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())


async def test_instances_run_concurrently(link_wat: Any) -> None:
    gate = asyncio.Event()
    waiting = 0

    async def noop() -> None:
        nonlocal waiting
        waiting += 1
        if waiting == 20:
            gate.set()
        await gate.wait()  # nobody gets through before all are here

    linked = await link_wat("kv", kv(noop=noop))
    instances = [await linked.instantiate() for _ in range(20)]
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            for instance in instances:
                tasks.start_soon(instance.call, "run-noop", 1)
    for instance in instances:
        instance.close()


async def test_waiting_call_ends_when_the_running_one_traps(new_instance: Any) -> None:
    async def noop() -> None:
        await asyncio.sleep(0.01)

    guest = await new_instance("kv", kv(noop=noop))
    results = await asyncio.gather(guest.call("trap"), guest.call("run-noop", 1), return_exceptions=True)
    assert "unreachable" in str(results[0])
    assert "gone" in str(results[1])


@pytest.mark.parametrize("waits_before", [False, True])
async def test_host_function_that_calls_its_own_instance_is_told(
    new_instance: Any, waits_before: bool
) -> None:
    async def noop(instance: Any) -> None:
        if waits_before:
            await asyncio.sleep(0.001)
        await instance.call("run-add", 1)

    guest = await new_instance("kv", kv(noop=HostFunction(noop, context=True)))
    with pytest.raises(Trap) as caught:
        await guest.call("run-noop", 1)
    assert "the instance that waits for it" in str(caught.value.__cause__)


async def test_another_task_waits_for_its_turn_and_may_give_up_waiting(new_instance: Any) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def noop() -> None:
        begun.set()
        await go_on.wait()

    guest = await new_instance("kv", kv(noop=noop))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(guest.call, "run-noop", 1)
        await begun.wait()
        second = asyncio.create_task(guest.call("run-add", 1))
        third = asyncio.create_task(guest.call("run-add", 1))
        await anyio.wait_all_tasks_blocked()
        second.cancel()
        go_on.set()
        assert await third == 1
        with pytest.raises(asyncio.CancelledError):
            await second
    assert await guest.call("run-add", 1) == 1


async def test_close_during_a_call_waits_for_its_end(new_instance: Any) -> None:
    bucket = Bucket()

    async def noop(instance: Any) -> None:
        instance.close()
        instance.close()
        assert bucket.drops == 0
        await asyncio.sleep(0)

    guest = await new_instance("kv", kv(bucket, noop=HostFunction(noop, context=True)))
    await guest.call("init")
    await guest.call("run-noop", 1)
    assert bucket.drops == 1
    assert guest.poisoned


async def test_close_drops_what_the_guest_holds_once(new_instance: Any) -> None:
    bucket = Bucket()
    guest = await new_instance("kv", kv(bucket))
    await guest.call("init")
    await guest.call("init")  # a second handle of the same object
    guest.close()
    guest.close()
    assert bucket.drops == 1


async def test_failing_drop_does_not_stop_the_others(new_instance: Any, caplog: Any) -> None:
    good = Bucket()

    class Bad:
        def drop(self) -> None:
            raise OSError("disk")

    buckets: Iterator[Any] = iter([Bad(), good, Bad()])
    guest = await new_instance("kv", kv(open=lambda identifier: next(buckets)))
    for _ in range(3):
        await guest.call("init")
    guest.close()
    assert good.drops == 1
    assert len(caplog.records) == 2


async def test_drop_that_is_async_is_refused(new_instance: Any) -> None:
    class Slow:
        async def drop(self) -> None: ...

    guest = await new_instance("kv", kv(open=lambda identifier: Slow()))
    await guest.call("init")
    with pytest.raises(Trap) as caught:
        await guest.call("fini")
    assert "Slow.drop() must not be async" in str(caught.value.__cause__)


async def test_coroutine_from_a_plain_function_is_explained(new_instance: Any) -> None:
    async def add(a: int, b: int) -> int:
        return a + b

    guest = await new_instance("kv", kv(add=lambda a, b: add(a, b)))
    with pytest.raises(Trap, match="async def"):
        await guest.call("run-add", 1)


async def test_forgotten_instance_is_closed_by_the_garbage_collector(link_wat: Any) -> None:
    bucket = Bucket()
    linked = await link_wat("kv", kv(bucket))
    before = len(STATES)
    guest = await linked.instantiate()
    await guest.call("init")
    assert len(STATES) == before + 1
    gone = weakref.ref(guest)
    del guest
    gc.collect()
    assert gone() is None
    assert len(STATES) == before
    assert bucket.drops == 1


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, asyncio.CancelledError])
async def test_what_is_no_exception_passes_through(new_instance: Any, error: Any, is_async: bool) -> None:
    def now() -> None:
        raise error

    async def later() -> None:
        raise error

    guest = await new_instance("kv", kv(noop=later if is_async else now))
    with pytest.raises(error):
        await guest.call("run-noop", 1)
    assert guest.poisoned


async def test_memory_limit(link_wat: Any) -> None:
    from wasmplex.errors import LimitExceeded

    with pytest.raises(LimitExceeded, match=r"limits\.memory"):
        await (await link_wat("kv", kv(), memory=65536)).instantiate()
    guest = await (await link_wat("kv", kv(), memory=2**20)).instantiate()
    assert await guest.call("echo-bytes", b"x" * 1000) == b"x" * 1000
    with pytest.raises(Trap):
        await guest.call("echo-bytes", b"x" * 2**20)
    guest.close()


async def test_ticks_are_far_apart_until_a_guest_runs_from_one_to_another(new_instance: Any) -> None:
    """Each tick holds up the event loop, so there are few of them as long as nobody needs more."""
    guest, other = await new_instance("kv", kv()), await new_instance("kv", kv())
    ticker = guest._linked.compiled.services.ticker
    assert max([await _seconds_per_tick(ticker, other) for _ in range(5)]) > CALM_TICK_SECONDS * 0.9
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(guest.call, "spin", FOREVER)
        with anyio.fail_after(20):
            while await _seconds_per_tick(ticker, other) > CALM_TICK_SECONDS * 0.8:
                pass
        tasks.cancel_scope.cancel()


async def _seconds_per_tick(ticker: Ticker, other: Any) -> float:
    begun, before = anyio.current_time(), ticker.ticks
    while ticker.ticks < before + 10:
        assert await other.call("run-add", 3) == 6
        await anyio.sleep(0.001)
    return (anyio.current_time() - begun) / 10
