"""The trigger ``messaging`` as the host knows it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import anyio

from wasmplex.capabilities.messaging import CASES, MessagingBackend
from wasmplex.capabilities.messaging.subjects import matcher
from wasmplex.errors import Diagnostic, WasmplexError
from wasmplex.logs import get_logger
from wasmplex.plugins.triggers import (
    OwnBackend,
    RunningTrigger,
    Source,
    Through,
    Trigger,
    TriggerBinding,
    TriggerUse,
)
from wasmplex.triggers.messaging.intake import Intake, cannot_subscribe
from wasmplex.triggers.messaging.settings import MessagingTriggerSettings
from wasmplex.triggers.messaging.slices import Slices
from wasmplex.triggers.resuming import refusal

if TYPE_CHECKING:
    import socket

    from anyio.abc import TaskStatus

    from wasmplex.component.shape import Export

__all__ = ["MessagingTrigger", "RunningMessaging"]

logger = get_logger("wasmplex.messaging")

CONSUMER = "wasmcloud:messaging/consumer"
HANDLER = "wasmcloud:messaging/handler"


class MessagingTrigger(Trigger):
    """Calls ``handle-message`` of components, at least once a message."""

    name = "messaging"
    settings = MessagingTriggerSettings
    capability = "messaging"
    takes_over = True

    def source(self, settings: MessagingTriggerSettings, export: Export) -> Source:
        """Take messages from the backend that the table names, or from the one behind an import."""
        needed = frozenset(
            feature
            for feature, asked in {
                "durable": settings.durable,
                "history": settings.start == "first",
                "queue-groups": not settings.broadcast,
            }.items()
            if asked
        )
        through = Through(CONSUMER, settings.through, needed, key="through")
        return OwnBackend(needed, otherwise=through) if settings.through is None else through

    def conflicts(self, uses: Sequence[TriggerUse]) -> Iterator[Diagnostic]:
        """Report a durable name that two tables claim, and dead letters that come back to their table."""
        for number, use in enumerate(uses):
            yield from _circles(use)
            first = next((other for other in uses[:number] if _claims(other) == _claims(use)), None)
            if first is not None and (name := _durable(use)) is not None:
                yield Diagnostic(
                    f"{_both(first, use)} claim the durable name {name!r}",
                    use.where,
                    f"{first.where} has it, and a durable subscription is of one table",
                    'durable = "another-name"',
                )

    async def examine(self, bindings: Sequence[TriggerBinding]) -> Sequence[WasmplexError]:
        """Return what would keep each subscription from being had."""
        found: list[WasmplexError] = []
        for binding in bindings:
            source, name = binding.source, binding.workload.name
            assert source is not None  # noqa: S101  the trigger asks for one
            assert isinstance(source.backend, MessagingBackend)  # noqa: S101  it was asked for by capability
            try:
                await source.backend.examine(source.namespace, binding.settings.subscription(name))
            except Exception as error:  # noqa: BLE001  whatever it is, there are others to be examined
                found.append(refusal(binding, CASES, cannot_subscribe(binding.settings), error))
        return found

    def start(
        self, bindings: Sequence[TriggerBinding], settings: Any, sockets: Sequence[socket.socket]
    ) -> RunningMessaging:
        """Return what serves the subscriptions of one host."""
        return RunningMessaging(bindings)

    async def share(self, settings: Any) -> Sequence[socket.socket]:
        """Return nothing to share: the broker divides the messages between the workers."""
        return ()


class RunningMessaging(RunningTrigger):
    """The subscriptions of one host."""

    def __init__(self, bindings: Sequence[TriggerBinding]) -> None:
        self._bindings = bindings
        self.intakes: list[Intake] = []

    async def serve(self, *, task_status: TaskStatus[Mapping[str, Any]]) -> None:
        """Serve until cancelled or drained; ready when the broker has confirmed every subscription.

        :raises wasmplex.errors.ConfigError: if one can never be had as the configuration has it
        :raises wasmplex.errors.FailureError: if one cannot be had now
        """
        slices = Slices()
        async with anyio.create_task_group() as tasks:
            for binding in self._bindings:
                _tell_of_two(binding)
                handle = await binding.handler(binding)
                intake = Intake(binding, handle, slices)
                self.intakes.append(intake)
                await tasks.start(intake.run)
            subjects = [subject for binding in self._bindings for subject in binding.settings.subjects]
            task_status.started({"subjects": subjects})

    async def drain(self) -> None:
        """Take no new messages and return when those taken have an outcome."""
        for intake in self.intakes:
            intake.stop()
        for intake in self.intakes:
            await intake.finish()


def _circles(use: TriggerUse) -> Iterator[Diagnostic]:
    """Report dead letters that the component would be called with: each would be a dead letter again."""
    subject = use.settings.dead_letters(use.workload)
    if subject is not None and matcher(use.settings.subjects).fullmatch(subject):
        yield Diagnostic(
            f"the dead letters of the workload {use.workload} go to {subject}, which it handles",
            use.where,
            "each of them would be a dead letter again, without end",
            'dead_letter = "another.subject", or false',
        )


def _durable(use: TriggerUse) -> str | None:
    found: str | None = use.settings.subscription(use.workload).durable
    return found


def _both(one: TriggerUse, other: TriggerUse) -> str:
    if one.workload == other.workload:
        return f"two tables of workload {one.workload}"
    return f"workloads {one.workload} and {other.workload}"


def _claims(use: TriggerUse) -> tuple[object, ...]:
    """Return what no two tables may have in common."""
    return use.backend, use.namespace if "namespaces" in use.features else None, _durable(use)


def _tell_of_two(binding: TriggerBinding) -> None:
    """Say which export is called where a component has several."""
    exports = [e.name for e in binding.workload.shape.exports if e.name.partition("@")[0] == HANDLER]
    if len(exports) > 1:
        logger.warning(
            "workload %s exports %s: the newest is called", binding.workload.name, " and ".join(exports)
        )
