"""Listing a bucket by scanning the database."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from host_plugin_redis.batches import Batches
from host_plugin_redis.layout import Places

__all__ = ["BucketListing"]


class BucketListing:
    """One bucket and prefix; see `wasmplex.capabilities.keyvalue.listing.Listing`."""

    __slots__ = ("_batches", "_places", "_prefix")

    def __init__(self, batches: Batches, places: Places, prefix: str) -> None:
        self._batches = batches
        self._places = places
        self._prefix = prefix

    @property
    def place(self) -> tuple[bytes, str]:
        """The bucket and the prefix."""
        return self._places.stem, self._prefix

    async def begin(self) -> None:
        """Note nothing: existence is asked for."""

    async def scan(self, moment: None) -> AsyncIterator[Sequence[str]]:
        """Return the bucket's keys, some perhaps twice."""
        async for found in self._batches.scan(self._places.pattern(self._prefix)):
            keys = (self._places.key(place) for place in found)
            yield [key for key in keys if key is not None]

    async def alive(self, keys: Sequence[str], moment: None) -> Sequence[bool]:
        """Return which of the keys exist."""
        return await self._batches.exist([self._places.value(key) for key in keys])
