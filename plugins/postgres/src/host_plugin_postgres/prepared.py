"""A statement that a connection has prepared: what goes into it, and what comes out, as guests have it."""

from __future__ import annotations

from collections.abc import Sequence

from wasmplex.capabilities.postgres import (
    NULL,
    Columns,
    InvalidParams,
    PackedRows,
    PgValue,
    Row,
    ValueConversionFailed,
)

from host_plugin_postgres import messages
from host_plugin_postgres.codecs import TSQUERY, Codec, Codecs, Unfit, Unreadable
from host_plugin_postgres.statements import first_words, is_plain
from host_plugin_postgres.tap import Collected

__all__ = ["Prepared"]


class Prepared:
    """A statement that a connection has prepared.

    :param parameters: the types of what goes in, by oid
    :param columns: the names and types of what comes out
    :ivar columns: their names
    :ivar packs: how the bridge reads the columns, None if it cannot read all of them
    :ivar plain: whether others see nothing of it after its transaction, see `is_plain`
    :ivar whole: whether it is executed to its end in a transaction of its own: VACUUM and the like refuse any
        other, and a procedure may end it
    """

    __slots__ = (
        "_codecs",
        "_found",
        "_head",
        "_parameters",
        "_plan",
        "_tail",
        "_types",
        "columns",
        "name",
        "packs",
        "plain",
        "whole",
    )

    def __init__(
        self,
        name: str,
        sql: str,
        codecs: Codecs,
        parameters: Sequence[int],
        columns: Sequence[tuple[str, int]],
    ) -> None:
        self.name = name
        self.plain = is_plain(sql)
        self.columns = [column for column, _ in columns]
        self.whole = not columns or next(first_words(sql[:1000]), "") == "call"
        self._codecs = codecs
        self._parameters = parameters
        self._types = [oid for _, oid in columns]
        self._found = [codecs.get(oid) for oid in self._types]
        self._plan = [(codec.case, codec.decode) for codec in self._found if codec is not None]
        self._head = messages.head_of(name, [oid == TSQUERY for oid in parameters])
        self._tail = messages.tail_of([oid == TSQUERY for oid in self._types])
        self.packs = _packs(self._found)

    def __len__(self) -> int:
        """Return how many parameters it has."""
        return len(self._parameters)

    def bind(self, params: Sequence[PgValue]) -> bytes:
        """Return the message that gives it its parameters.

        :raises InvalidParams: if they do not fit
        """
        if len(params) != len(self._parameters):
            wanted, given = len(self._parameters), len(params)
            raise InvalidParams(f"the statement has {wanted} parameter{'s' * (wanted != 1)}, not {given}")
        raw = [
            None if value[0] == "null" else _encoded(self._codecs, at, oid, value)
            for at, (oid, value) in enumerate(zip(self._parameters, params, strict=True), 1)
        ]
        return messages.bind(self._head, raw, self._tail)

    def unreadable_column(self) -> str | None:
        """Return which column has a type that no case is for, in words; None if there is none."""
        for at, codec in enumerate(self._found):
            if codec is None or not codec.case:
                return f"{self._where(at)}: the type has no case; cast it, to text for example"
        return None

    def rows(self, collected: Collected) -> PackedRows:
        """Return rows as they came; reading one raises `ValueConversionFailed` if a value has no place."""
        return PackedRows(self.packs or (), collected.data, collected.starts, self._read)

    def _read(self, fields: Sequence[bytes | None]) -> Row:
        """Return a row for the guest from its fields."""
        try:
            return [
                NULL if raw is None else (case, decode(raw))
                for raw, (case, decode) in zip(fields, self._plan, strict=True)
            ]
        except (ValueError, IndexError, OverflowError):
            raise self._unreadable(fields) from None

    def _unreadable(self, fields: Sequence[bytes | None]) -> Exception:
        """Return which of the fields of a row cannot be read, and why."""
        for at, (raw, codec) in enumerate(zip(fields, self._found, strict=False)):
            try:
                if raw is not None and codec is not None:
                    codec.decode(raw)
            except Unreadable as error:
                return ValueConversionFailed(f"{self._where(at)}: {error}; cast it, to text for example")
            except (ValueError, IndexError, OverflowError):
                return ValueConversionFailed(f"{self._where(at)}: the server sends what is no such value")
        return ValueConversionFailed("a row could not be read")

    def _where(self, at: int) -> str:
        return f'column {at + 1}, "{self.columns[at]}", of type {self._codecs.name(self._types[at])}'


def _packs(codecs: Sequence[Codec | None]) -> Columns | None:
    if all(codec is not None and codec.form is not None for codec in codecs):
        return tuple((codec.case, codec.form) for codec in codecs if codec is not None and codec.form)
    return None


def _encoded(codecs: Codecs, at: int, oid: int, value: PgValue) -> bytes:
    """Return the bytes of a parameter.

    :param at: its number, for messages
    """
    case, payload = value
    codec = codecs.get(oid)
    encoders = {} if codec is None else codec.encode
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
