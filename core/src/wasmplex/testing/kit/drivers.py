"""How a kit reaches a backend, and how it is refused."""

from __future__ import annotations

from abc import ABC
from collections.abc import Awaitable
from typing import ClassVar, Generic, Self, TypeVar

import pytest

from wasmplex.plugins.backends import Backend

__all__ = ["Driver", "Refused", "outcome", "refused"]

B = TypeVar("B", bound=Backend)


class Refused(Exception):
    """An operation returned an error.

    :ivar case: the case of the WIT's error, ``"quota-exceeded"``
    """

    def __init__(self, case: str, text: str) -> None:
        super().__init__(f"{case}: {text}")
        self.case = case
        self.text = text


async def outcome(operation: Awaitable[object]) -> str:
    """Await `operation` and return ``"ok"``, or the case of its refusal."""
    try:
        await operation
    except Refused as error:
        return error.case
    return "ok"


async def refused(case: str, operation: Awaitable[object]) -> Refused:
    """Await `operation` and return its refusal, which must be of the given case."""
    with pytest.raises(Refused) as caught:
        await operation
    assert caught.value.case == case, str(caught.value)
    return caught.value


class Driver(ABC, Generic[B]):
    """A way to use an open backend; an asynchronous context manager.

    A kit derives from it a class with the operations that its tests use.

    :cvar features: the features of backends that can be reached in this way
    :cvar words: what else its interface can say, in words of the kit's own
    :cvar requires: features that a backend must have for it to work at all
    :cvar guest: whether a guest is on the way
    """

    features: ClassVar[frozenset[str]] = frozenset()
    words: ClassVar[frozenset[str]] = frozenset()
    requires: ClassVar[frozenset[str]] = frozenset()
    guest: ClassVar[bool] = False

    def __init__(self, backend: B) -> None:
        self.backend = backend

    async def __aenter__(self) -> Self:
        """Begin to use the backend."""
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Release everything that using it has made."""
