"""Numbers: integers, floats, numeric, money, log positions, transaction ids."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable

from wasmplex.capabilities.postgres.values import parts_of, whole

from host_plugin_postgres.codecs.model import Codec, Encode, Unfit, aliases

__all__ = ["boolean", "floating", "integer", "money", "numeric", "oid", "pg_lsn", "xid8"]

_INTEGERS = (
    "int2", "small-int", "small-serial", "serial2", "int4", "int", "integer", "serial", "serial4",
    "int8", "big-int", "big-serial", "serial8",
)  # fmt: skip


def boolean() -> Codec:
    """``bool``."""
    cases = ("bool", "boolean")
    return Codec(
        "bool",
        lambda raw: raw != b"\0",
        aliases(lambda value: b"\1" if value else b"\0", *cases),
        form="boolean",
    )


def integer(case: str, size: int) -> Codec:
    """``int2``, ``int4``, ``int8``: whatever integer fits."""
    limit = 1 << (8 * size - 1)

    def encode(value: int) -> bytes:
        if not -limit <= value < limit:
            raise Unfit(f"the number is out of the range of {case}")
        return value.to_bytes(size, "big", signed=True)

    return Codec(
        case,
        lambda raw: int.from_bytes(raw, "big", signed=True),
        aliases(encode, *_INTEGERS),
        form="integer",
    )


def _unsigned(case: str, size: int, *cases: str) -> Codec:
    def encode(value: int) -> bytes:
        if not 0 <= value < 1 << 8 * size:
            raise Unfit("the number is out of the range of the type")
        return value.to_bytes(size, "big")

    return Codec(case, lambda raw: int.from_bytes(raw, "big"), aliases(encode, *cases))


def pg_lsn() -> Codec:
    """``pg_lsn``."""
    return _unsigned("pg-lsn", 8, "pg-lsn")


def xid8() -> Codec:
    """``xid8``: a transaction id that does not wrap round."""
    return _unsigned("txid-snapshot", 8, "txid-snapshot")


def oid() -> Codec:
    """``oid``: its decimal digits as text; an unsigned number is taken too."""

    def digits(text: str) -> bytes:
        if not re.fullmatch("[0-9]{1,10}", text) or int(text) >= 2**32:
            raise Unfit("the text is not the decimal number of an oid")
        return int(text).to_bytes(4, "big")

    number = _unsigned("", 4, "serial", "serial4").encode
    return Codec("text", lambda raw: str(int.from_bytes(raw, "big")), {"text": digits, **number})


def floating(case: str, width: int) -> Codec:
    """``float4``, ``float8``: any float whose value the type has exactly."""

    def encode(parts: tuple[int, int, int]) -> bytes:
        try:
            return whole(parts, width)
        except ValueError as error:
            raise Unfit(str(error)) from None

    encoders = aliases(encode, "float8", "double", "float4", "real")
    return Codec(case, parts_of, encoders, form="double" if width == 64 else "float")


# ---------------------------------------------------------------- numeric

_NUMERIC = struct.Struct(">hhHH")
_SPECIAL = {0xC000: "NaN", 0xD000: "Infinity", 0xF000: "-Infinity"}
_WORDS = {
    "nan": 0xC000, "inf": 0xD000, "+inf": 0xD000, "infinity": 0xD000, "+infinity": 0xD000,
    "-inf": 0xF000, "-infinity": 0xF000,
}  # fmt: skip
_NUMBER = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?(?:[eE]([+-]?[0-9]{1,6}))?")
_MAX_SCALE = 16383
_MAX_DIGITS = 131072


def numeric() -> Codec:
    """``numeric``: the digits as text, as many as there are."""
    return Codec("numeric", _decode_numeric, aliases(_encode_numeric, "numeric", "decimal"))


def _decode_numeric(raw: bytes) -> str:
    count, weight, sign, scale = _NUMERIC.unpack_from(raw)
    if sign in _SPECIAL:
        return _SPECIAL[sign]
    groups = [f"{group:04d}" for group in struct.unpack_from(f">{count}H", raw, _NUMERIC.size)]
    if weight >= 0:
        integral = "".join(groups[: weight + 1]).ljust(4 * (weight + 1), "0").lstrip("0") or "0"
        rest = "".join(groups[weight + 1 :])
    else:
        integral, rest = "0", "0000" * (-weight - 1) + "".join(groups)
    fraction = "." + rest[:scale].ljust(scale, "0") if scale else ""
    return ("-" if sign == 0x4000 else "") + integral + fraction


def _encode_numeric(text: str) -> bytes:
    if (word := _WORDS.get(text.strip().lower())) is not None:
        return _NUMERIC.pack(0, 0, word, 0)
    sign, integral, fraction = _digits(text)
    scale = len(fraction)
    fraction = fraction.ljust(-(-scale // 4) * 4, "0")
    integral = integral.rjust(-(-len(integral) // 4) * 4, "0")
    digits = integral + fraction
    groups = [int(digits[at : at + 4]) for at in range(0, len(digits), 4)]
    weight = len(integral) // 4 - 1
    while groups and not groups[0]:
        del groups[0]
        weight -= 1
    while groups and not groups[-1]:
        del groups[-1]
    if not groups:
        weight = sign = 0
    return _NUMERIC.pack(len(groups), weight, sign, scale) + struct.pack(f">{len(groups)}H", *groups)


def _digits(text: str) -> tuple[int, str, str]:
    """Return the sign's bits and the digits before and after the point."""
    match = _NUMBER.fullmatch(text.strip(" \t\n\r\v\f"))
    if match is None or not (match[2] or match[3]):
        raise Unfit("the text is not a number")
    integral, fraction, exponent = match[2], match[3] or "", int(match[4] or 0)
    if abs(exponent) > _MAX_DIGITS:
        raise Unfit("the number has more digits than PostgreSQL stores")
    if exponent > 0:
        fraction = fraction.ljust(exponent, "0")
        integral, fraction = integral + fraction[:exponent], fraction[exponent:]
    elif exponent < 0:
        integral = integral.rjust(-exponent, "0")
        integral, fraction = integral[:exponent], integral[exponent:] + fraction
    integral = integral.lstrip("0")
    if len(integral) > _MAX_DIGITS or len(fraction) > _MAX_SCALE:
        raise Unfit("the number has more digits than PostgreSQL stores")
    return 0x4000 if match[1] == "-" else 0, integral, fraction


def money(scale: Callable[[], int]) -> Codec:
    """``money``: an exact decimal number, without the currency.

    :param scale: returns the digits after the point, which the server's ``lc_monetary`` decides
    """

    def decode(raw: bytes) -> str:
        amount, places = int.from_bytes(raw, "big", signed=True), scale()
        digits = f"{abs(amount):0{places + 1}d}"
        text = f"{digits[:-places]}.{digits[-places:]}" if places else digits
        return f"-{text}" if amount < 0 else text

    def encode(text: str) -> bytes:
        sign, integral, fraction = _digits(text)
        places = scale()
        if fraction[places:].strip("0"):
            raise Unfit(f"money has {places} digits after the point here")
        amount = int(integral + fraction[:places].ljust(places, "0") or "0")
        amount = -amount if sign else amount
        if not -(2**63) <= amount < 2**63:
            raise Unfit("the number is out of the range of money")
        return amount.to_bytes(8, "big", signed=True)

    encoders: dict[str, Encode] = aliases(encode, "money", "numeric", "decimal")
    return Codec("money", decode, encoders)
