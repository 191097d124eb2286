"""Listing a bucket: one consumer that reads headers, and on later pages only what has changed since."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

from host_plugin_nats.stream import Stream
from host_plugin_nats.subjects import Subjects

__all__ = ["BucketListing", "Moment"]


@dataclass
class Moment:
    """When a scan began, and which of the keys it found expire."""

    sequence: int
    expires: dict[str, int] = field(default_factory=dict)


class BucketListing:
    """One bucket and prefix; see `wasmplex.capabilities.keyvalue.listing.Listing`."""

    def __init__(self, stream: Stream, subjects: Subjects, prefix: str, clock: Callable[[], int]) -> None:
        self._stream = stream
        self._subjects = subjects
        self._prefix = prefix
        self._clock = clock

    @property
    def place(self) -> tuple[str, str]:
        """The bucket and the prefix."""
        return self._subjects.stem, self._prefix

    async def begin(self) -> Moment:
        """Note the last sequence."""
        return Moment(await self._stream.last_sequence())

    async def scan(self, moment: Moment) -> AsyncIterator[Sequence[str]]:
        """Return the keys that exist."""
        now = self._clock()
        async for batch in self._stream.read(self._subjects.all):
            keys: list[str] = []
            for message in batch:
                key = self._subjects.key(message.subject)
                if key is None or not key.startswith(self._prefix) or not message.lives(now):
                    continue
                keys.append(key)
                if message.expires is not None:
                    moment.expires[key] = message.expires
            yield keys

    async def alive(self, keys: Sequence[str], moment: Moment) -> Sequence[bool]:
        """Return which of the keys exist, by what has happened since."""
        now = self._clock()
        changed: dict[str, bool] = {}
        async for batch in self._stream.read(self._subjects.all, after=moment.sequence):
            for message in batch:
                changed[self._subjects.key(message.subject) or ""] = message.lives(now)
        return [changed.get(key, moment.expires.get(key, now + 1) > now) for key in keys]
