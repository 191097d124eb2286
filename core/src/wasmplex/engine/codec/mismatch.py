"""Finds the part of a value that does not fit its type, after the generated code has refused it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import singledispatch
from typing import Any

from wasmplex.engine.errors import ValueMismatch
from wasmplex.errors import nearest
from wasmplex.values import Err, Ok, Some
from wasmplex.wit.types import (
    Borrow,
    Enum,
    Flags,
    ListType,
    MapType,
    Option,
    Own,
    Primitive,
    Record,
    ResultType,
    TupleType,
    ValueType,
    VariantType,
)

__all__ = ["find_mismatch", "mismatch"]

Problem = tuple[str, str]

_RANGES = {
    f"{'su'[unsigned]}{bits}": (0, 2**bits - 1) if unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    for bits in (8, 16, 32, 64)
    for unsigned in (False, True)
}


def mismatch(type: ValueType | None, value: Any, path: str, function: str, cause: Exception) -> ValueMismatch:
    """Return the error for a value that could not be written.

    :param path: what the value is called as a whole, ``result`` or the parameter's name
    :param cause: what the generated code raised
    """
    try:
        found = find_mismatch(type, value, path)
    except Exception as error:  # noqa: BLE001  a value whose own methods raise does not fit either
        found, cause = None, error
    where, problem = found or (path, f"{_name(value)} cannot be passed ({cause.__class__.__name__}: {cause})")
    return ValueMismatch(where, problem, function)


def find_mismatch(type: ValueType | None, value: Any, path: str) -> Problem | None:
    """Return path and description of the first part that does not fit, None if all of it fits."""
    if type is None:
        return None if value is None else (path, f"nothing is expected here, not {_name(value)}")
    return next(_problems(type, value, path), None)


def _name(value: Any) -> str:
    """Describe a value without showing it: it may be large, or secret."""
    return "None" if value is None else value.__class__.__name__


@singledispatch
def _problems(type: ValueType, value: Any, path: str) -> Iterator[Problem]:
    yield path, f"a {type.__class__.__name__} cannot be passed"


@_problems.register
def _(type: Primitive, value: Any, path: str) -> Iterator[Problem]:
    if type.name in _RANGES:
        yield from _integer_problems(type.name, value, path)
    elif type.name in ("f32", "f64"):
        if not hasattr(value, "__float__") and not hasattr(value, "__index__"):
            yield path, f"{type.name} expected, not {_name(value)}"
    elif type.name == "bool":
        if value not in (True, False):
            yield path, f"bool expected, not {_name(value)}"
    else:
        yield from _text_problems(type.name, value, path)


def _integer_problems(name: str, value: Any, path: str) -> Iterator[Problem]:
    low, high = _RANGES[name]
    if not hasattr(value, "__index__"):
        yield path, f"{name} expected, not {_name(value)}"
    elif not low <= value.__index__() <= high:
        yield path, f"{value} is out of range for {name} ({low} to {high})"


def _text_problems(name: str, value: Any, path: str) -> Iterator[Problem]:
    if not isinstance(value, str):
        yield path, f"{name} (str) expected, not {_name(value)}"
        return
    if name == "char" and len(value) != 1:
        yield path, f"one character expected, not {len(value)}"
    at = next((i for i, c in enumerate(value) if "\ud800" <= c <= "\udfff"), None)
    if at is not None:
        yield path, f"a surrogate at position {at} is not a Unicode scalar value"


@_problems.register
def _(type: Enum, value: Any, path: str) -> Iterator[Problem]:
    if not isinstance(value, str):
        yield path, f"the name of a case (str) expected, not {_name(value)}"
    elif value not in type.cases:
        yield path, f"no case {value!r}; {nearest(value, type.cases)}"


@_problems.register
def _(type: Flags, value: Any, path: str) -> Iterator[Problem]:
    if not isinstance(value, (frozenset, set, list, tuple)):
        yield path, f"a set of flag names expected, not {_name(value)}"
        return
    for name in value:
        if name not in type.names:
            yield path, f"no flag {name!r}; {nearest(str(name), type.names)}"


@_problems.register
def _(type: ListType, value: Any, path: str) -> Iterator[Problem]:
    is_bytes = isinstance(value, (bytes, bytearray, memoryview))
    if isinstance(type.element, Primitive) and type.element.name == "u8" and is_bytes:
        value = bytes(value)
    elif isinstance(value, (str, Mapping)) or not (isinstance(value, Sequence) or hasattr(value, "tolist")):
        yield path, f"a sequence expected, not {_name(value)}"
        return
    if type.length is not None and len(value) != type.length:
        yield path, f"{type.length} elements expected, not {len(value)}"
    for i, item in enumerate(value):
        yield from _problems(type.element, item, f"{path}[{i}]")


@_problems.register
def _(type: MapType, value: Any, path: str) -> Iterator[Problem]:
    if not isinstance(value, Mapping):
        yield path, f"a dict expected, not {_name(value)}"
        return
    for key, item in value.items():
        yield from _problems(type.key, key, f"{path}.key")
        yield from _problems(type.value, item, f"{path}[{key!r}]")


@_problems.register
def _(type: TupleType, value: Any, path: str) -> Iterator[Problem]:
    if not isinstance(value, (tuple, list)):
        yield path, f"a tuple expected, not {_name(value)}"
    elif len(value) != len(type.elements):
        yield path, f"a tuple of {len(type.elements)} expected, not of {len(value)}"
    else:
        for i, (element, item) in enumerate(zip(type.elements, value, strict=True)):
            yield from _problems(element, item, f"{path}[{i}]")


@_problems.register
def _(type: Record, value: Any, path: str) -> Iterator[Problem]:
    if not isinstance(value, Mapping):
        yield path, f"a dict of the record's fields expected, not {_name(value)}"
        return
    names = [field.name for field in type.fields]
    for name in value:
        if name not in names:
            yield path, f"no field {name!r}; {nearest(str(name), names)}"
    for field in type.fields:
        if field.name not in value:
            yield path, f"field {field.name!r} is missing"
        else:
            yield from _problems(field.type, value[field.name], f"{path}.{field.name}")


@_problems.register
def _(type: Option, value: Any, path: str) -> Iterator[Problem]:
    if value is None:
        return
    if not isinstance(type.element, Option):
        yield from _problems(type.element, value, path)
    elif not isinstance(value, Some):
        yield path, f"Some(...) or None expected, since the option is nested, not {_name(value)}"
    else:
        yield from _problems(type.element, value.value, f"{path}.some")


@_problems.register
def _(type: ResultType, value: Any, path: str) -> Iterator[Problem]:
    if not isinstance(value, (Ok, Err)):
        yield path, f"Ok(...) or Err(...) expected, not {_name(value)}"
        return
    side, name = (type.ok, "ok") if isinstance(value, Ok) else (type.err, "err")
    if problem := find_mismatch(side, value.value, f"{path}.{name}"):
        yield problem


@_problems.register
def _(type: VariantType, value: Any, path: str) -> Iterator[Problem]:
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        yield path, f"Variant(tag, value) expected, not {_name(value)}"
        return
    tag, payload = value
    cases = {case.name: case.type for case in type.cases}
    if not isinstance(tag, str) or tag not in cases:
        yield path, f"no case {tag!r}; {nearest(str(tag), cases)}"
    elif problem := find_mismatch(cases[tag], payload, f"{path}.{tag}"):
        yield problem


@_problems.register(Own)
@_problems.register(Borrow)
def _(type: Own | Borrow, value: Any, path: str) -> Iterator[Problem]:
    resource = type.resource
    if resource.imported:
        if value is None:
            yield path, f"an object for the resource {resource.name!r} expected, not None"
    elif getattr(value, "type", None) != resource:
        yield path, f"a handle of the guest's resource {resource.name!r} expected, not {_name(value)}"
    elif not value.alive:
        yield path, f"the handle of resource {resource.name!r} has been dropped or moved"
