"""Sharing open backends: one opening for many, nothing left open, nothing taken away from others."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import islice
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint
from wasmplex.backends import BackendPool, health
from wasmplex.backends.health import pauses
from wasmplex.capabilities.errors import CapabilityError
from wasmplex.errors import BackendError
from wasmplex.plugin import Backend, BackendProvider, OpenContext, SecretStr, Settings
from wasmplex.plugins.circuit import Circuit

pytestmark = pytest.mark.anyio


class StoreSettings(Settings):
    url: str = "store://localhost"
    password: SecretStr = SecretStr("")
    servers: list[str] = []  # noqa: RUF012  a field whose values cannot be hashed


class Store(Backend):
    def __init__(self, owner: Stores) -> None:
        self.owner = owner
        self.closed = False

    async def close(self) -> None:
        assert not self.closed
        self.closed = True
        self.owner.live.remove(self)
        await self.owner.on_close()


class Stores(BackendProvider[StoreSettings]):
    name = "store"
    capability = "keyvalue"
    settings = StoreSettings

    def __init__(
        self,
        on_open: Callable[[], Awaitable[Any]] = checkpoint,
        on_close: Callable[[], Awaitable[Any]] = checkpoint,
    ) -> None:
        self.on_open = on_open
        self.on_close = on_close
        self.attempts = 0
        self.live: list[Store] = []

    async def open(self, settings: StoreSettings, context: OpenContext) -> Store:
        self.attempts += 1
        result = await self.on_open()
        if result is not None:
            return result  # type: ignore[no-any-return]
        store = Store(self)
        self.live.append(store)
        return store


@pytest.fixture
async def pool(tmp_path: Path) -> AsyncIterator[BackendPool]:
    async with BackendPool(tmp_path) as pool:
        yield pool


SETTINGS = StoreSettings()


async def hold(pool: BackendPool, provider: Stores, seen: list[Backend], release: anyio.Event) -> None:
    async with pool.lease(provider, StoreSettings()) as backend:
        seen.append(backend)
        await release.wait()


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110  it is state without an event
        await anyio.sleep(0.001)


def raising(error: BaseException) -> Callable[[], Awaitable[None]]:
    async def act() -> None:
        await checkpoint()
        raise error

    return act


# ---------------------------------------------------------------- sharing


async def test_many_bindings_at_once_open_one_backend(pool: BackendPool) -> None:
    provider, seen, release = Stores(lambda: anyio.sleep(0.02)), list[Backend](), anyio.Event()
    async with anyio.create_task_group() as tasks:
        for _ in range(50):
            tasks.start_soon(hold, pool, provider, seen, release)
        await until(lambda: len(seen) == 50)
        assert len(set(map(id, seen))) == 1
        assert provider.attempts == 1
        release.set()
    assert provider.live == []


async def test_it_stays_open_until_the_last_binding_goes(pool: BackendPool) -> None:
    provider = Stores()
    async with pool.lease(provider, SETTINGS) as first:
        async with pool.lease(provider, StoreSettings()) as second:
            assert second is first
        assert provider.live == [first]
    assert provider.live == []


@pytest.mark.parametrize(
    "other",
    [
        StoreSettings(url="store://elsewhere"),
        StoreSettings(password=SecretStr("other")),
        StoreSettings(servers=["a"]),
    ],
)
async def test_other_settings_are_another_backend(pool: BackendPool, other: StoreSettings) -> None:
    provider = Stores()
    async with pool.lease(provider, SETTINGS) as first, pool.lease(provider, other) as second:
        assert first is not second


async def test_another_provider_is_another_backend(pool: BackendPool) -> None:
    async with pool.lease(Stores(), SETTINGS) as first, pool.lease(Stores(), SETTINGS) as second:
        assert first is not second


async def test_the_provider_learns_where_it_is_opened(pool: BackendPool, tmp_path: Path) -> None:
    seen: list[OpenContext] = []

    class Curious(Stores):
        async def open(self, settings: StoreSettings, context: OpenContext) -> Store:
            seen.append(context)
            return await super().open(settings, context)

    async with pool.lease(Curious(), SETTINGS):
        assert seen == [OpenContext(tmp_path, "store")]


async def test_a_backend_may_hold_a_task_group_between_open_and_close(pool: BackendPool) -> None:
    ticks: list[int] = []

    class Ticking(Store):
        tasks: TaskGroup

        async def tick(self) -> None:
            while True:
                ticks.append(1)
                await anyio.sleep(0.001)

        async def close(self) -> None:
            await super().close()
            self.tasks.cancel_scope.cancel()
            await self.tasks.__aexit__(None, None, None)

    class Tickers(Stores):
        async def open(self, settings: StoreSettings, context: OpenContext) -> Store:
            store = Ticking(self)
            self.live.append(store)
            store.tasks = await anyio.create_task_group().__aenter__()
            store.tasks.start_soon(store.tick)
            return store

    provider, seen, release = Tickers(), list[Backend](), anyio.Event()
    async with anyio.create_task_group() as tasks:  # opened by one task, closed by another's leaving
        tasks.start_soon(hold, pool, provider, seen, release)
        await until(lambda: bool(seen))
        async with pool.lease(provider, SETTINGS):
            release.set()
            await until(lambda: len(ticks) > 3)
    assert provider.live == []


# ---------------------------------------------------------------- failing


async def test_all_who_wait_hear_of_a_failure_and_the_next_one_tries_again(pool: BackendPool) -> None:
    provider = Stores(raising(ConnectionRefusedError("nobody there")))
    errors: list[BackendError] = []

    async def ask() -> None:
        try:
            async with pool.lease(provider, SETTINGS, where="host.toml:3", plugin="plugin store (x==1)"):
                pass
        except BackendError as error:
            errors.append(error)

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(ask)
    assert provider.attempts == 1
    assert len({id(error) for error in errors}) == 5
    assert errors[0].render().splitlines() == [
        "error: backend 'store' cannot be opened",
        "  at: host.toml:3; plugin store (x==1)",
        "  because: ConnectionRefusedError: nobody there",
    ]
    provider.on_open = checkpoint
    async with pool.lease(provider, SETTINGS):
        assert provider.attempts == 2
    assert pool.statistics().total.failed == 1


async def test_a_providers_own_error_keeps_its_words(pool: BackendPool) -> None:
    provider = Stores(raising(BackendError("the file is locked", why="by another host", fix="stop it")))
    with pytest.raises(BackendError) as caught:
        async with pool.lease(provider, SETTINGS, where="host.toml:3"):
            pass
    assert caught.value.diagnostics[0].what == "the file is locked"
    assert caught.value.diagnostics[0].where == "host.toml:3"
    assert caught.value.diagnostics[0].fix == "stop it"


async def test_a_provider_that_exits_is_a_failure(pool: BackendPool) -> None:
    with pytest.raises(BackendError, match="SystemExit: 3"):
        async with pool.lease(Stores(raising(SystemExit(3))), SETTINGS):
            pass


async def test_a_provider_that_returns_something_else_is_named(pool: BackendPool) -> None:
    async def rubbish() -> dict[str, str]:
        return {"a": "b"}

    with pytest.raises(BackendError, match=r"its open\(\) returned dict, not a Backend"):
        async with pool.lease(Stores(rubbish), SETTINGS):
            pass


async def test_no_secret_gets_into_an_error(pool: BackendPool) -> None:
    text = "cannot log in at store://bob:p4ss@host/0?x=1 with hunter2 and t0ken"
    provider = Stores(raising(RuntimeError(text)))
    with pytest.raises(BackendError) as caught:
        async with pool.lease(provider, StoreSettings(password=SecretStr("hunter2")), hidden={"t0ken"}):
            pass
    assert "store://***@host/0?x=1 with *** and ***" in caught.value.render()


@pytest.mark.parametrize("word", ["store", "password", "Password"])
async def test_a_password_that_is_a_name_leaves_messages_readable(pool: BackendPool, word: str) -> None:
    text = "no password for the store at store://bob:store@host"
    provider = Stores(raising(BackendError(text, fix="password = ...")))
    with pytest.raises(BackendError) as caught:
        async with pool.lease(provider, StoreSettings(password=SecretStr(word)), hidden={word}):
            pass
    (said,) = caught.value.diagnostics
    assert (said.what, said.fix) == ("no password for the store at store://***@host", "password = ...")


async def test_no_secret_gets_into_a_providers_own_error(pool: BackendPool) -> None:
    provider = Stores(raising(BackendError("no", why="store://bob:p4ss@host", fix="hunter2")))
    with pytest.raises(BackendError) as caught:
        async with pool.lease(provider, StoreSettings(password=SecretStr("hunter2"))):
            pass
    assert "p4ss" not in caught.value.render()
    assert "hunter2" not in caught.value.render()


# ---------------------------------------------------------------- deadlines


async def test_a_backend_that_does_not_open_is_given_up(tmp_path: Path) -> None:
    async with BackendPool(tmp_path, open_timeout=0.03) as pool:
        with pytest.raises(BackendError, match=r"no answer within 0\.03 s"):
            async with pool.lease(Stores(anyio.sleep_forever), SETTINGS):
                pass
        assert pool.statistics().total == (0, 0, 0, 0, 1, 0, 0, 0)


async def test_a_backend_that_opens_in_spite_of_its_deadline_is_closed(tmp_path: Path) -> None:
    async def stubborn() -> None:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(0.05)

    provider = Stores(stubborn)
    async with BackendPool(tmp_path, open_timeout=0.01) as pool:
        with pytest.raises(BackendError, match="no answer within"):
            async with pool.lease(provider, SETTINGS):
                pass
        assert provider.attempts == 1
        assert provider.live == []


async def test_the_deadline_for_opening_does_not_end_an_open_backend(tmp_path: Path) -> None:
    async with BackendPool(tmp_path, open_timeout=0.5) as pool:
        provider = Stores()
        async with pool.lease(provider, SETTINGS):
            await anyio.sleep(0.6)
            assert len(provider.live) == 1


async def test_a_backend_that_does_not_close_is_cancelled(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with anyio.fail_after(5):
        async with BackendPool(tmp_path, close_timeout=0.03) as pool:
            async with pool.lease(Stores(on_close=anyio.sleep_forever), SETTINGS):
                pass
            assert pool.statistics().total.open == 0
    assert "was not closed within 0.03 s" in caplog.text


async def test_a_backend_that_fails_to_close_is_logged_without_secrets(
    pool: BackendPool, caplog: pytest.LogCaptureFixture
) -> None:
    provider = Stores(on_close=raising(RuntimeError("store://a:b@c is gone")))
    with caplog.at_level(logging.WARNING, "wasmplex.backends"):
        async with pool.lease(provider, SETTINGS):
            pass
    assert "failed to close: RuntimeError: store://***@c is gone" in caplog.text


# ---------------------------------------------------------------- cancelling


async def test_the_first_one_to_ask_may_be_cancelled(pool: BackendPool) -> None:
    started, go, seen, release = anyio.Event(), anyio.Event(), list[Backend](), anyio.Event()

    async def slow() -> None:
        started.set()
        await go.wait()

    provider = Stores(slow)
    async with anyio.create_task_group() as tasks:
        async with anyio.create_task_group() as first:
            first.start_soon(hold, pool, provider, seen, release)
            await started.wait()
            tasks.start_soon(hold, pool, provider, seen, release)
            await until(lambda: pool.statistics().total.bindings == 2)
            first.cancel_scope.cancel()
        go.set()
        await until(lambda: bool(seen))
        assert provider.attempts == 1
        release.set()
    assert provider.live == []


async def test_an_opening_that_nobody_wants_any_more_is_cancelled(pool: BackendPool) -> None:
    ended: list[str] = []

    async def slow() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.append("yes")

    provider = Stores(slow)
    with anyio.move_on_after(0.02):
        async with pool.lease(provider, SETTINGS):
            pass
    assert ended == ["yes"]
    assert repr(pool) == "<BackendPool open=0 opening=0 bindings=0>"


async def test_a_cancelled_binding_still_closes_its_backend(pool: BackendPool) -> None:
    provider, seen = Stores(on_close=lambda: anyio.sleep(0.01)), list[Backend]()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(hold, pool, provider, seen, anyio.Event())
        await until(lambda: bool(seen))
        tasks.cancel_scope.cancel()
    assert provider.live == []
    assert pool.statistics().total.closed == 1


async def test_who_comes_while_it_closes_gets_a_new_one_afterwards(pool: BackendPool) -> None:
    order: list[str] = []
    closing = anyio.Event()

    async def opening() -> None:
        order.append("open")

    async def slow_close() -> None:
        closing.set()
        await anyio.sleep(0.02)
        order.append("closed")

    provider = Stores(opening, slow_close)
    async with anyio.create_task_group() as tasks:

        async def first() -> None:
            async with pool.lease(provider, SETTINGS):
                pass

        tasks.start_soon(first)
        await closing.wait()
        async with pool.lease(provider, SETTINGS):
            assert order == ["open", "closed", "open"]


async def test_closing_the_pool_closes_what_is_held(tmp_path: Path) -> None:
    provider = Stores()
    async with BackendPool(tmp_path) as pool:
        lease = pool.lease(provider, SETTINGS)
        await lease.__aenter__()
    assert provider.live == []
    await lease.__aexit__(None, None, None)
    with pytest.raises(BackendError, match="the pool is closed"):
        async with pool.lease(provider, SETTINGS):
            pass


async def test_cancelling_the_pool_closes_its_backends_first(tmp_path: Path) -> None:
    provider = Stores(on_close=lambda: anyio.sleep(0.01))
    with anyio.CancelScope() as scope:
        async with BackendPool(tmp_path) as pool, pool.lease(provider, SETTINGS):
            scope.cancel()
            await anyio.sleep_forever()
    assert provider.live == []


async def visiting(pool: BackendPool, provider: Stores, seconds: float) -> None:
    with anyio.move_on_after(seconds):
        try:
            async with pool.lease(provider, SETTINGS) as backend:
                assert isinstance(backend, Store)
                assert not backend.closed
                assert backend in provider.live
                await anyio.sleep(seconds / 3)
                assert not backend.closed, "closed while a binding held it"
        except BackendError:
            pass


async def test_cancelled_at_odd_moments_it_leaves_nothing_and_takes_nothing_away(
    pool: BackendPool,
) -> None:
    """Two hundred bindings come, are cancelled at odd moments, and the provider fails now and then."""
    calls = 0

    async def moody() -> None:
        nonlocal calls
        calls += 1
        await anyio.sleep(0.001 * (calls % 4))
        if calls % 5 == 0:
            raise ConnectionError("not today")

    provider = Stores(moody, lambda: anyio.sleep(0.001))

    async def visit(number: int) -> None:
        await anyio.sleep(0.004 * (number // 6))  # six at a time, so that it is closed now and then
        await visiting(pool, provider, 0.0005 * (number % 23))

    total = pool.statistics().total
    with anyio.fail_after(30):
        while total.opened < 2:  # held up for long, they all come at once, and it is opened once
            async with anyio.create_task_group() as tasks:
                for number in range(200):
                    tasks.start_soon(visit, number)
            assert provider.live == []
            total = pool.statistics().total
            assert (total.open, total.bindings) == (0, 0)
            assert total.opened == total.closed


async def test_an_error_of_the_caller_comes_out_as_it_is(tmp_path: Path) -> None:
    provider = Stores()
    with pytest.raises(LookupError, match="mine"):
        async with BackendPool(tmp_path) as pool, pool.lease(provider, SETTINGS):
            raise LookupError("mine")
    assert provider.live == []


# ---------------------------------------------------------------- idle backends


async def test_an_idle_backend_is_kept_for_the_next_binding(tmp_path: Path) -> None:
    provider = Stores()
    async with BackendPool(tmp_path, idle_ttl=60) as pool:
        async with pool.lease(provider, SETTINGS) as first:
            pass
        assert provider.live == [first]
        async with pool.lease(provider, SETTINGS) as second:
            assert second is first
    assert provider.live == []


async def test_an_idle_backend_is_closed_in_the_end(tmp_path: Path) -> None:
    provider = Stores()
    async with BackendPool(tmp_path, idle_ttl=0.03) as pool:
        async with pool.lease(provider, SETTINGS):
            await anyio.sleep(0.05)
            assert len(provider.live) == 1
        async with pool.lease(provider, SETTINGS):
            pass
        assert provider.attempts == 1
        with anyio.fail_after(5):
            await until(lambda: not provider.live)


async def test_a_binding_in_time_keeps_it_open_again(tmp_path: Path) -> None:
    provider = Stores()
    async with BackendPool(tmp_path, idle_ttl=0.05) as pool:
        for _ in range(5):
            async with pool.lease(provider, SETTINGS):
                await anyio.sleep(0.03)
        assert provider.attempts == 1


async def test_the_longest_idle_of_a_provider_is_closed_first(tmp_path: Path) -> None:
    provider = Stores()
    async with BackendPool(tmp_path, idle_ttl=60, max_idle=2) as pool:
        opened = []
        for number in range(4):
            async with pool.lease(provider, StoreSettings(url=f"store://{number}")) as backend:
                opened.append(backend)
        with anyio.fail_after(5):
            await until(lambda: len(provider.live) == 2)
        assert provider.live == opened[2:]


# ---------------------------------------------------------------- servers that go and come


class Server(Store):
    """A backend whose server the test switches off, and on again."""

    def __init__(self, owner: Stores) -> None:
        super().__init__(owner)
        self.failure: Exception | None = None
        self.probes = 0

    async def probe(self) -> None:
        await checkpoint()
        self.probes += 1
        if self.failure is not None:
            raise self.failure


class Servers(Stores):
    async def open(self, settings: StoreSettings, context: OpenContext) -> Store:
        server = Server(self)
        self.live.append(server)
        return server


async def test_a_circuit_opens_when_the_server_is_down_and_closes_when_it_is_back(
    pool: BackendPool, caplog: pytest.LogCaptureFixture
) -> None:
    async with pool.lease(Servers(), SETTINGS) as backend:
        assert isinstance(backend, Server)
        circuit = backend.circuit
        assert circuit is not None
        backend.failure = ConnectionRefusedError("no")
        assert not circuit.is_open
        circuit.suspect("", ("4f", "", "", ""))
        with anyio.fail_after(5):
            await until(lambda: circuit.is_open)
            assert pool.statistics().total.down == 1
            backend.failure = None
            await until(lambda: not circuit.is_open)
        assert pool.statistics().total[-2:] == (0, 1)
        assert [record.getMessage() for record in caplog.records] == [
            "backend store: it cannot be reached", "backend store: it answers again"
        ]  # fmt: skip
        assert [record.__dict__["request_id"] for record in caplog.records] == ["4f", ""]
    assert pool.statistics().total.outages == 1


class Denied(CapabilityError):
    case = "denied"


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have it looked at soon whether a server that refuses goes on to."""
    monkeypatch.setattr(health, "_FIRST_LOOK", 0.05)
    monkeypatch.setattr(health, "_LAST_LOOK", 0.05)


@pytest.mark.usefixtures("soon")
async def test_who_is_refused_is_told_of_once_counted_and_told_when_it_is_over(
    pool: BackendPool, caplog: pytest.LogCaptureFixture
) -> None:
    settings = StoreSettings(password=SecretStr("hunter2"))
    provider = Servers()
    async with (
        pool.lease(provider, settings, holder="shop/cache") as backend,
        pool.lease(provider, settings, holder="shop/store"),
    ):
        assert isinstance(backend, Server)
        circuit = backend.circuit
        assert circuit is not None
        backend.failure = Denied("no")
        for _ in range(4565):
            circuit.refuse("get: no (WRONGPASS hunter2 HUNTER2\x1b)")
        with anyio.fail_after(5):
            await until(lambda: len(said(caplog)) == 2)
            backend.failure = None
            await until(lambda: len(said(caplog)) == 3)
        assert not circuit.is_open
        circuit.refuse("get: no (WRONGPASS hunter2 HUNTER2\x1b)")
        with anyio.fail_after(5):
            await until(lambda: len(said(caplog)) == 4)
    who = "backend store of shop/cache, shop/store"
    assert said(caplog) == [
        f"{who}: get: no (WRONGPASS *** ***\\x1b)", f"{who}: … 4,564 more like it in the last 0.05 s",
        f"{who}: it works again", f"{who}: get: no (WRONGPASS *** ***\\x1b)",
    ]  # fmt: skip
    fields = [vars(caplog.records[0])[name] for name in ("backend", "workload", "label", "operation")]
    assert fields == ["store", "shop", "", "get"]


@pytest.mark.usefixtures("soon")
async def test_a_right_that_lacks_is_told_of_until_nobody_wants_it(
    pool: BackendPool, caplog: pytest.LogCaptureFixture
) -> None:
    async with pool.lease(Servers(), SETTINGS, holder="a/b") as backend:
        assert isinstance(backend, Server)
        circuit = backend.circuit
        assert circuit is not None
        with anyio.fail_after(5):
            for _ in range(2):
                probes = backend.probes
                circuit.refuse("set: no right")
                circuit.refuse("set: no right")
                circuit.refuse("get: another")
                await until(lambda: backend.probes >= probes + 2)  # noqa: B023
    assert said(caplog) == [
        "backend store of a/b: set: no right", "backend store of a/b: get: another",
        "backend store of a/b: … 1 more like it in the last 0.05 s",
    ] * 2  # fmt: skip


@pytest.mark.usefixtures("soon")
async def test_a_server_that_answers_and_does_nothing_is_told_of(
    pool: BackendPool, caplog: pytest.LogCaptureFixture
) -> None:
    async with pool.lease(Servers(), SETTINGS) as backend:
        assert isinstance(backend, Server)
        circuit = backend.circuit
        assert circuit is not None
        with anyio.fail_after(5):
            for _ in range(3):
                asked = backend.probes  # more than once for each, where the next look comes first
                circuit.suspect("set: MISCONF")
                await until(lambda: backend.probes > asked)  # noqa: B023
                await until(lambda: not circuit.is_suspected)
    assert said(caplog)[0] == "backend store: set: MISCONF"
    assert not [line for line in said(caplog)[1:] if "more like it" not in line]


async def test_more_causes_than_are_told_apart_are_counted(pool: BackendPool) -> None:
    circuit = Circuit()
    for number in range(1000):
        circuit.refuse(f"get: key {number} is bad")
    assert len(circuit.news()) == 16
    assert circuit.refused == 984


async def test_a_server_that_answers_is_not_suspected_for_long(pool: BackendPool) -> None:
    async with pool.lease(Servers(), SETTINGS) as backend:
        assert isinstance(backend, Server)
        assert backend.circuit is not None
        for failure in (None, PermissionError("it is there, and says no")):
            backend.failure, backend.probes = failure, 0
            backend.circuit.suspect()
            with anyio.fail_after(5):
                await until(lambda: backend.probes == 1)
            await anyio.sleep(0.02)
            assert backend.probes == 1
        assert backend.circuit.opened == 0


def test_probes_back_off() -> None:
    found = list(islice(pauses(), 12))
    assert all(0.025 <= pause <= 0.5 for pause in found)
    assert all(pause >= 0.25 for pause in found[5:])


# ---------------------------------------------------------------- statistics


async def test_statistics_tell_what_happened(pool: BackendPool) -> None:
    assert pool.statistics().total == (0, 0, 0, 0, 0, 0, 0, 0)
    async with pool.lease(Stores(), SETTINGS):
        pass
    provider = Stores()
    async with pool.lease(provider, SETTINGS), pool.lease(provider, SETTINGS):
        total = pool.statistics().total
        assert total._asdict() == {
            "open": 1, "bindings": 2, "opened": 2, "shared": 1, "failed": 0, "closed": 1, "down": 0,
            "outages": 0,
        }  # fmt: skip
        assert pool.statistics().providers["store"] == total
        assert repr(pool) == "<BackendPool open=1 opening=0 bindings=2>"
