"""How many words of an arena a value of a type needs."""

from __future__ import annotations

from functools import singledispatch

from wasmplex.engine.inplace import InPlace
from wasmplex.wit.types import (
    Enum,
    ErrorContext,
    Flags,
    FutureType,
    Option,
    Record,
    ResultType,
    StreamType,
    TupleType,
    ValueType,
    VariantType,
)
from wasmplex.wit.walk import children

__all__ = ["ENTRY", "MAP_ENTRY", "NAME", "VAL", "fixed_words", "is_heavy", "uncarried"]

VAL = 4
"""Words of a val."""
ENTRY = 6
"""Words of a record's entry: name and val."""
MAP_ENTRY = 8
"""Words of a map's entry: two vals."""
NAME = 2
"""Words of a name: length and address."""


@singledispatch
def fixed_words(type: ValueType) -> int:
    """Return the words besides the val itself that are needed whatever the value is.

    Elements of lists and maps are not in it: their number is known only with the value.
    """
    return 0


@fixed_words.register
def _(type: Option) -> int:
    return VAL + fixed_words(type.element)


@fixed_words.register
def _(type: ResultType) -> int:
    return max(VAL + fixed_words(side) if side is not None else 0 for side in (type.ok, type.err))


@fixed_words.register
def _(type: VariantType) -> int:
    return max((VAL + fixed_words(case.type) for case in type.cases if case.type is not None), default=0)


@fixed_words.register
def _(type: Record) -> int:
    return sum(ENTRY + fixed_words(field.type) for field in type.fields)


@fixed_words.register
def _(type: TupleType) -> int:
    return sum(VAL + fixed_words(element) for element in type.elements)


@fixed_words.register
def _(type: InPlace) -> int:
    return 2 * VAL


@fixed_words.register
def _(type: Flags) -> int:
    return NAME * len(type.names)


def is_heavy(type: ValueType) -> bool:
    """Tell whether the code for a type is better kept in a function of its own.

    Python refuses more than 20 nested loops, and code for a big variant should exist once.
    """
    return _weight(type) > _MAX_WEIGHT or _depth(type) > _MAX_DEPTH


_MAX_WEIGHT = 24
_MAX_DEPTH = 10


def _weight(type: ValueType) -> int:
    cases = len(type.cases) if isinstance(type, (VariantType, Enum)) else 0
    return 1 + cases + sum(_weight(part) for part in children(type))


def _depth(type: ValueType) -> int:
    return 1 + max((_depth(part) for part in children(type)), default=0)


def uncarried(type: ValueType) -> str | None:
    """Return the name of a type within this one that the C API has no values for, None without one."""
    names = {StreamType: "stream", FutureType: "future", ErrorContext: "error-context"}
    if (name := names.get(type.__class__)) is not None:
        return name
    return next((found for part in children(type) if (found := uncarried(part)) is not None), None)
