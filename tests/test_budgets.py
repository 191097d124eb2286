"""What a call costs, counted in a whole host: no type question, no import, few polls, no busy waiting."""

import sys
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import aiohttp
import anyio
import guests
import host_plugin_wasi
import pytest
import wasmplex
import wasmtime
from blockbuster import BlockingError
from host_plugin_memory import MemoryProvider
from wasmplex import config
from wasmplex.engine import driver, instance
from wasmplex.engine.codec.source import FILE_NAME
from wasmplex.host import Host
from wasmplex.testing import Delayed, plugin

pytestmark = pytest.mark.anyio

WASMTIME = str(Path(wasmtime.__file__).parent)
IMPORTING = "<frozen importlib._bootstrap>"
SLACK = 20
"""Polls, besides those that are due: time slices that ended, on a machine that is busy with other things."""

CONFIG = """
[http]
listen = "127.0.0.1:0"

[workload.shop]
component = "{shop}"
trigger.http = {{ path = "/" }}
import.cache = {{ backend = "memory" }}
import.store = {{ backend = "sqlite", path = "store.db" }}

[workload.sync]
component = "{sync}"
default."wasi:keyvalue" = {{ backend = "delayed" }}

[workload.many]
component = "{many}"
default."wasmcloud:keyvalue" = {{ backend = "delayed" }}
"""


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    path = tmp_path / "host.toml"
    names = {"shop": guests.path("kvhttp"), "sync": guests.path("kvfull"), "many": guests.path("kvamany")}
    path.write_text(CONFIG.format(**names))
    delayed = plugin(Delayed(MemoryProvider(), 0.02))
    async with Host.from_config(path, plugins=[delayed]) as host:
        yield host


@contextmanager
def entered() -> Iterator[Counter[tuple[str, str]]]:
    """Count the Python functions that are entered, in all threads, by file and name; imports as well."""
    calls: Counter[tuple[str, str]] = Counter()

    def event(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            calls[frame.f_code.co_filename, frame.f_code.co_name] += 1
        elif event == "c_call" and getattr(argument, "__name__", "") == "__import__":
            calls[IMPORTING, "__import__"] += 1

    threading.setprofile(event)
    sys.setprofile(event)
    try:
        yield calls
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


async def assert_no_type_query_and_no_import(work: Callable[[], Awaitable[object]]) -> None:
    for _ in range(3):  # the first generate code for what they call, and import what it needs
        await work()
    with entered() as calls:
        await work()
    files = {file for file, _ in calls}
    assert not [file for file in files if file.startswith(WASMTIME)]
    assert IMPORTING not in files
    assert any(file.endswith("policy/guard.py") for file in files), "nothing was counted"


async def test_a_request_asks_nothing_about_types_and_imports_nothing(host: Host) -> None:
    stop, started = anyio.Event(), anyio.Event()
    async with anyio.create_task_group() as tasks:

        async def serve() -> None:
            await host.serve(stop, started=started.set)

        tasks.start_soon(serve)
        await started.wait()
        async with aiohttp.ClientSession(host.addresses["http"]["url"]) as session:

            async def request() -> None:
                async with session.get("/key?n=9") as response:
                    assert await response.read() == b"calls=9 hit:none\n"

            async with session.get("/key?n=9") as response:
                assert response.status == 200
            await assert_no_type_query_and_no_import(request)
        stop.set()


async def test_the_smallest_request_enters_few_functions(tmp_path: Path) -> None:
    """Each function that is entered costs a tenth of a microsecond, of which a request takes some eighty."""
    path = tmp_path / "host.toml"
    workload = f'[workload.w]\ncomponent = "{guests.path("hello")}"\ntrigger.http = {{ path = "/" }}\n'
    path.write_text(f'[http]\nlisten = "127.0.0.1:0"\n{workload}')
    stop, started, count = anyio.Event(), anyio.Event(), 20
    async with Host.from_config(path) as host, anyio.create_task_group() as tasks:

        async def serve() -> None:
            await host.serve(stop, started=started.set)

        tasks.start_soon(serve)
        await started.wait()
        async with aiohttp.ClientSession(host.addresses["http"]["url"]) as session:

            async def requests() -> None:
                for _ in range(count):
                    async with session.get("/") as response:
                        assert await response.read() == b"hello, world\n"

            for _ in range(3):
                await requests()
            with entered() as calls:
                await requests()
        stop.set()
    ours = (
        *(str(Path(package.__file__ or "").parent) for package in (wasmplex, host_plugin_wasi)),
        FILE_NAME,
    )
    own = Counter({name: number for (file, name), number in calls.items() if file.startswith(ours)})
    del own["check_headroom"]
    assert own.total() / count < 130, own.most_common()


async def test_a_call_through_the_bridge_asks_nothing_about_types_and_imports_nothing(host: Host) -> None:
    async def call() -> None:
        assert await host.call("many", "gets", 10) == 10

    await assert_no_type_query_and_no_import(call)


async def test_who_blocks_the_loop_is_found_out(tmp_path: Path) -> None:
    (tmp_path / "host.toml").write_text("")
    with pytest.raises(BlockingError):
        config.load(tmp_path)  # reads a file; conftest.py watches all tests for such


# ---------------------------------------------------------------- polls


@pytest.fixture
def polls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count how often the driver polls wasmtime."""
    counted: Counter[str] = Counter()

    async def drive(state: Any, future: int, poll: Callable[[int], bool]) -> None:
        def counting(future: int) -> bool:
            counted["polls"] += 1
            return poll(future)

        await driver.drive(state, future, counting)

    monkeypatch.setattr(instance, "drive", drive)
    return counted


async def test_a_call_that_waits_is_polled_once_for_each_wait(host: Host, polls: Counter[str]) -> None:
    assert await host.call("sync", "run", "b set k v") == "ok"
    polls.clear()
    for _ in range(10):
        assert await host.call("sync", "run", "b get k") == "some v"
    # At the start and after the get; a driver that polled while it waits would do so thousands of times.
    assert 20 <= polls["polls"] <= 20 + SLACK


async def test_calls_at_the_same_time_are_polled_a_few_times_for_each(
    host: Host, polls: Counter[str]
) -> None:
    count = 100
    assert await host.call("many", "gets", count) == count
    polls.clear()
    assert await host.call("many", "gets", count) == count
    assert polls["polls"] <= 2 * count + SLACK, "one for each set and each get, if no two end together"
