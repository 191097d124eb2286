"""Async calls of a guest beyond what may be in flight, in number or bytes, end the guest."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from host_plugin_memory import MemoryProvider
from wasmplex.bridge.scheduler import Scheduler
from wasmplex.errors import LimitReached
from wasmplex.host import Host
from wasmplex.testing import Delayed, plugin

pytestmark = pytest.mark.anyio

GUESTS = Path(__file__).parents[4] / "tests" / "guests" / "built"


class Counted(Delayed):
    """Counts the operations under way."""

    def __init__(self, delay: float = 0.001) -> None:
        super().__init__(MemoryProvider(), delay, name="counted")
        self.now = self.most = self.begun = 0

    async def before(self, operation: str, args: tuple[Any, ...]) -> None:
        if operation in {"get", "set"}:
            self.begun += 1
            self.now += 1
            self.most = max(self.most, self.now)
            try:
                await super().before(operation, args)
            finally:
                self.now -= 1


@pytest.fixture(params=["strings", "memory"])
def config(tmp_path: Path, request: pytest.FixtureRequest) -> Any:
    def write(limits: str, guest: str = "kvamany") -> Path:
        file = tmp_path / "host.toml"
        file.write_text(
            f'engine.transport = "{request.param}"\n[workload.w]\ncomponent = "{GUESTS}/{guest}.wasm"\n'
            f"limits = {{ {limits} }}\n"
            '[workload.w.default."wasmcloud:keyvalue"]\nbackend = "counted"\n'
        )
        return file

    return write


async def test_as_many_calls_as_there_may_be(config: Any) -> None:
    counted = Counted()
    async with Host.from_config(config("calls_in_flight = 20"), plugins=[plugin(counted)]) as host:
        for _ in range(3):
            assert await host.call("w", "gets", 20) == 20
        with pytest.raises(
            LimitReached, match=r"while 20 were under way(.|\n)*calls_in_flight of \[workload\.w\]"
        ):
            await host.call("w", "gets", 21)
        with anyio.fail_after(10):
            while counted.now:  # noqa: ASYNC110  what is waited for is no event
                await anyio.sleep(0.001)
        assert await host.call("w", "gets", 20) == 20


async def test_calls_that_have_returned_and_were_cancelled_make_room(config: Any) -> None:
    counted = Counted(60)
    host = Host.from_config(config("calls_in_flight = 20"), plugins=[plugin(counted)])
    async with host, host.workload("w").instance() as instance:
        for _ in range(5):
            assert await instance.call("cancelled", 20) == 20
            flight = instance.state[Scheduler].flight
            with anyio.fail_after(10):  # what a coroutine's end brings about happens in the loop's next turn
                while flight.calls:  # noqa: ASYNC110  what is waited for is no event
                    await anyio.sleep(0.001)
        counted.delay = 0
        for _ in range(5):
            assert await instance.call("gets", 20) == 20


async def test_each_call_counts_as_bytes(config: Any) -> None:
    async with Host.from_config(config('bytes_in_flight = "200KiB"'), plugins=[plugin(Counted())]) as host:
        assert await host.call("w", "gets", 20) == 20
        with pytest.raises(LimitReached, match=r"bytes_in_flight of \[workload\.w\]"):
            await host.call("w", "gets", 40)


async def test_one_call_that_is_too_large_ends_the_guest(config: Any) -> None:
    counted = Counted()
    file = config('bytes_in_flight = "64KiB"', "kvaforward")
    async with Host.from_config(file, plugins=[plugin(counted)]) as host:
        await host.call("w", "tests:guests/forward#set", "b", "k", bytes(50_000), None)
        with pytest.raises(LimitReached, match=r"began a call with 70(.|\n)*raise limits\.bytes_in_flight"):
            await host.call("w", "tests:guests/forward#set", "b", "k", bytes(70_000), None)
        assert await host.call("w", "tests:guests/forward#get", "b", "k") == bytes(50_000)


async def test_a_result_that_is_too_large_ends_the_guest(config: Any) -> None:
    counted = Counted()
    file = config('bytes_in_flight = "64KiB"', "kvaforward")
    text = file.read_text()
    roomy = (
        text[text.index("[workload.w]") :].replace("workload.w", "workload.roomy").replace("64KiB", "1MiB")
    )
    shared = 'namespace = "shared"\n'
    file.write_text(text + shared + roomy + shared)
    async with Host.from_config(file, plugins=[plugin(counted)]) as host:
        await host.call("roomy", "tests:guests/forward#set", "b", "k", bytes(200_000), None)
        assert await host.call("roomy", "tests:guests/forward#get", "b", "k") == bytes(200_000)
        with pytest.raises(LimitReached, match=r"has not taken(.|\n)*bytes_in_flight of \[workload\.w\]"):
            await host.call("w", "tests:guests/forward#get", "b", "k")


async def test_calls_that_were_cancelled_leave_nothing_to_the_garbage_collector(config: Any) -> None:
    counted = Counted(60)
    host = Host.from_config(config("calls_in_flight = 200"), plugins=[plugin(counted)])
    async with host:

        async def exceed() -> None:
            with pytest.raises(LimitReached):
                await host.call("w", "gets", 300)
            with anyio.fail_after(10):
                while counted.now:  # noqa: ASYNC110  what is waited for is no event
                    await anyio.sleep(0.001)
            for _ in range(5):
                await anyio.lowlevel.checkpoint()

        def tasks() -> int:
            return sum(isinstance(one, asyncio.Task) for one in gc.get_objects())

        gc.collect()
        gc.disable()
        try:
            before = tasks()  # other tests may have left some
            await exceed()
            left = tasks() - before
        finally:
            gc.enable()
    assert left < 50, "200 tasks are left that keep themselves, and all that their calls had"
