"""Walking value types: what is directly inside one, and the same type with other things inside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from wasmplex.wit.types import (
    Case,
    Enum,
    Field,
    Flags,
    FuncType,
    FutureType,
    ListType,
    MapType,
    Option,
    Param,
    Record,
    ResultType,
    StreamType,
    TupleType,
    ValueType,
    VariantType,
)

__all__ = ["children", "func_children", "func_with_children", "labels", "with_children"]


def children(value: ValueType) -> tuple[ValueType, ...]:
    """Return the value types directly inside `value`, in order; absent payloads are left out."""
    match value:
        case ListType() | Option():
            return (value.element,)
        case StreamType() | FutureType():
            return () if value.element is None else (value.element,)
        case TupleType():
            return value.elements
        case Record():
            return tuple(field.type for field in value.fields)
        case VariantType():
            return tuple(case.type for case in value.cases if case.type is not None)
        case ResultType():
            return tuple(side for side in (value.ok, value.err) if side is not None)
        case MapType():
            return (value.key, value.value)
        case _:
            return ()


def labels(value: ValueType) -> tuple[str, ...]:
    """Return the names inside `value`: of its fields, cases or flags."""
    match value:
        case Record():
            return tuple(field.name for field in value.fields)
        case VariantType():
            return tuple(case.name for case in value.cases)
        case Enum():
            return value.cases
        case Flags():
            return value.names
        case _:
            return ()


def with_children(value: ValueType, inner: Sequence[ValueType]) -> ValueType:
    """Return `value` with `inner` in place of its `children`; of the same length."""
    rest = iter(inner)
    match value:
        case ListType() | Option() | StreamType() | FutureType():
            return replace(value, element=next(rest)) if inner else value
        case TupleType():
            return TupleType(tuple(inner))
        case Record():
            return Record(tuple(Field(f.name, next(rest)) for f in value.fields), value.name)
        case VariantType():
            cases = (Case(c.name, c.type and next(rest)) for c in value.cases)
            return VariantType(tuple(cases), value.name)
        case ResultType():
            return ResultType(value.ok and next(rest), value.err and next(rest))
        case MapType():
            return MapType(*inner)
        case _:
            return value


def func_children(func: FuncType) -> tuple[ValueType, ...]:
    """Return the types of the parameters, then that of the result if there is one."""
    result = () if func.result is None else (func.result,)
    return (*(param.type for param in func.params), *result)


def func_with_children(func: FuncType, inner: Sequence[ValueType]) -> FuncType:
    """Return `func` with `inner` in place of its `func_children`."""
    params = tuple(Param(p.name, value) for p, value in zip(func.params, inner, strict=False))
    return FuncType(params, None if func.result is None else inner[-1], func.is_async)
