"""Postgres: what a backend implements, and what guests get through every WIT interface.

`wasmplex.capabilities.postgres.values` has the Python type of each case of ``pg-value``.
"""

from __future__ import annotations

from wasmplex.capabilities.postgres.contract import ROWS_AHEAD, PostgresBackend, Rows, Statement
from wasmplex.capabilities.postgres.errors import (
    CASES,
    AccessDenied,
    ConnectionFailed,
    DbError,
    InvalidParams,
    InvalidQuery,
    Other,
    PostgresError,
    QueryFailed,
    Timeout,
    TooMuch,
    UnknownPrepared,
    ValueConversionFailed,
)
from wasmplex.capabilities.postgres.values import NULL, PAYLOADS, PgValue, Row
from wasmplex.packed import Columns, Form, PackedRows

__all__ = [
    "CASES", "NULL", "PAYLOADS", "ROWS_AHEAD", "AccessDenied", "Columns", "ConnectionFailed", "DbError",
    "Form", "InvalidParams", "InvalidQuery", "Other", "PackedRows", "PgValue", "PostgresBackend",
    "PostgresError", "QueryFailed", "Row", "Rows", "Statement", "Timeout", "TooMuch",
    "UnknownPrepared", "ValueConversionFailed",
]  # fmt: skip
