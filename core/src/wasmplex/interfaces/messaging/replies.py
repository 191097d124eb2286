"""Which broker the answer to a message goes to.

A message that a component is handed may want an answer, on a subject of the broker that it came from. The
component publishes the answer through whatever label it likes: it goes to where it is waited for. Whoever
sends a message chooses that subject, so it is good for one answer, for a while, and for none that
administers a server.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from wasmplex.capabilities.messaging import MessagingBackend, SubjectInvalid
from wasmplex.capabilities.messaging.subjects import check_subject

__all__ = ["SYSTEM", "Origin", "ReplyRoutes"]

MAX_ROUTES = 10_000
"""Subjects on which a workload's answers are expected at once; the one longest expected is forgotten."""
PATIENCE = 600.0
"""Seconds after which no answer is expected any more: as long as a request may wait at most."""
SYSTEM = "$"
"""What the subjects begin with by which a server is administered; they have to be granted by name."""


class Origin(NamedTuple):
    """A broker, and the namespace in it."""

    backend: MessagingBackend
    namespace: str


@dataclass(slots=True)
class _Route:
    """Where the answers on a subject go: how many are expected, and until when."""

    origin: Origin
    until: float
    answers: int = 1


class ReplyRoutes:
    """The subjects that answers of one workload are expected on.

    :param clock: the time in seconds
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._routes: OrderedDict[str, _Route] = OrderedDict()

    def __len__(self) -> int:
        return len(self._routes)

    def expect(self, subject: str, origin: Origin) -> None:
        """Have one more message to a subject go to a broker, if `find` sees that it is one for answers."""
        now = self._clock()
        route = self._routes.get(subject)
        if route is None or route.origin != origin:
            self._routes.pop(subject, None)
            self._routes[subject] = _Route(origin, now + PATIENCE)
        else:
            route.until, route.answers = now + PATIENCE, route.answers + 1
            self._routes.move_to_end(subject)
        if len(self._routes) > MAX_ROUTES or next(iter(self._routes.values())).until < now:
            self._routes.popitem(last=False)

    def find(self, subject: str) -> Origin | None:
        """Return where an answer is expected; None for a subject that is none of an answer."""
        if not self._routes or (route := self._routes.get(subject)) is None:
            return None
        if route.until < self._clock() or not _for_answers(subject):
            del self._routes[subject]
            return None
        return route.origin

    def answered(self, subject: str) -> None:
        """Note that an answer has been sent."""
        if (route := self._routes.get(subject)) is not None:
            route.answers -= 1
            if not route.answers:
                del self._routes[subject]


def _for_answers(subject: str) -> bool:
    """Say whether an answer may go to a subject that somebody else has named."""
    if subject.startswith(SYSTEM):
        return False
    try:
        check_subject(subject)
    except SubjectInvalid:
        return False
    return True
