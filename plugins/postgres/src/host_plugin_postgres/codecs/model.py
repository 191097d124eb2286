"""What a codec is: how the values of one PostgreSQL type go over the wire, as bytes in binary format."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from wasmplex.capabilities.postgres import Form

__all__ = ["Codec", "Decode", "Encode", "Unfit", "Unreadable", "aliases", "array_codec", "utf8"]

Decode = Callable[[bytes], Any]
Encode = Callable[[Any], bytes]


class Unfit(ValueError):
    """A parameter's value does not fit the type; the text says why, without the value."""


class Unreadable(ValueError):
    """A value of the server's has no place in its case; the text says why."""


@dataclass(frozen=True, slots=True)
class Codec:
    """How one type is read and written.

    :ivar case: the case of ``pg-value`` that comes out; empty if none can
    :ivar decode: the payload, from the binary form
    :ivar encode: the binary form, by the case of the parameter
    :ivar form: how the bridge makes the payload of the binary form, if it can
    """

    case: str
    decode: Decode
    encode: Mapping[str, Encode] = field(default_factory=dict)
    form: Form | None = None


def aliases(encode: Encode, *cases: str) -> dict[str, Encode]:
    """Return one function for several cases."""
    return dict.fromkeys(cases, encode)


def utf8(text: str) -> bytes:
    """Return the bytes of a text that a server can store."""
    if "\0" in text:
        raise Unfit("PostgreSQL stores no NUL character in text")
    return text.encode()


# ---------------------------------------------------------------- arrays

_HEAD = struct.Struct(">iiI")
_DIMENSION = struct.Struct(">ii")
_LENGTH = struct.Struct(">i")


def array_codec(element: Codec, oid: int, case: str, *, lower: int = 1) -> Codec:
    """Return the codec of arrays of a type.

    :param oid: of the elements
    :param case: that comes out
    :param lower: the index of the first element
    """
    by_case = {**element.encode}
    if case.startswith("int2-vector"):
        cases = {case: element.encode[element.case]}
    else:
        cases = {f"{one}-array": encode for one, encode in by_case.items() if f"{one}-array" == case}
    encoders = {name: partial(_encode_array, encode, oid, lower) for name, encode in cases.items()}
    return Codec(case, lambda raw: _decode_array(raw, element.decode), encoders)


def _encode_array(encode: Encode, oid: int, lower: int, items: list[Any]) -> bytes:
    if not items and not lower:
        raise Unfit("a vector has at least one element: PostgreSQL reads no empty one")
    if not items:
        return _HEAD.pack(0, 0, oid)
    parts = [_HEAD.pack(1, 0, oid), _DIMENSION.pack(len(items), lower)]
    for index, item in enumerate(items):
        try:
            raw = encode(item)
        except ValueError as error:
            raise Unfit(f"element {index}: {error}") from error
        parts += (_LENGTH.pack(len(raw)), raw)
    return b"".join(parts)


def _decode_array(raw: bytes, decode: Decode) -> list[Any]:
    dimensions, _, _ = _HEAD.unpack_from(raw)
    if dimensions == 0:
        return []
    if dimensions > 1:
        raise Unreadable(f"an array of {dimensions} dimensions has no case, only those of one have")
    count, _ = _DIMENSION.unpack_from(raw, _HEAD.size)
    at, items, length = _HEAD.size + _DIMENSION.size, [], _LENGTH.unpack_from
    for index in range(count):
        (size,) = length(raw, at)
        at += 4
        if size < 0:
            raise Unreadable(f"element {index} is NULL, which an array's case has no place for")
        items.append(decode(raw[at : at + size]))
        at += size
    return items
