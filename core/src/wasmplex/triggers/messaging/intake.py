"""The messages of one table of the trigger: taken from the broker as the component can handle them.

As many workers as calls may be under way take from one subscription. None takes a message before it has done
with those before, so a full host does not drop: what it cannot call with yet waits with the broker, or with
that part of it which is in the host and may read ahead. Where the component is quick, a worker takes several
that are there, and has it called with them in one go.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from functools import partial
from time import perf_counter

import anyio
from anyio.abc import TaskGroup, TaskStatus

from wasmplex.capabilities.messaging import CASES, Deliveries, Delivery, MessagingBackend
from wasmplex.capabilities.messaging.handling import Handle, Outcome
from wasmplex.logs import Origin, get_logger
from wasmplex.plugins.triggers import TriggerBinding
from wasmplex.policy import typed
from wasmplex.triggers.messaging.calling import Caller, Taken
from wasmplex.triggers.messaging.counts import Counts
from wasmplex.triggers.messaging.lastcalls import LastCalls
from wasmplex.triggers.messaging.origins import Origins
from wasmplex.triggers.messaging.outcomes import TOO_OFTEN, Verdict, before
from wasmplex.triggers.messaging.portions import EACH, goes_alone
from wasmplex.triggers.messaging.settings import MessagingTriggerSettings
from wasmplex.triggers.messaging.settling import Settler
from wasmplex.triggers.messaging.slices import Slices
from wasmplex.triggers.resuming import Resumed, Words

__all__ = ["Intake", "cannot_subscribe"]

logger = get_logger("wasmplex.messaging")


def cannot_subscribe(settings: MessagingTriggerSettings) -> str:
    """Return how it is called that a subscription cannot be had."""
    return f"cannot subscribe to {', '.join(settings.subjects)}"


class Intake:
    """Takes messages from a broker and has a component called with them.

    :param handle: calls the component
    :param slices: says when a message may be begun
    """

    def __init__(self, binding: TriggerBinding, handle: Handle, slices: Slices) -> None:
        source, settings = binding.source, binding.settings
        assert source is not None  # noqa: S101  the trigger asks for one
        assert isinstance(source.backend, MessagingBackend)  # noqa: S101  it was asked for by capability
        assert isinstance(settings, MessagingTriggerSettings)  # noqa: S101  they are the trigger's
        name, what = binding.workload.name, ", ".join(settings.subjects)
        self.counts = Counts()
        self._settings = settings
        self._slices = slices
        self._name = name
        self._plugin = source.plugin
        self._what = what
        self._origins = Origins(name)
        self._caller = Caller(
            binding.workload, handle, settings, self.counts, self._origins, self._relieve, what
        )
        self._out: dict[Delivery, float] = {}
        """What was taken and has no outcome yet, and since when."""
        self._next: deque[Delivery] = deque()
        """Those of them that wait for their turn. Whoever has it first takes them all, in one go."""
        self._settler = Settler(binding, self.counts, self._out, settings.dead_letters(name), what)
        self.observers = self._settler.observers
        self._last_calls = LastCalls(source.backend, source.namespace, name, settings.ack_wait, what)
        words = Words(what, cannot_subscribe(settings), "the subscription broke", "subscribed again")
        subscribe = partial(source.backend.subscribe, source.namespace, settings.subscription(name))
        self._subscribed = Resumed(binding, CASES, subscribe, self._take, words, logger)
        self._calling = asyncio.Semaphore(settings.calls)
        """One for each call that may be under way: there may be more tasks than that."""
        self._workers: TaskGroup | None = None
        self._deliveries: Deliveries | None = None
        self._ended = anyio.Event()
        self._told = False

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
        self._caller.stop()
        if self._deliveries is not None:
            self._deliveries.stop()

    async def finish(self) -> None:
        """Return, after `stop`, when what was taken has an outcome."""
        await self._ended.wait()
        if self._told:
            return
        self._told, c = True, self.counts
        with Origin(self._name):
            logger.info(
                "%s: %d handled, %d retried, %d dead letter%s, %d lost",
                self._what, c.handled, c.retried, c.dead, "" if c.dead == 1 else "s", c.lost,
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
                    self._workers = workers
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
        with Origin(self._name):
            while not broken:
                try:
                    delivery = await deliveries.next()
                except Exception as error:  # noqa: BLE001  whatever it is, only the subscription is broken
                    broken.append(typed(CASES, "subscription", error, self._plugin))
                    return
                if delivery is None:
                    return
                self._subscribed.pauses.reset()
                self._out[delivery] = perf_counter()
                self._next.append(delivery)
                await self._turn()
                if self._next:
                    await self._see_to_next(deliveries, broken)
                else:
                    self._calling.release()  # somebody else has seen to it

    # ------------------------------------------------------------ messages

    async def _see_to_next(self, deliveries: Deliveries, broken: list[Exception]) -> None:
        """See to the message that has waited longest, or to several. It is their turn.

        :param broken: told if the subscription is
        """
        first = self._next.popleft()
        several = self._caller.portions.size > 1 and not (goes_alone(first) or self._is_unburied(first))
        if several and (others := self._others(deliveries, broken)):
            await self._see_to_all(Taken(deliveries, [first, *others]))
        else:
            await self._see_to_one(first)

    async def _see_to(self, delivery: Delivery) -> None:
        """Have the component called with a message, and tell the broker what became of it."""
        await self._turn()
        await self._see_to_one(delivery)

    async def _see_to_one(self, delivery: Delivery) -> None:
        """See to a message whose turn it is."""
        try:
            await self._deliver(delivery)
        finally:
            self._calling.release()

    async def _see_to_all(self, taken: Taken) -> None:
        """See to several deliveries, as many in one go as the component takes. It is their turn."""
        while True:
            try:
                await self._deliver_several(taken)
            finally:
                self._calling.release()
            if len(taken.left) < 2:
                break
            await self._turn()
        if taken.left:
            await self._see_to(taken.left.popleft())

    async def _deliver(self, delivery: Delivery) -> None:
        try:
            with self._origins.of((delivery,)):
                if (found := self._settler.unburied.found(delivery)) is not None:
                    if await self._settler.refused(delivery, *found):
                        await self._last_calls.end(delivery)
                elif (verdict := before(delivery, self._settings)) is not None:
                    await self._deliver_at_last(delivery, verdict)
                elif (error := await self._caller.call(delivery)) is None:
                    await self._settler.handled(delivery)
                else:
                    await self._settler.failed(delivery, error)
        finally:
            del self._out[delivery]
            self._origins.forget((delivery,))

    async def _deliver_at_last(self, delivery: Delivery, verdict: Verdict) -> None:
        """Put a message to the dead letters, unless there is to be a last call with it."""
        last = self._last_calls
        if verdict.reason != TOO_OFTEN or not await last.is_due(delivery):
            if await self._settler.refused(delivery, verdict) and verdict.reason == TOO_OFTEN:
                await last.end(delivery)
            return
        if (error := await self._caller.call(delivery, last.begin)) is None:
            await self._settler.handled(delivery)
        elif not await self._settler.failed(delivery, error):
            return
        await last.end(delivery)

    def _others(self, deliveries: Deliveries, broken: list[Exception]) -> list[Delivery]:
        """Take messages to be handed over together with another: not while many others have to wait."""
        most = self._caller.portions.size - 1
        others = [self._next.popleft() for _ in range(min(most, len(self._next)))]
        more = min(most - len(others), (EACH + 1) * self._settings.calls - len(self._out))
        if more > 0:
            try:
                fresh = deliveries.ready(more)
            except Exception as error:  # noqa: BLE001  as in `_work`
                broken.append(typed(CASES, "subscription", error, self._plugin))
            else:
                self._out.update(dict.fromkeys(fresh, perf_counter()))
                others += fresh
        return self._callable(others)

    def _callable(self, deliveries: list[Delivery]) -> list[Delivery]:
        """Return those that the component is called with; have the others seen to."""
        if not self._settler.unburied:  # most never are, and each message would be looked at
            return deliveries
        for delivery in (unburied := [one for one in deliveries if self._is_unburied(one)]):
            assert self._workers is not None  # noqa: S101  see `_relieve`
            self._workers.start_soon(self._see_to, delivery)
        return [one for one in deliveries if one not in unburied]

    def _is_unburied(self, delivery: Delivery) -> bool:
        return self._settler.unburied.found(delivery) is not None

    async def _turn(self) -> None:
        """Wait until the time of a message has come, and take one of the calls that may be under way."""
        if not self._slices.has_room():
            await self._slices.wait()
        await self._calling.acquire()

    def _relieve(self, taken: Taken) -> None:
        """Have others see to all but the first message that is not handled: that may take a while."""
        assert self._workers is not None  # noqa: S101  it is one of them whose call this is about
        if ended := taken.ended():
            self._workers.start_soon(self._settle_at_last, taken.deliveries, ended)
        for delivery in taken.behind():
            self._workers.start_soon(self._see_to, delivery)

    async def _deliver_several(self, taken: Taken) -> None:
        """Have the component called with the first messages, and tell the broker what became of them."""
        if before(taken.left[0], self._settings) is not None:
            self._relieve(taken)
            await self._deliver(taken.left.popleft())
            return
        try:
            await self._caller.call_each(taken)
        except BaseException:
            await self._settle_at_last(taken.deliveries, taken.ended())
            raise
        await self._settle(taken.deliveries, taken.ended())

    async def _settle_at_last(
        self, deliveries: Deliveries, ended: Sequence[tuple[Delivery, Outcome]]
    ) -> None:
        """Settle also if cancelled: what was handled is not to be handled again.

        The broker gives them to somebody else when the time is over that this may take.
        """
        with anyio.move_on_after(self._settings.ack_wait, shield=True):
            await self._settle(deliveries, ended)

    async def _settle(self, deliveries: Deliveries, ended: Sequence[tuple[Delivery, Outcome]]) -> None:
        """Tell the broker what became of messages with which the component was called."""
        try:
            if handled := [delivery for delivery, error in ended if error is None]:
                await self._settler.all_handled(deliveries, handled)
            for delivery, error in ended:
                if error is not None:
                    with self._origins.of((delivery,)):
                        await self._settler.failed(delivery, error)
        finally:
            for delivery, _ in ended:
                del self._out[delivery]
            self._origins.forget(delivery for delivery, _ in ended)
