"""What SQLite's error codes mean: to whoever opens the file, and to the guest of an operation."""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from pathlib import Path

from wasmplex.capabilities.keyvalue import (
    AccessDenied,
    InvalidArgument,
    KeyValueError,
    Other,
    QuotaExceeded,
    StoreUnavailable,
)
from wasmplex.plugin import BackendError

__all__ = ["is_busy", "opening_failed", "operation_failed", "refuse_read_only"]

_OPERATION: dict[int, type[KeyValueError]] = {
    sqlite3.SQLITE_FULL: QuotaExceeded,
    sqlite3.SQLITE_TOOBIG: QuotaExceeded,
    sqlite3.SQLITE_NOMEM: QuotaExceeded,
    sqlite3.SQLITE_READONLY: AccessDenied,
    sqlite3.SQLITE_PERM: AccessDenied,
    sqlite3.SQLITE_AUTH: AccessDenied,
    sqlite3.SQLITE_CANTOPEN: StoreUnavailable,
    sqlite3.SQLITE_IOERR: StoreUnavailable,
}

_FIX = {
    sqlite3.SQLITE_NOTADB: "name another file; this one is left as it is",
    sqlite3.SQLITE_CORRUPT: 'sqlite3 "{file}" ".recover" | sqlite3 recovered.db',
    sqlite3.SQLITE_READONLY: 'chmod u+w "{file}" "{directory}"',
    sqlite3.SQLITE_CANTOPEN: 'ls -ld "{file}" "{directory}"',
    sqlite3.SQLITE_FULL: 'df -h "{directory}"',
    sqlite3.SQLITE_BUSY: 'lsof "{file}"',
}


def _code(error: sqlite3.Error) -> int:
    """Return the primary result code; 0 for an error that is Python's own."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def is_busy(error: sqlite3.Error) -> bool:
    """Return whether another connection is in the way, so that trying again may help."""
    return _code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def operation_failed(error: sqlite3.Error) -> KeyValueError:
    """Return what the guest is told. SQLite's own texts name no path, but its wording is not for guests."""
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    if _code(error) == sqlite3.SQLITE_CONSTRAINT:  # the one constraint that a statement can break
        return InvalidArgument("the value is not a decimal s64, or the sum would not be")
    if name == "SQLITE_IOERR_WRITE":  # past RLIMIT_FSIZE, or over a disk quota: not ENOSPC, but full
        return QuotaExceeded("the file cannot grow")
    return _OPERATION.get(_code(error), Other)(f"SQLite reports {name}")


def refuse_read_only(error: sqlite3.Error, path: str) -> None:
    """Raise a better error if it was that the file system has become read-only, which SQLite does not tell.

    :raises AccessDenied: if so
    """
    if getattr(error, "sqlite_errorname", "") == "SQLITE_IOERR_WRITE" and os.name == "posix":
        with suppress(OSError):
            if os.statvfs(path).f_flag & os.ST_RDONLY:
                raise AccessDenied("the file system is read-only") from error


def opening_failed(error: sqlite3.Error, path: Path) -> BackendError:
    """Return what the operator is told."""
    fix = _FIX.get(_code(error), "").format(file=path, directory=path.parent)
    return BackendError(f"cannot open the SQLite file {path}", why=str(error), fix=fix)
