"""The trigger ``watch``: a component is told of changes at least once, in order for each key."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from host_plugin_memory import MemoryProvider
from wasmplex.capabilities.keyvalue import Change, StoreUnavailable
from wasmplex.capabilities.keyvalue.watch import Watched
from wasmplex.errors import ConfigError, FailureError, GuestExit, LimitExceeded, Trap, UsageError
from wasmplex.host import Host
from wasmplex.plugins.triggers import TriggerBinding
from wasmplex.testing import Delayed, plugin
from wasmplex.triggers import resuming
from wasmplex.triggers.watch import WatchSettings, WatchTrigger, deliveries
from wasmplex.triggers.watch.trigger import RunningWatch

pytestmark = pytest.mark.anyio

GUESTS = Path(__file__).parents[3] / "tests" / "guests" / "built"


# ---------------------------------------------------------------- deliveries, the component being Python


class Named:
    name = "w"


class Source:
    """A bucket whose changes are handed over by the test; `breaks` is raised when they are used up."""

    def __init__(self, *changes: Change, breaks: Exception | None = None) -> None:
        self.changes = list(changes)
        self.breaks = breaks
        self.watched = 0

    @contextlib.asynccontextmanager
    async def watch(self) -> AsyncIterator[AsyncIterator[Change]]:
        self.watched += 1
        yield self._iterate()

    async def _iterate(self) -> AsyncIterator[Change]:
        while self.changes:
            yield self.changes.pop(0)
        if self.breaks is not None and self.watched == 1:
            raise self.breaks
        await anyio.sleep_forever()


@contextlib.asynccontextmanager
async def serving(
    source: Source,
    deliver: Callable[[Change], Any],
    *,
    largest: int | None = None,
    report: Callable[[str, float], None] | None = None,
    **settings: Any,
) -> AsyncIterator[RunningWatch]:
    async def handler(*args: Any) -> Watched:
        return Watched(source.watch, deliver, largest)

    binding = TriggerBinding(
        Named(),  # type: ignore[arg-type]
        WatchSettings(bucket="b", **settings),
        handler,
        report=report,
    )
    async with anyio.create_task_group() as tasks:
        with anyio.fail_after(20):
            trigger = WatchTrigger().start([binding], None, ())
            await tasks.start(partial(trigger.serve))
            yield trigger
        tasks.cancel_scope.cancel()


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resuming, "FIRST_PAUSE", 0.001)


async def until(done: Callable[[], bool]) -> None:
    while not done():  # noqa: ASYNC110  what is waited for is no event
        await anyio.sleep(0.001)


def sets(key: str, count: int) -> list[Change]:
    return [Change(key, b"%d" % n) for n in range(count)]


async def test_changes_of_a_key_are_told_in_order_also_when_calls_fail() -> None:
    told: list[Change] = []
    failures = {b"1": 2, b"3": 1}

    async def deliver(change: Change) -> None:
        await anyio.lowlevel.checkpoint()
        if change.value is not None and failures.get(change.value, 0):
            failures[change.value] -= 1
            raise Trap("the guest trapped")
        told.append(change)

    source = Source(*sets("k", 5), Change("k", None))
    async with serving(source, deliver) as trigger:
        await until(lambda: not source.changes)
        await trigger.drain()
    assert told == [*sets("k", 5), Change("k", None)]


async def test_keys_do_not_wait_for_each_other_but_no_more_calls_than_allowed_run() -> None:
    told: list[str] = []
    running = most = 0
    gate = anyio.Event()

    async def deliver(change: Change) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if change.key == "slow":
            await gate.wait()
        await anyio.sleep(0.001)
        running -= 1
        told.append(change.key)
        if len(told) == 20:
            gate.set()

    source = Source(Change("slow", b""), *(Change(f"k{n}", b"") for n in range(20)))
    async with serving(source, deliver, max_in_flight=3) as trigger:
        await gate.wait()
        await trigger.drain()
    assert told[-1] == "slow"
    assert most == 3


async def test_a_change_that_always_fails_is_given_up_and_the_next_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    attempts: list[bytes | None] = []

    async def deliver(change: Change) -> None:
        attempts.append(change.value)
        if change.value == b"0":
            raise Trap("the guest trapped")

    source = Source(*sets("k", 2))
    async with serving(source, deliver, max_deliver=3) as trigger:
        await until(lambda: len(attempts) == 4)
        await trigger.drain()
        assert [d.given_up for d in trigger._deliveries] == [1]
    assert attempts == [b"0", b"0", b"0", b"1"]
    assert "given up after 3 attempts" in caplog.text
    assert [vars(record)["workload"] for record in caplog.records] == ["w"] * len(caplog.records)


async def test_an_exit_with_0_is_as_good_as_a_return() -> None:
    told: list[Change] = []

    async def deliver(change: Change) -> None:
        told.append(change)
        raise GuestExit(0)

    source = Source(*sets("k", 2))
    async with serving(source, deliver) as trigger:
        await until(lambda: len(told) > 1)
        await trigger.drain()
    assert told == sets("k", 2)


async def test_how_each_call_ended_is_reported() -> None:
    ended: list[str] = []

    async def deliver(change: Change) -> None:
        if change.value == b"bad" and ended.count("failed") < 2:
            raise Trap("no")

    def report(outcome: str, seconds: float) -> None:
        assert seconds >= 0
        ended.append(outcome)

    async with serving(Source(Change("k", b"bad"), Change("k", b"good")), deliver, report=report):
        await until(lambda: len(ended) == 4)
    assert ended == ["failed", "failed", "ok", "ok"]


async def test_a_full_workload_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resuming, "LONGEST_PAUSE", 0.001)
    refusals = 20
    ended: list[str] = []

    async def deliver(change: Change) -> None:
        nonlocal refusals
        if refusals:
            refusals -= 1
            raise LimitExceeded("the workload is full")
        done.set()

    done = anyio.Event()
    report: Callable[[str, float], None] = lambda outcome, seconds: ended.append(outcome)  # noqa: E731
    async with serving(Source(Change("k", b"")), deliver, max_deliver=1, report=report):
        await done.wait()
        await until(lambda: bool(ended))
    assert ended == ["ok"]


async def test_a_call_that_passes_too_much_has_failed_and_others_go_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An error in a call is not that there was no instance; and nothing that it raises ends the host."""
    told: list[str] = []

    async def deliver(change: Change) -> None:
        told.append(change.key)
        if change.key == "large":
            error = LimitExceeded("a list of a million values is passed")
            error.called = True
            raise error
        if change.key == "odd":
            raise TypeError("expected a string")

    source = Source(Change("large", b""), Change("odd", b""), Change("good", b""))
    async with serving(source, deliver, max_deliver=2) as trigger:
        await until(lambda: len(told) == 5)
        await trigger.drain()
        assert [d.given_up for d in trigger._deliveries] == [2]
    assert sorted(told) == ["good", "large", "large", "odd", "odd"]
    traces = {"TypeError" in (record.exc_text or "") for record in caplog.records if record.exc_info}
    assert traces == {True}, "what nobody raised on purpose is shown with where it was raised"


async def test_waiting_for_an_instance_is_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(resuming, "LONGEST_PAUSE", 0.001)
    refusals, done = 10, anyio.Event()

    async def deliver(change: Change) -> None:
        nonlocal refusals
        refusals -= 1
        if refusals >= 0:
            raise LimitExceeded("the workload is full")
        done.set()

    async with serving(Source(Change("k", b"")), deliver):
        await done.wait()
    assert caplog.text.count("wait for an instance") == 1


async def test_no_more_bytes_are_taken_than_may_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliveries, "MAX_WAITING_BYTES", 1000, raising=False)
    gate, told = anyio.Event(), list[int]()

    async def deliver(change: Change) -> None:
        await gate.wait()
        told.append(len(change.value or b""))

    source = Source(*(Change(f"{n:04}", b"v" * 300) for n in range(10)), Change("alone", b"v" * 2000))
    async with serving(source, deliver) as trigger:
        for _ in range(200):
            await anyio.lowlevel.checkpoint()
        assert len(source.changes) == 11 - 3 - 1  # one is in hand
        gate.set()
        await until(lambda: len(told) == 11)
        await trigger.drain()


async def test_a_value_over_the_limit_of_the_binding_is_not_told(caplog: pytest.LogCaptureFixture) -> None:
    told: list[str] = []

    async def deliver(change: Change) -> None:
        told.append(change.key)

    source = Source(Change("large", b"v" * 11), Change("good", b"v" * 10))
    async with serving(source, deliver, largest=10) as trigger:
        await until(lambda: bool(told))
        await trigger.drain()
        assert [d.given_up for d in trigger._deliveries] == [1]
    assert told == ["good"]
    assert "its value has 11 bytes, over max_value" in caplog.text


async def test_no_more_is_taken_than_may_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliveries, "MAX_WAITING", 10)
    source = Source(*sets("k", 100))

    async def deliver(change: Change) -> None:
        await anyio.sleep_forever()

    async with serving(source, deliver):
        for _ in range(200):
            await anyio.lowlevel.checkpoint()
        assert len(source.changes) == 100 - 10 - 1  # one is in hand


async def test_a_watch_that_breaks_is_begun_again(caplog: pytest.LogCaptureFixture) -> None:
    source = Source(Change("k", b""), breaks=StoreUnavailable("connection lost"))
    done = anyio.Event()

    async def deliver(change: Change) -> None:
        if source.watched == 2:
            done.set()

    async with serving(source, deliver):
        await until(lambda: source.watched == 2)
        source.changes.append(Change("k", b"again"))
    assert "changes may have been lost: connection lost" in caplog.text


@pytest.mark.parametrize("error", [StoreUnavailable("connection lost"), OSError("cannot connect")])
async def test_a_watch_that_was_never_there_is_an_error(error: Exception) -> None:
    class Away(Source):
        @contextlib.asynccontextmanager
        async def watch(self) -> AsyncIterator[AsyncIterator[Change]]:
            if self is not None:
                raise error
            yield self._iterate()

    async def deliver(change: Change) -> None: ...

    with pytest.RaisesGroup(
        pytest.RaisesExc(FailureError, match="workload 'w' cannot watch the bucket 'b'"),
        flatten_subgroups=True,
    ):
        async with serving(Away(), deliver):
            pass


# ---------------------------------------------------------------- through a host, with a guest

CONFIG = f"""
[workload.w]
component = "{GUESTS}/kvawatch.wasm"
trigger.watch = {{ bucket = "b", WATCH }}
[workload.w.default."wasmcloud:keyvalue"]
backend = "memory"
[workload.w.import.watched]
backend = "memory"
BINDING
"""


def config(folder: Path, watch: str = 'label = "watched"', binding: str = "") -> Path:
    path = folder / "host.toml"
    path.write_text(CONFIG.replace("WATCH", watch).replace("BINDING", binding))
    return path


async def noted(host: Host, count: int) -> list[str]:
    """Wait until the guest has noted so much, and return it."""
    found: list[str] = []
    with anyio.fail_after(20):
        while len(found) < count:
            note = await host.call("w", "noted", str(len(found) + 1))
            if note is None:
                await anyio.sleep(0.005)
            else:
                found.append(note)
    return found


async def serve_and(host: Host, do: Callable[[], Any]) -> None:
    stop, started = anyio.Event(), anyio.Event()

    async def serve() -> None:
        await host.serve(stop, started=started.set)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(serve)
        with anyio.fail_after(20):
            await started.wait()
        await do()
        stop.set()


async def test_a_guest_is_told_with_the_bucket_that_changed(tmp_path: Path) -> None:
    async with Host.from_config(config(tmp_path)) as host:

        async def do() -> None:
            for value in ("one", "two", None):
                await host.call("w", "write", "b", "k", value)
                await host.call("w", "write", "unwatched", "k", value)
            await host.call("w", "write", "b", "fail once", "v")
            notes = await noted(host, 4)
            assert [note.partition(" now ")[0] for note in notes if " k" in note] == [
                "set k one", "set k two", "delete k",
            ]  # fmt: skip
            assert "set fail once v now v" in notes

        await serve_and(host, do)


async def test_a_guest_of_the_draft_is_told_as_well(tmp_path: Path) -> None:
    path = config(tmp_path)
    path.write_text(path.read_text().replace("kvawatch", "kvwatch").replace("wasmcloud:", "wasi:"))
    async with Host.from_config(path) as host:

        async def told(key: str, expected: str) -> None:
            with anyio.fail_after(20):
                while await host.call("w", "noted", key) != expected:  # noqa: ASYNC110  a guest has no events
                    await anyio.sleep(0.005)

        async def do() -> None:
            await host.call("w", "write", "b", "k", "one")
            await told("k", "one now one")
            await host.call("w", "write", "b", "k", None)
            await told("k", "deleted")

        await serve_and(host, do)


async def test_a_bucket_that_is_not_granted_is_not_watched(tmp_path: Path) -> None:
    async with Host.from_config(config(tmp_path, 'label = "watched"', 'buckets = ["a"]')) as host:
        with pytest.raises(ConfigError, match="the bucket 'b' cannot be watched: no-such-store") as refused:
            await host.serve(anyio.Event())
    assert "host.toml" in str(refused.value)


async def test_an_import_that_is_not_there_is_found_before_anything_is_opened(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        async with Host.from_config(config(tmp_path, 'label = "watch"')):
            pass
    (problem,) = refused.value.diagnostics
    assert problem.what == 'the component imports no wasmcloud:keyvalue/store under the label "watch"'
    assert "trigger.watch" in problem.where
    assert problem.fix == "did you mean 'watched'?"


async def test_a_backend_that_cannot_be_watched_is_found_before_anything_is_opened(tmp_path: Path) -> None:
    deaf = Delayed(MemoryProvider(), 0, name="memory")
    vars(deaf)["features"] = MemoryProvider.features - {"watch"}
    with pytest.raises(UsageError) as refused:
        async with Host.from_config(config(tmp_path, 'label = "watched"'), plugins=[plugin(deaf)]):
            pass
    (problem,) = refused.value.diagnostics
    assert problem.what == "backend 'memory' does not support watch, which trigger.watch needs"
    assert "trigger.watch" in problem.where
