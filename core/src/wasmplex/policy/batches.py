"""Operations on several things, of which every one is attempted."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from wasmplex.capabilities.errors import CapabilityError

__all__ = ["sift"]

T = TypeVar("T")


def sift(items: Iterable[T], check: Callable[[T], None]) -> tuple[list[T], CapabilityError | None]:
    """Return the items that pass `check`, and the error of the first that does not."""
    good: list[T] = []
    first: CapabilityError | None = None
    for item in items:
        try:
            check(item)
        except CapabilityError as error:
            first = first or error
        else:
            good.append(item)
    return good, first
