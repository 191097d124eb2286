"""Sends a message to a host, and waits until its handlers have been called with it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Literal, TypeAlias
from uuid import uuid4

import anyio

from wasmplex.capabilities.messaging import Delivery, Message, MessagingBackend
from wasmplex.capabilities.messaging.subjects import matcher
from wasmplex.errors import UsageError
from wasmplex.host import Host
from wasmplex.plugins.triggers import TriggerBinding
from wasmplex.triggers.messaging.intake import Intake
from wasmplex.triggers.messaging.trigger import RunningMessaging

__all__ = ["Published", "published"]

Published: TypeAlias = Literal["done", "retry", "dead letter", "given up"]
"""What became of a message with one handler."""

_WORDS: dict[str, Published] = {
    "ack": "done", "retry": "retry", "dead": "dead letter", "lost": "given up",
}  # fmt: skip
_HEADER = "Wasmplex-Published"
"""Says which message it is; guests see no headers."""


async def published(
    host: Host, broker: MessagingBackend, namespace: str, message: Message, seconds: float
) -> list[Published]:
    """Publish, and return what became of the message with each that takes it; see `WasmHost.publish`."""
    takers = [*_takers(host, broker, namespace, message.subject)]
    if not takers:
        taken = [one for b in host.trigger_bindings("messaging") for one in b.settings.subjects]
        why = f"its triggers take {', '.join(taken)}"
        raise UsageError(f"no handler of the host takes messages to {message.subject}", why=why)
    token, outcomes, done = uuid4().hex, dict[str, Published](), anyio.Event()
    groups = dict.fromkeys(group for group, _ in takers)

    def observe(group: str, delivery: Delivery, outcome: str) -> None:
        if (delivery.message.headers or {}).get(_HEADER) == token:
            outcomes.setdefault(group, _WORDS[outcome])
            if len(outcomes) == len(groups):
                done.set()

    observers = [(intake.observers, partial(observe, group)) for group, intake in takers]
    for told, observer in observers:
        told.append(observer)
    try:
        await broker.publish(namespace, message._replace(headers={_HEADER: token}))
        with anyio.move_on_after(seconds):
            await done.wait()
    finally:
        for told, observer in observers:
            told.remove(observer)
    if not done.is_set():
        raise TimeoutError(f"the handlers of {message.subject} were not done after {seconds:g} s")
    return [outcomes[group] for group in groups]


def _takers(
    host: Host, broker: MessagingBackend, namespace: str, subject: str
) -> Iterator[tuple[str, Intake]]:
    """Return what takes a subject, with the name of those that share its messages."""
    running = host._running["messaging"]  # noqa: SLF001  whoever serves has no need of it
    assert isinstance(running, RunningMessaging)
    for binding, intake in zip(host.trigger_bindings("messaging"), running.intakes, strict=True):
        source = binding.source
        if source is None or source.backend is not broker or source.namespace != namespace:
            continue
        if matcher(binding.settings.subjects).fullmatch(subject):
            yield _group(binding), intake


def _group(binding: TriggerBinding) -> str:
    wanted = binding.settings.subscription(binding.workload.name)
    return f"durable {wanted.durable}" if wanted.durable else wanted.queue_group or f"one {id(binding)}"
