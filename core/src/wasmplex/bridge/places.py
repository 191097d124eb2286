"""Where handles lie in the values of a call, and code that exchanges them there without asking the host.

What an adapter is given and returns is known when it is made. Where each handle has a place of its own, the
adapter puts a representation in the place of a handle before it asks the host, and a handle in the place of a
representation, or of the number of a stream or future, when the host has answered. Handles in lists have no
place that is known: these the host looks for, and asks for each (`wasmplex.bridge.handles`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from wasmplex.bridge.builtins import Builtins
from wasmplex.bridge.custody import Custody
from wasmplex.bridge.kinds import Function, KindTable, inner_types, points
from wasmplex.bridge.layout import (
    MAX_FLAT_PARAMS,
    align_to,
    alignment,
    cases,
    discriminant_size,
    fields,
    flatten,
    size,
)
from wasmplex.bridge.layout import payload_offset as payload_at
from wasmplex.bridge.protocol import HEADER, NUMBERS
from wasmplex.wit.types import (
    Borrow,
    FutureType,
    ListType,
    MapType,
    Own,
    Resource,
    StreamType,
    TupleType,
    ValueType,
)

__all__ = ["BEGIN", "Exchanged", "exchanged_call", "exchanged_export", "returns_flat"]

_MOST = NUMBERS // 4
"""How many handles values may have; there is code for each."""

BEGIN = """
    ;; Make a stream or future in the place of its number, by which the host finds the writable end.
    (func $begin (param $builtin i32) (param $place i32)
      (local $ends i64)
      (local.set $ends (call_indirect $builtins (type $new) (local.get $builtin)))
      (i32.store offset=@WRITABLES@ (i32.shl (i32.load (local.get $place)) (i32.const 2))
        (i32.wrap_i64 (i64.shr_u (local.get $ends) (i64.const 32))))
      (i32.store (local.get $place) (i32.wrap_i64 (local.get $ends))))
"""


@dataclass(frozen=True, slots=True)
class Handle:
    """A handle at an address."""

    at: int
    type: ValueType


@dataclass(frozen=True, slots=True)
class Choice:
    """Handles that are there in one case of a variant each.

    :ivar at: the address of the discriminant
    :ivar bytes: how long that is
    """

    at: int
    bytes: int
    cases: tuple[tuple[Place, ...], ...]


Place: TypeAlias = Handle | Choice
_BEHIND_HEADER = f"(i32.add (local.get $at) (i32.const {HEADER}))"
_Wanted: TypeAlias = Callable[[ValueType], bool]
_Custody: TypeAlias = Callable[[Resource], Custody]


@dataclass(frozen=True, slots=True)
class Exchanged:
    """Code that exchanges the handles in the values of a function.

    :ivar taking: for those that the guest gives; None if the host has to look for them
    :ivar giving: for those that it gets; None if the host has to ask for them
    """

    taking: str | None = None
    giving: str | None = None


def exchanged_call(function: Function, kinds: KindTable, builtins: Builtins) -> Exchanged:
    """Return the code for an imported function.

    Parameters are in slots at ``$slots``, or where the first says; a result is behind the header of ``$at``.
    """
    params = [param.type for param in function.type.params]
    flat = len(flatten(TupleType(tuple(params)))) <= MAX_FLAT_PARAMS
    takes = _taken(params, kinds.custody, flat=flat)
    gives = _given(_result(function), kinds.custody, flat=returns_flat(function))
    base = "(local.get $slots)" if flat else "(local.get 0)"
    return Exchanged(
        None if takes is None else _taking(takes, base, kinds, builtins),
        None if gives is None else _giving(gives, _BEHIND_HEADER, kinds, builtins),
    )


def exchanged_export(
    function: Function, kinds: KindTable, builtins: Builtins, *, in_memory: tuple[bool, bool]
) -> Exchanged:
    """Return the code for an exported function: ``$at`` is the block with its parameters, or its result.

    Handles of parameters are made by the adapter where the host can write these before it knows where they
    will lie, and there is nothing in them to be fed.

    :param in_memory: whether its parameters, and its result, are in memory layout
    """
    params = [param.type for param in function.type.params]
    takes = _taken(_result(function), kinds.custody, flat=not in_memory[1])
    early = not in_memory[0] and not any(map(points, params)) and not any(map(_has_end, params))
    gives = _given(params, kinds.custody, flat=True) if early else None
    return Exchanged(
        None if takes is None else _taking(takes, "(local.get $at)", kinds, builtins),
        None if gives is None else _giving(gives, _BEHIND_HEADER, kinds, builtins),
    )


def returns_flat(function: Function) -> bool:
    """Say whether the host answers with flat values: with one, or with what ``task.return`` takes."""
    result = function.type.result
    return result is None or len(flatten(result)) <= (MAX_FLAT_PARAMS if function.type.is_async else 1)


def _result(function: Function) -> list[ValueType]:
    return [] if function.type.result is None else [function.type.result]


def _has_end(type_: ValueType) -> bool:
    return any(isinstance(part, (StreamType, FutureType)) for part in inner_types(type_))


class _ScatteredError(Exception):
    """Raised for a handle that has no place of its own."""


def _taken(types: Sequence[ValueType], custody: _Custody, *, flat: bool) -> tuple[Place, ...] | None:
    """Return where the guest's handles lie that the host is given objects for; None if that is not known.

    :param flat: whether the values lie in slots, 8 bytes each, or in memory layout
    """

    def wanted(type_: ValueType) -> bool:
        match type_:
            case Own(resource):
                return custody(resource) is not Custody.GUEST
            case Borrow(resource):
                return custody(resource).elsewhere
        return False

    return _places(types, wanted, flat=flat)


def _given(types: Sequence[ValueType], custody: _Custody, *, flat: bool) -> tuple[Place, ...] | None:
    """Return where handles are made for objects, streams and futures of the host; None if that is not known.

    It is not for what is lent, and the guest's own resources: there is more to be done about these.
    """

    def wanted(type_: ValueType) -> bool:
        match type_:
            case Own(resource) if custody(resource) is not Custody.GUEST:
                return True
            case Own() | Borrow():
                raise _ScatteredError
        return isinstance(type_, (StreamType, FutureType))

    return _places(types, wanted, flat=flat)


def _places(types: Sequence[ValueType], wanted: _Wanted, *, flat: bool) -> tuple[Place, ...] | None:
    try:
        values = TupleType(tuple(types))
        found = tuple(_in_slots(values, 0, wanted) if flat else _in_memory(values, 0, wanted))
    except _ScatteredError:
        return None
    return found if _count(found) <= _MOST else None


def _count(places: Sequence[Place]) -> int:
    return sum(1 if isinstance(place, Handle) else sum(map(_count, place.cases)) for place in places)


def _alike(type_: ValueType, at: int, wanted: _Wanted) -> list[Place] | None:
    """Return what is the same in slots and in memory; None for what is made of parts."""
    if wanted(type_):
        return [Handle(at, type_)]
    match type_:
        case StreamType() | FutureType():
            return []
        case ListType(length=None) | MapType():
            if any(map(wanted, inner_types(type_))):
                raise _ScatteredError
            return []
    return None


def _in_memory(type_: ValueType, at: int, wanted: _Wanted) -> Iterator[Place]:
    if (found := _alike(type_, at, wanted)) is not None:
        yield from found
    elif (parts := fields(type_)) is not None:
        for part in parts:
            at = align_to(at, alignment(part))
            yield from _in_memory(part, at, wanted)
            at += size(part)
    elif (payloads := cases(type_)) is not None:
        where = at + payload_at(payloads)
        inside = tuple(tuple(_in_memory(p, where, wanted)) if p else () for p in payloads)
        if any(inside):
            yield Choice(at, discriminant_size(len(payloads)), inside)


def _in_slots(type_: ValueType, at: int, wanted: _Wanted) -> Iterator[Place]:
    if (found := _alike(type_, at, wanted)) is not None:
        yield from found
    elif (parts := fields(type_)) is not None:
        for part in parts:
            yield from _in_slots(part, at, wanted)
            at += 8 * len(flatten(part))
    elif (payloads := cases(type_)) is not None:
        inside = tuple(tuple(_in_slots(p, at + 8, wanted)) if p else () for p in payloads)
        if any(inside):
            yield Choice(at, 4, inside)


# ---------------------------------------------------------------- code


def _taking(places: Sequence[Place], base: str, kinds: KindTable, builtins: Builtins) -> str:
    """Return code that puts representations in the places of handles.

    :param base: the expression for where the values lie
    """

    def take(handle: Handle) -> str:
        match handle.type:
            case Own(resource):
                number = builtins.resource[kinds.resource(resource)].take
            case Borrow(resource):
                number = builtins.resource[kinds.resource(resource)].look
        return _exchanged(handle, base, builtins.name(number))

    return _code(places, base, take)


def _giving(places: Sequence[Place], base: str, kinds: KindTable, builtins: Builtins) -> str:
    """Return code that puts handles in the places of representations and numbers; see `_taking`."""

    def give(handle: Handle) -> str:
        match handle.type:
            case StreamType():
                first = builtins.stream[kinds.stream(handle.type)]
            case FutureType():
                first = builtins.future[kinds.future(handle.type)]
            case Own(resource):
                give = builtins.resource[kinds.resource(resource)].give
                return _exchanged(handle, base, builtins.name(give))
        return f"(call $begin (i32.const {first}) (i32.add {base} (i32.const {handle.at})))"

    return _code(places, base, give)


def _exchanged(handle: Handle, base: str, function: str) -> str:
    at = handle.at
    return f"(i32.store offset={at} {base} (call {function} (i32.load offset={at} {base})))"


def _code(places: Sequence[Place], base: str, exchange: Callable[[Handle], str]) -> str:
    lines = []
    for place in places:
        if isinstance(place, Handle):
            lines.append(exchange(place))
            continue
        load = {1: "i32.load8_u", 2: "i32.load16_u", 4: "i32.load"}[place.bytes]
        lines += [
            f"(if (i32.eq ({load} offset={place.at} {base}) (i32.const {index}))"
            f" (then {_code(inside, base, exchange)}))"
            for index, inside in enumerate(place.cases)
            if inside
        ]
    return "\n".join(lines)
