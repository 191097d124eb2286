"""What a server says to a user who may not publish or subscribe, and whom that concerns.

It answers neither: it complains, naming the subject, and goes on. Who waits would wait for nothing.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, Literal, NamedTuple, TypeAlias

from wasmplex.capabilities.errors import CapabilityError, ErrorCases
from wasmplex.capabilities.messaging.subjects import covers

__all__ = ["Needs", "Refused", "Verb", "granting", "is_lacking", "refused_in"]

Verb: TypeAlias = Literal["publish", "subscribe"]

_NO_RIGHT: Final = "the user has no right to"
"""What the text of an error begins with that says which right is missing."""
_COMPLAINT: Final = re.compile(
    r'permissions violation for (publish|subscription) to "((?:[^"\\]|\\.)*)"', re.IGNORECASE
)
_ESCAPE: Final = re.compile(r"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8})|(.))", re.DOTALL)
_SHORT: Final = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_NO_TEXT: Final = "\ufffd"


class Refused(NamedTuple):
    """What a server does not let a user do."""

    verb: Verb
    subject: str


def refused_in(error: Exception) -> Refused | None:
    """Return what a complaint of the server is about; None if it is no missing right."""
    if (found := _COMPLAINT.search(str(error))) is None:
        return None
    return Refused("publish" if found[1].lower() == "publish" else "subscribe", _unquoted(found[2]))


def is_lacking(error: Exception) -> bool:
    """Say whether an error is a right that is missing, as `Needs.lacking` makes it."""
    return str(error).startswith(_NO_RIGHT)


def granting(error: Exception) -> str:
    """Return what is to be done about a right that is missing."""
    return f"let the user{str(error).removeprefix(_NO_RIGHT)}"


def _unquoted(text: str) -> str:
    """Return a subject as it was sent: the server quotes it with Go's ``%q``."""
    return _ESCAPE.sub(_meant, text) if "\\" in text else text


def _meant(escape: re.Match[str]) -> str:
    byte, short, long, plain = escape.groups()
    if plain is not None:
        return _SHORT.get(plain, plain)
    code = int(byte or short or long, 16)
    no_text = code > (0x7F if byte else sys.maxunicode)  # a byte that is no UTF-8, or no character
    return _NO_TEXT if no_text else chr(code)


class _Need(NamedTuple):
    verb: Verb
    subject: str
    tell: Callable[[CapabilityError], None]

    def is_in(self, refused: Refused) -> bool:
        if self.verb != refused.verb:
            return False
        own = self.subject
        return own == refused.subject or (self.verb == "publish" and covers(own, refused.subject))


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
        return self._cases.denied(f"{_NO_RIGHT} {verb} to {subject}")
