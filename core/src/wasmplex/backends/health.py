"""Asking a server that is thought to be down whether it is back."""

from __future__ import annotations

import random
from collections.abc import Iterator

import anyio

from wasmplex.capabilities.errors import CapabilityError
from wasmplex.logs import get_logger
from wasmplex.plugins.circuit import Circuit
from wasmplex.plugins.contracts import Backend

__all__ = ["watch_over"]

logger = get_logger("wasmplex.backends")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 0.5
_PATIENCE = 2.0
"""Seconds that an answer to a probe may take."""


async def watch_over(backend: Backend, circuit: Circuit, name: str) -> None:
    """Open and close `circuit` as the server behind `backend` goes and comes; runs until cancelled.

    :param name: the provider's, for the log
    """
    while True:
        await circuit.suspected()
        for pause in pauses():
            if await answers(backend, when_slow=not circuit.is_open):
                break
            if not circuit.is_open:
                logger.warning("backend %s: the server cannot be reached", name)
            circuit.open()
            await anyio.sleep(pause)
        if circuit.is_open:
            logger.warning("backend %s: the server answers again", name)
        circuit.close()


def pauses() -> Iterator[float]:
    """Return the seconds before each new probe: growing to half a second, never in step with other hosts."""
    longest = _FIRST_PAUSE
    while True:
        yield random.uniform(longest / 2, longest)  # noqa: S311  spreads probes, keeps no secret
        longest = min(2 * longest, _LONGEST_PAUSE)


async def answers(backend: Backend, *, when_slow: bool) -> bool:
    """Return whether the server can be reached: any error but that it cannot is an answer.

    :param when_slow: what to return if there is no answer in time
    """
    with anyio.move_on_after(_PATIENCE):
        try:
            await backend.probe()
        except Exception as error:  # noqa: BLE001  a driver's own errors are the operations' to report
            gone = isinstance(error, CapabilityError) and error.unavailable
            return not (gone or isinstance(error, ConnectionError))
        return True
    return when_slow
