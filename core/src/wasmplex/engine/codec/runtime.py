"""What generated code calls: conversions that accept what `wasmplex.values` allows and refuse the rest."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from wasmplex.engine import capi, memory
from wasmplex.engine.arena import Arena, put_byte_list
from wasmplex.engine.bounds import too_many
from wasmplex.engine.codec.refusal import refusal
from wasmplex.engine.inplace import Places
from wasmplex.values import Err, Ok, Some, Variant

__all__ = ["NAMESPACE", "Unfit", "as_bytes", "as_tuple", "char", "flag_set", "numbers", "places", "sequence"]


class Unfit(TypeError):
    """A value does not fit its type; `codec.refusal` finds out where."""


class Foreign(RuntimeError):
    """A handle is not one of a resource that the host implements."""


def char(value: str) -> int:
    """Return the code point of a one-character str that is not a surrogate."""
    point = ord(value)
    if 0xD800 <= point <= 0xDFFF or not isinstance(value, str):
        raise Unfit
    return point


def as_bytes(value: Any) -> bytes:
    """Return the bytes of anything bytes-like, or of a list or tuple of integers."""
    if isinstance(value, (list, tuple)):
        return bytes(value)
    view = memoryview(value)
    if view.itemsize != 1:
        raise Unfit
    return view.tobytes()


def as_tuple(value: Any) -> Any:
    """Return a tuple or list as it is."""
    if isinstance(value, (tuple, list)):
        return value
    raise Unfit


def sequence(value: Any) -> tuple[Any, ...]:
    """Return a sequence as a tuple, which cannot change while it is written."""
    if value.__class__ is list or value.__class__ is tuple:
        return tuple(value)
    if isinstance(value, (str, Mapping)) or not (isinstance(value, Sequence) or hasattr(value, "tolist")):
        raise Unfit
    return tuple(value)


def numbers(code: str, values: Any) -> array[Any]:
    """Return a sequence of numbers as an array of a type code; what is out of range is refused."""
    items = sequence(values)
    result = array(code, items)
    if code == "f" and (_INFINITY in result or -_INFINITY in result):
        _pack_f32s(items)
    return result


_INFINITY = float("inf")
_pack_f32 = struct.Struct("<f").pack  # the native format would not refuse what is too large


def _pack_f32s(items: tuple[Any, ...]) -> None:
    for item in items:
        _pack_f32(item)


def flag_set(value: Any, names: Mapping[str, Any]) -> Collection[str]:
    """Return a set (or list, or tuple) of known flags without duplicates."""
    if not isinstance(value, (frozenset, set, list, tuple)):
        raise Unfit
    flags = frozenset(value)
    if not names.keys() >= flags:
        raise Unfit
    return flags


def places(state: Any) -> Places:
    """Return the bytes on their way between the host and an instance."""
    found: Places = state.places or state.open_places()
    return found


NAMESPACE: Final[dict[str, Any]] = {
    **{name: getattr(memory, name) for name in memory.__all__ if name.isupper()},
    "HEADER": memory.BYTES_HEADER,
    "BOOLS": {True: 1, False: 0},
    "Arena": Arena,
    "Err": Err,
    "Foreign": Foreign,
    "Ok": Ok,
    "Some": Some,
    "Unfit": Unfit,
    "Variant": Variant,
    "any_to_host": capi.any_to_host,
    "array": array,
    "as_bytes": as_bytes,
    "as_tuple": as_tuple,
    "byte_vec_new": capi.byte_vec_new,
    "char": char,
    "encode": str.encode,
    "flag_set": flag_set,
    "host_delete": capi.host_delete,
    "host_rep": capi.host_rep,
    "numbers": numbers,
    "pack_f32": _pack_f32,
    "places": places,
    "refusal": refusal,
    "new": tuple.__new__,
    "put_byte_list": put_byte_list,
    "sequence": sequence,
    "too_many": too_many,
    "val_clone": capi.val_clone,
    "vallist_new": capi.vallist_new,
}
"""The globals of all generated code; each function gets a copy with its own constants."""
