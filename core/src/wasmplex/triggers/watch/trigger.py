"""The trigger ``watch`` as the host knows it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import anyio
from pydantic import Field

from wasmplex.capabilities.keyvalue import CASES
from wasmplex.errors import WasmplexError
from wasmplex.logs import Origin, get_logger
from wasmplex.plugins.triggers import RunningTrigger, Source, Through, Trigger, TriggerBinding
from wasmplex.settings import Settings
from wasmplex.triggers.resuming import Resumed, Words, refusal
from wasmplex.triggers.watch.deliveries import Deliveries

if TYPE_CHECKING:
    import socket

    from anyio.abc import TaskGroup, TaskStatus

    from wasmplex.capabilities.keyvalue import Change
    from wasmplex.capabilities.keyvalue.watch import Watched
    from wasmplex.component.shape import Export

__all__ = ["RunningWatch", "WatchSettings", "WatchTrigger"]

logger = get_logger("wasmplex.watch")


class WatchSettings(Settings):
    """``trigger.watch``: what a component is told of."""

    bucket: str = Field(examples=["orders"])
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

    async def examine(self, bindings: Sequence[TriggerBinding]) -> Sequence[WasmplexError]:
        """Return what would keep each bucket from being watched."""
        found: list[WasmplexError] = []
        for binding in bindings:
            try:
                watched: Watched = await binding.handler(binding)
                async with watched.changes():
                    pass
            except Exception as error:  # noqa: BLE001  whatever it is, there are others to be examined
                found.append(refusal(binding, CASES, _cannot_watch(binding.settings), error))
        return found

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
                await tasks.start(self._watch, binding, watched, tasks)
            task_status.started({"buckets": [binding.settings.bucket for binding in self._bindings]})

    async def _watch(
        self, binding: TriggerBinding, watched: Watched, tasks: TaskGroup, *, task_status: TaskStatus[None]
    ) -> None:
        """Take changes until drained; a watch that breaks is begun again."""
        settings, name = binding.settings, binding.workload.name
        what = f"bucket {settings.bucket}"
        deliveries = Deliveries(
            watched.deliver,
            tasks,
            most=settings.max_in_flight,
            attempts=settings.max_deliver,
            what=what,
            workload=name,
            largest=watched.largest,
            report=binding.report,
        )
        self._deliveries.append(deliveries)

        async def take(changes: AsyncIterator[Change]) -> None:
            async for change in changes:
                watching.pauses.reset()
                await deliveries.put(change)

        words = Words(
            what,
            _cannot_watch(settings),
            "changes may have been lost",
            "watched again",
        )
        watching = Resumed(binding, CASES, watched.changes, take, words, logger)
        with Origin(name), anyio.CancelScope() as scope:
            self._watching.append(scope)
            await watching.run(task_status=task_status)

    async def drain(self) -> None:
        """Take no new changes and return when those taken have been delivered."""
        for scope in self._watching:
            scope.cancel()
        for deliveries in self._deliveries:
            await deliveries.finish()


def _cannot_watch(settings: WatchSettings) -> str:
    return f"cannot watch the bucket {settings.bucket!r}"
