"""A state machine that does to a store whatever clients may do, and compares it with a dict."""

# Rules are named after what they do.
# ruff: noqa: D102

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from wasmplex.capabilities.keyvalue import (
    S64_MAX,
    S64_MIN,
    Entry,
    InvalidArgument,
    Stale,
    Swapped,
    next_count,
)
from wasmplex.testing.keyvalue.driver import Bench, Handle, Store
from wasmplex.testing.keyvalue.store_tests import keys_of
from wasmplex.testing.kit import ClientMachine

__all__ = ["KeyValueMachine"]

CLIENTS = {"first": "shared", "second": "shared", "third": "shared", "other": "own"}
"""Each client's bucket; each has a binding of its own."""

clients = st.sampled_from(sorted(CLIENTS))
KEYS = ("", "a/b", "a\0😀")
keys = st.sampled_from(KEYS)
values = st.sampled_from([b"", b"0", b"7", b"-1", b"%d" % S64_MAX, b"text", b"\xff" * 300])
writes = st.sampled_from(["set", "set_many", "delete"])
contenders = st.integers(2, 6)
deltas = st.sampled_from([0, 1, 41, S64_MAX])
LONGEST = 50
lifetimes = st.sampled_from([None, 1, LONGEST])


@dataclass
class _Known:
    """What the model knows of a key that exists."""

    value: bytes
    expires: int | None = None
    version: str | None = None  # once it was read, until the next write


@dataclass
class _Place:
    """What the model knows of a bucket."""

    known: dict[str, _Known] = field(default_factory=dict)
    versions: dict[str, dict[str, None]] = field(default_factory=dict)  # seen, in order


class KeyValueMachine(ClientMachine):
    """The rules; every one compares with the model at once.

    :cvar stores: each client's binding
    """

    bench: ClassVar[Bench]
    stores: ClassVar[dict[str, Store]]

    @classmethod
    async def prepare(cls) -> None:
        """Give each client a binding."""
        cls.stores = {client: await cls.bench.store(workload=client) for client in CLIENTS}

    def __init__(self) -> None:
        super().__init__()
        self.places = {name: _Place() for name in set(CLIENTS.values())}
        number = next(self.numbers)
        self.buckets: dict[str, Handle] = {
            client: self.run(partial(self.stores[client].open, f"{place} {number}"))
            for client, place in CLIENTS.items()
        }

    def find(self, client: str, key: str) -> _Known | None:
        """Return what the model has, expiry taken into account."""
        known = self.places[CLIENTS[client]].known
        entry = known.get(key)
        if entry is not None and entry.expires is not None and entry.expires <= self.now:
            del known[key]
            return None
        return entry

    def put(self, client: str, key: str, value: bytes, expires: int | None = None) -> None:
        self.places[CLIENTS[client]].known[key] = _Known(value, expires)

    def forget(self, client: str, key: str) -> None:
        self.places[CLIENTS[client]].known.pop(key, None)

    @invariant()
    def all_keys_agree(self) -> None:
        """Compare all keys of both buckets: an operation that spoils another key is caught at once."""
        for client, listed, found in self.run(self._all_keys):
            known = {key: self.find(client, key) for key in KEYS}
            assert sorted(listed) == sorted(key for key, entry in known.items() if entry)
            assert found == [(key, entry.value) if entry else None for key, entry in known.items()]

    async def _all_keys(self) -> list[tuple[str, list[str], list[tuple[str, bytes] | None]]]:
        chosen = {client: self.buckets[client] for client in ("first", "other")}
        return [(name, await keys_of(one), await one.get_many(KEYS)) for name, one in chosen.items()]

    # ------------------------------------------------------------ reading

    @rule(client=clients, key=keys)
    def look(self, client: str, key: str) -> None:
        known = self.find(client, key)
        assert self.run(partial(self.buckets[client].get, key)) == (known.value if known else None)
        assert self.run(partial(self.buckets[client].exists, key)) is (known is not None)
        if self.has("cas"):
            self.current(client, key)

    def current(self, client: str, key: str) -> Entry | None:
        """Read value and version, compare them with the model, and note the version."""
        known = self.find(client, key)
        entry: Entry | None = self.run(partial(self.buckets[client].current, key))
        assert (entry is None) is (known is None)
        if entry is None or known is None:
            return None
        assert entry.value == known.value
        used = self.places[CLIENTS[client]].versions.setdefault(key, {})
        if known.version is None:
            assert entry.version not in used, "a version was used again"
            used[entry.version] = None
            known.version = entry.version
        assert entry.version == known.version, "the version changed without a write"
        return entry

    @precondition(lambda self: self.has("prefix"))
    @rule(client=clients, prefix=st.sampled_from(["a", "a/", "a\0", "z"]))
    def list_by_prefix(self, client: str, prefix: str) -> None:
        found = self.run(partial(keys_of, self.buckets[client], prefix))
        live = [key for key in KEYS if self.find(client, key) is not None]
        assert sorted(found) == sorted(key for key in live if key.startswith(prefix))

    # ------------------------------------------------------------ writing

    @rule(client=clients, key=keys, value=values, ttl=lifetimes)
    def set(self, client: str, key: str, value: bytes, ttl: int | None) -> None:
        ttl = ttl if self.has("ttl") else None
        self.run(partial(self.buckets[client].set, key, value, ttl_ms=ttl))
        self.written(client, key, value, ttl)

    @precondition(lambda self: self.has("if-not-exists"))
    @rule(client=clients, key=keys, value=values, ttl=lifetimes)
    def set_if_absent(self, client: str, key: str, value: bytes, ttl: int | None) -> None:
        ttl = ttl if self.has("ttl") else None
        known = self.find(client, key)
        operation = partial(self.buckets[client].set, key, value, ttl_ms=ttl, if_not_exists=True)
        assert self.result(operation) == ("precondition-failed" if known else "ok")
        if known is None:
            self.written(client, key, value, ttl)

    def written(self, client: str, key: str, value: bytes, ttl: int | None) -> None:
        self.put(client, key, value, None if ttl is None else self.now + ttl)
        if ttl is not None and not self.bench.exact:  # a real clock goes on: wait until there is no doubt
            self.wait(ttl)

    @precondition(lambda self: self.has("ttl") and self.bench.exact)
    @rule(client=clients, key=keys, value=values, first=lifetimes, second=lifetimes)
    def set_again(self, client: str, key: str, value: bytes, first: int | None, second: int | None) -> None:
        """Set a key twice and let the first lifetime end: the second counts."""
        self.set(client, key, b"before", first)
        self.set(client, key, value, second)
        self.wait(first or 1)

    @rule(client=clients, key=keys)
    def delete(self, client: str, key: str) -> None:
        self.run(partial(self.buckets[client].delete, key))
        self.forget(client, key)

    @precondition(lambda self: self.has("increment"))
    @rule(client=clients, key=keys, delta=deltas)
    def increment(self, client: str, key: str, delta: int) -> None:
        known = self.find(client, key)
        operation = partial(self.buckets[client].increment, key, delta)
        try:
            minimum = S64_MIN if self.has("signed") else 0
            total = next_count(known.value if known else None, delta, minimum)
        except InvalidArgument:
            assert self.result(operation) == "invalid-argument"
        else:
            assert self.run(operation) == total
            self.put(client, key, b"%d" % total, known.expires if known else None)

    @precondition(lambda self: self.has("cas"))
    @rule(client=clients, key=keys, value=values, age=st.integers(0, 2), required=st.none() | values)
    def swap_by_version(self, client: str, key: str, value: bytes, age: int, required: bytes | None) -> None:
        """Swap on the newest version that was seen, or an older one, and perhaps on a value too."""
        entry = self.current(client, key)
        seen = [*reversed(self.places[CLIENTS[client]].versions.get(key, {})), "never seen"]
        self.swap(client, key, value, entry, seen[min(age, len(seen) - 1)], required)

    @precondition(lambda self: self.has("cas"))
    @rule(client=clients, key=keys, value=values, required=values)
    def swap_by_value(self, client: str, key: str, value: bytes, required: bytes) -> None:
        self.swap(client, key, value, self.current(client, key), None, required)

    def swap(
        self,
        client: str,
        key: str,
        value: bytes,
        entry: Entry | None,
        version: str | None,
        required: bytes | None,
    ) -> None:
        """Swap `entry`, and expect what the conditions say of it."""
        holds = entry is not None and version in (None, entry.version) and required in (None, entry.value)
        operation = partial(self.buckets[client].swap, require_version=version, require_value=required)
        assert self.run(partial(operation, key, value)) == (Swapped() if holds else Stale(entry))
        if holds:
            self.put(client, key, value)

    @rule(client=clients, items=st.lists(st.tuples(keys, values), max_size=5))
    def set_many(self, client: str, items: list[tuple[str, bytes]]) -> None:
        self.run(partial(self.buckets[client].set_many, items))
        for key, value in items:
            self.put(client, key, value)

    @rule(client=clients, gone=st.lists(keys, max_size=5))
    def delete_many(self, client: str, gone: list[str]) -> None:
        self.run(partial(self.buckets[client].delete_many, gone))
        for key in gone:
            self.forget(client, key)

    # ------------------------------------------------------------ time, concurrency, cancellation

    @precondition(lambda self: self.bench.exact)
    @rule(moment=st.sampled_from(["before", "at", "past"]))
    def time_passes(self, moment: str) -> None:
        """Go to the moment when the next key expires, to the millisecond before, or past every lifetime."""
        entries = [entry for place in self.places.values() for entry in place.known.values()]
        pending = [entry.expires for entry in entries if entry.expires and entry.expires > self.now]
        if moment == "past":
            self.wait(LONGEST + 1)
        else:
            self.wait(max(1, min(pending, default=1) - self.now - (moment == "before")))

    @precondition(lambda self: self.has("increment"))
    @rule(key=keys, times=contenders)
    def count_together(self, key: str, times: int) -> None:
        self.set("first", key, b"0", None)
        assert sorted(self.contend("increment", key, 1, times=times)) == list(range(1, times + 1))
        self.put("first", key, b"%d" % times)

    @precondition(lambda self: self.has("if-not-exists"))
    @rule(key=keys, times=contenders)
    def create_together(self, key: str, times: int) -> None:
        self.delete("first", key)
        results = self.contend("set", key, b"new", times=times, if_not_exists=True)
        assert results.count("precondition-failed") == times - 1
        self.put("first", key, b"new")

    @precondition(lambda self: self.has("cas"))
    @rule(key=keys, times=contenders)
    def swap_together(self, key: str, times: int) -> None:
        self.set("first", key, b"old", None)
        entry = self.current("first", key)
        assert entry is not None
        results = self.contend("swap", key, b"new", times=times, require_version=entry.version)
        assert results.count(Swapped()) == 1
        self.put("first", key, b"new")

    def contend(self, operation: str, *args: Any, times: int, **kwargs: Any) -> list[Any]:
        """Run one operation several times at once, by three clients; see `ClientMachine.together`."""
        buckets = [self.buckets[("first", "second", "third")[number % 3]] for number in range(times)]
        return self.together(partial(getattr(bucket, operation), *args, **kwargs) for bucket in buckets)

    @rule(client=clients, key=keys, value=values, name=writes, turns=st.integers(0, 4))
    def cancelled(self, client: str, key: str, value: bytes, name: str, turns: int) -> None:
        """Cancel a write after a few turns of the loop: it happened or not, and nothing else did."""
        bucket = self.buckets[client]
        operations: dict[str, tuple[Callable[[], Coroutine[Any, Any, Any]], bytes | None]] = {
            "set": (partial(bucket.set, key, value), value),
            "set_many": (partial(bucket.set_many, [(key, value)]), value),
            "delete": (partial(bucket.delete, key), None),
        }
        operation, result = operations[name]
        before = self.find(client, key)
        self.cancel(operation, turns)
        after = self.run(partial(bucket.get, key))
        assert after in (before.value if before else None, result)
        self.set(client, key, b"after", None)
