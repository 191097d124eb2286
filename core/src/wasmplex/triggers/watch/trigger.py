"""The trigger ``watch`` as the host knows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import anyio
from pydantic import Field

from wasmplex.capabilities.keyvalue import KeyValueError
from wasmplex.logs import get_logger
from wasmplex.plugins.triggers import RunningTrigger, Source, Through, Trigger, TriggerBinding
from wasmplex.settings import Settings
from wasmplex.triggers.watch.deliveries import Deliveries

if TYPE_CHECKING:
    import socket

    from anyio.abc import TaskStatus

    from wasmplex.capabilities.keyvalue.watch import Watched
    from wasmplex.component.shape import Export

__all__ = ["RunningWatch", "WatchSettings", "WatchTrigger"]

logger = get_logger("wasmplex.watch")

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 10.0
"""Seconds before a watch that broke is begun again."""


class WatchSettings(Settings):
    """``trigger.watch``: what a component is told of."""

    bucket: str
    """The bucket, as the component would open it."""
    label: str | None = None
    """The import to open it through; the one without a label if absent."""
    max_in_flight: Annotated[int, Field(ge=1)] = 16
    """Changes, of different keys, that the component may be told of at once."""
    max_deliver: Annotated[int, Field(ge=1)] = 5
    """How often a change is tried whose call fails; then it is logged and given up."""


class WatchTrigger(Trigger):
    """Calls ``on-set`` and ``on-delete`` of components, at least once a change, in order for each key.

    What changes while nobody watches, because the host is down or the backend out of reach, is not told.
    """

    name = "watch"
    settings = WatchSettings

    def source(self, settings: WatchSettings, export: Export) -> Source:
        """Watch through the import that the component itself would open the bucket by: under its grants."""
        package = export.name.partition("/")[0]
        return Through(f"{package}/store", settings.label, frozenset({"watch"}), opens=settings.bucket)

    def start(
        self, bindings: Sequence[TriggerBinding], settings: Any, sockets: Sequence[socket.socket]
    ) -> RunningWatch:
        """Return what watches the buckets of one host."""
        return RunningWatch(bindings)


class RunningWatch(RunningTrigger):
    """The buckets that are watched in one host."""

    def __init__(self, bindings: Sequence[TriggerBinding]) -> None:
        self._bindings = bindings
        self._watching: list[anyio.CancelScope] = []
        self._deliveries: list[Deliveries] = []

    async def serve(self, *, task_status: TaskStatus[Mapping[str, Any]]) -> None:
        """Serve until cancelled or drained; ready when every bucket is being watched.

        :raises wasmplex.errors.ConfigError: if a bucket cannot be watched as the configuration has it
        :raises wasmplex.errors.FailureError: if one cannot be opened now
        """
        opened = [(binding, await binding.handler(binding)) for binding in self._bindings]
        async with anyio.create_task_group() as tasks:
            for binding, watched in opened:
                what = f"workload {binding.workload.name}, bucket {binding.settings.bucket}"
                deliveries = Deliveries(
                    watched.deliver,
                    tasks,
                    most=binding.settings.max_in_flight,
                    attempts=binding.settings.max_deliver,
                    what=what,
                    workload=binding.workload.name,
                )
                self._deliveries.append(deliveries)
                await tasks.start(self._watch, watched, deliveries, what)
            task_status.started({"buckets": [binding.settings.bucket for binding in self._bindings]})

    async def _watch(
        self, watched: Watched, deliveries: Deliveries, what: str, *, task_status: TaskStatus[None]
    ) -> None:
        """Take changes until drained; a watch that breaks is begun again."""
        pause, ready = FIRST_PAUSE, False
        with anyio.CancelScope() as scope:
            self._watching.append(scope)
            while True:
                try:
                    async with watched.changes() as changes:
                        if not ready:
                            task_status.started()
                            ready = True
                        async for change in changes:
                            pause = FIRST_PAUSE
                            await deliveries.put(change)
                except KeyValueError as error:
                    logger.warning("%s: changes may have been lost: %s", what, error)
                await anyio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)

    async def drain(self) -> None:
        """Take no new changes and return when those taken have been delivered."""
        for scope in self._watching:
            scope.cancel()
        for deliveries in self._deliveries:
            await deliveries.finish()
