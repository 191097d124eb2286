"""Calls that wait for an instance: in order, and while there are too many, only as long as is of use to them.

The wait counts to the deadline of a call. Where calls come faster than they are answered, the one that has
waited longest has least time left: what an instance computes for it is for nothing, and the instance is ended
in the middle of it. So once there have always been calls waiting for longer than their timeout, those are
refused that have waited for half of it, and the next one gets the instance.
"""

from __future__ import annotations

from asyncio import Future, get_running_loop
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

from wasmplex.errors import LimitExceeded

__all__ = ["Waiters"]

T = TypeVar("T")


class Waiters(Generic[T]):
    """The calls that wait.

    :param workload: whose instances they wait for
    :param timeout: seconds that one call may take, the wait included
    :param undo: takes back what was handed to a call that has gone
    """

    def __init__(self, workload: str, timeout: float, undo: Callable[[T], None]) -> None:
        self._workload = workload
        self._timeout = timeout
        self._undo = undo
        self._line: OrderedDict[Future[T], float] = OrderedDict()
        """Each with the loop time at which it came. Where a client goes that had thousands of calls, each of
        them leaves from where it is."""
        self._since = 0.0
        """Since when there have always been some."""

    def __len__(self) -> int:
        return len(self._line)

    async def wait(self) -> T:
        """Wait for one's turn.

        :raises LimitExceeded: if it came too late to be of use
        """
        loop = get_running_loop()
        waiter: Future[T] = loop.create_future()
        came = loop.time()
        if not self._line:
            self._since = came
        self._line[waiter] = came
        try:
            return await waiter
        except BaseException:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._undo(waiter.result())
            else:
                self._line.pop(waiter, None)
            raise

    def hand(self, what: T) -> bool:
        """Hand something to who comes next; say whether anybody waits."""
        line, now = self._line, get_running_loop().time()
        while line:
            waiter, came = line.popitem(last=False)
            if waiter.done():
                continue
            if self._is_late(now, came):
                waiter.set_exception(self._refusal(now - came))
                continue
            waiter.set_result(what)
            return True
        return False

    def _is_late(self, now: float, came: float) -> bool:
        """Say whether a call is to be refused for the sake of those behind it, if there are any."""
        crowded = now - self._since > self._timeout
        return crowded and now - came > self._timeout / 2 and any(not waiter.done() for waiter in self._line)

    def _refusal(self, waited: float) -> LimitExceeded:
        return LimitExceeded(
            f"workload {self._workload!r} is overloaded: a call has waited {waited:.3g} s of its"
            f" {self._timeout:g} s for an instance, and others wait behind it",
            fix=f"raise instances.max of [workload.{self._workload}] if processors are idle",
        )
