"""Real servers, killed, paused, full, or behind a bad network: what guests are told, and what is kept.

``make faults`` runs the long version, with the figures on its output; here each fault comes once.
"""

import gc
import os
import time
from asyncio import all_tasks
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import anyio
import pytest
from faults.subjects import SUBJECTS
from faults.traffic import Refused, Traffic
from wasmplex.errors import BackendError
from wasmplex.interfaces.keyvalue.policy import GuardedBucket
from wasmplex.testing.servers import TcpProxy

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(400)]

T = TypeVar("T")

FULL = os.environ.get("WASMPLEX_FAULTS") == "full"
CLIENTS, SECONDS, ROUNDS = (50, 20.0, 5) if FULL else (20, 2.0, 1)
PATIENCE = 1.0 if FULL else 20.0
"""What limits in time are multiplied with; the short version runs beside other tests."""


@pytest.fixture(params=SUBJECTS)
def subject(request: pytest.FixtureRequest) -> Any:
    return SUBJECTS[request.param]


@pytest.fixture
def server(subject: Any) -> Iterator[Any]:
    with subject.server() as server:
        yield server


async def case_of(operation: Any) -> str:
    try:
        await operation
    except Refused as error:
        return error.case
    return "ok"


async def in_time(operation: Callable[[], Awaitable[T]]) -> T:
    """Do it until it is done before its deadline, which may be shorter than a busy machine takes."""
    with anyio.fail_after(20):
        while True:
            with suppress(Refused):
                return await operation()
            await anyio.sleep(0.01)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    with anyio.fail_after(10):
        while not await condition():  # noqa: ASYNC110  it is a server's state
            await anyio.sleep(0.01)


async def works_again(bucket: GuardedBucket) -> None:
    async def works() -> bool:
        return await case_of(bucket.set("again", b"1")) == "ok"

    await until(works)


async def no_connections(proxy: TcpProxy) -> None:
    async def none() -> bool:
        return not proxy.connections

    await until(none)


def held() -> tuple[int, int]:
    """Count the tasks and the open files of this process."""
    gc.collect()
    return len(all_tasks()), len(list(Path("/proc/self/fd").iterdir()))


# ---------------------------------------------------------------- the server is killed


async def test_a_server_killed_in_mid_traffic(
    subject: Any, server: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await kill_once(subject, server, tmp_path)  # what is imported and started once stays
    before = held()
    async with subject.bucket(tmp_path, subject.settings(server)) as bucket:
        traffic = Traffic.of(bucket, CLIENTS)
        recoveries = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(traffic.run)
            for _ in range(ROUNDS):
                await anyio.sleep(SECONDS / 2)
                await anyio.to_thread.run_sync(server.kill)
                await anyio.sleep(min(1.0, SECONDS / 4))
                await anyio.to_thread.run_sync(server.start)
                with anyio.fail_after(30):
                    recoveries.append(await traffic.all_succeed_after(time.monotonic()))
                await anyio.sleep(SECONDS / 2)
            traffic.running = False
        await works_again(bucket)
        lost = await traffic.lost()
    report = (
        f"{subject.provider.name}: {sum(traffic.outcomes.values())} calls, {dict(traffic.outcomes)}, "
        f"slowest {traffic.slowest:.2f} s, all {CLIENTS} clients back after "
        f"{', '.join(f'{seconds:.2f}' for seconds in recoveries)} s, lost {len(lost)}"
    )
    if FULL:
        with capsys.disabled():
            print(f"\n{report}")
    assert lost == [], report
    assert set(traffic.outcomes) <= {"ok", "store-unavailable", "timeout"}, report
    assert traffic.outcomes["store-unavailable"], report
    assert max(recoveries) < 2.0 * PATIENCE, report
    assert traffic.slowest < 2.1 * PATIENCE, report
    assert held() <= before, report


async def kill_once(subject: Any, server: Any, base: Path) -> None:
    async with subject.bucket(base, subject.settings(server)) as bucket:
        await bucket.set("k", b"v")
        await anyio.to_thread.run_sync(server.kill)
        assert await case_of(bucket.get("k")) == "store-unavailable"
        await anyio.to_thread.run_sync(server.start)
        await works_again(bucket)
        assert await bucket.get("k") == b"v"


async def test_what_is_known_to_be_down_is_not_asked(subject: Any, server: Any, tmp_path: Path) -> None:
    async with TcpProxy("127.0.0.1", server.port) as proxy:  # noqa: SIM117  the second needs the first's port
        async with subject.bucket(tmp_path, subject.settings(server, proxy.port)) as bucket:
            await bucket.set("k", b"v")
            proxy.accepting = False
            proxy.reset()
            circuit = bucket.guard.circuit
            assert circuit is not None
            with anyio.fail_after(10):
                while not circuit.is_open:
                    assert await case_of(bucket.get("k")) == "store-unavailable"
                    await anyio.sleep(0.01)
            for _ in range(1000):
                assert await case_of(bucket.get("k")) == "store-unavailable"
            proxy.accepting = True
            await works_again(bucket)
            assert await bucket.get("k") == b"v"


async def test_a_server_that_comes_back_without_its_data(subject: Any, server: Any, tmp_path: Path) -> None:
    async with subject.bucket(tmp_path, subject.settings(server)) as bucket:
        await bucket.set("k", b"v")
        await anyio.to_thread.run_sync(lambda: server.restart(keep_data=False))
        await works_again(bucket)
        assert await bucket.get("k") is None
        assert await bucket.increment("n", 1) == 1


async def test_a_server_that_stops_in_good_order(subject: Any, server: Any, tmp_path: Path) -> None:
    async with subject.bucket(tmp_path, subject.settings(server)) as bucket:
        await bucket.set("k", b"v")
        await anyio.to_thread.run_sync(server.stop)
        assert await case_of(bucket.get("k")) == "store-unavailable"
        await anyio.to_thread.run_sync(server.start)
        await works_again(bucket)
        assert await bucket.get("k") == b"v"


async def test_a_server_that_is_not_there_at_first(subject: Any, server: Any, tmp_path: Path) -> None:
    server.kill()
    with pytest.raises(BackendError, match=r"cannot open the .* store"):
        async with subject.bucket(tmp_path, subject.settings(server)):
            pass


# ---------------------------------------------------------------- the server does not answer


async def test_a_paused_server(subject: Any, server: Any, tmp_path: Path) -> None:
    async with subject.bucket(tmp_path, subject.settings(server), deadline=0.5) as bucket:
        await bucket.set("k", b"v")
        server.pause()
        try:
            for operation in (bucket.get("k"), bucket.set("k", b"w"), bucket.get_many(["k"])):
                start = time.monotonic()
                assert await case_of(operation) == "timeout"
                assert time.monotonic() - start < 0.5 + 0.1 * PATIENCE
        finally:
            server.resume()
        await works_again(bucket)
        assert await bucket.get("k") in (b"v", b"w")


async def test_late_answers_are_not_taken_for_those_of_others(
    subject: Any, server: Any, tmp_path: Path
) -> None:
    async with TcpProxy("127.0.0.1", server.port) as proxy:
        settings = subject.settings(server, proxy.port)
        async with subject.bucket(tmp_path, settings, deadline=0.3) as bucket:
            keys = [f"key {number}" for number in range(40)]
            await in_time(lambda: bucket.set_many([(key, key.encode()) for key in keys]))
            wrong, cases = [], set()

            async def read(key: str) -> None:
                for _ in range(5):
                    try:
                        value = await bucket.get(key)
                    except Refused as error:
                        value = None
                        cases.add(error.case)
                    if value not in (None, key.encode()):
                        wrong.append((key, value))

            for delay in (0.4, 0.0, 0.25, 0.0):
                proxy.delay = delay
                async with anyio.create_task_group() as tasks:
                    for key in keys:
                        tasks.start_soon(read, key)
            assert wrong == []
            assert cases <= {"timeout", "store-unavailable"}
            for key in keys:
                assert await in_time(lambda: bucket.get(key)) == key.encode()  # noqa: B023


# ---------------------------------------------------------------- the network is bad


@pytest.mark.parametrize("fault", ["reset", "half_close"])
async def test_lost_connections(subject: Any, server: Any, tmp_path: Path, fault: str) -> None:
    async with TcpProxy("127.0.0.1", server.port) as proxy:
        async with subject.bucket(tmp_path, subject.settings(server, proxy.port)) as bucket:
            traffic = Traffic.of(bucket, 10)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(traffic.run)
                for _ in range(3):
                    await anyio.sleep(0.2)
                    getattr(proxy, fault)()
                    with anyio.fail_after(20):
                        await traffic.all_succeed_after(time.monotonic())
                traffic.running = False
            await works_again(bucket)  # answers that were on their way may have come after the fault
            assert await traffic.lost() == []
            assert set(traffic.outcomes) <= {"ok", "store-unavailable", "timeout"}
        await no_connections(proxy)


async def test_a_slow_network(subject: Any, server: Any, tmp_path: Path) -> None:
    async with TcpProxy("127.0.0.1", server.port) as proxy:  # noqa: SIM117
        async with subject.bucket(tmp_path, subject.settings(server, proxy.port), deadline=20) as bucket:
            proxy.rate = 2_000_000
            value = os.urandom(300_000)
            await bucket.set("k", value)
            assert await bucket.get("k") == value


async def test_calls_that_are_given_up_leave_no_connection(subject: Any, server: Any, tmp_path: Path) -> None:
    async with TcpProxy("127.0.0.1", server.port) as proxy:
        async with subject.bucket(tmp_path, subject.settings(server, proxy.port)) as bucket:
            await bucket.set("k", b"v")
            for round_ in range(20):
                async with anyio.create_task_group() as tasks:
                    for _ in range(30):
                        tasks.start_soon(bucket.get, "k")
                    for _ in range(round_ % 5):
                        await anyio.lowlevel.checkpoint()
                    tasks.cancel_scope.cancel()
            assert await bucket.get("k") == b"v"
            assert proxy.connections <= 64
        await no_connections(proxy)


# ---------------------------------------------------------------- the server refuses


async def test_a_wrong_password(subject: Any, server: Any, tmp_path: Path) -> None:
    settings = {"url": subject.settings(server)["url"].replace("correct", "wrong")}
    with pytest.raises(BackendError, match="refuses the credentials") as caught:
        async with subject.bucket(tmp_path, settings):
            pass
    assert "horse" not in str(caught.value)


async def test_a_password_that_is_changed(subject: Any, server: Any, tmp_path: Path) -> None:
    async with subject.bucket(tmp_path, subject.settings(server)) as bucket:
        await bucket.set("k", b"v")
        await subject.change_password(server)
        seen = []

        async def settled() -> bool:
            seen.append(await case_of(bucket.get("k")))
            return seen[-1] not in ("ok", "store-unavailable")

        await until(settled)
        assert seen[-1] == "access-denied"


async def test_a_full_store(subject: Any, tmp_path: Path) -> None:
    with subject.full() as server:
        async with subject.bucket(tmp_path, subject.settings(server)) as bucket:
            await bucket.set("small", b"1")
            cases = [await case_of(bucket.set(f"k{n}", b"x" * 500_000)) for n in range(12)]
            assert cases[0] == "ok"
            assert cases[-1] == "quota-exceeded"
            assert set(cases) == {"ok", "quota-exceeded"}
            assert await bucket.get("small") == b"1"
            assert await case_of(bucket.set_many([("m", b"x" * 500_000)] * 3)) == "quota-exceeded"
