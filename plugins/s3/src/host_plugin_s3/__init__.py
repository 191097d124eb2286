"""Blob store on S3 and what speaks its protocol."""

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
    from host_plugin_s3.store import S3Backend

__all__ = ["S3Provider", "S3Settings"]

_PART = "[A-Za-z0-9_-][A-Za-z0-9._-]*"


class S3Settings(Settings):
    """The settings of an ``s3`` binding."""

    bucket: Annotated[str, Field(pattern=r"^[a-z0-9A-Z][a-z0-9A-Z._-]{1,254}$")]
    """The bucket that holds all containers of guests; it is not made."""
    prefix: Annotated[str, Field(pattern=rf"^({_PART}(/{_PART})*)?$", max_length=200)] = "wasmplex"
    """What the keys of all objects begin with, without a slash at the end; may be empty."""
    endpoint: SecretUrl | None = None
    """``https://host:port`` of a server that is not Amazon's. It holds no credentials."""
    region: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,64}$")] = "us-east-1"
    """The region of the bucket."""
    virtual_host: bool = False
    """Whether the bucket is a part of the host's name, instead of the path."""
    credentials: Literal["settings", "environment", "anonymous"] = "settings"
    """Where they come from: the settings below; where AWS tools look, environment and metadata services
    included; or nowhere."""
    access_key_id: SecretStr | None = None
    """Of the user."""
    secret_access_key: SecretStr | None = None
    """Of the user."""
    session_token: SecretStr | None = None
    """Of temporary credentials."""
    part_size: Annotated[Size, Field(ge=5 << 20, le=512 << 20)] = 8 << 20
    """Objects that are larger are uploaded in parts of this size; S3 takes 10,000 of them."""
    timeout: Annotated[Duration, Field(gt=0)] = 5.0
    """How long connecting may take, and how long failed requests are tried again."""
    tls_ca_file: Path | None = None
    """Certificates to trust besides the system's, relative to the directory of the configuration."""
    tls_verify: bool = True
    """Whether the server's certificate and name are checked."""

    @field_validator("endpoint")
    @classmethod
    def _check_endpoint(cls, endpoint: SecretUrl | None) -> SecretUrl | None:
        if endpoint is None:
            return None
        url = endpoint.get_secret_value()
        try:
            parts = urlsplit(url)
            good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:
            good = False
        if good and parts.username is not None:
            raise OwnWords(
                "the endpoint holds no credentials: access_key_id and secret_access_key are for them"
            )
        if not good or parts.query or parts.path.strip("/"):
            raise OwnWords("the endpoint must be https://host, https://host:port or the same with http")
        return SecretUrl(url.rstrip("/"))

    @model_validator(mode="after")
    def _check_tls(self) -> Self:
        url = self.endpoint.get_secret_value() if self.endpoint else ""
        if self.tls_ca_file is not None and url.startswith("http://"):
            raise OwnWords("tls_ca_file is named, and the endpoint has no TLS: https://")
        return self

    @model_validator(mode="after")
    def _check_credentials(self) -> Self:
        given = (self.access_key_id, self.secret_access_key)
        names = ("access_key_id", "secret_access_key")
        missing = [name for name, value in zip(names, given, strict=True) if value is None]
        if self.credentials == "settings" and missing:
            verb = "are" if missing[1:] else "is"
            raise OwnWords(
                f"{' and '.join(missing)} {verb} missing; give both, or credentials = "
                '"environment" or "anonymous"'
            )
        if self.credentials != "settings" and given != (None, None):
            raise OwnWords(f'credentials = "{self.credentials}", and yet keys are given')
        return self


class S3Provider(BackendProvider[S3Settings]):
    """Opens stores on S3 servers."""

    name = "s3"
    capability = "blobstore"
    settings = S3Settings
    features = frozenset({"server-copy"})
    durability = "as the server is set up; what it has acknowledged is stored on several disks at Amazon"

    async def open(self, settings: S3Settings, context: OpenContext) -> S3Backend:
        """Look whether the bucket is there and lets us in.

        :raises wasmplex.errors.BackendError: if it cannot be reached, or refuses us
        """
        from host_plugin_s3.store import S3Backend

        return await S3Backend.open(settings, context, self.features)


@hookimpl
def wasmplex_backends() -> Iterable[BackendProvider[Any]]:
    """Register the provider."""
    return [S3Provider()]
