"""The trigger ``cron``: a component is run when its schedule says, by one of those who share it."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import anyio
import pytest
from host_plugin_memory import MemoryProvider
from wasmplex.capabilities.keyvalue import StoreUnavailable
from wasmplex.errors import GuestExit, Trap, UsageError
from wasmplex.host import Host
from wasmplex.plugin import OpenContext
from wasmplex.plugins.triggers import TriggerBinding, TriggerSource
from wasmplex.testing import Faulty, Hang
from wasmplex.triggers.cron import CronSettings, CronTrigger
from wasmplex.triggers.cron.runs import Runs
from wasmplex.triggers.cron.schedule import times
from wasmplex.triggers.cron.trigger import RunningCron

pytestmark = pytest.mark.anyio

ZONES = [ZoneInfo(name) for name in ("UTC", "Europe/Berlin")]
"""Read before there is an event loop, whichever test is the first."""
GUESTS = Path(__file__).parents[3] / "tests" / "guests" / "built"


@pytest.mark.parametrize(
    ("schedule", "zone", "after", "expected"),
    [
        ("*/5 * * * *", "UTC", "2026-03-01T10:02:00", "2026-03-01T10:05:00"),
        ("30 2 * * *", "Europe/Berlin", "2026-03-28T20:00:00", "2026-03-29T01:00:00"),  # there is no 02:30
        ("30 2 * * *", "Europe/Berlin", "2026-10-24T20:00:00", "2026-10-25T00:30:00"),  # of two, the first
        (
            "0 30 2 * * *",
            "Europe/Berlin",
            "2026-03-28T20:00:00",
            "2026-03-29T01:00:00",
        ),  # the same of six fields
        ("0 30 2 * * *", "Europe/Berlin", "2026-10-25T00:30:00", "2026-10-26T01:30:00"),
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2026-10-25T01:10:00",
            "2026-10-26T01:30:00",
        ),  # nothing that has been
        (
            "0 */30 2 * * *",
            "Europe/Berlin",
            "2026-10-25T00:30:00",
            "2026-10-25T01:00:00",
        ),  # a star: real time
        (
            "30 * * * *",
            "Australia/Lord_Howe",
            "2026-04-04T14:30:00",
            "2026-04-04T15:00:00",
        ),  # 01:30 comes twice
        ("0 9 * * MON", "America/New_York", "2026-07-01T00:00:00", "2026-07-06T13:00:00"),
        ("*/10 * * * * *", "UTC", "2026-03-01T10:00:01", "2026-03-01T10:00:10"),
    ],
)
def test_times(schedule: str, zone: str, after: str, expected: str) -> None:
    begin = datetime.fromisoformat(after).replace(tzinfo=UTC).timestamp()
    found = datetime.fromtimestamp(next(times(schedule, zone, begin)), UTC)
    assert found.replace(tzinfo=None).isoformat() == expected


# ---------------------------------------------------------------- the component being Python


class Named:
    """A workload all of whose calls are the handler's."""

    name = "w"

    @contextlib.asynccontextmanager
    async def instance(self) -> AsyncIterator[None]:
        yield


class Clock:
    """Time as the trigger reads it; it goes by as fast as the trigger sleeps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_000_000_000.0
        self._sleep = anyio.sleep
        monkeypatch.setattr(time, "time", lambda: self.now)
        monkeypatch.setattr(anyio, "sleep", self.sleep)

    async def sleep(self, seconds: float) -> None:
        await self._sleep(0.001)
        self.now += seconds


@contextlib.asynccontextmanager
async def serving(
    handler: Any, source: Any = None, report: Any = None, **settings: Any
) -> AsyncIterator[RunningCron]:
    told = CronSettings(schedule="* * * * *", **settings)
    binding = TriggerBinding(Named(), told, handler, source=source, report=report)  # type: ignore[arg-type]
    async with anyio.create_task_group() as tasks:
        running = CronTrigger().start([binding], None, ())
        assert isinstance(running, RunningCron)
        with anyio.fail_after(20):
            await tasks.start(running.serve)
            yield running
        tasks.cancel_scope.cancel()


async def test_it_runs_at_its_times_also_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, runs, enough = Clock(monkeypatch), list[float](), anyio.Event()
    ended: list[str] = []

    async def run(_: object) -> None:
        runs.append(clock.now)
        if len(runs) == 3:
            enough.set()
        if len(runs) != 2:
            raise Trap("no")

    async with serving(run, report=lambda outcome, seconds: ended.append(outcome)) as cron:
        await enough.wait()
        await cron.drain()
    assert ended[:3] == ["failed", "ok", "failed"]
    assert [later - earlier for earlier, later in itertools.pairwise(runs)][:2] == pytest.approx([60, 60])


@pytest.mark.parametrize(("overlap", "most"), [("skip", 1), ("wait", 1), ("allow", 3)])
async def test_runs_that_take_longer(monkeypatch: pytest.MonkeyPatch, overlap: str, most: int) -> None:
    clock, going, seen, runs, enough = Clock(monkeypatch), 0, 0, 0, anyio.Event()

    async def run(_: object) -> None:
        nonlocal going, seen, runs
        going, runs = going + 1, runs + 1
        seen = max(seen, going)
        begun = clock.now
        while clock.now < begun + 150 and not enough.is_set():  # two and a half turns
            await clock._sleep(0.0005)
        going -= 1
        if runs >= 4:
            enough.set()

    async with serving(run, overlap=overlap) as cron:
        await enough.wait()
        await cron.drain()
        assert going == 0
    assert seen == most


async def test_a_clock_that_was_in_the_future(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else nothing is run until it is there again."""
    clock, runs, enough = Clock(monkeypatch), list[float](), anyio.Event()
    begun = clock.now

    async def run(_: object) -> None:
        runs.append(clock.now)
        if len(runs) == 1:
            clock.now -= 86_400
        if len(runs) == 3 or clock.now > begun + 3600:
            enough.set()

    async with serving(run) as cron:
        await enough.wait()
        await cron.drain()
    assert [at < begun for at in runs[:3]] == [False, True, True]


@pytest.mark.parametrize(("missed", "expected"), [("skip", 0), ("run", 1)])
async def test_a_machine_that_slept(monkeypatch: pytest.MonkeyPatch, missed: str, expected: int) -> None:
    clock, runs, slept = Clock(monkeypatch), list[float](), False
    sleep = clock.sleep

    async def asleep(seconds: float) -> None:
        nonlocal slept
        await sleep(seconds)
        if not slept:
            clock.now += 3600
            slept = True
            woken.append(clock.now)

    woken: list[float] = []
    monkeypatch.setattr(anyio, "sleep", asleep)

    async def run(_: object) -> None:
        runs.append(clock.now)

    async with serving(run, missed=missed) as cron:
        while clock.now < 1_000_000_000 + 3600 + 150:
            await clock._sleep(0.001)
        await cron.drain()
    assert sum(at < woken[0] + 5 for at in runs) == expected


async def test_one_of_several_hosts_does_each_run(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, runs = Clock(monkeypatch), list[float]()
    backend = await MemoryProvider().open(MemoryProvider.settings(), OpenContext(Path()))

    async def run(_: object) -> None:
        runs.append(clock.now // 60)

    source = TriggerSource(backend, {}, "shared")
    async with serving(run, source), serving(run, source):
        while len(set(runs)) < 5:
            await clock._sleep(0.001)
    assert len(runs) == len(set(runs))


async def test_without_the_lock_nobody_runs(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock(monkeypatch)
    faulty = Faulty(MemoryProvider())
    faulty.at("open_bucket", StoreUnavailable("gone"))
    backend = await faulty.open(MemoryProvider.settings(), OpenContext(Path()))

    async def run(_: object) -> None:
        raise AssertionError

    async with serving(run, TriggerSource(backend, {}, "shared")):
        while "its lock cannot be had: gone" not in caplog.text:
            await clock._sleep(0.001)


# ---------------------------------------------------------------- which runs take place


class Job:
    """A run that goes on until it is told to end; it notes which host it is in."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.gate = anyio.Event()

    async def __call__(self, host: str) -> None:
        self.begun.append(host)
        await self.gate.wait()


@contextlib.asynccontextmanager
async def runs_of(job: Any, host: str = "a", source: Any = None, **settings: Any) -> AsyncIterator[Runs]:
    async def handler(_: object) -> None:
        await job(host)

    told = CronSettings(schedule="* * * * *", **settings)
    binding = TriggerBinding(Named(), told, handler, source=source)  # type: ignore[arg-type]
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            yield Runs(binding, tasks)
            tasks.cancel_scope.cancel()


async def begun(job: Job, count: int) -> None:
    while len(job.begun) < count:  # noqa: ASYNC110  what is waited for is no event
        await anyio.sleep(0.001)


async def ended(runs: Runs) -> None:
    runs.stop()
    await runs.finish()


async def shared_lock() -> TriggerSource:
    backend = await MemoryProvider().open(MemoryProvider.settings(), OpenContext(Path()))
    return TriggerSource(backend, {}, "shared")


async def test_no_more_than_one_run_waits(caplog: pytest.LogCaptureFixture) -> None:
    job = Job()
    async with runs_of(job, overlap="wait") as runs:
        for due in range(5):
            runs.begin(60.0 * due)
        await begun(job, 1)
        job.gate.set()
        await begun(job, 2)
        await ended(runs)
    assert len(job.begun) == 2
    assert caplog.text.count("is skipped, for that of 1970-01-01T00:01:00Z waits") == 3


async def test_a_run_that_waits_is_not_begun_while_draining(caplog: pytest.LogCaptureFixture) -> None:
    job = Job()
    async with runs_of(job, overlap="wait") as runs:
        runs.begin(0.0)
        runs.begin(60.0)
        await begun(job, 1)
        runs.stop()
        job.gate.set()
        await runs.finish()
    assert len(job.begun) == 1
    assert "the run of 1970-01-01T00:01:00Z is skipped, for the host stops" in caplog.text


async def test_a_host_that_skips_a_run_leaves_it_to_the_others() -> None:
    job, source = Job(), await shared_lock()
    async with runs_of(job, "a", source) as first, runs_of(job, "b", source) as second:
        first.begin(0.0)
        await begun(job, 1)
        first.begin(60.0)
        second.begin(60.0)
        await begun(job, 2)
        job.gate.set()
        await ended(first)
        await ended(second)
    assert job.begun == ["a", "b"]


async def test_schedules_that_differ_in_export_or_time_zone_do_not_share_runs() -> None:
    job, source = Job(), await shared_lock()
    job.gate.set()
    tables: list[dict[str, Any]] = [{}, {"export": "test:job/night"}, {"timezone": "Europe/Berlin"}, {}]
    for number, table in enumerate(tables):
        async with runs_of(job, str(number), source, **table) as runs:
            runs.begin(0.0)
            await ended(runs)
    assert job.begun == ["0", "1", "2"]


@pytest.mark.parametrize("fault", [Hang(), OSError("a driver's own"), RuntimeError("a defect")])
async def test_a_lock_that_cannot_be_had_costs_one_run(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, fault: Exception | Hang
) -> None:
    monkeypatch.setattr("wasmplex.triggers.cron.runs.LOCK_TIMEOUT", 0.01)
    faulty, job = Faulty(MemoryProvider()), Job()
    faulty.at("open_bucket", fault, times=1)
    backend = await faulty.open(MemoryProvider.settings(), OpenContext(Path()))
    job.gate.set()
    async with runs_of(job, source=TriggerSource(backend, {}, "shared")) as runs:
        runs.begin(0.0)
        await runs._idle.wait()
        monkeypatch.undo()  # the next lock may take its time
        runs.begin(60.0)
        await ended(runs)
    assert len(job.begun) == 1
    assert "its lock cannot be had" in caplog.text


async def test_an_error_that_nobody_foresaw_costs_one_run(caplog: pytest.LogCaptureFixture) -> None:
    count = 0

    async def job(_: object) -> None:
        nonlocal count
        count += 1
        raise TypeError("expected a string")

    async with runs_of(job) as runs:
        for due in (0.0, 60.0):
            runs.begin(due)
            await runs._idle.wait()
    assert count == 2
    assert [bool(record.exc_info) for record in caplog.records] == [True, True]


async def test_an_exit_with_0_is_as_good_as_a_return(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "wasmplex.cron")
    codes = [0, 3]

    async def job(_: object) -> None:
        raise GuestExit(codes.pop(0))

    async with runs_of(job) as runs:
        for due in (0.0, 60.0):
            runs.begin(due)
            await runs._idle.wait()
    assert [(record.levelname, record.message.rpartition(": ")[2]) for record in caplog.records][1:] == [
        ("ERROR", "exit code 3")
    ]
    assert [record.levelname for record in caplog.records] == ["INFO", "ERROR"]


# ---------------------------------------------------------------- real guests


async def test_a_command_is_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "wasmplex.cron")
    (tmp_path / "host.toml").write_text(
        f'[workload.report]\ncomponent = "{GUESTS / "command.wasm"}"\n'
        'trigger.cron = [{ schedule = "* * * * * *", export = "wasi:cli/run" }]\n'
    )
    stop = anyio.Event()
    async with Host.from_config(tmp_path) as host, anyio.create_task_group() as tasks:
        tasks.start_soon(host.serve, stop)
        with anyio.fail_after(30):
            while "the run of" not in caplog.text:  # noqa: ASYNC110  what is waited for is no event
                await anyio.sleep(0.02)
        stop.set()
    assert " took " in caplog.text, caplog.text


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("", "schedule"),
        ('schedule = "* * *"', "it takes five fields"),
        (f'schedule = "{"9" * 5000} * * * *"', "a field has at most 1000 characters"),
        ('schedule = "@daily"', 'write "0 0 * * *"'),
        ('schedule = "61 * * * *"', "bad minute"),
        ('schedule = "0 0 31 2 *"', "'0 0 31 2 *'"),
        ('schedule = "* * * * *", timezone = "Mars/Base"', "no time zone"),
        ('schedule = "* * * * *", timezone = "utc"', "did you mean 'UTC'?"),
        ('schedule = "* * * * *", timezone = "Europe/berlin"', "did you mean 'Europe/Berlin'?"),
        ('schedule = "* * * * *", timezone = "localtime"', "another zone on another machine"),
        ('schedule = "* * * * *", export = "wasi:cli/walk"', "cannot call wasi:cli/walk"),
        ('schedule = "* * * * *", backend = "nobody"', "nobody"),
        ('schedule = "* * * * *", namespace = "x"', "add a line backend ="),
    ],
)
async def test_what_a_table_must_not_say(tmp_path: Path, table: str, said: str) -> None:
    (tmp_path / "host.toml").write_text(
        f'[workload.report]\ncomponent = "{GUESTS / "command.wasm"}"\ntrigger.cron = [{{ {table} }}]\n'
    )
    with pytest.raises(UsageError) as error:
        async with Host.from_config(tmp_path):
            pass
    assert said in str(error.value)
    assert "host.toml:" in str(error.value)
