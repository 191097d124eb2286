"""Handles: the host's objects that a guest holds, and the guest's objects that the host holds."""

from __future__ import annotations

import inspect
from contextlib import suppress
from typing import Any, Final, Protocol

from wasmplex.engine import capi
from wasmplex.errors import LimitReached
from wasmplex.wit.types import Resource

__all__ = ["GuestResource", "HostObjects", "Patterns", "dropped"]

_FEW: Final = 64


class Patterns:
    """C handles that say which object of the host is meant, for wasmtime to copy.

    One for each type and representation serves all objects and stores, where otherwise one would be made and
    deleted for each object. Type ids count from 0 in each component, and representations come round, so there
    are few, and they are kept for good.

    :ivar known: the handle by type id and representation, ``type_id << 32 | rep``
    """

    def __init__(self) -> None:
        self.known: dict[int, int] = {}

    def enter(self, ctx: int, type_id: int, rep: int, out: int) -> int:
        """Enter an object into a store's table; return an error of wasmtime, or 0.

        :param out: where to put the address of the C handle that has been made, which the caller frees
        """
        key = type_id << 32 | rep
        handle = self.known.get(key) or capi.host_new(True, rep, type_id)
        error: int = capi.host_to_any(ctx, handle, out)
        if rep > _FEW:
            capi.host_delete(handle)
        else:
            self.known[key] = handle
        return error


class HostObjects:
    """The table of Python objects that one guest instance holds handles of, of whatever functions.

    The number that is kept for a handle (its representation) is the key here. One object may be in it more
    than once; its ``drop()`` is called when the last of its handles has gone. Numbers come round again, so
    that they stay small: see `Patterns`.

    :param workload: whose instance it is, for messages
    :param most: how many handles there may be
    :ivar entries: the objects; not to be changed by others
    """

    __slots__ = ("_counts", "_last", "_most", "_next", "entries", "workload")

    def __init__(self, workload: str, most: int) -> None:
        self.entries: dict[int, Any] = {}
        self._counts: dict[int, int] = {}
        """How many handles each object has, by its id."""
        self.workload = workload
        self._most = most
        self._next = 1
        self._last = _FEW

    def __len__(self) -> int:
        return len(self.entries)

    def add(self, value: Any) -> int:
        """Enter an object; return its representation.

        :raises TypeError: for what is none of the host
        :raises wasmplex.errors.LimitReached: if there are as many as there may be; this one is dropped then
        """
        if value is None or value.__class__ is GuestResource:
            raise TypeError("not an object of the host")
        entries, counts = self.entries, self._counts
        if len(entries) >= self._most:
            with suppress(Exception):  # it is the guest that is in the wrong here
                self.forget(value)
            why = f"it holds {len(entries)} resources of the host at once"
            raise LimitReached(self.workload, "handles", why)
        rep = self._next
        if rep > self._last or rep in entries:
            rep = self._vacant()
        self._next = rep + 1
        entries[rep] = value
        key = id(value)
        counts[key] = counts.get(key, 0) + 1
        return rep

    def check(self, others: int) -> None:
        """Find out whether there may be as many handles that are no objects of the host: of streams, futures.

        :raises wasmplex.errors.LimitReached: if there are more, together with those that are
        """
        if (held := len(self.entries) + others) > self._most:
            raise LimitReached(self.workload, "handles", f"it holds {held} resources and streams of the host")

    def _vacant(self) -> int:
        entries, rep = self.entries, self._next
        if len(entries) * 2 > self._last:
            self._last = min(self._last * 2, 0x7FFF_FFFF)
        while rep > self._last or rep in entries:
            rep = rep + 1 if rep < self._last else 1
        return rep

    def take(self, rep: int) -> Any:
        """Remove an object whose handle was given back: its ``drop()`` is the host's business again."""
        value = self.entries.pop(rep)
        counts, key = self._counts, id(value)
        if (left := counts[key] - 1) != 0:
            counts[key] = left
        else:
            del counts[key]
        return value

    def drop(self, rep: int) -> None:
        """Remove an object because its handle was dropped; call its ``drop()`` if no other handle is left."""
        value = self.entries.pop(rep)
        counts, key = self._counts, id(value)
        if (left := counts[key] - 1) != 0:  # as in `take`, which would be another call
            counts[key] = left
        else:
            del counts[key]
            dropped(value)

    def forget(self, value: Any) -> None:
        """Call the ``drop()`` of an object that was to get a handle, and will get none."""
        if id(value) not in self._counts:
            dropped(value)

    def drop_youngest(self) -> None:
        """Drop what was entered last of what is left."""
        rep, value = self.entries.popitem()  # to look for the last key would take longer each time
        self.entries[rep] = value
        self.drop(rep)


def dropped(value: Any) -> None:
    """Tell an object that its last handle is gone, if it wants to know.

    :raises TypeError: if it would be told only in a coroutine
    """
    drop = getattr(value, "drop", None)
    if drop is not None and inspect.iscoroutine(result := drop()):
        result.close()
        raise TypeError(f"{type(value).__name__}.drop() must not be async: a guest does not wait for it")


class Holder(Protocol):
    """The store that the guest's handles belong to."""

    @property
    def closed(self) -> bool:
        """Whether it has ended."""


class GuestResource:
    """A handle of a resource that the guest implements: opaque, good as argument of its own instance.

    :ivar type: which resource it is
    :ivar owned: False for one that was only lent
    """

    __slots__ = ("_pointer", "_state", "owned", "type")

    def __init__(self, state: Holder, type: Resource, pointer: int, *, owned: bool) -> None:
        self._state = state
        self._pointer = pointer
        self.type = type
        self.owned = owned

    @property
    def alive(self) -> bool:
        """False once it was dropped, passed on as ``own``, or its instance has ended."""
        return self._pointer != 0 and not self._state.closed

    def pointer_in(self, state: Holder, type: Resource) -> int:
        """Return the C handle, if it is one of this store and type.

        :raises TypeError: if it is not, or no longer alive
        """
        if state is not self._state or type != self.type or not self.alive:
            raise TypeError("not a live handle of this resource")
        return self._pointer

    async def drop(self) -> None:
        """Give the handle up. Idempotent.

        wasmtime's C API has no way to run a guest's destructor in a store that may suspend, so what the guest
        keeps for the resource is freed with the instance. Where that is too late, pass the handle to a
        function of the guest that takes it as ``own``.
        """
        self.forget()

    def forget(self) -> None:
        """Give up the handle without dropping the resource: it has moved to the guest."""
        pointer, self._pointer = self._pointer, 0
        if pointer:
            capi.any_delete(pointer)

    def __del__(self) -> None:
        self.forget()

    def __repr__(self) -> str:
        return f"<{self.type.name or 'resource'} of the guest{'' if self.alive else ', gone'}>"
