"""What the client library is told of the settings."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from nats.aio.client import RawCredentials
from wasmplex.plugin import NamedFiles, OpenContext

from host_plugin_nats import NatsConnection

__all__ = ["CREDENTIALS", "Told", "address"]

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


class Told:
    """What the client library is told of settings, which may name files.

    :ivar now: the options of ``nats.connect``
    """

    def __init__(self, settings: NatsConnection, context: OpenContext, now: Mapping[str, Any]) -> None:
        self._settings = settings
        self._context = context
        self._files = _files(settings)
        self.now = now

    @classmethod
    async def read(cls, settings: NatsConnection, context: OpenContext) -> Told:
        """Read the files.

        :raises wasmplex.errors.BackendError: if one cannot be used
        """
        with _files(settings) as files:
            return cls(settings, context, await _options(settings, context.base, files))

    async def renew(self) -> Mapping[str, Any]:
        """Return the options of the settings and files as they are now.

        :raises wasmplex.errors.BackendError: if a file cannot be used
        """
        fresh = await self._context.settings_now(self._settings)
        self.now = await _options(fresh, self._context.base, self._files)
        return self.now

    def close(self) -> None:
        """Read no more."""
        self._files.close()


def _files(settings: NatsConnection) -> NamedFiles:
    return NamedFiles("the NATS connection", settings.timeout)


async def _options(settings: NatsConnection, base: Path, named: NamedFiles) -> dict[str, Any]:
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
        # What is in the file: of its name the library reads it on the event loop, with each connection.
        content = await named.read("creds", base / settings.creds)
        found["user_credentials"] = RawCredentials(content.decode(errors="replace"))
    files = settings.tls_ca_file or settings.tls_cert_file
    encrypted = bool(files) or any(parts.scheme == "tls" for parts in urls)
    if encrypted or not settings.tls_verify:
        found["tls"] = await _tls(settings, base, named)
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


async def _tls(settings: NatsConnection, base: Path, named: NamedFiles) -> ssl.SSLContext:
    files = (settings.tls_ca_file, settings.tls_cert_file, settings.tls_key_file)
    context = await named.tls(*(file and base / file for file in files))
    if not settings.tls_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
