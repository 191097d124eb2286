"""Guests that misbehave: their calls end with an error where they must, and nothing of them is left."""

from __future__ import annotations

import gc
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from wasmplex.errors import DeadlineExceeded, Trap
from wasmplex.host import Host
from wasmplex.testing.loops import everything

from .misbehaving import Mischief, held, misbehaving

pytestmark = pytest.mark.anyio

LIMIT = "100s"
"""Longer than any test: where a call is to end by itself, nobody ends it."""
N = 5
CANCELLED_BEFORE_RETURNED = 4

TRAPS = {
    "drop-lent": "cannot remove owned resource while borrowed",
    "drop-twice": "unknown handle index",
    "use-dropped": "unknown handle index",
    "drop-running": "cannot drop a subtask which has not yet resolved",
    "read-dropped-stream": "unknown handle index",
    "read-ended-stream": "cannot read from stream after being notified that the writable end dropped",
    "read-dropped-future": "unknown handle index",
    "read-twice": "cannot have concurrent operations active on a future/stream",
    "drop-reading": "cannot remove busy stream",
    "drop-unwritten-future": "cannot drop future write end without first writing a value",
    "trap-in-flight": "unreachable",
    "cancel-twice": "`subtask.cancel` called after terminal status delivered",
    "no-return": "async-lifted export failed to produce a result",
    "return-twice": "`task.return` or `task.cancel` called more than once",
    "wait-for-nothing": "deadlock detected",
    "no-code": "unsupported callback code",
}
"""What the guest may not do at all, and what wasmtime says to it."""

LITTER = {"leak": N, "return-early": N, "unread": 0, "half-read": 16}
"""What leaves something under way, and the result."""

TIDY = {
    "fine": N, "read-all": N, "half-written": 100, "nibbled": 7, "cancel": N, "cancel-reader": 7,
    "cancel-writing": 7, "cancel-expecting": 7,
}  # fmt: skip
"""What is unusual and right."""


class Bench:
    """A host with the guest, and how much there was before its first call."""

    def __init__(self, host: Host, mischief: Mischief, suffix: str) -> None:
        self.host = host
        self.mischief = mischief
        self.suffix = suffix
        self.states: list[dict[Any, Any]] = []
        gc.collect()  # what earlier tests have left is not to go in the middle of this one
        self.before = held([])

    async def call(self, name: str) -> Any:
        """Call an export in an instance of the pool."""
        async with self.host.workload("w").instance() as instance:
            self.states = [instance.state]
            more = (b"bytes",) if self.suffix and not name.startswith("tell") else ()
            return await instance.call(name + (self.suffix if more else ""), N, *more)

    async def nothing_is_left(self, *, stores: int = 0) -> None:
        """Wait until nothing of the last call is there, besides so many idle instances."""
        expected = self.before | ({"stores": stores} if stores else {})

        def state() -> tuple[dict[str, int], dict[str, int]]:
            return self.mischief.left(), held(self.states)

        await settled(lambda: state() == ({}, expected), state)

    async def the_next_call_works(self, *, instances: int) -> None:
        """The next calls are served, by an instance that is the last of so many that were made."""
        self.mischief.gate.set()
        for _ in range(3):
            assert await self.call("fine") == N
        assert self.host.workload("w").statistics().created == instances
        await self.nothing_is_left(stores=1)


async def settled(done: Callable[[], bool], state: Callable[[], object]) -> None:
    """Let the loop turn until something is so; what was cancelled needs a turn or two to end."""
    for _ in range(100):
        if done():
            return
        await anyio.sleep(0.001)
    raise AssertionError(f"still there: {state()}")


@pytest.fixture(scope="module")
def component(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("misbehaving") / "misbehaving.wasm"
    path.write_bytes(misbehaving())
    return path


@asynccontextmanager
async def serving(
    component: Path, folder: Path, transport: str, suffix: str = "", limit: str = LIMIT
) -> AsyncIterator[Bench]:
    (folder / "host.toml").write_text(
        f'[engine]\ntransport = "{transport}"\n'
        f'[workload.w]\ncomponent = "{component}"\nlimits = {{ timeout = "{limit}" }}\n'
    )
    mischief = Mischief()
    async with Host.from_config(folder / "host.toml", plugins=[mischief]) as host:
        yield Bench(host, mischief, suffix)
    await settled(lambda: not mischief.left(), mischief.left)


@pytest.fixture(params=["strings", "memory"])
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


WAYS = {
    "direct-memory": ("memory", ""),
    "above-strings": ("strings", "-bytes"),
    **({"direct-strings": ("strings", ""), "above-memory": ("memory", "-bytes")} if everything() else {}),
}
"""Exports are called directly, or through the adapter above the guest; each by one transport, or by both."""


@pytest.fixture(params=WAYS.values(), ids=list(WAYS))
async def bench(component: Path, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    async with serving(component, tmp_path, *request.param) as bench:
        yield bench


@pytest.mark.parametrize("name", TRAPS)
async def test_what_is_forbidden_ends_the_call_and_the_instance(bench: Bench, name: str) -> None:
    with pytest.raises(Trap) as trapped:
        await bench.call(name)
    text = trapped.value.render()
    assert "workload 'w'" in text
    assert f"at: {name}{bench.suffix}\n" in text
    assert TRAPS[name] in text
    await bench.nothing_is_left()
    await bench.the_next_call_works(instances=2)


@pytest.mark.parametrize("name", LITTER)
async def test_what_a_guest_leaves_under_way_ends_with_its_instance(bench: Bench, name: str) -> None:
    # The adapter above gives the one below a turn to see that the guest has dropped its end.
    seen = bool(bench.suffix) and name == "half-read"
    with anyio.fail_after(20):  # nobody waits for what the guest does not wait for
        assert await bench.call(name) == LITTER[name]
    await bench.nothing_is_left(stores=1 if seen else 0)
    await bench.the_next_call_works(instances=1 if seen else 2)


@pytest.mark.parametrize("name", TIDY)
async def test_what_is_right_leaves_nothing(bench: Bench, name: str) -> None:
    if name == "fine":
        bench.mischief.gate.set()
    with anyio.fail_after(20):
        assert await bench.call(name) == TIDY[name]
    # What a cancelled call was reading may have to end with the instance: nothing runs in it any more.
    ended = bench.host.workload("w").statistics().live == 0
    assert not ended or name in ("cancel-reader", "cancel-writing", "cancel-expecting")
    await bench.nothing_is_left(stores=0 if ended else 1)
    await bench.the_next_call_works(instances=2 if ended else 1)


@pytest.mark.parametrize("name", ["loop-in-flight", "wait-in-flight"])
@pytest.mark.parametrize("suffix", ["", "-bytes"], ids=["direct", "above"])
async def test_a_deadline_ends_what_is_in_flight(
    component: Path, tmp_path: Path, transport: str, suffix: str, name: str
) -> None:
    async with serving(component, tmp_path, transport, suffix, "1s") as bench:
        with pytest.raises(DeadlineExceeded, match="workload 'w'"):
            await bench.call(name)
        assert bench.mischief.ever["slow"] == N
        await bench.nothing_is_left()
        await bench.the_next_call_works(instances=2)


async def test_a_caller_that_gives_up_leaves_nothing(bench: Bench) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.call, "wait-in-flight")
        await settled(lambda: bench.mischief.open["expecting"] == 1, bench.mischief.left)
        assert bench.mischief.open["things"] == N
        tasks.cancel_scope.cancel()
    await bench.nothing_is_left()
    await bench.the_next_call_works(instances=2)


# ---------------------------------------------------------------- what a host function does


@pytest.mark.parametrize("what", ["unaware", "handed"])
async def test_what_is_on_its_way_is_dropped_if_the_guest_traps(bench: Bench, what: str) -> None:
    """Unaware: the host function has returned a resource. Handed: it has been given one."""
    with pytest.raises(Trap, match="unreachable"):
        await bench.call(f"trap-{what}")
    assert bench.mischief.ever["things"] == 1
    await bench.nothing_is_left()
    await bench.the_next_call_works(instances=2)


@pytest.mark.parametrize("what", ["unaware", "handed"])
async def test_what_is_on_its_way_is_dropped_if_the_guest_cancels(bench: Bench, what: str) -> None:
    assert await bench.call(f"cancel-{what}") == CANCELLED_BEFORE_RETURNED
    assert bench.mischief.ever["things"] == 1
    await bench.nothing_is_left(stores=1)
    await bench.the_next_call_works(instances=1)


# ---------------------------------------------------------------- streams as results


async def test_a_stream_whose_writer_traps_fails_its_reader(
    component: Path, tmp_path: Path, transport: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(component, tmp_path, transport) as bench:
        async with bench.host.workload("w").instance() as instance:
            bench.states = [instance.state]
            stream = await instance.call("tell-and-trap", N)
            with pytest.raises(Trap, match="workload 'w'") as trapped:
                [chunk async for chunk in stream]
        assert "at: tell-and-trap\n" in trapped.value.render()
        await bench.nothing_is_left()
        await bench.the_next_call_works(instances=2)
    assert "a call of w failed after it had returned" in caplog.text


@pytest.mark.parametrize("close", [True, False])
async def test_a_stream_that_is_never_written_to_ends_with_the_instance(
    component: Path, tmp_path: Path, transport: str, close: bool
) -> None:
    async with serving(component, tmp_path, transport) as bench:
        async with bench.host.workload("w").instance() as instance:
            bench.states = [instance.state]
            stream = await instance.call("tell-and-sleep", N)
            with anyio.move_on_after(0.01) as waited:
                await stream.read()
            assert waited.cancelled_caught
            if close:
                stream.close()
        await bench.nothing_is_left()
        await bench.the_next_call_works(instances=2)


async def test_a_stream_is_no_longer_read_when_its_instance_is_gone(
    component: Path, tmp_path: Path, transport: str
) -> None:
    async with serving(component, tmp_path, transport) as bench:
        async with bench.host.workload("w").instance() as instance:
            bench.states = [instance.state]
            stream = await instance.call("tell-and-sleep", N)
        with anyio.fail_after(20), pytest.raises(ConnectionError, match="is gone"):
            await stream.read()
        await bench.nothing_is_left()


# ---------------------------------------------------------------- again and again


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="resident memory is read from /proc")
async def test_memory_stays_flat_whatever_guests_leave(
    component: Path, tmp_path: Path, transport: str
) -> None:
    growths = []
    async with serving(component, tmp_path, transport) as bench:
        for _ in range(8):
            gc.collect()
            before = resident()
            for _ in range(20):
                for name in ("trap-in-flight", "leak"):
                    try:
                        await bench.call(name)
                    except Trap:
                        assert name == "trap-in-flight"
            await bench.nothing_is_left()
            growths.append(resident() - before)
            if growths[-1] <= 256 * 1024:  # far less than the memories of one instance, and there were 40
                return
    raise AssertionError(f"memory grew in every round: {growths}")


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
