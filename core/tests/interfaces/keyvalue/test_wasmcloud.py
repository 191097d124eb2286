"""``wasmcloud:keyvalue@0.2.0`` as guests get it: routing by bucket, typed errors, many calls in flight."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from host_plugin_memory import MemoryProvider
from wasmplex.bridge import Session
from wasmplex.errors import DeadlineExceeded, UsageError
from wasmplex.host import Host
from wasmplex.loans import PooledInstance
from wasmplex.testing import Delayed, Faulty, plugin
from wasmplex.testing.doubles import Hang
from wasmplex.values import Err, Variant

pytestmark = pytest.mark.anyio

GUESTS = Path(__file__).parents[4] / "tests" / "guests" / "built"
PLAIN = f"""
[workload.w]
component = "{GUESTS}/GUEST.wasm"
[workload.w.default."wasmcloud:keyvalue"]
backend = "BACKEND"
"""
LABELLED = f"""
[workload.w]
component = "{GUESTS}/kvaforward-labelled.wasm"
[workload.w.import.kit]
backend = "memory"
KIT
[workload.w.import.other]
backend = "sqlite"
path = "other.db"
"""

Running = Callable[..., AbstractAsyncContextManager[Host]]


@pytest.fixture(params=["strings", "memory"])
def running(tmp_path: Path, request: pytest.FixtureRequest) -> Running:
    @asynccontextmanager
    async def run(text: str, *providers: Any) -> AsyncIterator[Host]:
        (tmp_path / "host.toml").write_text(f'[engine]\ntransport = "{request.param}"\n{text}')
        async with Host.from_config(tmp_path / "host.toml", plugins=[plugin(*providers)]) as host:
            yield host

    return run


def plain(guest: str, backend: str = "memory", more: str = "") -> str:
    return PLAIN.replace("GUEST", guest).replace("BACKEND", backend) + more


async def forward(host: Host, function: str, *args: Any) -> Any:
    return await host.call("w", f"tests:guests/forward#{function}", *args)


async def refusal(host: Host, function: str, *args: Any) -> Variant:
    with pytest.raises(Err) as refused:
        await forward(host, function, *args)
    assert isinstance(refused.value.value, Variant)
    return refused.value.value


# ---------------------------------------------------------------- routing


async def test_every_interface_goes_where_the_bucket_was_opened(running: Running) -> None:
    async with running(LABELLED.replace("KIT", "")) as host:
        for label, bucket in (("kit", "b"), ("other", "other:b")):
            name = label.encode()
            assert await forward(host, "increment", bucket, "n", 41) == 41
            await forward(host, "set-many", bucket, [("k", name), ("l", name)])
            await forward(host, "delete-many", bucket, ["l"])
            entry = await forward(host, "current", bucket, "k")
            assert entry["value"] == name
            options = {"require-version": entry["version"], "require-value": name}
            assert await forward(host, "swap", bucket, "k", name * 2, options) == Variant("swapped")
            stale = await forward(host, "swap", bucket, "k", b"x", options)
            assert (stale.tag, stale.value["value"]) == ("stale", name * 2)
        for label, bucket in (("kit", "b"), ("other", "other:b")):
            opening: Any = host.workload("w").imports[label]["open"]
            found = await opening("b")
            assert await found.get("k") == label.encode() * 2
            assert await found.get("n") == b"41"
            assert await forward(host, "get-many", bucket, ["k", "l", "n"]) == [
                ("k", label.encode() * 2), None, ("n", b"41"),
            ]  # fmt: skip


async def test_a_binding_that_grants_the_store_alone_keeps_its_buckets_from_the_rest(
    running: Running,
) -> None:
    granted = 'interfaces = ["store", "batch"]'
    async with running(LABELLED.replace("KIT", granted)) as host:
        await forward(host, "set", "b", "k", b"v", None)
        assert await forward(host, "get-many", "b", ["k"]) == [("k", b"v")]
        assert await refusal(host, "increment", "b", "n", 1) == Variant("access-denied")
        assert await refusal(host, "current", "b", "k") == Variant("access-denied")
        assert await forward(host, "increment", "other:b", "n", 1) == 1


async def test_a_backend_that_lacks_what_an_interface_stands_for_is_refused(running: Running) -> None:
    class Small(MemoryProvider):
        name = "small"
        features = frozenset({"ttl", "increment"})

    with pytest.raises(
        UsageError, match=r"'small' does not support cas, which the import .*/cas@0.2.0 needs"
    ):
        async with running(plain("kvaforward", "small"), Small()):
            pass


# ---------------------------------------------------------------- errors


async def test_each_of_the_eight_errors_is_raised(running: Running) -> None:
    faulty = Faulty(MemoryProvider())
    limits = 'buckets = ["b"]\nmax_value = 3\ntimeout = "50ms"\nnamespace = "shared"\n'
    everything = '[workload.all]\ncomponent = "' + str(GUESTS / "kvaforward.wasm") + '"\n'
    everything += '[workload.all.default."wasmcloud:keyvalue"]\nbackend = "faulty"\nnamespace = "shared"\n'
    async with running(plain("kvaforward", "faulty", limits + everything), faulty) as host:
        await host.call("all", "tests:guests/forward#set", "theirs", "k", b"v", None)
        await forward(host, "set", "b", "k", b"v", None)
        absent = {"ttl-ms": None, "if-not-exists": True}
        assert await refusal(host, "open", "unknown") == Variant("no-such-store")
        assert await refusal(host, "open", "theirs") == Variant("access-denied")
        assert await refusal(host, "get", "b", "k" * 1025) == Variant("invalid-argument")
        assert await refusal(host, "set", "b", "k", b"v", absent) == Variant("precondition-failed")
        assert await refusal(host, "set", "b", "k", b"four", None) == Variant("quota-exceeded")
        faulty.at("get", Hang(), times=1)
        assert await refusal(host, "get", "b", "k") == Variant("timeout")
        faulty.at("get", ConnectionResetError("gone"), times=1)
        assert await refusal(host, "get", "b", "k") == Variant("store-unavailable")
        faulty.at("get", RuntimeError("secret"), times=1)
        assert await refusal(host, "get", "b", "k") == Variant("other", "get: RuntimeError")
        assert await forward(host, "get", "b", "k") == b"v"


# ---------------------------------------------------------------- many calls in flight


class Gated(Delayed):
    """Lets gets begin, and none end before the gate opens."""

    def __init__(self) -> None:
        super().__init__(MemoryProvider(), 0, name="gated")
        self.gate = anyio.Event()
        self.expected = 0
        self.begun = self.cancelled = 0

    async def before(self, operation: str, args: tuple[Any, ...]) -> None:
        if operation != "get":
            return
        self.begun += 1
        if self.begun == self.expected:
            self.gate.set()
        try:
            await self.gate.wait()
        except anyio.get_cancelled_exc_class():
            self.cancelled += 1
            raise


async def until(done: Callable[[], bool]) -> None:
    """Let the loop turn until something is so."""
    with anyio.fail_after(10):
        while not done():  # noqa: ASYNC110  what is waited for is no event
            await anyio.sleep(0.001)


def session_of(instance: PooledInstance) -> Session:
    session: Session = instance.state[Session, "below"]
    return session


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list to which every order that an adapter asks for adds an item."""
    seen: list[int] = []
    step = Session.step

    def counting(self: Session, record: int, event: int, a: int, b: int) -> int:
        seen.append(record)
        return step(self, record, event, a, b)

    monkeypatch.setattr(Session, "step", counting)
    return seen


async def test_a_guest_has_as_many_calls_in_flight_as_it_starts(running: Running, steps: list[int]) -> None:
    gated = Gated()
    gated.expected = 100
    async with running(plain("kvamany", "gated"), gated) as host:
        with anyio.fail_after(20):  # one that waited for another would wait for ever
            assert await host.call("w", "gets", 100) == 100
    assert gated.begun == 100
    assert len(steps) <= 6 * 200 + 20


@pytest.mark.alone
async def test_calls_in_flight_take_the_time_of_one(running: Running) -> None:
    # Long enough for what the calls cost in computing not to count on a busy machine.
    delayed = Delayed(MemoryProvider(), 0.1)
    async with running(plain("kvamany", "delayed"), delayed) as host:

        async def shortest(count: int) -> float:
            times = []
            for _ in range(3):
                begun = anyio.current_time()
                assert await host.call("w", "gets", count) == count
                times.append(anyio.current_time() - begun)
            return min(times)

        one = await shortest(1)  # one set and one get, which the guest waits for in turn
        assert await shortest(100) < 3 * one


async def test_polls_hardly_grow_with_the_time_that_calls_take(running: Running, steps: list[int]) -> None:
    """A guest that waits gets a few turns after pauses that double, and never all that there are."""
    delayed = Delayed(MemoryProvider(), 0.001)
    async with running(plain("kvamany", "delayed"), delayed) as host:
        counts = []
        for delay in (0.001, 0.3):
            delayed.delay = delay
            steps.clear()
            await host.call("w", "gets", 10)
            counts.append(len(steps))
    assert max(counts) <= 2000, counts  # all that there are would be tens of thousands


async def test_cancelled_calls_are_cancelled_in_python_and_leave_nothing(running: Running) -> None:
    gated = Gated()
    async with running(plain("kvamany", "gated"), gated) as host, host.workload("w").instance() as instance:
        for round_ in range(1, 4):
            assert await instance.call("cancelled", 100) == 100
            session = session_of(instance)
            # What a coroutine's end brings about happens in the next turn of the loop.
            await until(lambda: (gated.cancelled, session.running) == (gated.begun, 0))  # noqa: B023
            assert (session.tasks, len(session.table)) == ({}, 0)
            assert gated.begun <= 100 * round_
        gated.gate.set()
        assert await instance.call("gets", 100) == 100


async def test_calls_in_flight_are_cancelled_with_the_call_that_made_them(running: Running) -> None:
    gated = Gated()
    limited = plain("kvamany", "gated").replace('.wasm"\n', '.wasm"\nlimits = { timeout = "2s" }\n')
    async with running(limited, gated) as host:
        with pytest.raises(DeadlineExceeded):
            await host.call("w", "gets", 30)
        await until(lambda: gated.cancelled == 30)
        assert host.workload("w").statistics().live == 0
        gated.gate.set()
        assert await host.call("w", "gets", 30) == 30


async def test_calls_that_a_guest_leaves_behind_end_with_its_instance(running: Running) -> None:
    gated = Gated()
    async with running(plain("kvamany", "gated"), gated) as host:
        async with host.workload("w").instance() as instance:
            await instance.call("left", 50)
            session = session_of(instance)
            assert session.running == 50
            await until(lambda: gated.begun == 50)
            instance.close()
        # What a coroutine's end brings about happens in the next turn of the loop.
        await until(lambda: (gated.cancelled, session.running) == (50, 0))
        assert (session.tasks, len(session.table)) == ({}, 0)


async def test_calls_that_a_guest_leaves_behind_do_not_disturb_the_next(running: Running) -> None:
    gated = Gated()
    async with running(plain("kvamany", "gated"), gated) as host:
        await host.call("w", "left", 20)
        gated.gate.set()
        for _ in range(3):
            assert await host.call("w", "gets", 20) == 20
        assert host.workload("w").statistics().created == 2
