"""Where the values of packed rows go: what is to be known of a stream's element type, found out once."""

from __future__ import annotations

from functools import lru_cache

from wasmplex.bridge.layout import align_to, alignment, cases, discriminant_size, fields, payload_offset, size
from wasmplex.bridge.rowmachine import plan_of, row_machine
from wasmplex.packed import Columns, Form, PackedRows
from wasmplex.wit.mismatch import ValueMismatch
from wasmplex.wit.types import ListType, Option, Primitive, ValueType, VariantType

__all__ = ["MOST", "RowLayout"]

MOST = 1 << 20
"""Bytes of the rows that are written at once; where a single one has more, Python reads it."""
_INTEGERS = {"s8": "s8", "u8": "s8", "s16": "s16", "u16": "s16", "s32": "s32", "u32": "s32", "s64": "s64",
             "u64": "s64"}  # fmt: skip
_OCTETS = ListType(Primitive("u8"))


class RowLayout:
    """How rows lie in memory, if a type is that of rows: a list of a variant.

    :param variant: the type of a value
    """

    def __init__(self, variant: VariantType) -> None:
        payloads = cases(variant) or ()
        bare = [number for number, payload in enumerate(payloads) if payload is None]
        self._cell = size(variant)
        self._payload = payload_offset(payloads)
        self._cases = {case.name: (number, case.type) for number, case in enumerate(variant.cases)}
        self._layout = (self._cell, self._payload, bare[0] if bare else 0)
        self._plan = lru_cache(maxsize=256)(self._plan_of)

    @classmethod
    def of(cls, type_: ValueType | None) -> RowLayout | None:
        """Return the layout of rows of a type; None if it is none that can be written packed."""
        match type_:
            case ListType(VariantType() as variant, None) if discriminant_size(len(variant.cases)) == 1:
                return cls(variant) if alignment(variant) <= 8 else None
        return None

    def _plan_of(self, columns: Columns) -> bytes | None:
        plan = []
        for name, form in columns:
            number, payload = self._cases.get(name, (0, None))
            if payload is None or (operation := _operation(payload, form)) is None:
                return None
            plan.append((operation, number))
        return plan_of(plan)

    def takes(self, rows: PackedRows) -> bool:
        """Say whether rows can be written as they are."""
        return self._plan(rows.columns) is not None

    def bound(self, rows: PackedRows) -> int:
        """Return how many bytes rows take at most."""
        return len(rows) * (8 + len(rows.columns) * self._cell) + rows.size

    def write(self, rows: PackedRows, base: int) -> bytes:
        """Return rows in memory layout for the address `base`, a multiple of 8.

        :raises ValueMismatch: if the server has sent something else
        """
        plan = self._plan(rows.columns)
        assert plan is not None  # noqa: S101  who asks has asked `takes`
        first, last = rows.starts[0], rows.starts[-1]
        messages = rows.data if last - first == len(rows.data) else rows.data[first:last]
        try:
            return row_machine().write(messages, len(rows), plan, self._layout, base)
        except ValueError as error:
            raise ValueMismatch("rows", str(error)) from error


def _operation(payload: ValueType, form: Form) -> str | None:
    """Return what makes such a payload of a field's bytes; None if nothing does."""
    match form, payload:
        case "integer", Primitive(name):
            return _INTEGERS.get(name)
        case "boolean", Primitive("bool"):
            return "bool"
        case "text", Primitive("string"):
            return "string"
        case "octets", found if found == _OCTETS:
            return "octets"
    parts = fields(payload) or ()
    match form:
        case "characters" if parts == (Option(Primitive("u32")), _OCTETS):
            return "characters"
        case "float" | "double" if _offsets(parts) == [("u64", 0), ("s16", 8), ("s8", 10)]:
            return "f64" if form == "double" else "f32"
    return None


def _offsets(parts: tuple[ValueType, ...]) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    at = 0
    for part in parts:
        if not isinstance(part, Primitive):
            return []
        at = align_to(at, alignment(part))
        found.append((part.name, at))
        at += size(part)
    return found
