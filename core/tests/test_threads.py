"""A host belongs to one thread; others are refused, and have a way to call it all the same."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import guests
import pytest
from host_plugin_memory import MemoryProvider
from wasmplex import Host
from wasmplex.config import load
from wasmplex.errors import UsageError
from wasmplex.plugins import Registry

pytestmark = pytest.mark.anyio

CONFIG = """
[workload.kv]
component = "kv.wasm"
[workload.kv.import.cache]
backend = "memory"
[workload.kv.import.store]
backend = "memory"
"""


@asynccontextmanager
async def running(home: Path) -> AsyncIterator[Host]:
    (home / "kv.wasm").write_bytes(guests.component("kv"))
    (home / "host.toml").write_text(CONFIG)
    config = await anyio.to_thread.run_sync(load, home / "host.toml")
    async with Host(config, registry=Registry(), plugins=[MemoryProvider()]) as host:
        yield host


async def borrow(host: Host) -> None:
    async with host.workload("kv").instance():
        raise AssertionError("it was lent")


@pytest.mark.parametrize(
    "use",
    [
        lambda host: host.call("kv", "run", "key"),
        lambda host: host.workload("kv").call("run", "key"),
        borrow,
        lambda host: host.serve(),
        lambda host: host.drain(),
        lambda host: host.probe(),
        lambda host: host.__aexit__(None, None, None),
    ],
    ids=["call", "workload.call", "instance", "serve", "drain", "probe", "aexit"],
)
async def test_another_thread_is_refused(
    tmp_path: Path, use: Callable[[Host], Coroutine[Any, Any, Any]]
) -> None:
    def other() -> None:
        with pytest.raises(UsageError, match="thread that is not its own") as raised:
            asyncio.run(use(host))
        assert "anyio.from_thread.run(host.call" in raised.value.render()

    async with running(tmp_path) as host:
        await anyio.to_thread.run_sync(other)
        assert await host.call("kv", "run", "key") == "none"  # and it has done no harm


async def test_an_instance_that_is_passed_on_is_refused(tmp_path: Path) -> None:
    def other(instance: Any) -> None:
        with pytest.raises(
            UsageError, match="instance of workload 'kv' is used in a thread that is not its own"
        ):
            asyncio.run(instance.call("run", "key"))

    async with running(tmp_path) as host, host.workload("kv").instance() as instance:
        await anyio.to_thread.run_sync(other, instance)
        assert await instance.call("run", "key") == "none"


async def test_calls_may_be_handed_over(tmp_path: Path) -> None:
    async with running(tmp_path) as host:
        loop, found = asyncio.get_running_loop(), []

        def of_anyio() -> None:
            found.append(anyio.from_thread.run(host.call, "kv", "run", "key"))

        def of_asyncio() -> None:
            call = asyncio.run_coroutine_threadsafe(host.call("kv", "run", "key"), loop)
            found.append(call.result(timeout=30))

        async with anyio.create_task_group() as tasks:
            for _ in range(10):
                tasks.start_soon(anyio.to_thread.run_sync, of_anyio)
                tasks.start_soon(anyio.to_thread.run_sync, of_asyncio)
    assert found == ["none"] * 20


def test_each_thread_may_have_a_host_of_its_own(tmp_path: Path) -> None:
    problems: list[BaseException] = []

    async def calls(home: Path) -> None:
        async with running(home) as host:
            for _ in range(50):
                assert await host.call("kv", "run", "key") == "none"

    def thread(number: int) -> None:
        home = tmp_path / str(number)
        home.mkdir()
        try:
            anyio.run(calls, home)
        except BaseException as error:
            problems.append(error)

    thread(0)  # alone, for it imports what the others need
    threads = [threading.Thread(target=thread, args=[number]) for number in (1, 2, 3)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(timeout=50)
    assert not problems
