"""Blocking calls of a workload have a few threads of their own, and can be given up."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from host_plugin_wasi.allowance import Allowance
from host_plugin_wasi.filesystem.handles import Handle
from wasmplex import blocking as module
from wasmplex.plugin import Err, Grants, Limits, Threads

Bound = Callable[..., AbstractAsyncContextManager[Any]]

pytestmark = pytest.mark.anyio

NONE: frozenset[str] = frozenset()
READ = frozenset({"read"})


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110  threads tell nobody
            await asyncio.sleep(0.001)


async def test_results_and_errors_come_back() -> None:
    threads = Threads("t")
    assert await threads.run(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await threads.run(divmod, 7, 0)
    assert 1 <= threads.live <= 2
    threads.close()
    await until(lambda: threads.live == 0)
    with pytest.raises(RuntimeError, match="have ended"):
        await threads.run(divmod, 7, 2)


async def test_no_more_run_at_once_than_there_may_be_and_none_is_forgotten() -> None:
    threads, lock = Threads("t", most=3), threading.Lock()
    most = now = 0

    def work(number: int) -> int:
        nonlocal most, now
        with lock:
            now += 1
            most = max(most, now)
        threading.Event().wait(0.001)
        with lock:
            now -= 1
        return number

    assert await asyncio.gather(*(threads.run(work, i) for i in range(200))) == list(range(200))
    assert most == threads.live == 3
    threads.close()


async def test_a_hung_call_ends_at_its_deadline_and_keeps_one_thread_of_its_own_workload() -> None:
    hung, other, gone = Threads("hung", most=2), Threads("other"), threading.Event()
    loop = asyncio.get_running_loop()

    def hang(deadline: asyncio.Timeout) -> None:
        loop.call_soon_threadsafe(deadline.reschedule, loop.time())
        gone.wait()

    for _ in range(2):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(60) as deadline:
                await hung.run(hang, deadline)
    # All its threads hang: the next call waits for one, and is never made if it is given up.
    called: list[int] = []
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await hung.run(called.append, 1)
    assert await other.run(abs, -1) == 1
    gone.set()
    assert await hung.run(abs, -2) == 2
    assert called == []
    assert hung.live <= 2
    hung.close()
    other.close()


async def test_idle_threads_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_IDLE", 0.01)
    threads = Threads("t")
    await asyncio.gather(*(threads.run(abs, i) for i in range(20)))
    await until(lambda: threads.live == 0)
    assert await threads.run(abs, -1) == 1
    threads.close()


async def test_what_an_abandoned_call_opened_is_closed() -> None:
    allowance, entered, go = Allowance(8), threading.Event(), threading.Event()

    def slow() -> Any:
        entered.set()
        go.wait()
        return Handle(allowance, os.open, "/", os.O_RDONLY)

    task = asyncio.ensure_future(allowance.threads.run(slow))
    await until(entered.is_set)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go.set()
    await allowance.threads.run(abs, 1)
    gc.collect()
    await until(lambda: allowance.used == 0)
    allowance.threads.close()


async def test_stop_iteration_is_raised_as_another_error() -> None:
    threads = Threads("t")
    with pytest.raises(RuntimeError, match="StopIteration"):
        async with asyncio.timeout(20):
            await threads.run(next, iter(()))
    threads.close()


async def test_a_system_without_threads_is_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    threads, start = Threads("t", 1), threading.Thread.start

    def refused(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    for _ in range(3):
        with pytest.raises(RuntimeError, match="new thread"):
            await threads.run(abs, -1)
    monkeypatch.setattr(threading.Thread, "start", start)
    assert await threads.run(abs, -1) == 1
    threads.close()


def test_a_hung_thread_does_not_keep_the_process() -> None:
    program = (
        "import asyncio, threading\n"
        "from wasmplex.blocking import Threads\n"
        "async def main():\n"
        "    try:\n"
        "        await asyncio.wait_for(Threads('t').run(threading.Event().wait), 0.05)\n"
        "    except TimeoutError:\n"
        "        print('given up')\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60, check=True)
    assert done.stdout == b"given up\n"


# ---------------------------------------------------------------- what a workload may hold


async def test_descriptors_are_counted_for_all_instances_and_come_back(bound: Bound, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"")
    limits = Limits(descriptors=8)
    async with bound("wasi:filesystem", Grants(dirs={"/d": tmp_path}), limits=limits) as filesystem:
        ((root, _),) = await filesystem("preopens#get-directories")
        ((again, _),) = await filesystem("preopens#get-directories")  # of another instance
        held = [await root.open_at(NONE, "f", NONE, READ) for _ in range(7)]  # the directory is one, too
        for descriptor in (root, again):
            with pytest.raises(Err) as caught:
                await descriptor.open_at(NONE, "f", NONE, READ)
            assert caught.value.value == "insufficient-memory"
        for one in held[2:]:
            one.drop()
        listings = [await root.read_directory() for _ in range(2)]  # each takes two, as it does of the system
        with pytest.raises(Err):
            await again.read_directory()
        held[2:] = [await again.open_at(NONE, "f", NONE, READ)]
        for thing in (*listings, *held, root, again):
            thing.drop()


async def test_the_share_of_the_process_is_the_most_whatever_the_configuration_says() -> None:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert Allowance(10**9).limit <= max(16, soft // 4)
    assert Allowance(5).limit == 5


def test_the_garbage_collector_may_give_back_while_the_most_is_found_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    allowance = Allowance(1)
    allowance.take()

    def collecting(number: int) -> str:
        allowance.give()
        return f"error {number}"

    monkeypatch.setattr(os, "strerror", collecting)
    with pytest.raises(OSError, match="error"):
        allowance.take()
    assert allowance.used == 0


def test_a_name_server_that_does_not_answer_does_not_keep_the_process() -> None:
    program = (
        "import asyncio, socket, threading\n"
        "from host_plugin_wasi.sockets.lookup import Resolver\n"
        "begun = threading.Event()\n"
        "socket.getaddrinfo = lambda *args, **named: (begun.set(), threading.Event().wait())\n"
        "async def main():\n"
        "    resolver = Resolver()\n"
        "    resolver.resolve('nowhere.invalid')\n"
        "    while not begun.is_set():\n"
        "        await asyncio.sleep(0.001)\n"
        "    resolver.close()\n"
        "    print('closed')\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=20, check=True)
    assert done.stdout == b"closed\n"
