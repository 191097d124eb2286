"""Key-value and blob store on NATS JetStream, and messaging on NATS, durable with JetStream."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator
from wasmplex.plugin import (
    BackendProvider,
    Duration,
    OpenContext,
    OwnWords,
    SecretStr,
    SecretUrl,
    Settings,
    Size,
    hookimpl,
)

if TYPE_CHECKING:
    from host_plugin_nats.blobs.store import NatsBlobBackend
    from host_plugin_nats.broker import NatsBroker
    from host_plugin_nats.store import NatsBackend

__all__ = [
    "NatsBlobProvider", "NatsBlobSettings", "NatsConnection", "NatsMessagingProvider",
    "NatsMessagingSettings", "NatsProvider", "NatsSettings",
]  # fmt: skip


class NatsConnection(Settings):
    """How a server is reached, whatever for."""

    url: SecretUrl = SecretUrl("nats://127.0.0.1:4222")
    """``nats://`` or ``tls://``, several with commas between; may hold user and password, or a token."""
    domain: Annotated[str, Field(pattern=r"^[^\s.*>$]+$")] | None = None
    """The JetStream domain."""
    user: str | None = None
    """Wins over the one in the URL."""
    password: SecretStr | None = None
    """Of the user."""
    token: SecretStr | None = None
    """Instead of user and password."""
    creds: Path | None = None
    """A credentials file, relative to the directory of the configuration."""
    timeout: Annotated[Duration, Field(gt=0)] = 5.0
    """How long connecting may take; the binding's timeout for one operation."""
    tls_ca_file: Path | None = None
    """Certificates to trust instead of the system's."""
    tls_cert_file: Path | None = None
    """The certificate that this host shows."""
    tls_key_file: Path | None = None
    """Its key."""
    tls_verify: bool = True
    """Whether the server's certificate and name are checked."""

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: SecretUrl) -> SecretUrl:
        for one in url.get_secret_value().split(","):
            try:
                parts = urlsplit(one.strip())
                good = parts.scheme in ("nats", "tls") and parts.hostname and parts.port != 0
            except ValueError:
                good = False
            if not good and one.strip().lower().startswith(("ws:", "wss:")):  # nothing slows them down
                raise OwnWords(
                    'web sockets are not supported: the URL must be like "nats://..." or "tls://...", '
                    "with the server's port for clients, which is 4222 by default"
                )
            if not good:
                raise OwnWords(
                    'the URL must be like "nats://127.0.0.1:4222", "tls://..." or several with commas'
                )
        return url

    @model_validator(mode="after")
    def _check_tls(self) -> Self:
        if self.tls_key_file is not None and self.tls_cert_file is None:
            raise OwnWords("tls_key_file is the key of tls_cert_file, which is missing")
        return self


class NatsSettings(NatsConnection):
    """The settings of a ``nats`` binding for key-value."""

    bucket: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,200}$")] = "wasmplex"
    """The JetStream key-value bucket that holds all buckets of guests, as prefixes of its keys."""
    create: bool = True
    """Whether to make it if it is missing."""
    replicas: Annotated[int, Field(ge=1, le=5)] = 1
    """Servers that keep a copy, when it is made."""
    storage: Literal["file", "memory"] = "file"
    """Where they keep it, when it is made."""
    max_bytes: Annotated[Size, Field(ge=1)] | None = None
    """What it may take, when it is made."""


class NatsBlobSettings(NatsConnection):
    """The settings of a ``nats`` binding for blobs."""

    prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,100}$")] = "wasmplex"
    """What the names of the object stores begin with, one for each container of a guest."""
    replicas: Annotated[int, Field(ge=1, le=5)] = 1
    """Servers that keep a copy of a container, when it is created."""
    storage: Literal["file", "memory"] = "file"
    """Where they keep it, when it is created."""
    max_bytes: Annotated[Size, Field(ge=1)] | None = None
    """What one container may take, when it is created."""


class NatsProvider(BackendProvider[NatsSettings]):
    """Opens stores on NATS servers."""

    name = "nats"
    capability = "keyvalue"
    settings = NatsSettings
    features = frozenset({"ttl", "if-not-exists", "increment", "cas", "watch"})
    durability = "survives a crash of the server; of its machine too, with sync_interval always or replicas"

    async def open(self, settings: NatsSettings, context: OpenContext) -> NatsBackend:
        """Connect, and make the JetStream bucket if it is missing.

        :raises wasmplex.errors.BackendError: if the server cannot be reached, refuses us, or has no JetStream
        """
        from host_plugin_nats.store import NatsBackend

        return await NatsBackend.open(settings, context, self.features)


class NatsBlobProvider(BackendProvider[NatsBlobSettings]):
    """Opens blob stores on NATS servers."""

    name = "nats"
    capability = "blobstore"
    settings = NatsBlobSettings
    features = frozenset[str]()
    durability = "a crash of the server's process; of its machine too, with sync_interval always or replicas"

    async def open(self, settings: NatsBlobSettings, context: OpenContext) -> NatsBlobBackend:
        """Connect, and remove what killed processes left.

        :raises wasmplex.errors.BackendError: if the server cannot be reached, refuses us, or has no JetStream
        """
        from host_plugin_nats.blobs.store import NatsBlobBackend

        return await NatsBlobBackend.open(settings, context, self.features)


class NatsMessagingSettings(NatsConnection):
    """The settings of a ``nats`` binding of messaging."""

    stream: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,200}$")] | None = None
    """The JetStream stream of durable subscriptions; found by their subjects if absent, else made."""
    create: bool = True
    """Whether to make streams that are missing."""
    replicas: Annotated[int, Field(ge=1, le=5)] = 1
    """Servers that keep a copy, when a stream is made."""
    storage: Literal["file", "memory"] = "file"
    """Where they keep it, when a stream is made."""
    max_bytes: Annotated[Size, Field(ge=1)] | None = None
    """What a stream may take, when it is made."""


class NatsMessagingProvider(BackendProvider[NatsMessagingSettings]):
    """Connects to NATS servers as brokers."""

    name = "nats"
    capability = "messaging"
    settings = NatsMessagingSettings
    features = frozenset({"dead-letters", "delayed-retry", "durable", "history", "queue-groups", "request"})
    durability = "durable ones as JetStream keeps them: a crash of the server's process; else nothing"

    async def open(self, settings: NatsMessagingSettings, context: OpenContext) -> NatsBroker:
        """Connect.

        :raises wasmplex.errors.BackendError: if the server cannot be reached, or refuses us
        """
        from host_plugin_nats.broker import NatsBroker

        return await NatsBroker.open(settings, context, self.features)


@hookimpl
def wasmplex_backends() -> Iterable[BackendProvider[Any]]:
    """Register the providers."""
    return [NatsProvider(), NatsBlobProvider(), NatsMessagingProvider()]
