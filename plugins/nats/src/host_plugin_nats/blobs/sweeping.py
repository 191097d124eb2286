"""Removing the chunks that nobody will ever make an object of: those of connections that are gone."""

from __future__ import annotations

from contextlib import suppress

from wasmplex.capabilities.blobstore import BlobStoreError
from wasmplex.capabilities.keyvalue import KeyValueError
from wasmplex.plugin import get_logger

from host_plugin_nats import NatsBlobSettings
from host_plugin_nats.blobs.layout import owner
from host_plugin_nats.blobs.objects import ObjectStream
from host_plugin_nats.failures import ApiError
from host_plugin_nats.link import Link
from host_plugin_nats.stream import Stream

__all__ = ["sweep"]

logger = get_logger("wasmplex.backends.nats")


async def sweep(link: Link, settings: NatsBlobSettings) -> None:
    """Remove what killed hosts have left in all containers."""
    alive: dict[str, bool] = {link.instance: True}
    for name in await _names(link, settings):
        stream = ObjectStream(link, settings, name)
        try:
            await _sweep(link, stream, alive)
        except (KeyValueError, ApiError, BlobStoreError) as error:
            logger.debug("nats: cannot sweep %s: %s", name, error)


async def _names(link: Link, settings: NatsBlobSettings) -> list[str]:
    """Return the buckets that there are."""
    server = Stream(link, "", "", settings.domain)
    found: list[str] = []
    count = total = 0
    while count == 0 or count < total:
        page = await server.ask("STREAM.NAMES", {"offset": count})
        names = page.names("streams")
        found += [name.removeprefix("OBJ_") for name in names if name.startswith(f"OBJ_{settings.prefix}-")]
        count, total = count + len(names), page.number("total", 0)
        if not names:
            break
    return found


async def _sweep(link: Link, stream: ObjectStream, alive: dict[str, bool]) -> None:
    written = await stream.tokens()
    left: list[str] = []
    for nuid in written:
        instance = owner(nuid)
        if instance is None:
            continue  # written by another tool
        if instance not in alive:
            alive[instance] = await link.lives(instance)
        if not alive[instance]:
            left.append(nuid)
    if not left:
        return
    # Whoever is gone sends nothing any more: what is no part of an object now never will be.
    referenced = await stream.referenced()
    for nuid in left:
        if nuid not in referenced:
            with suppress(BlobStoreError):
                await stream.discard(nuid)
