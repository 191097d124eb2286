"""What codecs ask for handles: a first pass finds them, a second reads or writes what they stand for.

A block may hold handles that only the adapter can turn into something else. So it is read, or written,
twice: `HandleScan` notes which handles there are, the adapter exchanges them, and then `LiftedHandles` reads
with the objects, or `LoweredHandles` writes with the handles, in the order in which the scan met them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from wasmplex.bridge.builtins import ResourceBuiltins
from wasmplex.bridge.custody import Custody
from wasmplex.bridge.flows import give_up

__all__ = ["FUTURE", "RESOURCE", "STREAM", "GuestHandle", "HandleScan", "Lifted", "LiftedHandles", "Lowered",
           "LoweredHandles"]  # fmt: skip

RESOURCE, STREAM, FUTURE = range(3)
"""The sorts of handles."""


class ResourceKinds(Protocol):
    """What is known of the resource types of one adapter, by number."""

    @property
    def custody(self) -> Sequence[Custody]:
        """Who defines each."""

    @property
    def resource(self) -> Sequence[ResourceBuiltins]:
        """The built-ins of each."""


class GuestHandle:
    """A resource that the guest implements, held by the host: opaque, an argument for its own instance.

    :ivar kind: the number of its type in the export adapter
    :ivar alive: False once it was passed on as ``own``, dropped, or its instance has ended
    """

    __slots__ = ("__weakref__", "_drop", "_number", "kind", "owner")

    def __init__(self, owner: object, kind: int, number: int, drop: Callable[[int, int], None]) -> None:
        self.owner = owner
        self.kind = kind
        self._number = number
        self._drop = drop

    @property
    def alive(self) -> bool:
        """Whether it can be passed to the guest."""
        return self._number != 0

    def number_for(self, owner: object, kind: int) -> int:
        """Return the handle in the export adapter.

        :raises TypeError: if it is of another instance or type, or gone
        """
        if owner is not self.owner or kind != self.kind or not self._number:
            raise TypeError("not a live handle of this resource")
        return self._number

    def forget(self) -> None:
        """Give up the handle without dropping the resource: it has moved to the guest."""
        self._number = 0

    async def drop(self) -> None:
        """Give the handle up. Idempotent. The guest's destructor runs with the next call of the instance."""
        number, self._number = self._number, 0
        if number:
            self._drop(self.kind, number)

    def __del__(self) -> None:
        number, self._number = self._number, 0
        if number:
            self._drop(self.kind, number)

    def __repr__(self) -> str:
        return f"<resource of the guest{'' if self.alive else ', gone'}>"


@dataclass(frozen=True, slots=True)
class Lowered:
    """A value for which a handle has to be made.

    :ivar lent: whether it is lent for the length of the call
    """

    sort: int
    kind: int
    value: Any
    lent: bool = False


@dataclass(frozen=True, slots=True)
class Lifted:
    """A handle that has to be turned into a representation.

    :ivar builtin: what does it
    :ivar lent: whether it was lent for the length of the call
    """

    builtin: int
    handle: int
    lent: bool = False


class HandleScan:
    """Finds out which handles a block holds or will hold, without touching any.

    :param owner: the session that the guest's handles belong to
    :ivar lifted: the handles that have to be turned into representations
    :ivar lowered: what handles have to be made for
    :ivar moved: the guest's handles that the block gives back to it
    """

    def __init__(self, kinds: ResourceKinds, owner: object) -> None:
        self._kinds = kinds
        self._owner = owner
        self.lifted: list[Lifted] = []
        self.lowered: list[Lowered] = []
        self.moved: list[GuestHandle] = []

    def give_up(self, release: Callable[[Any], object]) -> None:
        """Let go of what handles were to be made for, and nobody will get.

        :param release: tells an object that it will get no handle
        """
        for found in self.lowered:
            if found.sort != RESOURCE:
                give_up(found.value)
            elif not found.lent:
                release(found.value)

    def forget_moved(self) -> None:
        """Give up the handles that have moved to the guest."""
        for handle in self.moved:
            handle.forget()

    def own(self, kind: int, handle: int) -> None:
        """Note an owned handle in a block that is being read."""
        if self._kinds.custody[kind] is not Custody.GUEST:
            self.lifted.append(Lifted(self._kinds.resource[kind].take, handle))

    def borrow(self, kind: int, handle: int) -> None:
        """Note a borrowed handle, if it is more than the representation."""
        if self._kinds.custody[kind] is Custody.KEPT:
            self.lifted.append(Lifted(self._kinds.resource[kind].look, handle, lent=True))

    def stream(self, kind: int, handle: int) -> None:
        """Note nothing: an end that the guest gives away is read where it is."""

    future = stream

    def give(self, sort: int, kind: int, value: Any) -> int:
        """Note a value that a block being written will need a handle for."""
        return self._lower(sort, kind, value, lent=False)

    def lend(self, kind: int, value: Any) -> int:
        """Note a value that a block being written will need a handle for during the call."""
        return self._lower(RESOURCE, kind, value, lent=True)

    def _lower(self, sort: int, kind: int, value: Any, *, lent: bool) -> int:
        if sort == RESOURCE and self._kinds.custody[kind] is Custody.GUEST:
            if not isinstance(value, GuestHandle):
                raise TypeError(f"a resource of the guest is wanted, not {type(value).__name__}")
            number = value.number_for(self._owner, kind)
            if not lent:
                if any(other is value for other in self.moved):
                    raise TypeError("a handle of this resource is given away twice")
                self.moved.append(value)
            return number
        if sort == RESOURCE and (value is None or isinstance(value, GuestHandle)):
            raise TypeError("not an object of the host")
        self.lowered.append(Lowered(sort, kind, value, lent))
        return 0


class LiftedHandles:
    """Reads a block whose handles have been exchanged for objects."""

    def __init__(self, kinds: ResourceKinds, handles: Any, objects: Iterable[Any]) -> None:
        self._custody = kinds.custody
        self._handles = handles
        self._objects: Iterator[Any] = iter(objects)
        self.stream = handles.stream
        self.future = handles.future

    def own(self, kind: int, handle: int) -> Any:
        """Return the objects in the order in which their handles were found."""
        if self._custody[kind] is Custody.GUEST:
            return self._handles.own(kind, handle)
        return next(self._objects)

    def borrow(self, kind: int, handle: int) -> Any:
        """Return the object behind a borrowed handle."""
        if self._custody[kind] is Custody.KEPT:
            return next(self._objects)
        return self._handles.borrow(kind, handle)


class LoweredHandles:
    """Writes a block for whose values handles have been made.

    The guest's own have been checked by the scan.

    :ivar made: what handles were made for, in the order in which the scan found it, and the handles
    """

    def __init__(self, kinds: ResourceKinds, owner: object, made: Sequence[tuple[Lowered, int]]) -> None:
        self._kinds = kinds
        self._custody = kinds.custody
        self._owner = owner
        self.made = made
        self._numbers = iter(made)

    def give(self, sort: int, kind: int, value: Any) -> int:
        """Return the handles in the order in which their values were found."""
        if sort == RESOURCE and self._custody[kind] is Custody.GUEST:
            number: int = value.number_for(self._owner, kind)
            return number
        return next(self._numbers)[1]

    def lend(self, kind: int, value: Any) -> int:
        """Return the handle that is lent."""
        return self.give(RESOURCE, kind, value)

    def again(self) -> LoweredHandles:
        """Return the same for another pass."""
        return LoweredHandles(self._kinds, self._owner, self.made)
