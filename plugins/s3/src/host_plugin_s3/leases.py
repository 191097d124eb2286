"""Which hosts are uploading in parts, so that nobody aborts the uploads of another one that lives.

A host that begins to upload in parts puts an object under ``<prefix>/!hosts``, renews it while it uploads,
and deletes it when it closes the store. One that was not renewed for a while is of a host that is gone; and
so is one of a process of this machine that there is no more, or of this process if the store is closed.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from contextlib import suppress
from datetime import datetime, timedelta
from hashlib import blake2b
from pathlib import Path

import obstore
from obstore.store import S3Store

from host_plugin_s3.failures import Failure

__all__ = ["Lease", "folder", "is_dead", "leases"]

RENEWED = 30.0
"""Seconds after which a lease is renewed."""
LIFETIME = timedelta(seconds=120)
_OPEN: set[str] = set()
"""The names of the leases of this process that are not closed."""


def _read(path: str) -> str:
    with suppress(OSError, ValueError):
        return Path(path).read_text()
    return ""


def _machine() -> str:
    """Return what tells this machine, and what processes are seen on it, from others."""
    processes = Path()
    with suppress(OSError):
        processes = Path("/proc/self/ns/pid").readlink()
    text = f"{socket.gethostname()} {_read('/proc/sys/kernel/random/boot_id')} {processes}"
    return blake2b(text.encode(), digest_size=10).hexdigest()


def _begun(process: int) -> str:
    """Return when a process began, as its system counts; empty if there is none, or nobody tells."""
    words = _read(f"/proc/{process}/stat").rpartition(")")[2].split()
    return words[19] if len(words) > 19 else ""


def folder(prefix: str) -> str:
    """Return where the leases are."""
    return f"{prefix}/!hosts" if prefix else "!hosts"


def is_dead(name: str, renewed: datetime, now: datetime) -> bool:
    """Return whether the host of a lease is gone. Blocks.

    :param name: the last part of its key
    """
    if now - renewed > LIFETIME:
        return True
    match name.split("-"):
        case [machine, process, begun, _] if machine == _machine() and process.isdigit() and begun:
            if int(process) == os.getpid():  # it may have been closed while the server was away
                return name not in _OPEN
            return _begun(int(process)) != begun
    return False


async def leases(store: S3Store, prefix: str) -> dict[str, datetime]:
    """Return the leases there are, and when each was renewed last."""
    found: dict[str, datetime] = {}
    async for page in obstore.list(store, folder(prefix), chunk_size=1000):
        found.update((one["path"].rpartition("/")[2], one["last_modified"]) for one in page)
    return found


class Lease:
    """What this host says of itself, from its first upload in parts on. Making one blocks.

    :ivar name: the last part of its key
    """

    def __init__(self, prefix: str) -> None:
        process = os.getpid()
        self.name = f"{_machine()}-{process}-{_begun(process)}-{secrets.token_hex(6)}"
        self._key = f"{folder(prefix)}/{self.name}"
        _OPEN.add(self.name)
        self._uploads = 0
        self._renewed = -RENEWED
        self._renewing: asyncio.Task[None] | None = None

    async def hold(self, store: S3Store) -> None:
        """Be known before an upload begins; `release` it when it has ended."""
        self._uploads += 1
        now = asyncio.get_running_loop().time()
        if now - self._renewed >= RENEWED or self._renewing is None:
            await obstore.put_async(store, self._key, b"")
            self._renewed = now
        if self._renewing is None:
            self._renewing = asyncio.create_task(self._renew(store))

    def release(self) -> None:
        """Take note that an upload has ended."""
        self._uploads -= 1

    async def _renew(self, store: S3Store) -> None:
        while True:
            await asyncio.sleep(RENEWED)
            if self._uploads:
                with suppress(*Failure):
                    await obstore.put_async(store, self._key, b"")
                    self._renewed = asyncio.get_running_loop().time()

    async def close(self, store: S3Store) -> None:
        """Be known no longer."""
        _OPEN.discard(self.name)
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.wait([self._renewing])
            with suppress(*Failure, TimeoutError):
                async with asyncio.timeout(2):
                    await obstore.delete_async(store, [self._key])
