"""Values to WAVE text."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Mapping
from typing import Any

from wasmplex.values import Ok, Some
from wasmplex.wit.types import (
    Enum,
    Field,
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

__all__ = ["KEYWORDS", "float_text", "render"]

KEYWORDS = frozenset({"true", "false", "inf", "nan", "some", "none", "ok", "err"})
"""Cases of these names are written with a ``%`` before them."""

_ESCAPES = {"\\": "\\\\", '"': '\\"', "'": "\\'", "\t": "\\t", "\n": "\\n", "\r": "\\r"}


def render(value: Any, type: ValueType) -> str:
    """Return `value` as text. It is expected to be a value of `type`.

    :raises ValueError: the type has resources, streams or futures, which have no text
    """
    match type:
        case Primitive(name):
            return _primitive(value, name)
        case ListType(element):
            return f"[{_join(value, element)}]"
        case MapType(key, item):
            pair = TupleType((key, item))
            return f"[{', '.join(render(entry, pair) for entry in value.items())}]"
        case TupleType(elements):
            inner = (render(item, element) for item, element in zip(value, elements, strict=True))
            return f"({', '.join(inner)})"
        case Record(fields):
            return _record(value, fields)
        case VariantType(cases):
            tag, payload = value
            return _case(tag, payload, next(case.type for case in cases if case.name == tag))
        case Enum():
            return _label(value)
        case Flags(names):
            return f"{{{', '.join(name for name in names if name in value)}}}"
        case Option(element):
            return "none" if value is None else f"some({_some(value, element)})"
        case ResultType(ok, err):
            side, payload = ("ok", ok) if isinstance(value, Ok) else ("err", err)
            return side if payload is None else f"{side}({render(value.value, payload)})"
        case _:
            raise ValueError("resources, streams and futures have no text")


def _join(values: Iterable[Any], element: ValueType) -> str:
    return ", ".join(render(value, element) for value in values)


def _primitive(value: Any, name: str) -> str:
    match name:
        case "bool":
            return "true" if value else "false"
        case "string":
            return f'"{_escaped(value)}"'
        case "char":
            return f"'{_escaped(value)}'"
        case "f32" | "f64":
            return float_text(value, name)
        case _:
            return str(int(value))


def _escaped(text: str) -> str:
    return "".join(
        _ESCAPES[c] if c in _ESCAPES else c if c.isprintable() else f"\\u{{{ord(c):x}}}" for c in text
    )


def float_text(value: float, name: str) -> str:
    """Return the shortest text that reads back as the same ``f32`` or ``f64``."""
    if math.isnan(value):
        return "nan"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    text = repr(float(value)) if name == "f64" else _shortest_f32(value)
    return text.removesuffix(".0")


def _shortest_f32(value: float) -> str:
    wanted = struct.pack("<f", value)
    for digits in range(1, 10):
        text = f"{value:.{digits}g}"
        try:
            if struct.pack("<f", float(text)) == wanted:
                return text
        except OverflowError:  # rounded up beyond the largest f32
            continue
    return repr(float(value))


def _record(value: Mapping[str, Any], fields: Iterable[Field]) -> str:
    present = [
        field for field in fields if not (isinstance(field.type, Option) and value[field.name] is None)
    ]
    return "{" + (", ".join(f"{f.name}: {render(value[f.name], f.type)}" for f in present) or ":") + "}"


def _label(name: str) -> str:
    return f"%{name}" if name in KEYWORDS else name


def _case(tag: str, payload: Any, type: ValueType | None) -> str:
    return _label(tag) if type is None else f"{_label(tag)}({render(payload, type)})"


def _some(value: Any, element: ValueType) -> str:
    return render(value.value if isinstance(value, Some) else value, element)
