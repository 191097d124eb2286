"""Borrowing an instance for one call, under the deadline of its workload."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from types import TracebackType
from typing import Protocol

import anyio

from wasmplex.deadlines import Deadlines
from wasmplex.errors import CallCancelled, DeadlineExceeded, LimitExceeded
from wasmplex.logs import get_logger
from wasmplex.plugins.contracts import GuestInstance
from wasmplex.scopes import TaskScope, entered

__all__ = ["Lender", "Loan", "PooledInstance"]

log = get_logger("wasmplex.instances")


class PooledInstance(GuestInstance, Protocol):
    """What the pool needs of an engine's instance besides calling it."""

    @property
    def poisoned(self) -> bool:
        """True after a trap or a cancelled call: it must not be used again."""

    def close(self) -> None:
        """Drop the instance and everything its resource table holds."""


class Lender(ABC):
    """A pool of instances, as far as it lends them.

    :param name: the workload, for messages
    :param reuse: how many calls one instance serves
    :param timeout: seconds that one call may take, the wait for an instance included
    :param on_error: told of whatever ends a call, or keeps it from beginning
    """

    def __init__(
        self,
        name: str,
        reuse: int,
        timeout: float,
        on_error: Callable[[BaseException], None] | None = None,
    ) -> None:
        self.name = name
        self.reuse = reuse
        self.timeout = timeout
        self.on_error = on_error
        self.deadlines = Deadlines(timeout)

    def lend(self, within: TaskScope | None = None) -> Loan:
        """Return a context that borrows an instance for one call, under the workload's deadline.

        :param within: what cancels the calls of the task that asks, if it has such a scope
        :raises LimitExceeded: on entering, if too many wait or no instance came free in time
        :raises DeadlineExceeded: on leaving, if the deadline passed inside
        """
        return Loan(self, within)

    @property
    def if_late(self) -> str:
        """What to do where calls are not over in time."""
        return f"raise limits.timeout of [workload.{self.name}] if it needs longer"

    @abstractmethod
    async def take(self) -> tuple[PooledInstance, int]:
        """Return an instance for one call, and how many it has served.

        :raises LimitExceeded: if too many wait already
        """

    @abstractmethod
    def give_back(self, instance: PooledInstance, used: int) -> None:
        """Note that the call has ended, and how many the instance has served with it."""

    def tell(self, error: BaseException) -> None:
        """Report what has ended the call."""
        try:
            if self.on_error is not None:
                self.on_error(error)
        except Exception:
            log.exception("workload %s: what ended a call could not be reported", self.name)

    def drop(self, instance: PooledInstance) -> None:
        """Close an instance. Its place is free then, whatever happens: who drains waits for that."""
        try:
            instance.close()
        except Exception:
            log.exception("workload %s: an instance could not be closed", self.name)


class Loan:
    """The context that `lend` of a pool returns; a class, for it is on the path of every call."""

    __slots__ = ("_calls", "_cancelled", "_instance", "_pool", "_scope", "_used", "_within")

    def __init__(self, pool: Lender, within: TaskScope | None) -> None:
        self._pool = pool
        self._within = within
        self._scope: anyio.CancelScope | None = None
        self._cancelled = False
        self._instance: PooledInstance | None = None
        self._used = 0
        self._calls = 1

    @property
    def calls_left(self) -> int:
        """How many calls the instance may serve yet."""
        return self._pool.reuse - self._used

    def note_calls(self, count: int) -> None:
        """Note how many it has served for the borrower; see `wasmplex.plugins.contracts.Borrowing`."""
        self._calls = count

    async def __aenter__(self) -> PooledInstance:
        pool = self._pool
        self._scope = scope = entered() if self._within is None else self._within.begin()
        pool.deadlines.start(scope)
        if self._cancelled:
            scope.cancel()
        try:
            self._instance, self._used = await pool.take()
        except BaseException as error:
            if self._leave(scope, type(error), error, error.__traceback__):
                late = self._given_up() or LimitExceeded(
                    f"no instance of workload {pool.name!r} came free within {pool.timeout:g} s",
                    fix=f"raise instances.max or limits.timeout of [workload.{pool.name}]",
                )
                pool.tell(late)
                raise late from None
            pool.tell(error)
            raise
        return self._instance

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        pool, scope = self._pool, self._scope
        if error is not None:
            if isinstance(error, LimitExceeded):
                error.called = True
            pool.tell(error)
        if self._instance is not None:
            pool.give_back(self._instance, self._used + self._calls)
        assert scope is not None  # noqa: S101  it was entered
        if self._leave(scope, kind, error, traceback) and error is not None:
            late = self._given_up() or DeadlineExceeded(
                f"a call of workload {pool.name!r} was still running after {pool.timeout:g} s",
                fix=pool.if_late,
            )
            pool.tell(late)
            raise late from None
        return None

    def _leave(
        self,
        scope: anyio.CancelScope,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        """Leave the scope of the call; say whether what ended the call was its being cancelled."""
        self._scope = None  # `cancel` must not reach what the task does after it
        self._pool.deadlines.stop(scope)
        end = scope.__exit__ if self._within is None else self._within.end
        return end(kind, error, traceback)

    def cancel(self) -> None:
        """Give the call up; see `wasmplex.plugins.contracts.Borrowing`."""
        self._cancelled = True
        if self._scope is not None:
            self._scope.cancel()

    def _given_up(self) -> CallCancelled | None:
        if not self._cancelled:
            return None
        return CallCancelled(f"a call of workload {self._pool.name!r} was given up by its caller")
