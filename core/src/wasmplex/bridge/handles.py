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
from wasmplex.bridge.giving import give_up
from wasmplex.bridge.kinds import RESOURCE
from wasmplex.wit.types import Resource

__all__ = [
    "GuestHandle", "HandleScan", "Lifted", "LiftedHandles", "Lowered", "LoweredHandles", "Made",
]  # fmt: skip


class ResourceKinds(Protocol):
    """What is known of the resource types of one adapter, by number."""

    @property
    def custody(self) -> Sequence[Custody]:
        """Who defines each."""

    @property
    def resource(self) -> Sequence[ResourceBuiltins]:
        """The built-ins of each."""


class HandleOwner(Protocol):
    """The session that the guest's handles belong to.

    :ivar closed: whether the instance has ended
    """

    closed: bool

    def forgotten(self, kind: int, number: int) -> None:
        """Note that a handle is to be dropped."""


class GuestHandle:
    """A resource that the guest implements, held by the host: opaque, an argument for its own instance.

    :ivar type: which resource it is
    """

    __slots__ = ("_kind", "_number", "_owner", "type")

    def __init__(self, owner: HandleOwner, type: Resource, kind: int, number: int) -> None:
        self.type = type
        self._owner = owner
        self._kind = kind
        self._number = number

    @property
    def alive(self) -> bool:
        """False once it was dropped, passed on as ``own``, or its instance has ended."""
        return self._number != 0 and not self._owner.closed

    def number_for(self, owner: object, kind: int) -> int:
        """Return the handle in the export adapter.

        :raises TypeError: if it is of another instance or type, or gone
        """
        if owner is not self._owner or kind != self._kind or not self.alive:
            raise TypeError("not a live handle of this resource")
        return self._number

    def forget(self) -> None:
        """Give up the handle without dropping the resource: it has moved to the guest."""
        self._number = 0

    async def drop(self) -> None:
        """Give the handle up. Idempotent. The guest's destructor runs with the next call of the instance."""
        number, self._number = self._number, 0
        if number:
            self._owner.forgotten(self._kind, number)

    def __del__(self) -> None:
        number, self._number = self._number, 0
        if number:
            self._owner.forgotten(self._kind, number)

    def __repr__(self) -> str:
        return f"<{self.type.name or 'resource'} of the guest{'' if self.alive else ', gone'}>"


@dataclass(frozen=True, slots=True)
class Lowered:
    """A value that is passed as a handle.

    :ivar lent: whether it is lent for the length of the call
    :ivar number: the handle, where there is one: of the guest's resources
    """

    sort: int
    kind: int
    value: Any
    lent: bool = False
    number: int = 0


Made = list[tuple[Lowered, int]]
"""What handles were made for, and the handles."""


@dataclass(frozen=True, slots=True)
class Lifted:
    """A handle that has to be turned into a representation.

    :ivar builtin: what does it
    :ivar lent: whether the object stays in the table
    """

    builtin: int
    handle: int
    lent: bool = False


class HandleScan:
    """Finds out which handles a block holds or will hold, without touching any.

    :param owner: the session that the guest's handles belong to
    :ivar lifted: the handles that have to be turned into representations
    :ivar lowered: what is passed as handles
    :ivar moved: the guest's handles that the block gives back to it
    :ivar seen: whether there was a handle of any kind in what was read
    """

    def __init__(self, kinds: ResourceKinds, owner: object) -> None:
        self._kinds = kinds
        self._owner = owner
        self.lifted: list[Lifted] = []
        self.lowered: list[Lowered] = []
        self.moved: list[GuestHandle] = []
        self.seen = False

    @property
    def missing(self) -> list[Lowered]:
        """What handles have to be made for."""
        return [found for found in self.lowered if not found.number]

    def made(self, handles: Iterable[int]) -> LoweredHandles:
        """Return what writes the block, given the handles of what is `missing`; what moves is gone here."""
        for handle in self.moved:
            handle.forget()
        numbers = iter(handles)
        return LoweredHandles([found.number or next(numbers) for found in self.lowered])

    def give_up(self, release: Callable[[Any], object]) -> None:
        """Let go of what handles were to be made for, and nobody will get.

        :param release: tells an object that it will get no handle
        """
        for found in self.missing:
            if found.sort != RESOURCE:
                give_up(found.value)
            elif not found.lent:
                release(found.value)

    def own(self, kind: int, handle: int) -> None:
        """Note an owned handle in a block that is being read."""
        self.seen = True
        if self._kinds.custody[kind] is not Custody.GUEST:
            self.lifted.append(Lifted(self._kinds.resource[kind].take, handle))

    def borrow(self, kind: int, handle: int) -> None:
        """Note a borrowed handle, if it is more than the representation."""
        self.seen = True
        if (custody := self._kinds.custody[kind]).elsewhere:
            lent = custody is Custody.KEPT
            self.lifted.append(Lifted(self._kinds.resource[kind].look, handle, lent))

    def stream(self, kind: int, handle: int) -> None:
        """Note that there is one, nothing more: an end that the guest gives away is read where it is."""
        self.seen = True

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
            self.lowered.append(Lowered(sort, kind, value, lent, number))
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
        if self._custody[kind].elsewhere:
            return next(self._objects)
        return self._handles.borrow(kind, handle)


class LoweredHandles:
    """Writes a block for whose values handles have been made.

    :param numbers: the handles, in the order in which the scan met the values
    """

    def __init__(self, numbers: Sequence[int]) -> None:
        self._numbers = numbers
        self._rest = iter(numbers)

    def give(self, sort: int, kind: int, value: Any) -> int:
        """Return the next handle."""
        return next(self._rest)

    def lend(self, kind: int, value: Any) -> int:
        """Return the next handle."""
        return next(self._rest)

    def again(self) -> LoweredHandles:
        """Return the same for another pass."""
        return LoweredHandles(self._numbers)
