"""The runs of one schedule in one host: which of them take place, and how they end."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import anyio
from anyio.abc import TaskGroup

from wasmplex.capabilities.keyvalue import CASES, KeyValueBackend, PreconditionFailed
from wasmplex.errors import GuestExit, exited_well
from wasmplex.logs import Origin, get_logger
from wasmplex.plugins.triggers import TriggerBinding
from wasmplex.policy import typed
from wasmplex.triggers.causes import in_one_line, unforeseen
from wasmplex.values import Err

__all__ = ["Runs", "said"]

logger = get_logger("wasmplex.cron")

LOCK_TTL = 24 * 3600
"""Seconds for which it is remembered that a run has been taken."""
LOCK_TIMEOUT = 10.0
"""Seconds that taking a run may take."""
BUCKET = "cron"


class Runs:
    """The runs of one schedule.

    :param tasks: where they go on
    """

    def __init__(self, binding: TriggerBinding, tasks: TaskGroup) -> None:
        self._binding = binding
        self._tasks = tasks
        self._overlap = binding.settings.overlap
        self._going = 0
        self._waits: float | None = None  # the one that begins when no other goes on
        self._stopped = False
        self._idle = anyio.Event()
        self._idle.set()

    def begin(self, due: float) -> None:
        """Begin a run, or have it wait for the one before; where it may not, say so."""
        if not self._going or self._overlap == "allow":
            self._start(due)
        elif self._overlap == "skip":
            logger.warning("the run of %s is skipped, for the one before goes on", said(due))
        elif self._waits is not None:
            logger.warning("the run of %s is skipped, for that of %s waits", said(due), said(self._waits))
        else:
            self._waits = due

    def stop(self) -> None:
        """Begin no run any more, also none that waits."""
        self._stopped = True
        if self._waits is not None:
            logger.warning("the run of %s is skipped, for the host stops", said(self._waits))

    async def finish(self) -> None:
        """Return, after `stop`, when the runs that have begun have ended."""
        await self._idle.wait()

    def _start(self, due: float) -> None:
        if not self._going:
            self._idle = anyio.Event()
        self._going += 1
        self._tasks.start_soon(self._run, due)

    async def _run(self, due: float) -> None:
        try:
            with Origin(self._binding.workload.name):
                if await self._taken(due):
                    await self._call(due)
        finally:
            self._going -= 1
            self._follow()

    def _follow(self) -> None:
        if self._going:
            return
        if self._waits is None or self._stopped:
            self._idle.set()
        else:
            due, self._waits = self._waits, None
            self._start(due)

    async def _taken(self, due: float) -> bool:
        """Say whether this host is the one to do a run. It asks when it can begin, not before."""
        source, settings = self._binding.source, self._binding.settings
        if source is None:
            return True
        assert isinstance(source.backend, KeyValueBackend)  # noqa: S101  it was asked for by capability
        parts = self._binding.workload.name, settings.export, settings.schedule, settings.timezone
        key = f"{' '.join(parts)} {int(due)}"
        try:
            with anyio.fail_after(LOCK_TIMEOUT):
                bucket = await source.backend.open_bucket(source.namespace, BUCKET)
                await bucket.set(key, b"", ttl_ms=LOCK_TTL * 1000, if_not_exists=True)
        except PreconditionFailed:
            return False
        except Exception as error:  # noqa: BLE001  whatever it is, there will be other runs
            known = typed(CASES, "lock", error, source.plugin)
            logger.error("the run of %s is skipped, for its lock cannot be had: %s", said(due), known)
            return False
        return True

    async def _call(self, due: float) -> None:
        binding, begun = self._binding, time.monotonic()
        failure: Exception | None = None
        try:
            async with binding.workload.instance() as instance:
                await binding.handler(instance)
        except Exception as error:  # noqa: BLE001  whatever it is, there will be other runs
            failure = None if exited_well(error) else error
        took = time.monotonic() - begun
        if binding.report is not None:
            binding.report("ok" if failure is None else "failed", took)
        if failure is None:
            logger.info("the run of %s took %.3g s", said(due), took)
        else:
            logger.error(
                "the run of %s failed after %.3g s: %s", said(due), took, _why(failure),
                exc_info=unforeseen(failure), extra={"repeats": type(failure).__name__},
            )  # fmt: skip


def _why(error: Exception) -> str:
    if isinstance(error, GuestExit):
        return f"exit code {error.code}"
    return "it returned an error" if isinstance(error, Err) else in_one_line(error)


def said(due: float) -> str:
    """Return a time as the log has it."""
    return datetime.fromtimestamp(due, UTC).isoformat().replace("+00:00", "Z")
