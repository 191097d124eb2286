"""Nothing serialises the host: neither backends that are slow nor guests that never end."""

import statistics
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import perf_counter

import aiohttp
import anyio
import guests
import pytest
from serving import serving

pytestmark = [pytest.mark.anyio, pytest.mark.alone, pytest.mark.timeout(180)]

ATTEMPTS = 3
"""Other processes slow a machine down and never speed it up: one good attempt proves what is to be proven."""

SLOW = """\
from host_plugin_memory import MemoryProvider
from wasmplex.plugin import hookimpl
from wasmplex.testing import Delayed


@hookimpl
def wasmplex_backends():
    return [Delayed(MemoryProvider(), 0.02)]
"""


async def best(attempt: Callable[[], Awaitable[float]], enough: float) -> float:
    """Return the least of a few measurements, or the first that is below `enough`."""
    least = await attempt()
    for _ in range(ATTEMPTS - 1):
        if least < enough:
            break
        least = min(least, await attempt())
    return least


async def get(session: aiohttp.ClientSession, path: str) -> tuple[int, bytes, float]:
    """Return status, body and the seconds that it took."""
    start = perf_counter()
    async with session.get(path) as response:
        return response.status, await response.read(), perf_counter() - start


async def test_two_hundred_requests_wait_for_slow_backends_at_the_same_time(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(SLOW)
    (tmp_path / "host.toml").write_text(
        f"""
        plugins = ["./slow.py"]
        [http]
        listen = "127.0.0.1:0"
        [workload.kv]
        component = "{guests.path("kvhttp")}"
        trigger.http = {{ path = "/" }}
        import.cache = {{ backend = "delayed" }}
        import.store = {{ backend = "delayed" }}
        """
    )
    path = "/key?n=7"  # two open the buckets, which the double does not delay; five are delayed
    connector = aiohttp.TCPConnector(limit=0)
    with serving(tmp_path / "host.toml") as url:
        async with aiohttp.ClientSession(url, connector=connector) as session:

            async def together() -> float:
                """Return how many times as long as one request 200 take."""
                ones = [await get(session, path) for _ in range(5)]
                one = statistics.median(seconds for _, _, seconds in ones)
                assert one >= 5 * 0.02
                answers: list[tuple[int, bytes]] = []

                async def request() -> None:
                    answers.append((await get(session, path))[:2])

                start = perf_counter()
                async with anyio.create_task_group() as tasks:
                    for _ in range(200):
                        tasks.start_soon(request)
                spent = perf_counter() - start
                assert len(answers) == 200
                assert {status for status, _ in answers} == {200}
                assert all(body.startswith(b"calls=7 ") for _, body in answers)
                return spent / one

            r = await best(together, 10)
            print("RATIO", r)
            assert r < 10


async def test_a_guest_that_loops_ends_by_its_deadline_and_holds_nobody_up(tmp_path: Path) -> None:
    (tmp_path / "host.toml").write_text(
        f"""
        [http]
        listen = "127.0.0.1:0"
        [workload.lab]
        component = "{guests.path("lab")}"
        trigger.http = {{ path = "/" }}
        limits = {{ timeout = "2s" }}
        """
    )
    with serving(tmp_path / "host.toml") as url:
        async with aiohttp.ClientSession(url) as session:

            async def slowest_of_the_others() -> float:
                """Return the 99th percentile of what others wait for while a guest loops."""
                waits: list[float] = []
                looped = anyio.Event()

                async def loop() -> None:
                    while len(waits) < 200:
                        status, _, seconds = await get(session, "/loop")
                        assert status == 504
                        assert seconds >= 2
                    looped.set()

                async def others() -> None:
                    while not looped.is_set():
                        status, body, seconds = await get(session, "/hello")
                        assert (status, body) == (200, b"hello, world\n")
                        waits.append(seconds)

                await get(session, "/hello")
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(loop)
                    for _ in range(4):
                        tasks.start_soon(others)
                return statistics.quantiles(waits, n=100)[98]

            assert await best(slowest_of_the_others, 0.1) < 0.5  # a quarter of what it loops for
