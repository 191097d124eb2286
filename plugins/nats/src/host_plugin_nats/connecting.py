"""What the client library is told of the settings."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from wasmplex.plugin import BackendError, client_tls

from host_plugin_nats import NatsConnection

__all__ = ["CREDENTIALS", "address", "options"]

CREDENTIALS = frozenset({"tls", "token", "user", "user_credentials"})
"""The options that may say who we are; with TLS that may be a certificate."""


def address(settings: NatsConnection) -> str:
    """Return where the servers are, without credentials."""
    return ",".join(_place(parts) for parts in _urls(settings))


def _urls(settings: NatsConnection) -> list[SplitResult]:
    return [urlsplit(url.strip()) for url in settings.url.get_secret_value().split(",")]


def _place(parts: SplitResult) -> str:
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}:{parts.port or 4222}"


def options(settings: NatsConnection, base: Path) -> dict[str, Any]:
    """Return the options of ``nats.connect`` that depend on the settings.

    Credentials are taken out of the URLs: the library's messages quote those.

    :raises wasmplex.errors.BackendError: if a file cannot be used
    """
    urls = _urls(settings)
    found: dict[str, Any] = {
        "servers": [_place(parts) for parts in urls],
        "connect_timeout": settings.timeout,
        "name": "wasmplex",
        **_credentials(settings, urls[0]),
    }
    if settings.creds is not None:
        file = base / settings.creds
        if not file.is_file():
            raise BackendError(f"the credentials file {file} does not exist", fix="creds = ...")
        found["user_credentials"] = str(file)
    files = settings.tls_ca_file or settings.tls_cert_file
    encrypted = bool(files) or any(parts.scheme == "tls" for parts in urls)
    if encrypted or not settings.tls_verify:
        found["tls"] = _tls(settings, base)
    found["encrypted"] = encrypted
    return found


def _credentials(settings: NatsConnection, parts: SplitResult) -> dict[str, str]:
    token = settings.token.get_secret_value() if settings.token else None
    user = settings.user or (unquote(parts.username) if parts.username else None)
    password = settings.password.get_secret_value() if settings.password else None
    if password is None and parts.password:
        password = unquote(parts.password)
    if token is None and user is not None and password is None:  # nats://token@host
        token, user = user, None
    if token is not None:
        return {"token": token}
    return {} if user is None else {"user": user, "password": password or ""}


def _tls(settings: NatsConnection, base: Path) -> ssl.SSLContext:
    files = (settings.tls_ca_file, settings.tls_cert_file, settings.tls_key_file)
    context = client_tls("the NATS connection", *(file and base / file for file in files))
    if not settings.tls_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
