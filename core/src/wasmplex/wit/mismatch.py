"""Explains why a Python value is not one of a WIT type: where inside the value, and what was wanted.

The fast paths only notice that something does not fit; this slow one is run afterwards to say what.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

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
    Resource,
    ResultType,
    TupleType,
    ValueType,
    VariantType,
)

__all__ = ["ValueMismatch", "mismatch"]


class ValueMismatch(TypeError):
    """Raised when a host function returns, or a caller passes, a value that does not fit its WIT type.

    :ivar path: the place inside the value, ``result.ok[3].name``
    :ivar problem: what is wrong there
    :ivar function: the full name of the WIT function it was meant for, empty if not known
    """

    def __init__(self, path: str, problem: str, function: str = "") -> None:
        super().__init__(f"{f'{function}: ' if function else ''}{path or 'value'}: {problem}")
        self.path = path
        self.problem = problem
        self.function = function


def mismatch(
    type_: ValueType | None, value: Any, path: str = "", *, many: bool = False
) -> ValueMismatch | None:
    """Return what is wrong with `value`, or None if nothing is found.

    :param many: True if `value` is a sequence of values of the type
    """
    if many and type_ is not None:
        type_ = ListType(type_)
    if type_ is None:
        return None if value is None else ValueMismatch(path, f"no value is wanted here, not {_show(value)}")
    found = _find(type_, value, path)
    return None if found is None else ValueMismatch(*found)


_Found = tuple[str, str] | None


def _show(value: Any) -> str:
    """Describe a value by its class; numbers are shown. Text and bytes may be secret, and end up in logs."""
    name = type(value).__name__
    return f"{name} {value!r}" if isinstance(value, (bool, int, float)) else name


def _tag(value: Any) -> str:
    """Show what stands for the name of a case or flag."""
    text = repr(value) if isinstance(value, str) else _show(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _find(type_: ValueType, value: Any, path: str) -> _Found:
    match type_:
        case Primitive(name):
            return _primitive(name, value, path)
        case ListType(element, length):
            return _list(element, length, value, path)
        case MapType(key, item):
            return _map(TupleType((key, item)), value, path)
        case TupleType(elements):
            return _tuple(elements, value, path)
        case Record():
            return _record(type_, value, path)
        case Enum(names):
            return _enum(names, value, path)
        case Flags(names):
            return _flags(names, value, path)
        case Option(element):
            return _option(element, value, path)
        case ResultType(ok, err):
            return _result(ok, err, value, path)
        case VariantType():
            return _variant(type_, value, path)
        case Own(resource) | Borrow(resource):
            return _handle(resource, value, path)
    return None


def _map(pair: TupleType, value: Any, path: str) -> _Found:
    if not isinstance(value, Mapping):
        return path, f"a mapping is wanted, not {_show(value)}"
    return _first((pair, entry, f"{path}[{entry[0]!r}]") for entry in value.items())


def _tuple(elements: Sequence[ValueType], value: Any, path: str) -> _Found:
    whole = isinstance(value, Sequence) and not isinstance(value, (str, bytes))
    if not whole or len(value) != len(elements):
        return path, f"a tuple of {len(elements)} is wanted, not {_show(value)}"
    return _first((t, v, f"{path}[{i}]") for i, (t, v) in enumerate(zip(elements, value, strict=True)))


def _result(ok: ValueType | None, err: ValueType | None, value: Any, path: str) -> _Found:
    if not isinstance(value, (Ok, Err)):
        return path, f"Ok(...) or Err(...) is wanted, not {_show(value)}"
    side, payload = ("ok", ok) if isinstance(value, Ok) else ("err", err)
    return _payload(payload, value.value, f"{path}.{side}".lstrip("."))


def _first(parts: Any) -> _Found:
    return next((found for part in parts if (found := _find(*part)) is not None), None)


_RANGES = {
    f"{sign}{bits}": (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if sign == "s" else (0, (1 << bits) - 1)
    for sign in "su"
    for bits in (8, 16, 32, 64)
}


def _primitive(name: str, value: Any, path: str) -> _Found:
    if name in _RANGES:
        low, high = _RANGES[name]
        if isinstance(value, bool) or not isinstance(value, int):
            return path, f"an int is wanted for {name}, not {_show(value)}"
        return (
            None if low <= value <= high else (path, f"{value} is out of range for {name}: {low} to {high}")
        )
    if name == "bool":
        return None if isinstance(value, bool) else (path, f"a bool is wanted, not {_show(value)}")
    if name in ("f32", "f64"):
        return _float(name, value, path)
    if not isinstance(value, str) or (name == "char" and len(value) != 1):
        what = "a str of one character" if name == "char" else "a str"
        return path, f"{what} is wanted, not {_show(value)}"
    surrogate = next((i for i, c in enumerate(value) if "\ud800" <= c < "\ue000"), None)
    if surrogate is None:
        return None
    return (
        path,
        f"character {surrogate} is the surrogate U+{ord(value[surrogate]):04X}, which is not Unicode text",
    )


def _float(name: str, value: Any, path: str) -> _Found:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return path, f"a float is wanted for {name}, not {_show(value)}"
    finite = value == value and abs(value) != float("inf")
    if name == "f32" and finite and abs(value) > 3.4028235677973366e38:
        return path, f"{value} is out of range for f32"
    return None


def _list(element: ValueType, length: int | None, value: Any, path: str) -> _Found:
    if element == Primitive("u8") and length is None:
        if isinstance(value, (bytes, bytearray, memoryview)):
            return None
        return path, f"bytes are wanted, not {_show(value)}"
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Collection):
        return path, f"a list is wanted, not {_show(value)}"
    if length is not None and len(value) != length:
        return path, f"a list of {length} is wanted, not of {len(value)}"
    return _first((element, item, f"{path}[{index}]") for index, item in enumerate(value))


def _record(type_: Record, value: Any, path: str) -> _Found:
    if not isinstance(value, Mapping):
        return path, f"a dict is wanted, not {_show(value)}"
    names = [field.name for field in type_.fields]
    for name in names:
        if name not in value:
            return path, f"field {name!r} is missing; {nearest(name, map(str, value)) or 'the dict is empty'}"
    return _first(
        (field.type, value[field.name], f"{path}.{field.name}".lstrip(".")) for field in type_.fields
    )


def _enum(names: tuple[str, ...], value: Any, path: str) -> _Found:
    if value in names:
        return None
    return path, f"{_tag(value)} is not a case of the enum; {nearest(str(value), names)}"


def _flags(names: tuple[str, ...], value: Any, path: str) -> _Found:
    if isinstance(value, str) or not isinstance(value, Collection):
        return path, f"a set of flag names is wanted, not {_show(value)}"
    for name in value:
        if name not in names:
            return path, f"{_tag(name)} is not one of the flags; {nearest(str(name), names)}"
    return None


def _option(element: ValueType, value: Any, path: str) -> _Found:
    if value is None:
        return None
    if isinstance(element, Option):
        if not isinstance(value, Some):
            return path, f"Some(...) or None is wanted for an option of an option, not {_show(value)}"
        value = value.value
    return _find(element, value, path)


def _variant(type_: VariantType, value: Any, path: str) -> _Found:
    if isinstance(value, str) or not isinstance(value, tuple) or len(value) != 2:
        return path, f"Variant(tag, value) is wanted, not {_show(value)}"
    tag, payload = value
    cases = {case.name: case.type for case in type_.cases}
    if tag not in cases:
        return path, f"{_tag(tag)} is not a case of the variant; {nearest(str(tag), cases)}"
    return _payload(cases[tag], payload, f"{path}.{tag}".lstrip("."))


def _payload(type_: ValueType | None, value: Any, path: str) -> _Found:
    if type_ is not None:
        return _find(type_, value, path)
    return None if value is None else (path, f"this case has no payload, so {_show(value)} would be lost")


def _handle(resource: Resource, value: Any, path: str) -> _Found:
    if resource.imported:
        return (
            (path, f"an object for the resource {resource.name!r} is wanted, not None")
            if value is None
            else None
        )
    if getattr(value, "type", None) != resource:
        return path, f"a handle of the guest's resource {resource.name!r} is wanted, not {_show(value)}"
    return None if value.alive else (path, f"this handle of {resource.name!r} was dropped or given away")
