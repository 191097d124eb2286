"""What the client library is told of the settings: what it is not told it takes from the environment."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from obstore.store import S3Store
from wasmplex.plugin import SecretStr, client_tls

from host_plugin_s3 import S3Settings

__all__ = ["address", "endpoint", "store"]

_EVER = timedelta(days=365)
_RETRIES = 3
_CREDENTIALS_LIVE = timedelta(minutes=10)

Renew = Callable[[], Awaitable[S3Settings]]


def address(settings: S3Settings) -> str:
    """Return where the bucket is."""
    return endpoint(settings) if settings.endpoint else f"{endpoint(settings)} ({settings.region})"


def endpoint(settings: S3Settings) -> str:
    """Return the URL of the server."""
    if settings.endpoint is not None:
        return settings.endpoint.get_secret_value()
    suffix = ".cn" if settings.region.startswith("cn-") else ""
    return f"https://s3.{settings.region}.amazonaws.com{suffix}"


def store(settings: S3Settings, base: Path, renew: Renew) -> S3Store:
    """Return the library's store.

    :param base: where relative paths start
    :param renew: returns the settings as they are now
    :raises wasmplex.errors.BackendError: if a file cannot be used
    """
    given: dict[str, Any] = {}
    if settings.credentials == "settings":
        given["credential_provider"] = _provider(renew)
    return S3Store(
        settings.bucket,
        config={
            "endpoint": _with_bucket(settings),
            "region": settings.region,
            "virtual_hosted_style_request": settings.virtual_host,
            "skip_signature": settings.credentials == "anonymous",
        },
        client_options=_client(settings, base),  # type: ignore[arg-type]
        retry_config={
            "max_retries": _RETRIES,
            "retry_timeout": timedelta(seconds=settings.timeout),
            "backoff": {
                "init_backoff": timedelta(milliseconds=50),
                "max_backoff": timedelta(seconds=1),
                "base": 2,
            },
        },
        **given,
    )


def _with_bucket(settings: S3Settings) -> str:
    """Return the endpoint as the library wants it: with the bucket in front where that is how it is asked."""
    url = endpoint(settings)
    if not settings.virtual_host:
        return url
    scheme, _, host = url.partition("://")
    return f"{scheme}://{settings.bucket}.{host}"


def _client(settings: S3Settings, base: Path) -> dict[str, Any]:
    options: dict[str, Any] = {
        "allow_http": endpoint(settings).startswith("http://"),
        "allow_invalid_certificates": not settings.tls_verify,
        "connect_timeout": timedelta(seconds=settings.timeout),
        "timeout": _EVER,  # of a whole transfer; the host's deadlines are about progress
        "user_agent": "wasmplex",
    }
    if settings.tls_ca_file is not None:
        file = base / settings.tls_ca_file
        client_tls("the S3 bucket", file)  # says what is wrong with it, in better words than the library
        options["root_certificate"] = file.read_bytes()
    return options


def _provider(renew: Renew) -> Callable[[], Awaitable[dict[str, Any]]]:
    async def credentials() -> dict[str, Any]:
        settings = await renew()
        return {
            "access_key_id": _plain(settings.access_key_id),
            "secret_access_key": _plain(settings.secret_access_key),
            "token": _plain(settings.session_token),
            "expires_at": datetime.now(UTC) + _CREDENTIALS_LIVE,
        }

    return credentials


def _plain(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()
