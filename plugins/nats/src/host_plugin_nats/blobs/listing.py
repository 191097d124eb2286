"""Listing a container: one consumer that reads the message of each object."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from host_plugin_nats.blobs.layout import name_of, parsed
from host_plugin_nats.blobs.objects import ObjectStream

__all__ = ["ContainerListing"]


class ContainerListing:
    """One container; see `wasmplex.capabilities.keyvalue.listing.Listing`."""

    def __init__(self, stream: ObjectStream) -> None:
        self._stream = stream

    @property
    def place(self) -> str:
        """The bucket."""
        return self._stream.bucket

    async def begin(self) -> None:
        """Do nothing: objects that are gone meanwhile may be returned."""

    async def scan(self, moment: None) -> AsyncIterator[Sequence[str]]:
        """Return the objects that exist."""
        async for batch in self._stream.read(f"{self._stream.prefix}M.>", values=True):
            yield [
                name
                for message in batch
                if parsed(message.value) is not None
                and (name := name_of(message.subject.rpartition(".")[2])) is not None
            ]

    async def alive(self, keys: Sequence[str], moment: None) -> Sequence[bool]:
        """Return that all of them exist: they did a moment ago."""
        return [True] * len(keys)
