"""How the canonical ABI lays values out: size, alignment, flat core types.

Source: the component model's Canonical ABI, sections "Alignment", "Element Size" and "Flattening".
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal, TypeAlias

from wasmplex.wit.types import (
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
)  # fmt: skip

__all__ = [
    "MAX_FLAT_PARAMS", "Core", "align_to", "alignment", "cases", "discriminant_size", "fields", "flatten",
    "payload_offset", "size",
]  # fmt: skip

MAX_FLAT_PARAMS = 16

Core: TypeAlias = Literal["i32", "i64", "f32", "f64"]

_SIZES = {"bool": 1, "s8": 1, "u8": 1, "s16": 2, "u16": 2, "s32": 4, "u32": 4, "s64": 8, "u64": 8,
          "f32": 4, "f64": 8, "char": 4, "string": 8}  # fmt: skip
_CORES: dict[str, tuple[Core, ...]] = {
    "s64": ("i64",), "u64": ("i64",), "f32": ("f32",), "f64": ("f64",), "string": ("i32", "i32"),
}  # fmt: skip


def align_to(offset: int, alignment: int) -> int:
    """Return the least multiple of `alignment` that is not below `offset`."""
    return (offset + alignment - 1) // alignment * alignment


def fields(type_: ValueType) -> tuple[ValueType, ...] | None:
    """Return the field types of a record, tuple or fixed-length list; None for every other type."""
    match type_:
        case Record():
            return tuple(field.type for field in type_.fields)
        case TupleType():
            return type_.elements
        case ListType(element, length) if length is not None:
            return (element,) * length
    return None


def cases(type_: ValueType) -> tuple[ValueType | None, ...] | None:
    """Return the payload types of a variant, option, result or enum; None for every other type."""
    match type_:
        case VariantType():
            return tuple(case.type for case in type_.cases)
        case Option(element):
            return (None, element)
        case ResultType(ok, err):
            return (ok, err)
        case Enum():
            return (None,) * len(type_.cases)
    return None


def discriminant_size(count: int) -> int:
    """Return the bytes that the discriminant of a variant with `count` cases takes."""
    return 1 if count <= 1 << 8 else 2 if count <= 1 << 16 else 4


def payload_offset(payloads: Sequence[ValueType | None]) -> int:
    """Return where the payload of a variant with these cases starts."""
    return align_to(discriminant_size(len(payloads)), max((alignment(p) for p in payloads if p), default=1))


@lru_cache(maxsize=4096)
def alignment(type_: ValueType) -> int:
    """Return the alignment in bytes."""
    match type_:
        case Primitive("string") | ListType(length=None) | MapType():
            return 4
        case Primitive(name):
            return _SIZES[name]
        case Flags(names):
            return _flags_size(len(names)) if len(names) <= 16 else 4
    if (parts := fields(type_)) is not None:
        return max((alignment(part) for part in parts), default=1)
    if (payloads := cases(type_)) is not None:
        return max(discriminant_size(len(payloads)), *(alignment(p) for p in payloads if p), 1)
    return 4


@lru_cache(maxsize=4096)
def size(type_: ValueType) -> int:
    """Return the size in bytes, padding at the end included."""
    match type_:
        case Primitive(name):
            return _SIZES[name]
        case ListType(length=None) | MapType():
            return 8
        case Flags(names):
            return _flags_size(len(names))
    if (parts := fields(type_)) is not None:
        offset = 0
        for part in parts:
            offset = align_to(offset, alignment(part)) + size(part)
        return align_to(offset, alignment(type_))
    if (payloads := cases(type_)) is not None:
        biggest = max((size(p) for p in payloads if p), default=0)
        return align_to(payload_offset(payloads) + biggest, alignment(type_))
    return 4


def _flags_size(count: int) -> int:
    return 1 if count <= 8 else 2 if count <= 16 else 4 * ((count + 31) // 32)


@lru_cache(maxsize=4096)
def flatten(type_: ValueType) -> tuple[Core, ...]:
    """Return the core types that the value is passed as when it is not passed in memory."""
    match type_:
        case Primitive(name):
            return _CORES.get(name, ("i32",))
        case ListType(length=None) | MapType():
            return ("i32", "i32")
        case Flags(names):
            words: tuple[Core, ...] = ("i32",)
            return words * ((len(names) + 31) // 32)
    if (parts := fields(type_)) is not None:
        return sum((flatten(part) for part in parts), ())
    if (payloads := cases(type_)) is not None:
        return ("i32", *_join(payloads))
    return ("i32",)


def _join(payloads: Sequence[ValueType | None]) -> tuple[Core, ...]:
    joined: list[Core] = []
    for payload in payloads:
        for index, core in enumerate(flatten(payload) if payload else ()):
            if index == len(joined):
                joined.append(core)
            elif joined[index] != core:
                joined[index] = "i32" if {joined[index], core} == {"i32", "f32"} else "i64"
    return tuple(joined)
