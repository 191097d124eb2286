"""A small key-value backend that is right, and a version of it for each of its planted defects.

`test_kit_catches.py` runs this file in a pytest of its own. Most of the tests in here fail, as they should.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import anyio
import anyio.lowlevel
from wasmplex.capabilities.keyvalue import (
    S64_MIN,
    Bucket,
    Entry,
    InvalidArgument,
    KeyValueBackend,
    Page,
    PreconditionFailed,
    Stale,
    Swapped,
    Unsupported,
    next_count,
)
from wasmplex.plugin import BackendProvider, OpenContext, SecretStr, Settings
from wasmplex.testing import KeyValueConformance
from wasmplex.testing.keyvalue import ContractDriver

DEFECTS = {
    # defect: the tests of the kit that must notice it
    "late-expiry": {"test_expiry"},
    "listed-when-expired": {"test_expiry"},
    "expiry-stays": {"test_set_clears_expiry", "test_a_new_expiry_replaces_the_old"},
    "expired-counts-as-present": {"test_if_not_exists_after_expiry"},
    "two-winners": {"test_if_not_exists_has_one_winner"},
    "picky-delete": {"test_deleting"},
    "prefix-after-paging": {"test_a_prefix_filters_before_paging"},
    "cursor-is-an-offset": {"test_a_scan_is_stable"},
    "packed-counter": {"test_counting", "test_what_is_no_number_is_not_counted"},
    "counting-clears-expiry": {"test_counting_keeps_expiry"},
    "lost-updates": {"test_counting_is_atomic"},
    "wraps-around": {"test_overflow"},
    "version-is-a-hash": {"test_versions_are_never_used_again"},
    "versions-start-again": {"test_versions_are_never_used_again"},
    "one-condition-is-enough": {"test_swap_writes_if_all_conditions_hold"},
    "swap-creates": {"test_swap_of_an_absent_key"},
    "racing-swap": {"test_swap_is_atomic"},
    "unordered-batch": {"test_get_many"},
    "stops-half-way": {"test_set_many_and_delete_many"},
    "glued-names": {"test_namespaces_and_buckets_do_not_run_into_each_other"},
    "short-names": {"test_keys_are_any_text"},
    "one-namespace": {"test_namespaces_share_nothing"},
    "stuck-after-cancel": {"test_what_outlives_its_deadline_is_cancelled"},
    "leaves-a-task": {"test_closing_leaves_nothing_behind"},
    "tells-secrets": {"test_errors_and_status_keep_secrets"},
    "plain-password": {"test_what_a_name_calls_secret_has_a_secret_type"},
    "served-undeclared": {"test_what_is_not_declared_is_refused"},
}


@dataclass
class Item:
    value: bytes
    version: str
    expires: int | None = None


class SmallBackend(KeyValueBackend):
    """Everything in one dict, behind one lock."""

    def __init__(self, defect: str, features: frozenset[str]) -> None:
        self.defect = defect
        self.features = features
        self.clock: Callable[[], int] = lambda: time.monotonic_ns() // 1_000_000
        self.now: Callable[[], int] = lambda: self.clock()
        self.items: dict[Any, Item] = {}
        self.versions = count(1)
        self.lock = anyio.Lock()
        if defect == "leaves-a-task":
            self.task = asyncio.get_running_loop().create_task(asyncio.sleep(3600))

    def __repr__(self) -> str:
        return "small: password hunter2" if self.defect == "tells-secrets" else "small"

    async def close(self) -> None:
        pass

    async def open_bucket(self, namespace: str, name: str) -> Bucket:
        return SmallBucket(self, "" if self.defect == "one-namespace" else namespace, name)

    async def has_bucket(self, namespace: str, name: str) -> bool:
        bucket = SmallBucket(self, namespace, name)
        return bool((await bucket.list_keys("", None, 1)).keys)


class SmallBucket(Bucket):
    def __init__(self, store: SmallBackend, namespace: str, name: str) -> None:
        self.store = store
        self.place = (namespace, name)

    def at(self, key: str) -> Any:
        if self.has("short-names"):
            key = key[:255]
        return "/".join((*self.place, key)) if self.has("glued-names") else (*self.place, key)

    def has(self, defect: str) -> bool:
        return self.store.defect == defect

    def find(self, key: str) -> Item | None:
        item = self.store.items.get(self.at(key))
        late = 1 if self.has("late-expiry") else 0
        if item is None or (item.expires is not None and self.store.now() >= item.expires + late):
            return None
        return item

    def put(self, key: str, value: bytes, expires: int | None = None) -> None:
        old = self.store.items.get(self.at(key))
        version = str(next(self.store.versions))
        if self.has("version-is-a-hash"):
            version = value.hex()
        elif self.has("versions-start-again"):
            version = str(int(old.version) + 1) if old else "1"
        if self.has("expiry-stays") and old is not None and old.expires is not None:
            expires = old.expires
        self.store.items[self.at(key)] = Item(value, version, expires)

    def need(self, feature: str, asked: bool = True) -> None:
        if asked and feature not in self.store.features:
            raise Unsupported(feature)

    async def turn(self) -> None:
        """Let others run, having taken the lock; the defects that race do not take it."""
        if self.has("stuck-after-cancel"):
            await self.store.lock.acquire()
            await anyio.lowlevel.checkpoint()
            self.store.lock.release()
        else:
            async with self.store.lock:
                await anyio.lowlevel.checkpoint()

    async def get(self, key: str) -> bytes | None:
        await self.turn()
        item = self.find(key)
        return item.value if item else None

    async def set(
        self, key: str, value: bytes, *, ttl_ms: int | None = None, if_not_exists: bool = False
    ) -> None:
        if not self.has("served-undeclared"):
            self.need("ttl", ttl_ms is not None)
            self.need("if-not-exists", if_not_exists)
        await self.turn()
        present = self.find(key) is not None
        if self.has("expired-counts-as-present"):
            present = self.at(key) in self.store.items
        if if_not_exists and present:
            raise PreconditionFailed
        if self.has("two-winners") and if_not_exists:
            await self.turn()
        self.put(key, value, None if ttl_ms is None else self.store.now() + ttl_ms)

    async def delete(self, key: str) -> None:
        await self.turn()
        gone = self.store.items.pop(self.at(key), None)
        if gone is None and self.has("picky-delete"):
            raise InvalidArgument("no such key")

    async def list_keys(self, prefix: str, cursor: str | None, limit: int) -> Page:
        await self.turn()
        if self.has("glued-names"):
            stem = "/".join((*self.place, ""))
            found = [place[len(stem) :] for place in self.store.items if place.startswith(stem)]
        else:
            found = [place[2] for place in self.store.items if place[:2] == self.place]
        if not self.has("listed-when-expired"):
            found = [key for key in found if self.find(key) is not None]
        if self.has("cursor-is-an-offset"):
            start = int(cursor or "0")
            keys = sorted(key for key in found if key.startswith(prefix))
            more = len(keys) > start + limit
            return Page(keys[start : start + limit], str(start + limit) if more else None)
        keys = sorted(key for key in found if cursor is None or key > cursor)
        if not self.has("prefix-after-paging"):
            keys = [key for key in keys if key.startswith(prefix)]
        page = [key for key in keys[:limit] if key.startswith(prefix)]
        return Page(page, keys[limit - 1] if len(keys) > limit else None)

    async def increment(self, key: str, delta: int, *, minimum: int = S64_MIN) -> int:
        self.need("increment")
        await self.turn()
        item = self.find(key)
        value = item.value if item else None
        if self.has("packed-counter"):
            total = int.from_bytes(value or b"", "little") + delta
            self.put(key, total.to_bytes(8, "little", signed=True))
            return total
        if self.has("wraps-around") and value is not None and value.isdigit():
            total = (int(value) + delta) % 2**63
        else:
            total = next_count(value, delta, minimum)
        if self.has("lost-updates"):
            await self.turn()
        keep = item is not None and not self.has("counting-clears-expiry")
        self.put(key, b"%d" % total, item.expires if item and keep else None)
        return total

    async def current(self, key: str) -> Entry | None:
        self.need("cas")
        await self.turn()
        item = self.find(key)
        return Entry(item.value, item.version) if item else None

    async def swap(
        self,
        key: str,
        value: bytes,
        *,
        require_version: str | None = None,
        require_value: bytes | None = None,
    ) -> Swapped | Stale:
        self.need("cas")
        await self.turn()
        item = self.find(key)
        if item is None:
            if self.has("swap-creates"):
                self.put(key, value)
                return Swapped()
            return Stale(None)
        met = [require_version == item.version] * (require_version is not None)
        met += [require_value == item.value] * (require_value is not None)
        if not (any(met) if self.has("one-condition-is-enough") else all(met)):
            return Stale(Entry(item.value, item.version))
        if self.has("racing-swap"):
            await self.turn()
        self.put(key, value)
        return Swapped()

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        values = await super().get_many(keys)
        if self.has("unordered-batch"):
            values.sort(key=lambda value: value or b"")
        return values

    async def delete_many(self, keys: Sequence[str]) -> None:
        for key in keys:
            if self.has("stops-half-way") and self.find(key) is None:
                return
            await self.delete(key)


class SmallSettings(Settings):
    password: SecretStr = SecretStr("hunter2")


class PlainSettings(SmallSettings):
    api_key: str = "hunter2"


class SmallProvider(BackendProvider[SmallSettings]):
    name = "small"
    capability = "keyvalue"
    settings = SmallSettings
    features = frozenset({"ttl", "if-not-exists", "increment", "cas"})
    durability = "until the host process ends"
    defect = ""

    async def open(self, settings: SmallSettings, context: OpenContext) -> KeyValueBackend:
        return SmallBackend(self.defect, self.features)


class SmallestProvider(SmallProvider):
    """Declares nothing."""

    features = frozenset()
    defect = "none"


class TestNone(KeyValueConformance):
    """The backend without a defect, which passes."""

    provider = SmallProvider()
    drivers = (ContractDriver,)


class TestSmallest(KeyValueConformance):
    """The backend without a feature, which passes."""

    provider = SmallestProvider()
    drivers = (ContractDriver,)


class RealTimeProvider(SmallProvider):
    """Its backend keeps the time to itself, as a server does."""

    async def open(self, settings: SmallSettings, context: OpenContext) -> KeyValueBackend:
        backend = SmallBackend(self.defect, self.features)
        backend.now, backend.clock = backend.clock, None  # type: ignore[assignment]
        return backend


class TestRealTime(KeyValueConformance):
    """The backend without a defect, whose clock cannot be turned, which passes."""

    provider = RealTimeProvider()
    drivers = (ContractDriver,)
    examples = 5


def class_of(defect: str) -> str:
    return "Test" + defect.title().replace("-", "")


for _defect in DEFECTS:
    _base = SmallestProvider if _defect == "served-undeclared" else SmallProvider
    _settings = PlainSettings if _defect == "plain-password" else SmallSettings
    _provider = type("_Provider", (_base,), {"defect": _defect, "settings": _settings})
    _members = {"provider": _provider(), "drivers": (ContractDriver,), "examples": 30}
    globals()[class_of(_defect)] = type(class_of(_defect), (KeyValueConformance,), _members)
