"""The trigger ``cron`` as the host knows it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import anyio
from pydantic import Field, field_validator

from wasmplex.errors import ConfigError
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
from wasmplex.triggers.cron.runs import Runs, said
from wasmplex.triggers.cron.schedule import check_schedule, check_timezone, times

if TYPE_CHECKING:
    import socket

    from anyio.abc import TaskStatus

    from wasmplex.component.shape import Export
    from wasmplex.plugins.contracts import GuestInstance

__all__ = ["CronSettings", "CronTrigger", "RunCommand", "RunCommand02", "RunningCron"]

logger = get_logger("wasmplex.cron")

LONGEST_SLEEP = 10.0
"""Seconds after which the clock is looked at again, for somebody may set it."""
SET_BACK = 3 * 3600.0
"""Seconds by which the clock may be set back without a run taking place twice, as Debian's cron has it. Of a
clock that is set back further the times are reckoned anew: it had been wrong."""


class CronSettings(Settings):
    """``trigger.cron``: when a component is run."""

    schedule: str = Field(examples=["0 3 * * *"])
    """Five fields as in a crontab: minute, hour, day, month, weekday; or six, the first for the second."""
    export: str = "wasi:cli/run"
    """The interface whose function `run` is called."""
    timezone: str = "UTC"
    """The time zone that the schedule is meant in."""
    overlap: Literal["skip", "wait", "allow"] = "skip"
    """What a run does while one goes on in this host: not take place; wait, as one may; or run beside it."""
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
        self._runs: list[Runs] = []

    async def serve(self, *, task_status: TaskStatus[Mapping[str, Any]]) -> None:
        """Run until cancelled or drained."""
        async with anyio.create_task_group() as tasks:
            with self._scope:
                async with anyio.create_task_group() as schedules:
                    for binding in self._bindings:
                        runs = Runs(binding, tasks)
                        self._runs.append(runs)
                        schedules.start_soon(_keep, binding, runs)
                    task_status.started({"schedules": [b.settings.schedule for b in self._bindings]})

    async def drain(self) -> None:
        """Begin no run, also none that waits, and return when those that have begun have ended."""
        self._scope.cancel()
        for runs in self._runs:
            runs.stop()
        for runs in self._runs:
            await runs.finish()


async def _keep(binding: TriggerBinding, runs: Runs) -> None:
    """Begin the runs of one schedule at their times."""
    settings: CronSettings = binding.settings
    with Origin(binding.workload.name):
        now = time.time()
        coming = times(settings.schedule, settings.timezone, now)
        due = next(coming)
        while True:
            seen = now
            while (left := due - seen) > 0:
                await anyio.sleep(min(left, LONGEST_SLEEP))
                before, seen = seen, time.time()
                if before - seen > SET_BACK:
                    logger.warning(
                        "the clock was set back by %d s: the next run is reckoned anew", before - seen
                    )
                    coming = times(settings.schedule, settings.timezone, seen)
                    due = next(coming)
            late = time.time() - due
            if late > settings.grace and settings.missed == "skip":
                logger.warning("the run of %s was missed by %d s and is skipped", said(due), late)
            else:
                runs.begin(due)
            now = time.time()
            following = next(coming)
            if now - following > settings.grace:  # several were missed: at most one is made up for
                coming = times(settings.schedule, settings.timezone, now)
                following = next(coming)
            due = following
