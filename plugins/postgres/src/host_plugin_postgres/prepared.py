"""A statement that a connection has prepared: what goes into it, and what comes out, as guests have it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wasmplex.capabilities.postgres import (
    NULL,
    Columns,
    InvalidParams,
    PgValue,
    Row,
    ValueConversionFailed,
)

from host_plugin_postgres.codecs import Codec, Codecs, Unfit, Unreadable
from host_plugin_postgres.statements import is_plain

__all__ = ["Prepared"]


class Prepared:
    """A statement that a connection has prepared.

    :ivar columns: names and codecs
    :ivar packs: how the bridge reads the columns, None if it cannot read all of them
    :ivar plain: whether others see nothing of it after its transaction, see `is_plain`
    """

    __slots__ = ("_codecs", "_parameters", "columns", "packs", "plain", "plan", "state")

    def __init__(self, state: Any, codecs: Codecs, sql: str) -> None:
        self.state = state
        self.plain = is_plain(sql)
        self._codecs = codecs
        self._parameters: list[int] = [one.oid for one in state._get_parameters()]  # noqa: SLF001
        attributes = state._get_attributes()  # noqa: SLF001
        self.columns: list[str] = [one.name for one in attributes]
        self.plan = [_column(codecs, one) for one in attributes]
        self.packs = _packs([codecs.get(one.type.oid) for one in attributes])

    def __len__(self) -> int:
        """Return how many parameters it has."""
        return len(self._parameters)

    def arguments(self, params: Sequence[PgValue]) -> list[Any]:
        """Return what the driver is to send for the parameters.

        :raises InvalidParams: if they do not fit
        """
        if len(params) != len(self._parameters):
            wanted, given = len(self._parameters), len(params)
            raise InvalidParams(f"the statement has {wanted} parameter{'s' * (wanted != 1)}, not {given}")
        return [
            None if value[0] == "null" else _argument(self._codecs, at, oid, value)
            for at, (oid, value) in enumerate(zip(self._parameters, params, strict=True), 1)
        ]

    def unreadable_column(self) -> str | None:
        """Return which column has a type that no case is for, in words; None if there is none."""
        for at, (case, _) in enumerate(self.plan):
            if not case:
                return f"{self._where(at)}: the type has no case; cast it, to text for example"
        return None

    def row(self, record: Sequence[Any]) -> Row:
        """Return a row for the guest.

        :raises ValueConversionFailed: if a value has no place in its case
        """
        try:
            return [
                NULL if raw is None else ((case, raw) if decode is None else (case, decode(raw)))
                for raw, (case, decode) in zip(record, self.plan, strict=True)
            ]
        except (ValueError, IndexError, OverflowError):
            raise self._unreadable(record) from None

    def read(self, fields: Sequence[bytes | None]) -> Row:
        """Return a row for the guest from its fields in binary format.

        :raises ValueConversionFailed: if a field is no such value
        """
        row: Row = []
        for at, (raw, attribute) in enumerate(zip(fields, self.state._get_attributes(), strict=True)):  # noqa: SLF001
            codec = self._codecs.get(attribute.type.oid)
            try:
                row.append(NULL if raw is None or codec is None else (codec.case, codec.decode(raw)))
            except (ValueError, IndexError, OverflowError):
                raise ValueConversionFailed(
                    f"{self._where(at)}: the server sends what is no such value"
                ) from None
        return row

    def _unreadable(self, record: Sequence[Any]) -> Exception:
        for at, (raw, (_, decode)) in enumerate(zip(record, self.plan, strict=True)):
            try:
                if raw is not None and decode is not None:
                    decode(raw)
            except Unreadable as error:
                return ValueConversionFailed(f"{self._where(at)}: {error}; cast it, to text for example")
            except (ValueError, IndexError, OverflowError):
                return ValueConversionFailed(f"{self._where(at)}: the server sends what is no such value")
        return ValueConversionFailed("a row could not be read")

    def _where(self, at: int) -> str:
        oid = self.state._get_attributes()[at].type.oid  # noqa: SLF001
        return f'column {at + 1}, "{self.columns[at]}", of type {self._codecs.name(oid)}'


def _packs(codecs: Sequence[Codec | None]) -> Columns | None:
    if all(codec is not None and codec.form is not None for codec in codecs):
        return tuple((codec.case, codec.form) for codec in codecs if codec is not None and codec.form)
    return None


def _column(codecs: Codecs, attribute: Any) -> tuple[str, Any]:
    codec = codecs.get(attribute.type.oid)
    return ("", None) if codec is None else (codec.case, None if codec.native else codec.decode)


def _argument(codecs: Codecs, at: int, oid: int, value: PgValue) -> Any:
    case, payload = value
    codec = codecs.get(oid)
    encoders = {} if codec is None else codec.check if codec.native else codec.encode
    if (encode := encoders.get(case)) is None:
        wanted = (
            f"takes {', '.join(encoders)}"
            if encoders
            else "has no case: cast it in the SQL, $1::text::thetype"
        )
        raise InvalidParams(f"parameter {at} is {case}; its type {codecs.name(oid)} {wanted}")
    try:
        return encode(payload)
    except (Unfit, ValueError, UnicodeError) as error:
        why = error if isinstance(error, Unfit) else "the value does not fit"
        raise InvalidParams(f"parameter {at}, {case} for {codecs.name(oid)}: {why}") from None
