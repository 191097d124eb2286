"""What the policy makes of backends that fail, hang, or raise what they should not."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest
from host_plugin_memory import MemoryProvider, MemorySettings
from pydantic import ValidationError
from wasmplex.capabilities.keyvalue import (
    Bucket,
    KeyValueBackend,
    KeyValueError,
    Page,
    QuotaExceeded,
    StoreUnavailable,
    Unsupported,
)
from wasmplex.interfaces.keyvalue.policy import GuardedBucket, GuardedStore, KeyValueSettings
from wasmplex.interfaces.keyvalue.wasi import refused
from wasmplex.plugin import Err, OpenContext, Variant
from wasmplex.policy import Scope
from wasmplex.testing import Delayed, Faulty
from wasmplex.testing.doubles import Hang

pytestmark = pytest.mark.anyio


class Told(Exception):
    """An error as a dialect is told it."""

    def __init__(self, operation: str, error: KeyValueError) -> None:
        super().__init__(f"{operation}: {error}")
        self.error = error


@pytest.fixture
def faulty() -> Faulty:
    return Faulty(MemoryProvider())


@pytest.fixture
async def backend(faulty: Faulty) -> AsyncIterator[KeyValueBackend]:
    backend = await faulty.open(MemorySettings(), OpenContext(Path()))
    yield backend
    await backend.close()


def guarded(backend: KeyValueBackend, **settings: Any) -> GuardedStore:
    return GuardedStore(backend, KeyValueSettings(**settings), Scope("shop", "store", "shop/store"), Told)


@pytest.fixture
async def bucket(backend: KeyValueBackend) -> GuardedBucket:
    return await guarded(backend).open("b")


REFUSED = os.strerror(errno.ECONNREFUSED)
SECRET = "postgres://admin:hunter2@db/x and /etc/secret"


@pytest.mark.parametrize(
    ("raised", "case", "text"),
    [
        (TimeoutError(SECRET), "timeout", "no answer before the deadline"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "x", SECRET), "store-unavailable", REFUSED),
        (ConnectionResetError(SECRET), "store-unavailable", "ConnectionResetError"),
        (PermissionError(errno.EACCES, "denied", SECRET), "access-denied", "denied"),
        (OSError(errno.ENOSPC, "no space", SECRET), "quota-exceeded", "no space"),
        (FileNotFoundError(errno.ENOENT, "no such file", SECRET), "other", "no such file"),
        (MemoryError(SECRET), "quota-exceeded", "out of memory"),
        (ZeroDivisionError(SECRET), "other", "ZeroDivisionError"),
        (StoreUnavailable("the server is starting"), "store-unavailable", "the server is starting"),
    ],
)
async def test_every_exception_is_typed_and_none_tells_a_secret(
    faulty: Faulty, bucket: GuardedBucket, raised: Exception, case: str, text: str
) -> None:
    faulty.at("get", raised, times=1)
    with pytest.raises(Told) as told:
        await bucket.get("k")
    assert told.value.error.case == case
    assert str(told.value) == f"get: {text}"
    assert await bucket.get("k") is None, "the next operation is served"


async def test_an_exception_of_nobodys_is_logged_for_the_operator(
    faulty: Faulty, bucket: GuardedBucket, caplog: pytest.LogCaptureFixture
) -> None:
    faulty.at("delete", ZeroDivisionError("a bug"), times=1)
    with caplog.at_level(logging.WARNING), pytest.raises(Told):
        await bucket.delete("k")
    assert "delete" in caplog.text
    assert "a bug" in caplog.text


OPERATIONS = {
    "get": lambda b: b.get("k"),
    "exists": lambda b: b.exists("k"),
    "set": lambda b: b.set("k", b""),
    "delete": lambda b: b.delete("k"),
    "list_keys": lambda b: b.list_keys(),
    "increment": lambda b: b.increment("k", 1),
    "current": lambda b: b.current("k"),
    "swap": lambda b: b.swap("k", b"", require_value=b""),
    "get_many": lambda b: b.get_many(["k"]),
    "set_many": lambda b: b.set_many([("k", b"")]),
    "delete_many": lambda b: b.delete_many(["k"]),
}


@pytest.mark.parametrize("name", sorted(OPERATIONS))
async def test_every_operation_has_a_deadline(faulty: Faulty, backend: KeyValueBackend, name: str) -> None:
    bucket = await guarded(backend, timeout="20ms").open("b")
    faulty.at(name, Hang(), times=1)
    with anyio.fail_after(10), pytest.raises(Told) as told:
        await OPERATIONS[name](bucket)
    assert told.value.error.case == "timeout"
    await bucket.exists("k")


@pytest.mark.parametrize(("fault", "settings"), [("open_bucket", {}), ("has_bucket", {"buckets": ["a"]})])
async def test_opening_has_a_deadline(
    faulty: Faulty, backend: KeyValueBackend, fault: str, settings: dict[str, Any]
) -> None:
    store = guarded(backend, timeout="20ms", **settings)
    faulty.at(fault, Hang())
    with anyio.fail_after(10), pytest.raises(Told, match=r"open: no answer"):
        await store.open("b")


async def test_pages_that_a_backend_leaves_empty_are_skipped(
    backend: KeyValueBackend, bucket: GuardedBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = {None: Page([], "1"), "1": Page([], "2"), "2": Page(["k"], "3"), "3": Page([], None)}

    async def list_keys(prefix: str, cursor: str | None, limit: int) -> Page:
        return pages[cursor]

    monkeypatch.setattr(bucket.bucket, "list_keys", list_keys)
    first = await bucket.list_keys()
    assert first.keys == ["k"]
    assert await bucket.list_keys("", first.cursor) == Page([], None)


async def test_a_batch_attempts_every_item_and_raises_the_first_error() -> None:
    attempted = []

    class Broken(Bucket):
        async def get(self, key: str) -> bytes | None:
            return key.encode()

        async def list_keys(self, prefix: str, cursor: str | None, limit: int) -> Page:
            return Page([])

        async def set(
            self, key: str, value: bytes, *, ttl_ms: int | None = None, if_not_exists: bool = False
        ) -> None:
            attempted.append(key)
            if key != "good":
                raise {"full": QuotaExceeded(), "gone": ConnectionError()}[key]

        async def delete(self, key: str) -> None:
            await self.set(key, b"")

    with pytest.raises(QuotaExceeded):
        await Broken().set_many([("good", b""), ("full", b""), ("gone", b""), ("good", b"")])
    with pytest.raises(ConnectionError):
        await Broken().delete_many(["gone", "full", "good"])
    assert attempted == ["good", "full", "gone", "good", "gone", "full", "good"]
    assert await Broken().get_many(["a", "b", "a"]) == [b"a", b"b", b"a"]
    assert await Broken().exists("k") is True


class Counted(Bucket):
    """Says how many keys it was asked for at once, and has the same under each."""

    def __init__(self, value: bytes) -> None:
        self.value = value
        self.asked: list[int] = []

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        self.asked.append(len(keys))
        return [None if key.startswith("missing") else self.value for key in keys]

    async def get(self, key: str) -> bytes | None:
        raise NotImplementedError

    async def list_keys(self, prefix: str, cursor: str | None, limit: int) -> Page:
        raise NotImplementedError

    async def set(
        self, key: str, value: bytes, *, ttl_ms: int | None = None, if_not_exists: bool = False
    ) -> None:
        raise NotImplementedError

    async def delete(self, key: str) -> None:
        raise NotImplementedError


async def test_a_batch_is_no_more_than_a_guest_can_take(backend: KeyValueBackend) -> None:
    keys = [f"k{number}" for number in range(1000)]
    large = Counted(bytes(2**18))
    bucket = GuardedBucket(guarded(backend), "b", large)
    assert await bucket.get_many(keys[:64]) == [(key, large.value) for key in keys[:64]]
    large.asked.clear()
    for asked in (keys, ["k"] * 65, [*keys[:64], "k0"]):
        with pytest.raises(Told) as told:
            await bucket.get_many(asked)
        assert isinstance(told.value.error, QuotaExceeded)
    assert sum(large.asked) < 200, "no more was fetched when it was too much"
    assert await bucket.get_many(["missing"] * 1000) == [None] * 1000


async def test_small_values_are_asked_for_in_few_parts_and_each_key_once(backend: KeyValueBackend) -> None:
    keys = [f"k{number}" for number in range(200)]
    small = Counted(b"v")
    bucket = GuardedBucket(guarded(backend), "b", small)
    assert await bucket.get_many([*keys, *keys]) == [(key, b"v") for key in (*keys, *keys)]
    assert small.asked == [64, 64, 64, 8]
    one = GuardedBucket(guarded(backend, max_value="64MiB"), "b", Counted(bytes(2**25)))
    assert len(await one.get_many(["a", "b"])) == 2


async def test_undeclared_features_are_refused_before_the_backend_is_asked(
    backend: KeyValueBackend, faulty: Faulty
) -> None:
    backend.features = frozenset()
    bucket = await guarded(backend).open("b")
    for name in ("increment", "current", "swap", "set"):
        faulty.at(name, AssertionError("the backend was asked"))
    for operation in (
        bucket.increment("k", 1),
        bucket.current("k"),
        bucket.swap("k", b"", require_value=b""),
        bucket.set("k", b"", ttl_ms=1),
        bucket.set("k", b"", if_not_exists=True),
    ):
        with pytest.raises(Told) as told:
            await operation
        assert isinstance(told.value.error, Unsupported)


@pytest.mark.alone
async def test_200_operations_wait_side_by_side() -> None:
    backend = await Delayed(MemoryProvider(), 0.05).open(MemorySettings(), OpenContext(Path()))
    bucket = await guarded(backend).open("b")
    start = anyio.current_time()
    async with anyio.create_task_group() as group:
        for number in range(200):
            group.start_soon(bucket.set, f"k{number}", b"")
    assert anyio.current_time() - start < 10 * 0.05
    await backend.close()


# ---------------------------------------------------------------- settings and the draft's errors


@pytest.mark.parametrize(
    "settings",
    [{"max_value": "65MiB"}, {"max_value": 0}, {"timeout": 0}, {"timeout": "never"}, {"buckets": "b"},
     {"bucket": ["b"]}],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        KeyValueSettings(**settings)


def test_defaults() -> None:
    settings = KeyValueSettings()
    assert (settings.buckets, settings.max_value, settings.timeout) == (None, 2**20, 5.0)
    assert KeyValueSettings(max_value="64MiB").max_value == 64 * 2**20  # type: ignore[arg-type]


@pytest.mark.parametrize("case", KeyValueError.__subclasses__(), ids=lambda case: case.__name__)
def test_the_draft_says_in_words_what_it_has_no_case_for(case: type[KeyValueError]) -> None:
    told = refused("get", case("the cause"))
    assert isinstance(told, Err)
    if case.case in ("no-such-store", "access-denied"):
        assert told.value == Variant(case.case)
    elif case.case == "other":
        assert told.value == Variant("other", "get: the cause")
    else:
        assert told.value == Variant("other", f"{case.summary}: get: the cause")


def test_an_error_without_a_text_says_what_its_case_says() -> None:
    assert str(QuotaExceeded()) == "quota exceeded"
