"""Reaching a backend as a guest of ``wasmcloud:keyvalue`` does, whose functions are asynchronous."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wasmplex.capabilities.keyvalue import FEATURES, Entry, Page, Stale, Swapped
from wasmplex.testing.keyvalue.driver import WORDS
from wasmplex.testing.keyvalue.guests import GuestDriver, GuestHandle

__all__ = ["AsyncGuestDriver", "LabelledAsyncGuestDriver"]


class AsyncGuestDriver(GuestDriver):
    """Through a guest that imports all of the package without labels; bytes cross in its memory."""

    features = FEATURES - {"watch"}
    words = WORDS
    requires = frozenset({"increment", "cas"})
    component = "keyvalue-async.wasm"
    package = "wasmcloud:keyvalue"
    transport = "memory"

    @property
    def handle(self) -> type[GuestHandle]:
        """How a bucket of this guest is used."""
        return _AsyncHandle


class LabelledAsyncGuestDriver(AsyncGuestDriver):
    """Through a guest that imports two stores under labels, and the rest without; bytes cross as strings."""

    component = "keyvalue-async-labelled.wasm"
    labels = ("kit", "other")
    transport = "strings"


class _AsyncHandle(GuestHandle):
    """A bucket, with words for all that a backend can do."""

    async def set(
        self, key: str, value: bytes, *, ttl_ms: int | None = None, if_not_exists: bool = False
    ) -> None:
        options = None
        if ttl_ms is not None or if_not_exists:
            options = {"ttl-ms": ttl_ms, "if-not-exists": if_not_exists}
        await self._call("forward#set", key, value, options)

    async def list_keys(self, prefix: str = "", cursor: str | None = None) -> Page:
        page = await self._call("forward#list-keys", prefix or None, cursor)
        return Page(page["keys"], page["cursor"])

    async def current(self, key: str) -> Entry | None:
        return _entry(await self._call("forward#current", key))

    async def swap(
        self,
        key: str,
        value: bytes,
        *,
        require_version: str | None = None,
        require_value: bytes | None = None,
    ) -> Swapped | Stale:
        options = {"require-version": require_version, "require-value": require_value}
        result = await self._call("forward#swap", key, value, options)
        return Swapped() if result.tag == "swapped" else Stale(_entry(result.value))

    async def increment(self, key: str, delta: int) -> int:
        return int(await self._call("forward#increment", key, delta))

    async def get_many(self, keys: Sequence[str]) -> list[tuple[str, bytes] | None]:
        found: list[tuple[str, bytes] | None] = await self._call("forward#get-many", list(keys))
        return found

    async def set_many(self, items: Sequence[tuple[str, bytes]]) -> None:
        await self._call("forward#set-many", list(items))

    async def delete_many(self, keys: Sequence[str]) -> None:
        await self._call("forward#delete-many", list(keys))


def _entry(entry: dict[str, Any] | None) -> Entry | None:
    return None if entry is None else Entry(entry["value"], entry["version"])
