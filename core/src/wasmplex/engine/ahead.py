"""Instances of large components that are to serve one call each: made ahead of the call, in another thread.

Making an instance of CPython takes a quarter of a millisecond even when its memory is kept
(`wasmplex.engine.images`), and ending it nearly as long. That can be done where it holds nobody up, unless it
calls host functions: those belong to the event loop's thread. So it is found out, once, whether making an
instance calls any: one is made whose imports all trap. What a component does without asking the host is the
same each time.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import anyio

from wasmplex.engine import capi
from wasmplex.engine.linker import Linked
from wasmplex.engine.store import take_error
from wasmplex.errors import GuestError
from wasmplex.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from wasmplex.engine.instance import Instance, Starting
    from wasmplex.engine.worker import Worker

__all__ = ["Ahead", "Coming", "worth_it"]

_log = get_logger(__name__)

_WORTH: Final = 0.0003
"""Seconds that making an instance has to take: to have another thread do it costs a part of that itself."""
_LARGE: Final = 4 << 20
"""Bytes of images from which on it is worth it anyway: to bring memories back to them takes time as well."""
_TOO_LONG: Final = 0.1
"""Seconds that making an instance may take: whoever closes a host waits for those that are being made."""
_TRIAL_SECONDS: Final = 1.0
_TRIALS: Final = 3


async def worth_it(linked: Linked) -> bool:
    """Say whether instances are better made by `Ahead`: those with large memories, and those that take long.

    :param linked: the component as it is to be run
    """
    compiled = linked.compiled
    took = await _trial(Linked(compiled, linked.workload, linked.limits, linked.tenant))
    return took is not None and (took >= _WORTH or compiled.image_size >= _LARGE)


async def _trial(linked: Linked) -> float | None:
    """Return how many seconds making an instance takes, None if it fails without the host's functions."""
    if error := capi.unknown_imports_as_traps(linked.linker, linked.compiled.component):
        _log.debug("workload %s: %s", linked.workload, take_error(error))
        return None
    took: list[float] = []
    with anyio.move_on_after(_TRIAL_SECONDS):
        await _make(linked, took)
    return min(took) if len(took) == _TRIALS and min(took) < _TOO_LONG else None


async def _make(linked: Linked, took: list[float]) -> None:
    for _ in range(_TRIALS):
        begun = time.perf_counter()
        try:
            instance = await linked.instantiate()
        except GuestError as error:
            _log.debug("workload %s: instances cannot be made ahead of calls: %s", linked.workload, error)
            return
        took.append(time.perf_counter() - begun)
        instance.close()


class Coming:
    """An instance that is being made by the worker."""

    def __init__(self, starting: Starting, worker: Worker) -> None:
        self._starting = starting
        # The job holds on to the instance: nobody may delete what is being polled.
        self._job = worker.submit(_run, starting)

    def done(self) -> bool:
        """Say whether `result` may be called."""
        return self._job.done()

    def when_done(self, callback: Callable[[], object]) -> None:
        """Have a function called when it is done, in whatever thread."""
        self._job.add_done_callback(lambda _: callback())

    def result(self) -> Instance:
        """Return the instance, once.

        :raises wasmplex.errors.GuestError: if it could not be made
        """
        return self._starting.finish()


def _run(starting: Starting) -> None:
    while not starting.poll(starting.future):
        capi.set_epoch_deadline(starting.context, 1)


class Ahead:
    """Makes the instances of one component, and ends them, in a worker where that is free."""

    def __init__(self, linked: Linked, worker: Worker) -> None:
        self._linked = linked
        self._worker = worker

    async def make(self) -> Instance:
        """Make an instance for somebody who waits: here, whatever the worker is doing."""
        return await self._linked.instantiate(elsewhere=True)

    def begin(self) -> Coming:
        """Have the worker make an instance."""
        return Coming(self._linked.prepare(elsewhere=True).begin(), self._worker)
