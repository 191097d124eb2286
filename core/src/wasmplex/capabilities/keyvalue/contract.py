"""The key-value contract: what a backend implements, and what guests get through every WIT interface.

A backend deals in its own errors and in valid arguments only. Checking names, sizes and grants, deadlines
and the shape of cursors is the host's part (`wasmplex.interfaces.keyvalue.policy`), the same for every
backend. `wasmplex.testing.KeyValueConformance` tests that a backend keeps what is written here.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar

from wasmplex.capabilities.keyvalue.errors import InvalidArgument, Unsupported
from wasmplex.plugins.backends import Backend

__all__ = [
    "FEATURES", "S64_MAX", "S64_MIN", "Bucket", "Change", "Entry", "KeyValueBackend", "Page",
    "PlainBucket", "Stale", "Swapped", "next_count",
]  # fmt: skip

FEATURES = frozenset({"ttl", "if-not-exists", "increment", "cas", "watch"})
"""What a backend may leave out. It declares what it has in `KeyValueBackend.features`."""

T = TypeVar("T")
S64_MIN, S64_MAX = -(2**63), 2**63 - 1


# ---------------------------------------------------------------- values


class Page(NamedTuple):
    """Some keys, and where the next page starts; `cursor` is None on the last one."""

    keys: list[str]
    cursor: str | None = None


class Entry(NamedTuple):
    """A value with its version: opaque, different after every write, never used again for the key."""

    value: bytes
    version: str


@dataclass(frozen=True, slots=True)
class Swapped:
    """`Bucket.swap` wrote the value."""


@dataclass(frozen=True, slots=True)
class Stale:
    """`Bucket.swap` wrote nothing: a condition did not hold for `current` (None: the key is absent)."""

    current: Entry | None


class Change(NamedTuple):
    """One change that a watcher is told: a value that was set, or None for a key that was deleted.

    A key that expired, or was evicted, counts as deleted when the backend gets to know of it.
    """

    key: str
    value: bytes | None


# ---------------------------------------------------------------- the contract


class PlainBucket(Protocol):
    """The operations of a `Bucket` that guests make most often, as functions that return their result."""

    def get(self, key: str) -> bytes | None:
        """See `Bucket.get`."""

    def set(self, key: str, value: bytes, *, ttl_ms: int | None = None, if_not_exists: bool = False) -> None:
        """See `Bucket.set`."""

    def delete(self, key: str) -> None:
        """See `Bucket.delete`."""

    def exists(self, key: str) -> bool:
        """See `Bucket.exists`."""


class Bucket(ABC):
    """One bucket, open. Holds nothing that must be closed; closing the backend ends it.

    Keys are any UTF-8 text of at most 1 KiB, the empty string included. A key whose time to live has
    passed does not exist for any operation. Every operation is atomic but the ``*_many`` ones, may be
    cancelled at any await, and raises a `KeyValueError` for what a guest should be told.

    :ivar plain: the same without coroutines, for the buckets of a backend that `never waits
        <KeyValueBackend.never_waits>`; None for all others
    """

    plain: PlainBucket | None = None

    @abstractmethod
    async def get(self, key: str) -> bytes | None:
        """Return the value, None if the key does not exist."""

    @abstractmethod
    async def set(
        self, key: str, value: bytes, *, ttl_ms: int | None = None, if_not_exists: bool = False
    ) -> None:
        """Replace the value; the key expires after `ttl_ms` milliseconds (1 to 2**53), never without.

        :param ttl_ms: not None only if the backend declares ``ttl``
        :param if_not_exists: True only if the backend declares ``if-not-exists``
        :raises PreconditionFailed: if `if_not_exists` and the key exists
        :raises QuotaExceeded: if the store is full
        """

    @abstractmethod
    async def delete(self, key: str) -> None:
        """Delete the key; deleting what does not exist succeeds."""

    @abstractmethod
    async def list_keys(self, prefix: str, cursor: str | None, limit: int) -> Page:
        """Return at most `limit` keys that start with `prefix`, in any order.

        Following the cursors to the end returns every key that existed throughout exactly once, whatever
        is written meanwhile. A page may be empty and still have a cursor.

        :param cursor: None, or what an earlier page of this bucket and prefix returned, unchanged
        """

    async def exists(self, key: str) -> bool:
        """Return whether the key exists. Override it where that is cheaper than reading the value."""
        return await self.get(key) is not None

    async def increment(self, key: str, delta: int, *, minimum: int = S64_MIN) -> int:
        """Add `delta` to the decimal number stored under the key and return the sum. Feature ``increment``.

        An absent key counts as 0. The key's expiry stays. `next_count` computes what is to be written.

        :raises InvalidArgument: if the value is no s64, or the sum is below `minimum` or above
            `S64_MAX`; nothing is written
        """
        raise Unsupported("increment")

    async def current(self, key: str) -> Entry | None:
        """Return value and version, None if the key does not exist. Feature ``cas``."""
        raise Unsupported("cas")

    async def swap(
        self,
        key: str,
        value: bytes,
        *,
        require_version: str | None = None,
        require_value: bytes | None = None,
    ) -> Swapped | Stale:
        """Replace value (and clear expiry) if all given conditions hold; one at least is. Feature ``cas``.

        An absent key meets no condition.

        :raises Timeout: if it is still contended after bounded retries
        """
        raise Unsupported("cas")

    def watch(self) -> AbstractAsyncContextManager[AsyncIterator[Change]]:
        """Return the changes from entry on, each at least once, in order per key. Feature ``watch``.

        Of writes in quick succession to one key the last is told, the ones before may have its value.

        :raises StoreUnavailable: from the iterator, if changes are lost from here on
        """
        raise Unsupported("watch")

    # Backends override these three where their store takes a batch in one go.

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the values by position; a key may be given twice."""
        return [await self.get(key) for key in keys]

    async def set_many(self, items: Sequence[tuple[str, bytes]]) -> None:
        """Set all items in order. Every one is attempted; the first error is raised at the end."""
        await _attempt(lambda item: self.set(*item), items)

    async def delete_many(self, keys: Sequence[str]) -> None:
        """Delete all keys. Every one is attempted; the first error is raised at the end."""
        await _attempt(self.delete, keys)


class KeyValueBackend(Backend):
    """An open key-value store.

    :ivar features: which of `FEATURES` it honours: its provider's, or fewer where the server lacks some
    :ivar clock: milliseconds now, for a backend that computes expiry itself: it calls ``self.clock()``
        whenever it needs the time, and tests replace it. None if a server keeps the time
    :ivar never_waits: whether no operation of its buckets ever waits for anything, as where all is in the
        memory of the process. Guests then call `Bucket.plain`, which each of the buckets has to have:
        a call without a coroutine and a deadline costs a third
    """

    capability = "keyvalue"
    never_waits: bool = False
    features: frozenset[str] = frozenset()
    clock: Callable[[], int] | None = None

    @abstractmethod
    async def open_bucket(self, namespace: str, name: str) -> Bucket:
        """Return the bucket, which need not exist yet: it comes into being when a key is written.

        Buckets of different namespaces or names share nothing, whatever characters these contain.
        """

    @abstractmethod
    async def has_bucket(self, namespace: str, name: str) -> bool:
        """Return whether the bucket holds any key."""


# ---------------------------------------------------------------- what backends share

_COUNT = re.compile(rb"0|-?[1-9][0-9]{0,18}")


def next_count(value: bytes | None, delta: int, minimum: int = S64_MIN) -> int:
    """Return the count after `Bucket.increment`; stored as ``str(count).encode()``.

    A count is what ``str()`` prints of an s64: no sign but ``-``, no leading zero, no white space.

    :param value: what is stored, None if the key does not exist
    :raises InvalidArgument: see `Bucket.increment`
    """
    if value is not None and not _COUNT.fullmatch(value):
        raise InvalidArgument("the value is not a decimal s64")
    count = 0 if value is None else int(value)
    if not S64_MIN <= count <= S64_MAX:
        raise InvalidArgument("the value is not a decimal s64")
    if not minimum <= count + delta <= S64_MAX:
        raise InvalidArgument(f"the sum would leave the range {minimum} to {S64_MAX}")
    return count + delta


async def _attempt(operation: Callable[[T], Awaitable[None]], items: Sequence[T]) -> None:
    first: Exception | None = None
    for item in items:
        try:
            await operation(item)
        except Exception as error:  # noqa: BLE001  whatever it is, the other items are attempted
            first = first or error
    if first is not None:
        raise first
