"""WAVE text to values."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from typing import Any

from wasmplex.errors import nearest
from wasmplex.values import Err, Ok, Some, Variant
from wasmplex.wit.types import (
    Case,
    Enum,
    Flags,
    ListType,
    MapType,
    Option,
    Primitive,
    Record,
    ResultType,
    TupleType,
    ValueType,
    VariantType,
)
from wasmplex.wit.wave.scanner import Scanner, WaveError
from wasmplex.wit.wave.writing import KEYWORDS

__all__ = ["WaveError", "parse"]


def parse(text: str, type: ValueType) -> Any:
    """Return the value of `type` that `text` says.

    :raises WaveError: it says none, or one of another type
    """
    scanner = Scanner(text)
    value = _value(scanner, type)
    scanner.end()
    return value


def _value(s: Scanner, type: ValueType) -> Any:
    match type:
        case Primitive(name):
            return _primitive(s, name)
        case ListType(element, length):
            return _list(s, element, length)
        case MapType(key, item):
            return _map(s, TupleType((key, item)))
        case TupleType(elements):
            return _tuple(s, elements)
        case Record():
            return _record(s, type)
        case VariantType(cases):
            return _variant(s, cases)
        case Enum(cases):
            return _name(s, cases, "case of the enum", keywords=True)
        case Flags(names):
            return _flags(s, names)
        case Option(element):
            return _option(s, element)
        case ResultType(ok, err):
            return _result(s, ok, err)
        case _:
            raise s.fail("resources, streams and futures cannot be written as text")


# ------------------------------------------------------------ primitives


def _primitive(s: Scanner, name: str) -> Any:
    match name:
        case "bool":
            return _bool(s)
        case "char":
            return s.char()
        case "string":
            return s.string()
        case "f32" | "f64":
            return _float(s, name)
        case _:
            return _integer(s, name)


def _bool(s: Scanner) -> bool:
    word = s.peek_label()
    if word not in {"true", "false"}:
        raise s.fail(f"true or false is wanted, not {s.found()}")
    s.label("")
    return word == "true"


def _integer(s: Scanner, name: str) -> int:
    s.skip()
    start = s.at
    text = s.number(f"a whole number ({name})")
    if not text.lstrip("-").isdigit() or len(text) > 20:
        raise s.fail(f"{text[:24]} is not a whole number of type {name}", start)
    value, bits = int(text), int(name[1:])
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if name[0] == "s" else (0, (1 << bits) - 1)
    if not low <= value <= high:
        raise s.fail(f"{value} is out of range for {name}: {low} to {high}", start)
    return value


def _float(s: Scanner, name: str) -> float:
    s.skip()
    start = s.at
    text = s.number(f"a number ({name})")
    value = float(text)
    if name == "f32" and math.isfinite(value):
        try:
            (value,) = struct.unpack("<f", struct.pack("<f", value))
        except OverflowError:
            value = math.inf
    if math.isinf(value) and not text.endswith("inf"):
        raise s.fail(f"{text[:24]} is out of range for {name}", start)
    return value


# ------------------------------------------------------------ sequences


def _sequence(s: Scanner, opening: str, closing: str, item: Callable[[int], Any]) -> list[Any]:
    """Read items between brackets, separated by commas, one at the end allowed."""
    s.expect(opening)
    items: list[Any] = []
    while not s.take(closing):
        items.append(item(len(items)))
        if not s.take(","):
            s.expect(closing)
            break
    return items


def _list(s: Scanner, element: ValueType, length: int | None) -> Any:
    s.skip()
    start = s.at
    items = _sequence(s, "[", "]", lambda _: _value(s, element))
    if length is not None and len(items) != length:
        raise s.fail(f"a list of {length} is wanted, not of {len(items)}", start)
    return bytes(items) if length is None and element == Primitive("u8") else items


def _map(s: Scanner, pair: TupleType) -> dict[Any, Any]:
    return dict(_sequence(s, "[", "]", lambda _: _value(s, pair)))


def _tuple(s: Scanner, elements: tuple[ValueType, ...]) -> tuple[Any, ...]:
    def item(number: int) -> Any:
        if number >= len(elements):
            raise s.fail(f"a tuple of {len(elements)} is wanted, and this is one more")
        return _value(s, elements[number])

    s.skip()
    start = s.at
    items = _sequence(s, "(", ")", item)
    if len(items) != len(elements):
        raise s.fail(f"a tuple of {len(elements)} is wanted, not of {len(items)}", start)
    return tuple(items)


# ------------------------------------------------------------ by name


def _name(s: Scanner, names: tuple[str, ...], what: str, *, keywords: bool = False) -> str:
    """Take one of `names`; where `keywords` is set, one that is a keyword has to have its ``%``."""
    s.skip()
    start = s.at
    label = s.label(f"a {what}")
    name = label.removeprefix("%")
    if name not in names:
        raise s.fail(f"{name} is not a {what}; {nearest(name, names)}", start)
    if keywords and label in KEYWORDS:
        raise s.fail(f"{label} is a keyword; write %{label}", start)
    return name


def _record(s: Scanner, type: Record) -> dict[str, Any]:
    types = {field.name: field.type for field in type.fields}
    found: dict[str, Any] = {}

    def item(_: int) -> None:
        s.skip()
        start = s.at
        name = _name(s, tuple(types), "field of the record")
        if name in found:
            raise s.fail(f"the field {name} is there twice", start)
        s.expect(":")
        found[name] = _value(s, types[name])

    s.skip()
    start = s.at
    if not _empty_record(s):
        _sequence(s, "{", "}", item)
    for name, wanted in types.items():
        if name not in found and not isinstance(wanted, Option):
            raise s.fail(f"the field {name} of the record is missing", start)
    return {name: found.get(name) for name in types}


def _empty_record(s: Scanner) -> bool:
    """Take ``{:}``."""
    start = s.at
    if s.take("{") and s.take(":"):
        s.expect("}")
        return True
    s.at = start
    return False


def _flags(s: Scanner, names: tuple[str, ...]) -> frozenset[str]:
    found = _sequence(s, "{", "}", lambda _: _name(s, names, "flag"))
    if len(set(found)) < len(found):
        raise s.fail("a flag is there twice", s.at - 1)
    return frozenset(found)


def _variant(s: Scanner, cases: tuple[Case, ...]) -> Variant:
    tag = _name(s, tuple(case.name for case in cases), "case of the variant", keywords=True)
    return Variant(tag, _payload(s, next(case.type for case in cases if case.name == tag), tag))


def _payload(s: Scanner, type: ValueType | None, tag: str) -> Any:
    if type is None:
        if s.take("("):
            raise s.fail(f"{tag} has no payload", s.at - 1)
        return None
    s.expect("(")
    value = _value(s, type)
    s.expect(")")
    return value


def _is_flat(type: ValueType | None) -> bool:
    """Return whether a ``some`` or ``ok`` of this type may be written as its payload alone."""
    return type is not None and not isinstance(type, (Option, ResultType))


def _option(s: Scanner, element: ValueType) -> Any:
    word = s.peek_label()
    if word == "none":
        s.label("")
        return None
    if word == "some":
        s.label("")
        value = _payload(s, element, "some")
    elif _is_flat(element):
        return _value(s, element)
    else:
        raise s.fail(f"some(...) or none is wanted, not {s.found()}")
    return Some(value) if isinstance(element, Option) else value


def _result(s: Scanner, ok: ValueType | None, err: ValueType | None) -> Ok[Any] | Err[Any]:
    word = s.peek_label()
    if word == "ok":
        s.label("")
        return Ok(_payload(s, ok, "ok"))
    if word == "err":
        s.label("")
        return Err(_payload(s, err, "err"))
    if ok is not None and _is_flat(ok):
        return Ok(_value(s, ok))
    raise s.fail(f"ok or err is wanted, not {s.found()}")
