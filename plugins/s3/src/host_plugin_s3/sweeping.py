"""Aborting the uploads of hosts that were killed."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from obstore.store import S3Store
from wasmplex.plugin import Threads, get_logger

from host_plugin_s3 import S3Settings
from host_plugin_s3.leases import Lease, is_dead, leases
from host_plugin_s3.signing import Keys
from host_plugin_s3.uploads import Upload, Uploads

__all__ = ["Left"]

logger = get_logger("wasmplex.backends.s3")


class Left:
    """What killed hosts have left in a bucket."""

    def __init__(self, settings: S3Settings, base: Path) -> None:
        self._settings = settings
        self._base = base
        self._threads = Threads("s3", 1)
        self._uploads: Uploads | None = None

    async def lease(self) -> Lease:
        """Return what this host is to say of itself."""
        return await self._threads.run(Lease, self._settings.prefix)

    async def find(self, store: S3Store, own: Lease) -> list[Upload]:
        """Return the uploads that are not finished, if there is no other host that may be at them.

        Called before this host has begun one.

        :raises OSError: if the server cannot be asked
        """
        keys = _keys(self._settings)
        if keys is None:
            return []
        self._uploads = await self._threads.run(Uploads, self._settings, self._base, keys)
        found = await self._threads.run(self._uploads.find)
        if not found.uploads:
            return []
        # A host has its lease before it begins: those whose upload was found are found now.
        names = await leases(store, self._settings.prefix)
        names.pop(own.name, None)
        if await self._threads.run(_any_lives, names, found.now):
            logger.info(
                "s3: %d unfinished uploads are left alone: other hosts are uploading", len(found.uploads)
            )
            return []
        return found.uploads

    async def abort(self, found: list[Upload]) -> None:
        """Abort them."""
        if self._uploads is None:
            return
        for upload in found:
            try:
                async with asyncio.timeout(2 * self._settings.timeout):
                    await self._threads.run(self._uploads.abort, upload)
            except (OSError, TimeoutError) as error:
                logger.debug("s3: cannot abort an unfinished upload: %s", error)

    def close(self) -> None:
        """Let the thread end."""
        self._threads.close()


def _any_lives(names: Mapping[str, datetime], now: datetime) -> bool:
    return not all(is_dead(name, renewed, now) for name, renewed in names.items())


def _keys(settings: S3Settings) -> Keys | None:
    """Return the credentials, None where only the client library has them."""
    if settings.credentials == "settings":
        access, secret, token = settings.access_key_id, settings.secret_access_key, settings.session_token
        if access is None or secret is None:
            return None
        plain = None if token is None else token.get_secret_value()
        return Keys(access.get_secret_value(), secret.get_secret_value(), plain)
    if settings.credentials == "environment":
        environ = os.environ
        names = environ.get("AWS_ACCESS_KEY_ID"), environ.get("AWS_SECRET_ACCESS_KEY")
        if names[0] and names[1]:
            return Keys(names[0], names[1], environ.get("AWS_SESSION_TOKEN"))
    return None
