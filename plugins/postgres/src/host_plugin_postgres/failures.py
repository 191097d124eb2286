"""What errors mean: to whoever opens the database, and to the guest of an operation."""

from __future__ import annotations

import re
import ssl

import asyncpg
from asyncpg import exceptions as pg
from wasmplex.capabilities.postgres import (
    AccessDenied,
    ConnectionFailed,
    DbError,
    Other,
    PostgresError,
    QueryFailed,
    Timeout,
)
from wasmplex.plugin import BackendError, why_unreachable

__all__ = ["DRIVER_ERRORS", "described", "opening_failed", "operation_failed", "sqlstate"]

DRIVER_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
"""What the driver raises."""

_LOST = ("08", "57P01", "57P02", "57P03", "57P04", "57P05", "53300", "25P03")
"""SQLSTATEs, or their classes, that say the connection is gone or was not to be had."""
_LOGIN = ("28",)
_SESSION = ("22023", "42704")
"""SQLSTATEs of a server that cannot begin a session as the settings say."""
_ASK = "check that the server runs, the address, and whether it wants TLS"
_NUMBER = re.compile(r"\[Errno -?\d+\] ")
_TIMEOUTS = ("statement timeout", "lock timeout", "transaction timeout")
_EXTRAS = {
    "hint": "hint", "position": "position", "internal_position": "internal-position",
    "internal_query": "internal-query", "context": "context", "schema_name": "schema", "table_name": "table",
    "column_name": "column", "data_type_name": "datatype", "constraint_name": "constraint",
}  # fmt: skip


def sqlstate(error: BaseException) -> str:
    """Return the SQLSTATE that the server gave; empty for an error that is not the server's."""
    return getattr(error, "sqlstate", None) or "" if isinstance(error, asyncpg.PostgresError) else ""


def described(error: asyncpg.PostgresError) -> DbError:
    """Return all that the server said of an error."""
    fields = error.as_dict()
    return DbError(
        code=sqlstate(error) or "XX000",
        severity=fields.get("severity_en") or fields.get("severity") or "ERROR",
        message=str(error.args[0]) if error.args else "",
        detail=fields.get("detail"),
        extras={ours: str(fields[theirs]) for theirs, ours in _EXTRAS.items() if fields.get(theirs)},
    )


def operation_failed(error: BaseException) -> PostgresError:
    """Return what the guest is told."""
    if isinstance(error, PostgresError):
        return error
    code = sqlstate(error)
    if code.startswith(_LOGIN) or (code == "42501" and isinstance(error, _CONNECTING)):
        return AccessDenied("the server refuses the login, or it may not connect")
    if code.startswith(_LOST):
        return ConnectionFailed("the server is not ready, or has ended the session")
    if isinstance(error, asyncpg.PostgresError) and code:
        if code in ("57014", "55P03") and any(word in str(error) for word in _TIMEOUTS):
            return Timeout("the server has ended the statement: it took too long")
        return QueryFailed(described(error))
    match error:
        case TimeoutError():
            return Timeout("no answer from the server")
        case asyncpg.TargetServerAttributeNotMatched():
            return ConnectionFailed("no server is what target_session_attrs asks for")
        case OSError() | asyncpg.InterfaceError() | asyncpg.PostgresError() | asyncpg.InternalClientError():
            return ConnectionFailed("the connection is lost, or was refused")
    return Other(f"the driver reports {type(error).__name__}")


_CONNECTING = (pg.InvalidAuthorizationSpecificationError,)


def opening_failed(error: BaseException, where: str) -> BackendError:
    """Return what the operator is told."""
    what = f"cannot open the Postgres database at {where}"
    if isinstance(error, ssl.SSLError):
        return BackendError(
            what, why=why_unreachable(error), fix="check tls, ca_file, and the server's certificate"
        )
    if isinstance(error, asyncpg.TargetServerAttributeNotMatched):
        fix = "name other hosts, or another target_session_attrs"
        return BackendError(what, why=str(operation_failed(error)), fix=fix)
    text = _NUMBER.sub("", " ".join(str(error).split()))
    if sqlstate(error):
        return _refused(sqlstate(error), what, text)
    if why := why_unreachable(error):
        text = why
    elif isinstance(error, asyncpg.InternalClientError | asyncpg.ProtocolError) or "unexpected" in text:
        fix = "check host and port: what answers there does not speak PostgreSQL's protocol"
        return BackendError(what, why=text or type(error).__name__, fix=fix)
    return BackendError(what, why=text or type(error).__name__, fix=_ASK)


def _refused(code: str, what: str, text: str) -> BackendError:
    """Return what the operator is told of a server's own error, by its SQLSTATE."""
    if code == "3D000":
        text, fix = "the server has no database of this name", "create the database, or correct its name"
    elif code.startswith(_LOGIN) or code == "42501":
        fix = "check user and password, pg_hba.conf, and the right to CONNECT"
    elif code in _SESSION:
        fix = "check role, search_path and what else sessions begin with"
    elif code == "53300":
        fix = "lower pool_size, or raise the server's max_connections"
    else:
        fix = _ASK
    return BackendError(what, why=text, fix=fix)
