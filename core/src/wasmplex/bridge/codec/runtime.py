"""What functions call that are generated for the bridge's blocks: checks of values, floats as bits."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from wasmplex.engine.bounds import too_many

__all__ = ["RUNTIME", "flags_reader", "flags_writer"]

_F32, _F64 = struct.Struct("<f"), struct.Struct("<d")
_U32, _U64 = struct.Struct("<I"), struct.Struct("<Q")


def _bits_to_f32(bits: int) -> float:
    return _F32.unpack(_U32.pack(bits & 0xFFFFFFFF))[0]  # type: ignore[no-any-return]


def _f32_to_bits(value: float) -> int:
    return _U32.unpack(_F32.pack(value))[0]  # type: ignore[no-any-return]


def _bits_to_f64(bits: int) -> float:
    return _F64.unpack(_U64.pack(bits))[0]  # type: ignore[no-any-return]


def _f64_to_bits(value: float) -> int:
    return _U64.unpack(_F64.pack(value))[0]  # type: ignore[no-any-return]


INTEGERS = {
    f"{sign}{bits}": (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if sign == "s" else (0, (1 << bits) - 1)
    for sign in "su"
    for bits in (8, 16, 32, 64)
}


def _whole(low: int, high: int) -> Callable[[int], int]:
    """Return a check that a value is an int in range; a bool is none."""

    def check(value: int) -> int:
        if value.__class__ is not int or not low <= value <= high:
            raise ValueError
        return value

    return check


def _bits(low: int, high: int) -> Callable[[int], int]:
    """Return a check that a value is an int in range, giving its bits as an unsigned flat value."""
    mask = 0xFFFFFFFF if high < 1 << 32 else 0xFFFFFFFFFFFFFFFF

    def check(value: int) -> int:
        if value.__class__ is not int or not low <= value <= high:
            raise ValueError
        return value & mask

    return check


def _octets(value: Any) -> Any:
    """Return a bytes-like value as something whose length is its number of bytes."""
    if isinstance(value, bytearray):
        return value
    if isinstance(value, memoryview):
        return value.cast("B") if value.contiguous else bytes(value)
    raise TypeError


def _truth(value: bool) -> int:
    if value is True:
        return 1
    if value is False:
        return 0
    raise TypeError


def _char(value: str) -> int:
    code = ord(value)
    if 0xD800 <= code < 0xE000:
        raise ValueError
    return code


def flags_reader(names: tuple[str, ...]) -> Callable[[int], frozenset[str]]:
    """Return the function that turns the bits of a flags value into the set of their names."""

    @lru_cache(maxsize=256)
    def read(bits: int) -> frozenset[str]:
        return frozenset(name for index, name in enumerate(names) if bits >> index & 1)

    return read


def flags_writer(names: tuple[str, ...]) -> Callable[[Any], int]:
    """Return the function that turns a collection of flag names into bits."""
    bits = {name: 1 << index for index, name in enumerate(names)}

    def write(value: Any) -> int:
        if isinstance(value, str):
            raise TypeError
        result = 0
        for name in value:
            result |= bits[name]
        return result

    return write


RUNTIME: dict[str, Any] = {
    "bits_to_f32": _bits_to_f32,
    "f32_to_bits": _f32_to_bits,
    "bits_to_f64": _bits_to_f64,
    "f64_to_bits": _f64_to_bits,
    **{f"int_{name}": _whole(*limits) for name, limits in INTEGERS.items()},
    **{f"raw_{name}": _bits(*limits) for name, limits in INTEGERS.items()},
    "octets": _octets,
    "too_many": too_many,
    "truth": _truth,
    "char": _char,
    "array": array,
}
"""What generated code calls, by name."""
