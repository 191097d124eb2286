"""The trigger ``cron`` as the host knows it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

import anyio
from anyio.abc import TaskGroup
from pydantic import Field, field_validator

from wasmplex.capabilities.keyvalue import Bucket, KeyValueBackend, KeyValueError, PreconditionFailed
from wasmplex.errors import ConfigError, GuestExit, WasmplexError
from wasmplex.logs import Origin, get_logger
from wasmplex.plugins.triggers import (
    ExportAdapter,
    OwnBackend,
    RunningTrigger,
    Source,
    Trigger,
    TriggerBinding,
)
from wasmplex.settings import Duration, Settings
from wasmplex.triggers.cron.schedule import check_schedule, check_timezone, times
from wasmplex.values import Err

if TYPE_CHECKING:
    import socket

    from anyio.abc import TaskStatus

    from wasmplex.component.shape import Export
    from wasmplex.plugins.contracts import GuestInstance

__all__ = ["CronSettings", "CronTrigger", "RunCommand", "RunCommand02", "RunningCron"]

logger = get_logger("wasmplex.cron")

LONGEST_SLEEP = 10.0
"""Seconds after which the clock is looked at again, for somebody may set it."""
LOCK_TTL = 24 * 3600
"""Seconds for which it is remembered that a run has been taken."""
BUCKET = "cron"


class CronSettings(Settings):
    """``trigger.cron``: when a component is run."""

    schedule: str
    """Five fields as in a crontab: minute, hour, day, month, weekday; or six, the first for the second."""
    export: str = "wasi:cli/run"
    """The interface whose function `run` is called."""
    timezone: str = "UTC"
    """The time zone that the schedule is meant in."""
    overlap: Literal["skip", "wait", "allow"] = "skip"
    """What a run does while the one before goes on: not take place, wait for its end, or run beside it."""
    missed: Literal["skip", "run"] = "skip"
    """What becomes of runs whose time passed while the machine slept: none takes place, or one of them."""
    grace: Annotated[Duration, Field(ge=1)] = 60.0
    """How late a run may begin without counting as missed."""
    namespace: str | None = None
    """Hosts that name a `backend` and the same namespace share the runs: one of them does each."""

    _schedule = field_validator("schedule")(check_schedule)
    _timezone = field_validator("timezone")(check_timezone)


class RunCommand(ExportAdapter):
    """Calls ``wasi:cli/run`` of 0.3."""

    trigger = "cron"
    interface = "wasi:cli/run@0.3.0"

    def adapt(self, export: Export) -> Callable[[GuestInstance], Awaitable[None]]:
        """Return what calls it."""

        async def run(instance: GuestInstance) -> None:
            await instance.call(f"{export.name}#run")

        return run


class RunCommand02(RunCommand):
    """Calls ``wasi:cli/run`` of 0.2."""

    interface = "wasi:cli/run@0.2.12"


class CronTrigger(Trigger):
    """Runs components at times of a schedule."""

    name = "cron"
    settings = CronSettings
    capability = "keyvalue"

    def source(self, settings: CronSettings, export: Export) -> Source:
        """Take a backend for the lock that hosts share, if the table names one."""
        if export.name.partition("@")[0] != settings.export:
            raise ConfigError(
                f"trigger.cron cannot call {settings.export}",
                why=f"the component exports {export.name}",
                fix=f'export = "{export.name.partition("@")[0]}"',
            )
        return OwnBackend(frozenset({"if-not-exists", "ttl"}), optional=True)

    def start(
        self, bindings: Sequence[TriggerBinding], settings: Any, sockets: Sequence[socket.socket]
    ) -> RunningCron:
        """Return what runs the components of one host."""
        return RunningCron(bindings)


class RunningCron(RunningTrigger):
    """The schedules of one host."""

    def __init__(self, bindings: Sequence[TriggerBinding]) -> None:
        self._bindings = bindings
        self._scope = anyio.CancelScope()
        self._going = 0
        self._idle = anyio.Event()
        self._idle.set()

    async def serve(self, *, task_status: TaskStatus[Mapping[str, Any]]) -> None:
        """Run until cancelled or drained."""
        async with anyio.create_task_group() as runs:
            with self._scope:
                async with anyio.create_task_group() as schedules:
                    for binding in self._bindings:
                        schedules.start_soon(self._keep, binding, runs)
                    task_status.started({"schedules": [b.settings.schedule for b in self._bindings]})

    async def drain(self) -> None:
        """Begin no run, and return when those that have begun have ended."""
        self._scope.cancel()
        await self._idle.wait()

    async def _keep(self, binding: TriggerBinding, runs: TaskGroup) -> None:
        """Begin the runs of one schedule at their times."""
        settings: CronSettings = binding.settings
        turn = anyio.Semaphore(1)
        with Origin(binding.workload.name):
            coming = times(settings.schedule, settings.timezone, time.time())
            due = next(coming)
            while True:
                while (left := due - time.time()) > 0:  # noqa: ASYNC110  it is the clock that is waited for
                    await anyio.sleep(min(left, LONGEST_SLEEP))
                late = time.time() - due
                if late > settings.grace and settings.missed == "skip":
                    logger.warning("the run of %s was missed by %d s and is skipped", _said(due), late)
                elif await self._taken(binding, due):
                    self._begin(runs, binding, turn, due)
                now = time.time()
                following = next(coming)
                if now - following > settings.grace:  # several were missed: at most one is made up for
                    coming = times(settings.schedule, settings.timezone, now)
                    following = next(coming)
                due = following

    async def _taken(self, binding: TriggerBinding, due: float) -> bool:
        """Say whether this host is the one to do a run."""
        if binding.source is None:
            return True
        backend = binding.source.backend
        assert isinstance(backend, KeyValueBackend)  # noqa: S101  it was asked for by capability
        key = f"{binding.workload.name} {binding.settings.schedule} {int(due)}"
        try:
            bucket: Bucket = await backend.open_bucket(binding.source.namespace, BUCKET)
            with anyio.fail_after(10):
                await bucket.set(key, b"", ttl_ms=LOCK_TTL * 1000, if_not_exists=True)
        except PreconditionFailed:
            return False
        except (KeyValueError, TimeoutError) as error:
            logger.error("the run of %s is skipped, for its lock cannot be had: %s", _said(due), error)
            return False
        return True

    def _begin(self, runs: TaskGroup, binding: TriggerBinding, turn: anyio.Semaphore, due: float) -> None:
        overlap = binding.settings.overlap
        if overlap == "skip":
            try:
                turn.acquire_nowait()
            except anyio.WouldBlock:
                logger.warning("the run of %s is skipped, for the one before goes on", _said(due))
                return
            turn.release()
        if self._idle.is_set():
            self._idle = anyio.Event()
        self._going += 1
        runs.start_soon(self._run, binding, None if overlap == "allow" else turn, due)

    async def _run(self, binding: TriggerBinding, turn: anyio.Semaphore | None, due: float) -> None:
        try:
            if turn is None:
                await self._call(binding, due)
            else:
                async with turn:
                    await self._call(binding, due)
        finally:
            self._going -= 1
            if not self._going:
                self._idle.set()

    async def _call(self, binding: TriggerBinding, due: float) -> None:
        with Origin(binding.workload.name):
            begun = time.monotonic()
            try:
                async with binding.workload.instance() as instance:
                    await binding.handler(instance)
            except GuestExit as ended:
                failure: str | None = f"exit code {ended.code}" if ended.code else None
            except Err:
                failure = "it returned an error"
            except WasmplexError as error:
                failure = str(error)
            else:
                failure = None
            took = time.monotonic() - begun
            if failure is None:
                logger.info("the run of %s took %.3g s", _said(due), took)
            else:
                logger.error("the run of %s failed after %.3g s: %s", _said(due), took, failure)


def _said(due: float) -> str:
    return datetime.fromtimestamp(due, UTC).isoformat().replace("+00:00", "Z")
