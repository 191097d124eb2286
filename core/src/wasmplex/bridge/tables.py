"""The stand-ins for an instance's handles that are used while some of them are exchanged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

__all__ = ["Collector", "Given", "Taken"]


class Collector:
    """Finds out which handles a block holds or will hold, without touching any."""

    def __init__(self) -> None:
        self.taken: list[tuple[int, int]] = []
        self.gifts: list[tuple[int, int, Any]] = []

    def own(self, kind: int, handle: int) -> None:
        """Note an owned handle in a block that is being read."""
        self.taken.append((kind, handle))

    def borrow(self, kind: int, handle: int) -> None:
        """Borrowed handles need nothing."""

    stream = future = borrow

    def give(self, sort: int, kind: int, value: Any) -> int:
        """Note an object that a block being written will need a handle for."""
        self.gifts.append((sort, kind, value))
        return 0


class Taken:
    """Reads a block whose owned handles have been taken apart."""

    def __init__(self, table: Any, objects: Sequence[Any]) -> None:
        self.borrow = table.borrow
        self.stream = getattr(table, "stream", None)
        self.future = getattr(table, "future", None)
        self._objects: Iterator[Any] = iter(objects)

    def own(self, kind: int, handle: int) -> Any:
        """Return the objects in the order in which their handles were found."""
        return next(self._objects)


class Given:
    """Writes a block for whose objects handles have been made."""

    def __init__(self, handles: Sequence[int]) -> None:
        self._handles = iter(handles)

    def give(self, sort: int, kind: int, value: Any) -> int:
        """Return the handles in the order in which their objects were found."""
        return next(self._handles)
