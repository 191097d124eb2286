"""The messages of one table of the trigger: taken from the broker as the component can handle them.

As many workers as calls may be under way take from one subscription. None takes a message before it has done
with the one before, so a broker is never asked for more than is being handled: a full host does not drop.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import anyio
from anyio.abc import TaskStatus

from wasmplex.capabilities.messaging import Deliveries, Delivery, Message, MessagingBackend, MessagingError
from wasmplex.capabilities.messaging.handling import Handle, HandlerFailed, HandlerRejected
from wasmplex.errors import ConfigError, FailureError, LimitExceeded, WasmplexError
from wasmplex.logs import Origin, get_logger
from wasmplex.plugins.triggers import TriggerBinding
from wasmplex.triggers.messaging.outcomes import Fate, Verdict, backoff, before, dead_letter, judge
from wasmplex.triggers.messaging.settings import MessagingTriggerSettings

__all__ = ["Counts", "Intake"]

logger = get_logger("wasmplex.messaging")

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 10.0
"""Seconds before a subscription that broke is begun again."""
FULL_PAUSE = 0.02
"""Seconds before a workload is asked again all of whose instances are taken."""


@dataclass(slots=True)
class Counts:
    """What became of the messages of one table.

    :ivar delivered: deliveries that the component was called with, repeated ones included
    :ivar handled: messages that it handled
    :ivar retried: deliveries that failed and are repeated
    :ivar dead: messages that were put to the dead letters
    :ivar lost: messages that failed for good, and there are no dead letters to put them to
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
    """

    def __init__(self, binding: TriggerBinding, handle: Handle) -> None:
        source, settings = binding.source, binding.settings
        assert source is not None  # noqa: S101  the trigger asks for one
        assert isinstance(source.backend, MessagingBackend)  # noqa: S101  it was asked for by capability
        assert isinstance(settings, MessagingTriggerSettings)  # noqa: S101  they are the trigger's
        self.counts = Counts()
        self._binding = binding
        self._settings = settings
        self._backend = source.backend
        self._namespace = source.namespace
        self._handle = handle
        self._workload = binding.workload
        self._subscription = settings.subscription(binding.workload.name)
        self._dead_letters = settings.dead_letters(binding.workload.name)
        self._what = f"workload {binding.workload.name}, {', '.join(settings.subjects)}"
        self._deliveries: Deliveries | None = None
        self._out: dict[Delivery, None] = {}
        self._pausing = anyio.CancelScope()
        self._stopping = False
        self._ended = anyio.Event()
        self._told = False

    # ------------------------------------------------------------ the subscription

    async def run(self, *, task_status: TaskStatus[None]) -> None:
        """Take messages until stopped; ready when the broker has confirmed the subscription.

        :raises wasmplex.errors.ConfigError: if the subscription can never be had as it is configured
        :raises wasmplex.errors.FailureError: if it cannot be had now
        """
        ready, pause = False, FIRST_PAUSE
        try:
            while not self._stopping:
                try:
                    async with self._backend.subscribe(self._namespace, self._subscription) as deliveries:
                        if ready:
                            logger.info("%s: subscribed again", self._what)
                        else:
                            task_status.started()
                        ready, pause = True, FIRST_PAUSE
                        await self._take(deliveries)
                except MessagingError as error:
                    if not ready:
                        raise self._failed(error) from error
                    logger.warning("%s: the subscription broke: %s", self._what, error)
                except ConfigError as error:
                    raise self._located(error) from error
                await self._pause(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
        finally:
            self._ended.set()

    def stop(self) -> None:
        """Take no new messages."""
        self._stopping = True
        self._pausing.cancel()
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

    def _failed(self, error: MessagingError) -> FailureError:
        source = self._binding.source
        why = f"{source.plugin}: {error}" if source is not None else str(error)
        what = f"workload {self._workload.name!r} cannot subscribe to {', '.join(self._settings.subjects)}"
        return FailureError(what, where=self._binding.where, why=why)

    def _located(self, error: ConfigError) -> ConfigError:
        return ConfigError([replace(d, where=d.where or self._binding.where) for d in error.diagnostics])

    async def _pause(self, seconds: float) -> None:
        if not self._stopping:
            with self._pausing:
                await anyio.sleep(seconds)

    async def _take(self, deliveries: Deliveries) -> None:
        """Have the workers take what is delivered, until there is no more."""
        broken: list[MessagingError] = []
        self._deliveries = deliveries
        if self._stopping:
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
                except MessagingError:  # its outcome will not reach the broker either, and is counted then
                    break

    async def _work(self, deliveries: Deliveries, broken: list[MessagingError]) -> None:
        with Origin(self._workload.name):
            while True:
                try:
                    delivery = await deliveries.next()
                except MessagingError as error:
                    broken.append(error)
                    return
                if delivery is None:
                    return
                self._out[delivery] = None
                try:
                    await self._deliver(delivery)
                except MessagingError as error:
                    self.counts.unsettled += 1
                    logger.warning("%s: an outcome did not reach the broker: %s", self._what, error)
                finally:
                    del self._out[delivery]

    # ------------------------------------------------------------ one message

    async def _deliver(self, delivery: Delivery) -> None:
        """Handle a message, and tell the broker what became of it."""
        error: Exception | None = None
        verdict = before(delivery, self._settings)
        if verdict is None:
            error = await self._call(delivery)
            if isinstance(error, LimitExceeded):  # the workload ends: the component was not called
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
                self._what, delivery.tries, delivery.message.subject, verdict.after, error,
            )  # fmt: skip
            await delivery.retry(verdict.after)
        else:
            await self._bury(delivery, verdict, error)

    async def _call(self, delivery: Delivery) -> Exception | None:
        """Call the component, and return what that raised."""
        while True:
            try:
                async with self._workload.instance() as instance:
                    self.counts.delivered += 1
                    await self._handle(instance, delivery.message)
            except LimitExceeded as error:
                if self._stopping:
                    return error
                await anyio.sleep(FULL_PAUSE)
            except (HandlerFailed, HandlerRejected, WasmplexError) as error:
                return error
            else:
                return None

    async def _bury(self, delivery: Delivery, verdict: Verdict, error: Exception | None) -> None:
        """Put a message to the dead letters, or log it where there are none."""
        what = f"after {delivery.tries} deliveries ({verdict.reason})"
        if (subject := self._dead_letters) is None:
            self.counts.lost += 1
            logger.error(
                "%s: a message to %s is given up %s: %s",
                self._what, delivery.message.subject, what, error or verdict.reason,
            )  # fmt: skip
            await delivery.reject()
            return
        letter = dead_letter(delivery, subject, self._workload.name, verdict.reason, error)
        try:
            await self._keep(letter)
        except (MessagingError, ConfigError) as refused:
            after = backoff(delivery.tries, self._settings)
            logger.error("%s: a dead letter cannot be kept, the message stays: %s", self._what, refused)
            await delivery.retry(after)
            return
        self.counts.dead += 1
        logger.error(
            "%s: a message to %s is a dead letter in %s %s: %s",
            self._what, delivery.message.subject, subject, what, error or verdict.reason,
        )  # fmt: skip
        await delivery.reject()

    async def _keep(self, letter: Message) -> None:
        keeps = "dead-letters" in self._backend.features
        send = self._backend.keep if keeps else self._backend.publish
        await send(self._namespace, letter)
