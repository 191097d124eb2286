"""``wasmcloud:postgres``: ``0.2.0``, whose rows stream, and ``0.1.1-draft``, whose rows are a list."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from wasmplex.capabilities.postgres import InvalidParams, InvalidQuery, PgValue, PostgresError, QueryFailed
from wasmplex.interfaces.postgres.policy import (
    GuardedDatabase,
    GuardedRows,
    PostgresPolicySettings,
    Tokens,
)
from wasmplex.interfaces.postgres.rows import RowStream
from wasmplex.plugins.contracts import (
    BoundInterfaces,
    HostFunctions,
    ImportRequest,
    InterfaceProvider,
    WorkloadContext,
)
from wasmplex.plugins.hooks import hookimpl
from wasmplex.values import Err, Variant
from wasmplex.wit.served import served
from wasmplex.wit.source import WitPackage

__all__ = ["WasmcloudPostgres", "WasmcloudPostgresDraft"]


# ---------------------------------------------------------------- 0.2.0

_BARE = {"unknown-prepared-statement", "access-denied", "timeout"}


def refused(operation: str, error: PostgresError) -> Err[Variant]:
    """Return the package's ``error``, which has a case for each of ours."""
    if isinstance(error, QueryFailed):
        said = error.error
        record = {
            "code": said.code,
            "severity": said.severity,
            "message": said.message,
            "detail": said.detail,
            "extras": list(said.extras.items()),
        }
        return Err(Variant("query-failed", record))
    return Err(Variant(error.case, None if error.case in _BARE else f"{operation}: {error}"))


class _Bound(BoundInterfaces):
    def __init__(self, workload: str) -> None:
        self._workload = workload
        self._tokens = Tokens()

    def serve(self, request: ImportRequest) -> HostFunctions:
        if request.name == "types":
            return {}
        database = GuardedDatabase.bind(request, self._workload, refused, self._tokens)
        if request.name == "prepared":
            return {"prepare": database.prepare, "exec": database.execute}

        async def query(sql: str, params: Sequence[PgValue]) -> tuple[Sequence[str], Any, Any]:
            rows = await database.query(sql, params)
            stream = RowStream(GuardedRows(database, rows))
            return rows.columns, stream, stream.completion

        return {"query": query, "query-batch": database.batch}


class WasmcloudPostgres(InterfaceProvider):
    """Serves ``wasmcloud:postgres@0.2.0`` from any Postgres backend."""

    package = "wasmcloud:postgres"
    version = "0.2.0"
    interfaces = frozenset({"types", "query", "prepared"})
    capability = "postgres"
    settings = PostgresPolicySettings
    routes_by_resource = frozenset({"types"})

    def wit(self) -> WitPackage | None:
        """Return the text that comes with the host."""
        return served(self.package, self.version)

    @asynccontextmanager
    async def bind(self, workload: WorkloadContext) -> AsyncIterator[BoundInterfaces]:
        """Bind for one workload; its prepared statements are kept with it."""
        yield _Bound(workload.name)


# ---------------------------------------------------------------- 0.1.1-draft


def _query_refused(operation: str, error: PostgresError) -> Err[Variant]:
    """Return the draft's ``query-error``, which has three cases."""
    return Err(_query_error(operation, error))


def _query_error(operation: str, error: PostgresError) -> Variant:
    if isinstance(error, QueryFailed):
        said = error.error
        return Variant("invalid-query", f"{said.code}: {said.message}")
    if isinstance(error, (InvalidParams, InvalidQuery)):
        return Variant(error.case, f"{operation}: {error}")
    return Variant("unexpected", f"{error.summary}: {operation}: {error}")


def _prepared_refused(operation: str, error: PostgresError) -> Err[Variant]:
    """Return ``statement-prepare-error`` or ``prepared-statement-exec-error``."""
    if operation == "exec":
        if error.case == "unknown-prepared-statement":
            return Err(Variant("unknown-prepared-query"))
        return Err(Variant("query-error", _query_error(operation, error)))
    inner = _query_error(operation, error)
    return Err(Variant("unexpected", inner.value))


class _BoundDraft(_Bound):
    def serve(self, request: ImportRequest) -> HostFunctions:
        if request.name == "types":
            return {}
        dialect = _prepared_refused if request.name == "prepared" else _query_refused
        database = GuardedDatabase.bind(request, self._workload, dialect, self._tokens)
        if request.name == "prepared":
            return {"prepare": database.prepare, "exec": database.execute}

        async def query(sql: str, params: Sequence[PgValue]) -> list[list[dict[str, Any]]]:
            return [
                [{"column-name": name, "value": value} for name, value in zip(columns, row, strict=True)]
                for columns, row in await database.query_all(sql, params)
            ]

        return {"query": query, "query-batch": database.batch}


class WasmcloudPostgresDraft(WasmcloudPostgres):
    """Serves ``wasmcloud:postgres@0.1.1-draft`` from any Postgres backend."""

    version = "0.1.1-draft"

    @asynccontextmanager
    async def bind(self, workload: WorkloadContext) -> AsyncIterator[BoundInterfaces]:
        """Bind for one workload; its prepared statements are kept with it."""
        yield _BoundDraft(workload.name)


@hookimpl
def wasmplex_interfaces() -> Iterable[InterfaceProvider]:
    """Register both versions."""
    return [WasmcloudPostgres(), WasmcloudPostgresDraft()]
