"""What a server says to a user who may not publish or subscribe, and whom that concerns.

It answers neither: it complains, naming the subject, and goes on. Who waits would wait for nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, Literal, NamedTuple, TypeAlias

from wasmplex.capabilities.errors import CapabilityError, ErrorCases
from wasmplex.capabilities.messaging.subjects import covers

__all__ = ["NO_RIGHT", "Needs", "Refused", "Verb", "refused_in"]

Verb: TypeAlias = Literal["publish", "subscribe"]

NO_RIGHT: Final = "the user has no right to"
"""What the text of an error begins with that says which right is missing."""
_COMPLAINT: Final = re.compile(
    r'permissions violation for (publish|subscription) to "([^"]*)"', re.IGNORECASE
)


class Refused(NamedTuple):
    """What a server does not let a user do.

    :ivar subject: in lower case: the client library leaves no other
    """

    verb: Verb
    subject: str


def refused_in(error: Exception) -> Refused | None:
    """Return what a complaint of the server is about; None if it is no missing right."""
    if (found := _COMPLAINT.search(str(error))) is None:
        return None
    return Refused("publish" if found[1].lower() == "publish" else "subscribe", found[2].lower())


class _Need(NamedTuple):
    verb: Verb
    subject: str
    tell: Callable[[CapabilityError], None]

    def is_in(self, refused: Refused) -> bool:
        if self.verb != refused.verb:
            return False
        lower = self.subject.lower()
        return lower == refused.subject or (self.verb == "publish" and covers(lower, refused.subject))


class Needs:
    """Who needs which right, to be told if the server says that it is missing.

    :param cases: the errors of the capability that it is for
    """

    def __init__(self, cases: ErrorCases) -> None:
        self._cases = cases
        self._needs: dict[object, _Need] = {}

    def add(self, verb: Verb, subject: str, tell: Callable[[CapabilityError], None]) -> object:
        """Have somebody told; return what `remove` takes.

        :param subject: what is published to, or a pattern of that; the pattern that is subscribed to
        """
        token = object()
        self._needs[token] = _Need(verb, subject, tell)
        return token

    def remove(self, token: object) -> None:
        """Undo `add`."""
        self._needs.pop(token, None)

    @contextmanager
    def of(
        self, verb: Verb, subjects: Sequence[str], tell: Callable[[CapabilityError], None]
    ) -> Iterator[None]:
        """Have somebody told while the context lasts."""
        tokens = [self.add(verb, subject, tell) for subject in subjects]
        try:
            yield
        finally:
            for token in tokens:
                self.remove(token)

    def tell(self, refused: Refused) -> bool:
        """Tell those who need a right that is missing; return whether anybody does."""
        concerned = [need for need in self._needs.values() if need.is_in(refused)]
        for need in concerned:
            need.tell(self.lacking(need.verb, need.subject))
        return bool(concerned)

    def lacking(self, verb: Verb, subject: str) -> CapabilityError:
        """Return the error for a missing right."""
        return self._cases.denied(f"{NO_RIGHT} {verb} to {subject}")
