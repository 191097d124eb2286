"""Key-value on Redis and Valkey: single server, Sentinel, cluster."""

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

from host_plugin_redis.urls import parse

if TYPE_CHECKING:
    from host_plugin_redis.store import RedisBackend

__all__ = ["RedisProvider", "RedisSettings"]


class RedisSettings(Settings):
    """The settings of a ``redis`` binding."""

    url: SecretUrl
    """``redis://``, ``rediss://`` (TLS), ``unix://``, ``redis+sentinel://``, ``redis+cluster://``."""
    username: str | None = None
    """Wins over the one in the URL."""
    password: SecretStr | None = None
    """Wins over the one in the URL."""
    layout: Literal["wasmplex", "plain"] = "wasmplex"
    """``plain``: the key is the bucket's name followed by the key, as other applications wrote it."""
    timeout: Annotated[Duration, Field(gt=0)] = 5.0
    """How long connecting may take; the binding's timeout for one operation."""
    max_connections: Annotated[int, Field(ge=1, le=10_000)] = 64
    """Connections to each server; operations beyond them wait for one."""
    tls_ca_file: Path | None = None
    """Certificates to trust instead of the system's, relative to the directory of the configuration."""
    tls_cert_file: Path | None = None
    """The certificate that this host shows."""
    tls_key_file: Path | None = None
    """Its key."""
    tls_verify: bool = True
    """Whether the server's certificate and name are checked."""

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: SecretUrl) -> SecretUrl:
        parse(url.get_secret_value())
        return url

    @model_validator(mode="after")
    def _check_tls(self) -> Self:
        if self.tls_key_file is not None and self.tls_cert_file is None:
            raise OwnWords("tls_key_file is the key of tls_cert_file, which is missing")
        if (self.tls_ca_file or self.tls_cert_file) and not parse(self.url.get_secret_value()).tls:
            raise OwnWords("a file of TLS is named, and the URL has none: rediss:// is redis:// with TLS")
        return self


class RedisProvider(BackendProvider[RedisSettings]):
    """Opens stores on Redis servers."""

    name = "redis"
    capability = "keyvalue"
    settings = RedisSettings
    features = frozenset({"ttl", "if-not-exists", "increment", "cas", "watch"})
    durability = "as the server is set up: appendonly and appendfsync always survive a crash of the machine"

    async def open(self, settings: RedisSettings, context: OpenContext) -> RedisBackend:
        """Connect to the server and see what it can do.

        :raises wasmplex.errors.BackendError: if it cannot be reached, refuses us, or is too old
        """
        from host_plugin_redis.connecting import connect

        return await connect(settings, context, self.features)


@hookimpl
def wasmplex_backends() -> Iterable[BackendProvider[Any]]:
    """Register the provider."""
    return [RedisProvider()]
