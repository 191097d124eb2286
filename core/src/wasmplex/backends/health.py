"""Asking a server that is thought to be down, or refuses, whether it is back; the log says each once."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from enum import Enum
from math import inf
from typing import Any, NamedTuple

import anyio

from wasmplex.capabilities.errors import CapabilityError
from wasmplex.logs import Remembered, Whose, get_logger
from wasmplex.plugins.backends import Backend
from wasmplex.plugins.circuit import Circuit

__all__ = ["Asked", "Voice", "ask", "pauses", "watch_over"]

logger = get_logger("wasmplex.backends")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 0.5
_PATIENCE = 2.0
"""Seconds that an answer to a probe may take."""
_FIRST_LOOK, _LAST_LOOK = 1.0, 10.0
"""Seconds until it is looked at whether a server that refuses goes on to: twice as long each time."""


class Asked(Enum):
    """What a server said when it was asked."""

    FINE = 0
    REFUSED = 1
    """It can be reached, and does not do what it is asked to."""
    SLOW = 2
    AWAY = 3


class Voice(NamedTuple):
    """How the log speaks of a backend.

    :ivar name: the provider's
    :ivar holders: returns the bindings that have it, ``shop/cache``
    :ivar redact: takes the secrets out of what a server said
    """

    name: str
    holders: Callable[[], list[str]] = list
    redact: Callable[[str], str] = str

    def say(self, text: str, *args: Any, operation: str = "", whose: Whose | None = None) -> None:
        """Log a warning about the backend.

        :param whose: the request that met what is said
        """
        holders = self.holders()
        held = f" of {', '.join(holders)}" if holders else ""
        workloads = {holder.partition("/")[0] for holder in holders}
        labels = {holder.partition("/")[2] for holder in holders}
        more = {
            "backend": self.name,
            "workload": workloads.pop() if len(workloads) == 1 else "",
            "label": labels.pop() if len(labels) == 1 else "",
            "operation": operation,
        }
        with nullcontext() if whose is None else Remembered(whose):
            logger.warning(
                "backend %s%s%s", self.name, held, self.redact(text % args), extra={**more, "counts": True}
            )


async def watch_over(backend: Backend, circuit: Circuit, voice: Voice) -> None:
    """Open and close `circuit` as the server behind `backend` goes and comes; runs until cancelled.

    What is wrong is said when it begins to be, how often it was while it lasts, and when it is over.
    """
    refusal = _Refusal(circuit, voice)
    while True:
        with anyio.move_on_after(refusal.patience) as waiting:
            await circuit.woken()
        if waiting.cancelled_caught:
            refusal.look(await ask(backend))
        refusal.listen()
        if circuit.is_suspected:
            await _until_it_answers(backend, circuit, voice, refusal)


async def _until_it_answers(backend: Backend, circuit: Circuit, voice: Voice, refusal: _Refusal) -> None:
    for pause in pauses():
        asked = await ask(backend)
        if asked is not Asked.AWAY and not (asked is Asked.SLOW and circuit.is_open):
            break
        if not circuit.is_open:
            why = f" ({circuit.why})" if circuit.why else ""
            voice.say(": it cannot be reached%s", why, whose=circuit.whose)
        circuit.open()
        await anyio.sleep(pause)
    if circuit.is_open:
        voice.say(": it answers again")
    elif circuit.why:  # it does not do what it is asked to, all the same
        circuit.refuse(circuit.why, circuit.whose)
        refusal.listen()
    circuit.close()


class _Refusal:
    """Speaks of a server that can be reached and does not do what it is asked to.

    :ivar patience: seconds until the next look; infinite while nothing is wrong
    """

    def __init__(self, circuit: Circuit, voice: Voice) -> None:
        self._circuit = circuit
        self._voice = voice
        self._asked = False  # asking the server was refused as well: that will tell when it is over
        self.patience = inf

    def listen(self) -> None:
        """Say what is new."""
        for why, whose in self._circuit.news():
            self._voice.say(": %s", why, operation=why.partition(": ")[0], whose=whose)
            self.patience = min(self.patience, _FIRST_LOOK)

    def look(self, asked: Asked) -> None:
        """Say how often it was since the last look, or that it is over."""
        circuit = self._circuit
        more, circuit.refused = circuit.refused, 0
        if more:
            self._voice.say(": … %s more like it in the last %g s", f"{more:,}", self.patience)
        self._asked = self._asked or asked is Asked.REFUSED
        if more or asked is not Asked.FINE:
            self.patience = min(2 * self.patience, _LAST_LOOK)
            return
        if self._asked:
            self._voice.say(": it works again")
        self._asked, self.patience = False, inf
        circuit.forget()


def pauses() -> Iterator[float]:
    """Return the seconds before each new probe: growing to half a second, never in step with other hosts."""
    longest = _FIRST_PAUSE
    while True:
        yield random.uniform(longest / 2, longest)  # noqa: S311  spreads probes, keeps no secret
        longest = min(2 * longest, _LONGEST_PAUSE)


async def ask(backend: Backend) -> Asked:
    """Ask the server of a backend whether it answers. A driver's own errors are the operations' to report."""
    with anyio.move_on_after(_PATIENCE):
        try:
            await backend.probe()
        except Exception as error:  # noqa: BLE001  drivers raise whatever they like
            gone = isinstance(error, CapabilityError) and error.unavailable
            return Asked.AWAY if gone or isinstance(error, ConnectionError) else Asked.REFUSED
        return Asked.FINE
    return Asked.SLOW
