"""Which broker the answer to a message goes to.

A message that a component is handed may want an answer, on a subject of the broker that it came from. The
component publishes the answer through whatever label it likes: it goes to where it is waited for.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from wasmplex.capabilities.messaging import MessagingBackend

__all__ = ["Origin", "ReplyRoutes"]

MAX_ROUTES = 10_000
"""Answers of one workload that are expected at once; the one longest expected is forgotten."""


class Origin(NamedTuple):
    """A broker, and the namespace in it."""

    backend: MessagingBackend
    namespace: str


class ReplyRoutes:
    """The subjects that answers of one workload are expected on."""

    def __init__(self) -> None:
        self._routes: OrderedDict[str, Origin] = OrderedDict()

    def __len__(self) -> int:
        return len(self._routes)

    def expect(self, subject: str, origin: Origin) -> None:
        """Have messages to a subject go to a broker."""
        self._routes[subject] = origin
        if len(self._routes) > MAX_ROUTES:
            self._routes.popitem(last=False)

    def find(self, subject: str) -> Origin | None:
        """Return where an answer is expected; None for a subject that is none of an answer."""
        return self._routes.get(subject) if self._routes else None
