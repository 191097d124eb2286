"""Postgres for guests: rows that stream, every type exact, sessions that leak nothing."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator
from wasmplex.plugin import (
    BackendProvider,
    Duration,
    OpenContext,
    OwnWords,
    SecretStr,
    SecretUrl,
    Settings,
    hookimpl,
)

from host_plugin_postgres.urls import parse

if TYPE_CHECKING:
    from host_plugin_postgres.backend import Postgres

__all__ = ["PostgresProvider", "PostgresSettings"]

Tls = Literal["disable", "prefer", "require", "verify-ca", "verify-full"]
SessionAttrs = Literal["any", "primary", "standby", "read-write", "read-only", "prefer-standby"]


class PostgresSettings(Settings):
    """The settings of a ``postgres`` binding."""

    url: SecretUrl | None = None
    """``postgresql://user:password@host:port/database?sslmode=require``, with several hosts or one."""
    host: str | None = None
    """A name, an address, several with commas between them, or the directory of a Unix socket."""
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """5432 if absent. This and the next three win over the URL."""
    user: str | None = None
    """Whom to log in as."""
    password: SecretStr | None = None
    """Read again from where it comes from when the server refuses it."""
    database: str | None = None
    """The database; named as the user if absent."""
    target_session_attrs: SessionAttrs | None = None
    """Which of several hosts will do: `any` if absent; `read-write` follows a failover."""
    tls: Tls | None = None
    """`prefer` if absent, which protects from nobody who can change what is sent; `verify-full` does."""
    ca_file: Path | None = None
    """Certificates to trust instead of the system's, relative to the directory of the configuration."""
    cert_file: Path | None = None
    """The certificate that this host shows."""
    key_file: Path | None = None
    """Its key."""
    pool_size: Annotated[int, Field(ge=1, le=1000)] = 10
    """Connections that all bindings with these settings have together; operations beyond them wait."""
    statement_timeout: Annotated[Duration, Field(ge=0)] = 30.0
    """After which the server itself ends a statement; 0 for never."""
    timeout: Annotated[Duration, Field(gt=0)] = 5.0
    """How long connecting may take; the binding's timeout for one operation."""
    application_name: str | None = None
    """What the server's views call the connections; workload and label if absent."""
    role: str | None = None
    """The role that sessions begin with. A guest may leave it for the login's own rights."""
    search_path: str | None = None
    """The schemas that names are looked for in, with commas between them."""
    prepared_statements: bool = True
    """False behind PgBouncer in transaction mode: no prepared statement outlives its transaction."""

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: SecretUrl | None) -> SecretUrl | None:
        if url is not None:
            parse(url.get_secret_value())
        return url

    @model_validator(mode="after")
    def _check_place(self) -> Self:
        if self.url is None and self.host is None:
            raise OwnWords('names no server: url = "postgresql://host/database", or host and database')
        if self.key_file is not None and self.cert_file is None:
            raise OwnWords("key_file is the key of cert_file, which is missing")
        return self


class PostgresProvider(BackendProvider[PostgresSettings]):
    """Opens databases on PostgreSQL servers."""

    name = "postgres"
    capability = "postgres"
    settings = PostgresSettings
    durability = "as the server is set up: with synchronous_commit, a crash of the machine"

    async def open(self, settings: PostgresSettings, context: OpenContext) -> Postgres:
        """Connect to the server.

        :raises wasmplex.errors.BackendError: if it cannot be reached, refuses us, or is no PostgreSQL server
        """
        from host_plugin_postgres.connecting import connect

        return await connect(settings, context)


@hookimpl
def wasmplex_backends() -> Iterable[BackendProvider[Any]]:
    """Register the provider."""
    return [PostgresProvider()]
