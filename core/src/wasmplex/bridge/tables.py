"""Handles and the Python objects behind them, and the stand-ins used while handles are exchanged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

__all__ = ["Collector", "Given", "ResourceTable", "Taken", "drop"]


class ResourceTable:
    """The host's resources of one instance, by the representation that the adapter keeps for each."""

    def __init__(self) -> None:
        self.objects: dict[int, Any] = {}
        self._last = 0

    @classmethod
    def of(cls, instance: Any) -> ResourceTable:
        """Return the table of an instance, made when it is first asked for."""
        found: ResourceTable = instance.state.setdefault(cls, cls())
        return found

    def __len__(self) -> int:
        return len(self.objects)

    def add(self, value: Any) -> int:
        """Return a new representation for an object."""
        self._last = self._last % 0x7FFFFFFF + 1
        while self._last in self.objects:
            self._last += 1
        self.objects[self._last] = value
        return self._last

    def remove(self, rep: int) -> Any:
        """Give an object back to the host."""
        return self.objects.pop(rep)

    def drop(self, rep: int) -> None:
        """Forget an object and tell it so."""
        drop(self.objects.pop(rep, None))

    def close(self) -> None:
        """Drop everything that is left, the youngest first."""
        while self.objects:
            drop(self.objects.popitem()[1])

    # What generated code asks for:

    def borrow(self, kind: int, handle: int) -> Any:
        """Return the object of a borrowed handle: for a resource of ours the handle is the representation."""
        return self.objects[handle]

    def own(self, kind: int, handle: int) -> Any:
        """Never asked of the table itself: owned handles are exchanged first."""
        raise AssertionError("an owned handle was not taken apart")

    give = own


def drop(value: Any) -> None:
    """Tell an object that its last handle is gone, if it wants to know."""
    told = getattr(value, "drop", None)
    if told is not None:
        told()


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
