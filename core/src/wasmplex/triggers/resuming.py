"""What triggers hold open and open again whenever it breaks, and how long they wait between."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from logging import Logger
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

import anyio

from wasmplex.capabilities.errors import ErrorCases
from wasmplex.errors import ConfigError, FailureError, WasmplexError
from wasmplex.logs import Origin
from wasmplex.plugins.triggers import TriggerBinding
from wasmplex.policy import typed
from wasmplex.triggers.causes import in_one_line

if TYPE_CHECKING:
    from anyio.abc import TaskStatus

__all__ = ["Pauses", "Resumed", "Words", "refusal"]

T = TypeVar("T")

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 10.0
"""Seconds between attempts; each pause is twice as long as the one before."""
SAID_AGAIN = 60.0
"""Seconds after which the log says again why something cannot be opened, if that is the same as before."""


class Pauses:
    """Seconds to wait before something is tried again: ever longer, until something has come of it."""

    __slots__ = ("_next",)

    def __init__(self) -> None:
        self._next = FIRST_PAUSE

    def reset(self) -> None:
        """Begin with the shortest again: what was tried has worked."""
        self._next = FIRST_PAUSE

    def next(self) -> float:
        """Return how long to wait now."""
        pause, self._next = self._next, min(2 * self._next, LONGEST_PAUSE)
        return pause


class Words(NamedTuple):
    """How what is held open is called in the log.

    :ivar what: what it is of a workload, ``orders.>``: whose it is the records say
    :ivar cannot: ``cannot subscribe to orders.>``
    :ivar broke: what it means that it broke
    :ivar again: what it means that it was opened again
    """

    what: str
    cannot: str
    broke: str
    again: str


class Resumed(Generic[T]):
    """Something of a backend that is held open until it is stopped.

    If it cannot be had in the beginning, that is an error of whoever starts. If it breaks later, whatever
    the reason, it is opened again: the host has more to do than this.

    :param binding: whose it is
    :param cases: the errors of its backend
    :param open: opens it
    :param take: uses it until it breaks or ends; to reset `pauses` when something has come
    """

    def __init__(
        self,
        binding: TriggerBinding,
        cases: ErrorCases,
        open: Callable[[], AbstractAsyncContextManager[T]],
        take: Callable[[T], Awaitable[None]],
        words: Words,
        logger: Logger,
    ) -> None:
        self.pauses = Pauses()
        self._binding = binding
        self._cases = cases
        self._open = open
        self._take = take
        self._words = words
        self._logger = logger
        self._ready = False
        self._said, self._said_at = "", float("-inf")
        self._stopping = anyio.Event()

    @property
    def stopped(self) -> bool:
        """Whether it is not to be opened again."""
        return self._stopping.is_set()

    def stop(self) -> None:
        """Do not open it again; whoever uses it has to be told as well."""
        self._stopping.set()

    async def run(self, *, task_status: TaskStatus[None]) -> None:
        """Hold it open until stopped; ready when it is open.

        :raises wasmplex.errors.ConfigError: if it can never be had as it is configured
        :raises wasmplex.errors.FailureError: if it cannot be had now
        """
        while not self.stopped:
            opened_at = float("inf")
            try:
                async with self._open() as opened:
                    opened_at = anyio.current_time()
                    self._tell_open(task_status)
                    await self._take(opened)
            except Exception as error:  # noqa: BLE001  whatever it is, the rest of the host goes on
                self._tell_broken(error)
            if anyio.current_time() - opened_at > LONGEST_PAUSE:
                self.pauses.reset()
            with anyio.move_on_after(self.pauses.next()):
                await self._stopping.wait()

    def _tell_open(self, task_status: TaskStatus[None]) -> None:
        self._said = ""
        if self._ready:
            with Origin(self._binding.workload.name):
                self._logger.info("%s: %s", self._words.what, self._words.again)
        else:
            task_status.started()
        self._ready = True

    def _tell_broken(self, error: Exception) -> None:
        """Log why it broke, now and then if that stays the same; raise where it never was open."""
        words = self._words
        if not self._ready:
            raise refusal(self._binding, self._cases, words.cannot, error) from error
        known, level = _known(self._binding, self._cases, error), self._logger.warning
        if isinstance(known, WasmplexError):
            level = self._logger.error
        now = anyio.current_time()
        if str(known) != self._said or now - self._said_at >= SAID_AGAIN:
            self._said, self._said_at = str(known), now
            with Origin(self._binding.workload.name):
                level("%s: %s: %s", words.what, words.broke, in_one_line(known))


def refusal(binding: TriggerBinding, cases: ErrorCases, cannot: str, error: Exception) -> WasmplexError:
    """Return the error for whoever starts, or checks, where something cannot be had from the beginning.

    :param cases: the errors of its backend
    :param cannot: what the workload cannot, ``cannot subscribe to orders.>``
    """
    known = _known(binding, cases, error)
    if isinstance(known, ConfigError):
        return ConfigError([replace(d, where=d.where or binding.where) for d in known.diagnostics])
    plugin = _plugin(binding)
    why = f"{plugin}: {known}" if plugin else str(known)
    return FailureError(f"workload {binding.workload.name!r} {cannot}", where=binding.where, why=why)


def _known(binding: TriggerBinding, cases: ErrorCases, error: Exception) -> Exception:
    if isinstance(error, WasmplexError):
        return error
    return typed(cases, "subscription", error, _plugin(binding))


def _plugin(binding: TriggerBinding) -> str:
    return binding.source.plugin if binding.source is not None else ""
