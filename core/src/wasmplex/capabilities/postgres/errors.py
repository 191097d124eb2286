"""The errors of Postgres; each class is one case of ``wasmcloud:postgres``'s ``error``.

::

    PostgresError               what a guest may be told; each class is one case of the WIT's ``error``
    +-- ConnectionFailed        refused or lost, server starting, no connection of the pool to be had
    +-- InvalidParams           wrong count of parameters, or a value that the statement has no place for
    +-- InvalidQuery            the host does not send it: COPY, a NUL character
    +-- QueryFailed             the server's own error, with its SQLSTATE
    +-- ValueConversionFailed   a column whose value has no case in ``pg-value``
    +-- UnknownPrepared         a token that this workload and label were not given, or that was evicted
    +-- AccessDenied            bad login, no right to connect, or the configuration does not grant it
    +-- Timeout                 no answer before the deadline, or the server's ``statement_timeout``
    +-- Other                   anything else
        +-- TooMuch             over a limit of the host: ``max_rows``
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from wasmplex.capabilities.errors import CapabilityError, ErrorCases

__all__ = [
    "CASES", "AccessDenied", "ConnectionFailed", "DbError", "InvalidParams", "InvalidQuery", "Other",
    "PostgresError", "QueryFailed", "Timeout", "TooMuch", "UnknownPrepared", "ValueConversionFailed",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class DbError:
    """What the server says of an error (PostgreSQL, "Error and Notice Message Fields").

    :ivar code: the SQLSTATE, five characters
    :ivar severity: ``ERROR``, ``FATAL`` or ``PANIC``, never translated
    :ivar message: the primary message
    :ivar detail: the secondary one
    :ivar extras: the other fields that the server sent, by name: ``hint``, ``position``, ``schema``,
        ``table``, ``column``, ``datatype``, ``constraint``, ``context``
    """

    code: str
    severity: str
    message: str
    detail: str | None = None
    extras: Mapping[str, str] = field(default_factory=dict)


class PostgresError(CapabilityError):
    """Base of the errors that reach a guest. Never raised itself."""


class ConnectionFailed(PostgresError):
    """The connection was refused or lost, or the server is not ready. Trying again later may help."""

    case, summary, unavailable = "connection-failed", "connection failed", True


class InvalidParams(PostgresError):
    """The count of parameters is wrong, or a value does not fit its place. Nothing was executed."""

    case, summary = "invalid-params", "invalid parameters"


class InvalidQuery(PostgresError):
    """The host does not send this statement. Nothing was executed."""

    case, summary = "invalid-query", "invalid query"


class QueryFailed(PostgresError):
    """The server refused or broke off the statement.

    :param error: what it says
    """

    case, summary = "query-failed", "query failed"

    def __init__(self, error: DbError) -> None:
        super().__init__(f"SQLSTATE {error.code}")  # the message may quote data: it is the guest's alone
        self.error = error


class ValueConversionFailed(PostgresError):
    """A value of the result has no case; the text names the column and its type."""

    case, summary = "value-conversion-failed", "value conversion failed"


class UnknownPrepared(PostgresError):
    """The token is not one that this workload and label hold."""

    case, summary, configured = "unknown-prepared-statement", "unknown prepared statement", True


class AccessDenied(PostgresError):
    """The login is refused or may not connect, or the binding does not grant the interface."""

    case, summary = "access-denied", "access denied"


class Timeout(PostgresError):
    """No answer before the deadline. Whether a statement had its effect is unknown."""

    case, summary = "timeout", "timed out"


class Other(PostgresError):
    """What has no case of its own."""

    case, summary = "other", "failed"


class TooMuch(Other):
    """Over a limit of the host."""

    summary = "over a limit"


CASES = ErrorCases(
    capability="postgres",
    base=PostgresError,
    timeout=Timeout,
    unavailable=ConnectionFailed,
    exceeded=TooMuch,
    denied=AccessDenied,
    other=Other,
)
