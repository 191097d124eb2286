"""The messages of one table of the trigger: taken from the broker as the component can handle them.

As many workers as calls may be under way take from one subscription. None takes a message before it has done
with the one before, so a broker is never asked for more than is being handled: a full host does not drop.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import anyio
from anyio.abc import TaskStatus

from wasmplex.capabilities.errors import CapabilityError
from wasmplex.capabilities.messaging import (
    CASES,
    Deliveries,
    Delivery,
    Message,
    MessageTooLarge,
    MessagingBackend,
)
from wasmplex.capabilities.messaging.handling import Handle
from wasmplex.errors import ConfigError, LimitExceeded
from wasmplex.logs import Origin, get_logger
from wasmplex.plugins.triggers import TriggerBinding
from wasmplex.policy import typed
from wasmplex.triggers.causes import unforeseen
from wasmplex.triggers.messaging.outcomes import (
    Fate,
    Verdict,
    backoff,
    before,
    dead_letter,
    judge,
    without_body,
)
from wasmplex.triggers.messaging.settings import MessagingTriggerSettings
from wasmplex.triggers.messaging.slices import Slices
from wasmplex.triggers.resuming import Resumed, Words

__all__ = ["Counts", "Intake"]

logger = get_logger("wasmplex.messaging")

FULL_PAUSE = 0.02
"""Seconds before a workload is asked again all of whose instances are taken."""


@dataclass(slots=True)
class Counts:
    """What became of the messages of one table.

    :ivar delivered: deliveries that the component was called with, repeated ones included
    :ivar handled: messages that it handled
    :ivar retried: deliveries that failed and are repeated
    :ivar dead: messages that were put to the dead letters
    :ivar lost: messages that failed for good, and there are no dead letters to put them to, or they are too
        large for that
    :ivar unsettled: outcomes that the broker could not be told: it delivers those messages again
    """

    delivered: int = 0
    handled: int = 0
    retried: int = 0
    dead: int = 0
    lost: int = 0
    unsettled: int = 0


class Intake:
    """Takes messages from a broker and calls a component with them.

    :param handle: calls the component
    :param slices: says when a message may be begun
    """

    def __init__(self, binding: TriggerBinding, handle: Handle, slices: Slices) -> None:
        source, settings = binding.source, binding.settings
        assert source is not None  # noqa: S101  the trigger asks for one
        assert isinstance(source.backend, MessagingBackend)  # noqa: S101  it was asked for by capability
        assert isinstance(settings, MessagingTriggerSettings)  # noqa: S101  they are the trigger's
        self.counts = Counts()
        self._settings = settings
        self._backend = source.backend
        self._namespace = source.namespace
        self._handle = handle
        self._slices = slices
        self._workload = binding.workload
        self._dead_letters = settings.dead_letters(binding.workload.name)
        self._plugin = source.plugin
        subjects = ", ".join(settings.subjects)
        self._what = f"workload {binding.workload.name}, {subjects}"
        words = Words(
            self._what, f"cannot subscribe to {subjects}", "the subscription broke", "subscribed again"
        )
        subscribe = partial(
            source.backend.subscribe, source.namespace, settings.subscription(binding.workload.name)
        )
        self._subscribed = Resumed(binding, CASES, subscribe, self._take, words, logger)
        self._deliveries: Deliveries | None = None
        self._out: dict[Delivery, None] = {}
        self._ended = anyio.Event()
        self._told = False
        self._full = False

    # ------------------------------------------------------------ the subscription

    async def run(self, *, task_status: TaskStatus[None]) -> None:
        """Take messages until stopped; ready when the broker has confirmed the subscription.

        :raises wasmplex.errors.ConfigError: if the subscription can never be had as it is configured
        :raises wasmplex.errors.FailureError: if it cannot be had now
        """
        try:
            await self._subscribed.run(task_status=task_status)
        finally:
            self._ended.set()

    def stop(self) -> None:
        """Take no new messages."""
        self._subscribed.stop()
        if self._deliveries is not None:
            self._deliveries.stop()

    async def finish(self) -> None:
        """Return, after `stop`, when what was taken has an outcome."""
        await self._ended.wait()
        if self._told:
            return
        self._told, c = True, self.counts
        logger.info(
            "%s: %d handled, %d retried, %d dead letters, %d lost",
            self._what, c.handled, c.retried, c.dead, c.lost,
        )  # fmt: skip

    async def _take(self, deliveries: Deliveries) -> None:
        """Have the workers take what is delivered, until there is no more."""
        broken: list[Exception] = []
        self._deliveries = deliveries
        if self._subscribed.stopped:
            deliveries.stop()
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._keep_alive)
                async with anyio.create_task_group() as workers:
                    for _ in range(self._settings.calls):
                        workers.start_soon(self._work, deliveries, broken)
                tasks.cancel_scope.cancel()
        finally:
            self._deliveries = None
        if broken:
            raise broken[0]

    async def _keep_alive(self) -> None:
        """Tell a broker that watches over deliveries which of them are being handled."""
        while True:
            await anyio.sleep(self._settings.ack_wait / 3)
            for delivery in [one for one in self._out if one.watched]:
                try:
                    await delivery.in_progress()
                except Exception:  # noqa: BLE001  its outcome will not reach the broker either, and is counted then
                    break

    async def _work(self, deliveries: Deliveries, broken: list[Exception]) -> None:
        with Origin(self._workload.name):
            while True:
                try:
                    delivery = await deliveries.next()
                except Exception as error:  # noqa: BLE001  whatever it is, only the subscription is broken
                    broken.append(self._typed("subscription", error))
                    return
                if delivery is None:
                    return
                self._subscribed.pauses.reset()
                self._out[delivery] = None
                try:
                    await self._slices.begin()
                    await self._deliver(delivery)
                except Exception as error:  # noqa: BLE001  whatever it is, other messages are to be handled
                    self.counts.unsettled += 1
                    said = self._typed("outcome", error)
                    logger.warning("%s: an outcome did not reach the broker: %s", self._what, said)
                finally:
                    del self._out[delivery]

    def _typed(self, operation: str, error: Exception) -> CapabilityError:
        return typed(CASES, operation, error, self._plugin)

    # ------------------------------------------------------------ one message

    async def _deliver(self, delivery: Delivery) -> None:
        """Handle a message, and tell the broker what became of it."""
        error: Exception | None = None
        verdict = before(delivery, self._settings)
        if verdict is None:
            error = await self._call(delivery)
            if isinstance(error, LimitExceeded) and not error.called:  # and the workload takes no more calls
                await delivery.retry(0)
                return
            verdict = judge(error, delivery.tries, self._settings)
        if verdict.fate is Fate.DONE:
            self.counts.handled += 1
            await delivery.ack()
        elif verdict.fate is Fate.AGAIN:
            self.counts.retried += 1
            logger.warning(
                "%s: delivery %d of a message to %s failed, the next is in %g s: %s",
                self._what, delivery.tries, delivery.message.subject, verdict.after, _text(error),
                exc_info=unforeseen(error), extra={"repeats": type(error).__name__},
            )  # fmt: skip
            await delivery.retry(verdict.after)
        else:
            await self._bury(delivery, verdict, error)

    async def _call(self, delivery: Delivery) -> Exception | None:
        """Call the component, and return what that raised; wait for an instance as long as it takes."""
        while True:
            try:
                async with self._workload.instance() as instance:
                    self._full = False
                    self.counts.delivered += 1
                    await self._handle(instance, delivery.message)
            except Exception as error:  # noqa: BLE001  whatever it is, it is this message that failed
                waits = isinstance(error, LimitExceeded) and not error.called
                if not waits or self._subscribed.stopped:
                    return error
                self._tell_full(error)
                await anyio.sleep(FULL_PAUSE)
            else:
                return None

    def _tell_full(self, error: Exception) -> None:
        if not self._full:
            self._full = True
            logger.warning("%s: messages wait for an instance: %s", self._what, error)

    async def _bury(self, delivery: Delivery, verdict: Verdict, error: Exception | None) -> None:
        """Put a message to the dead letters; give it up where there are none, or it is too large for them."""
        if (subject := self._dead_letters) is None:
            await self._give_up(delivery, verdict, error, "given up")
            return
        letter = dead_letter(delivery, subject, self._workload.name, verdict.reason, error)
        try:
            kept = await self._keep(letter)
        except Exception as refused:  # noqa: BLE001  whatever it is, the message is not lost
            said = refused if isinstance(refused, ConfigError) else self._typed("dead letter", refused)
            logger.error("%s: a dead letter cannot be kept, the message stays: %s", self._what, said)
            await delivery.retry(backoff(delivery.tries, self._settings))
            return
        if kept is None:
            await self._give_up(delivery, verdict, error, "given up, too large for a dead letter,")
            return
        self.counts.dead += 1
        without = "" if kept is letter else " without its body, for it is too large,"
        self._tell_end(delivery, verdict, error, f"a dead letter in {subject}{without}")
        await delivery.reject()

    async def _give_up(
        self, delivery: Delivery, verdict: Verdict, error: Exception | None, fate: str
    ) -> None:
        self.counts.lost += 1
        self._tell_end(delivery, verdict, error, fate)
        await delivery.reject()

    def _tell_end(self, delivery: Delivery, verdict: Verdict, error: Exception | None, fate: str) -> None:
        subject, reason = delivery.message.subject, verdict.reason
        logger.error(
            "%s: a message to %s is %s after %d deliveries (%s): %s",
            self._what, subject, fate, delivery.tries, reason, _text(error) or reason,
            exc_info=unforeseen(error), extra={"repeats": fate},
        )  # fmt: skip

    async def _keep(self, letter: Message) -> Message | None:
        """Keep a dead letter, without its body if it is too large with it; None if it is even then."""
        keeps = "dead-letters" in self._backend.features
        send = self._backend.keep if keeps else self._backend.publish
        for attempt in (letter, without_body(letter)):
            try:
                await send(self._namespace, attempt)
            except MessageTooLarge:
                continue
            return attempt
        return None


def _text(error: Exception | None) -> str:
    """Return what the log says of an error; empty for none."""
    return "" if error is None else str(error) or type(error).__name__
