"""Tells the broker what became of messages, counts it, and puts to the dead letters what nobody handles.

What is asked of the broker may take no longer than `ack_wait`, in which it would do without a host that is
gone: one that never answers would keep a message for ever, and the call that others wait for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from time import perf_counter
from typing import Any, TypeAlias, TypeVar

from wasmplex.capabilities.errors import CapabilityError
from wasmplex.capabilities.messaging import (
    CASES,
    Deliveries,
    Delivery,
    Message,
    MessageTooLarge,
    MessagingBackend,
)
from wasmplex.errors import ConfigError, LimitExceeded
from wasmplex.logs import get_logger
from wasmplex.plugins.triggers import TriggerBinding
from wasmplex.policy import typed
from wasmplex.policy.deadline import within
from wasmplex.triggers.causes import in_one_line, unforeseen
from wasmplex.triggers.messaging.counts import Counts
from wasmplex.triggers.messaging.outcomes import (
    Fate,
    Verdict,
    backoff,
    dead_letter,
    judge,
    left_out,
    smaller,
)
from wasmplex.triggers.messaging.settings import MessagingTriggerSettings
from wasmplex.triggers.messaging.unburied import Unburied

__all__ = ["Observer", "Settler"]

logger = get_logger("wasmplex.messaging")

Observer: TypeAlias = Callable[[Delivery, str], None]
"""Told how a delivery ended: ``ack``, ``retry``, ``dead`` or ``lost``."""

T = TypeVar("T")


class Settler:
    """Gives the messages of one table their outcomes.

    :param begun: when each message was taken, by `time.perf_counter`
    :param dead_letters: the subject of dead letters; None if there are none
    :param what: which messages these are, for the log: its records say whose
    """

    def __init__(
        self,
        binding: TriggerBinding,
        counts: Counts,
        begun: Mapping[Delivery, float],
        dead_letters: str | None,
        what: str,
    ) -> None:
        source, settings = binding.source, binding.settings
        assert source is not None  # noqa: S101  the trigger asks for one
        assert isinstance(source.backend, MessagingBackend)  # noqa: S101  it was asked for by capability
        assert isinstance(settings, MessagingTriggerSettings)  # noqa: S101  they are the trigger's
        self._counts = counts
        self._begun = begun
        self._report = binding.report
        self._settings = settings
        self._backend = source.backend
        self._namespace = source.namespace
        self._plugin = source.plugin
        self._workload = binding.workload.name
        self._dead_letters = dead_letters
        self.unburied = Unburied()
        self.observers: list[Observer] = []
        """Called with each outcome, before the broker is told of it."""
        self._what = what

    async def handled(self, delivery: Delivery) -> None:
        """Say that a message was handled."""
        self._counts.handled += 1
        self._note(delivery, "ack")
        try:
            await self._in_time(delivery.ack())
        except Exception as error:  # noqa: BLE001  see `_tell`
            self._note_untold(error, 1)

    async def all_handled(self, deliveries: Deliveries, handled: Sequence[Delivery]) -> None:
        """Say that messages were handled."""
        self._counts.handled += len(handled)
        if self._report is not None or self.observers:
            for delivery in handled:
                self._note(delivery, "ack")
        await self._tell(self._in_time(deliveries.ack(handled)), len(handled))

    async def failed(self, delivery: Delivery, error: Exception) -> bool:
        """Have a message delivered again that was not handled, or put it to the dead letters.

        :returns: whether that was its end: else it is delivered again
        """
        if isinstance(error, LimitExceeded) and not error.called:  # the workload takes no more calls
            await self._tell(self._in_time(delivery.retry(0)))
            return False
        verdict = judge(error, delivery.tries, self._settings)
        if verdict.fate is Fate.AGAIN:
            await self._tell(self._again(delivery, verdict, error))
            return False
        return await self.refused(delivery, verdict, error)

    async def refused(self, delivery: Delivery, verdict: Verdict, error: Exception | None = None) -> bool:
        """Put a message to the dead letters; give it up where there are none, or it is too large for them.

        :returns: whether that was possible: else it stays with the broker
        """
        if buried := await self._tell(self._bury(delivery, verdict, error)) is True:
            self.unburied.forget(delivery)
        return buried

    def _note(self, delivery: Delivery, outcome: str) -> None:
        """Have a delivery counted where figures are kept."""
        for observe in self.observers:
            observe(delivery, outcome)
        if self._report is not None:
            self._report(outcome, perf_counter() - self._begun[delivery])

    async def _tell(self, telling: Awaitable[bool | None], count: int = 1) -> bool | None:
        try:
            return await telling
        except Exception as error:  # noqa: BLE001  whatever it is, other messages are to be handled
            self._note_untold(error, count)
            return None

    def _note_untold(self, error: Exception, count: int) -> None:
        self._counts.unsettled += count
        said = self._typed("outcome", error)
        logger.warning("%s: an outcome did not reach the broker: %s", self._what, in_one_line(said))

    def _in_time(self, asking: Coroutine[Any, Any, T]) -> Coroutine[Any, Any, T]:
        return within(self._settings.ack_wait, asking)

    def _typed(self, operation: str, error: Exception) -> CapabilityError:
        return typed(CASES, operation, error, self._plugin)

    async def _again(self, delivery: Delivery, verdict: Verdict, error: Exception) -> None:
        self._counts.retried += 1
        self._note(delivery, "retry")
        logger.warning(
            "%s: delivery %d of a message to %s failed, the next is in %g s: %s",
            self._what, delivery.tries, delivery.message.subject, verdict.after, in_one_line(error),
            exc_info=unforeseen(error), extra={"repeats": type(error).__name__},
        )  # fmt: skip
        await self._in_time(delivery.retry(verdict.after))

    async def _bury(self, delivery: Delivery, verdict: Verdict, error: Exception | None) -> bool:
        if (subject := self._dead_letters) is None:
            await self._give_up(delivery, verdict, error, "given up")
            return True
        try:
            letter = dead_letter(delivery, subject, self._workload, verdict.reason, error)
            kept = await self._keep(letter)
        except Exception as refused:  # noqa: BLE001  whatever it is, the message is not lost
            known = refused if isinstance(refused, ConfigError) else self._typed("dead letter", refused)
            said = in_one_line(known)
            logger.error("%s: a dead letter cannot be kept, the message stays: %s", self._what, said)
            self.unburied.add(delivery, verdict, error)
            await self._in_time(delivery.retry(backoff(delivery.tries, self._settings)))
            return False
        if kept is None:
            await self._give_up(delivery, verdict, error, "given up, too large for a dead letter,")
            return True
        self._counts.dead += 1
        self._note(delivery, "dead")
        without = f" without {part}, for it is too large," if (part := left_out(kept)) else ""
        self._tell_end(delivery, verdict, error, f"a dead letter in {subject}{without}")
        await self._in_time(delivery.reject())
        return True

    async def _give_up(
        self, delivery: Delivery, verdict: Verdict, error: Exception | None, fate: str
    ) -> None:
        self._counts.lost += 1
        self._note(delivery, "lost")
        self._tell_end(delivery, verdict, error, fate)
        await self._in_time(delivery.reject())

    def _tell_end(self, delivery: Delivery, verdict: Verdict, error: Exception | None, fate: str) -> None:
        reason, times = verdict.reason, "delivery" if delivery.tries == 1 else "deliveries"
        logger.error(
            "%s: a message to %s is %s after %d %s (%s): %s",
            self._what, delivery.message.subject, fate, delivery.tries, times, reason,
            reason if error is None else in_one_line(error),
            exc_info=unforeseen(error), extra={"repeats": fate},
        )  # fmt: skip

    async def _keep(self, letter: Message) -> Message | None:
        """Keep a dead letter, or of one that is too large what can be kept; None if nothing can."""
        keeps = "dead-letters" in self._backend.features
        send = self._backend.keep if keeps else self._backend.publish
        for attempt in smaller(letter):
            try:
                await self._in_time(send(self._namespace, attempt))
            except MessageTooLarge:
                continue
            return attempt
        return None
