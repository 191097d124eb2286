"""The policy for a store that never waits: functions made for one binding, which return their results.

What `wasmplex.policy` decides for each call is decided once here. There is nothing to cancel at a
deadline and no server that could be down, so no coroutine is made.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from wasmplex.interfaces.keyvalue.policy import GuardedBucket, GuardedStore
from wasmplex.interfaces.keyvalue.rules import check_name
from wasmplex.plugins.contracts import HostFunctions
from wasmplex.policy.names import MAX_NAME

__all__ = ["plain_methods"]

_SHORT = MAX_NAME // 4
"""Characters that are never over the limit of bytes."""

_Refusal: TypeAlias = Callable[[str, Exception], Exception]


def plain_methods(store: GuardedStore) -> HostFunctions:
    """Return the bucket's methods that can be plain functions; none if the store may wait."""
    guard = store.guard
    if not store.backend.never_waits or (guard.granted is not None and "store" not in guard.granted):
        return {}
    return {
        "[method]bucket.get": _get(guard.refusal),
        "[method]bucket.set": _set(guard.refusal, store),
        "[method]bucket.delete": _delete(guard.refusal),
        "[method]bucket.exists": _exists(guard.refusal),
    }


def _get(refusal: _Refusal) -> Callable[[GuardedBucket, str], bytes | None]:
    def get(bucket: GuardedBucket, key: str) -> bytes | None:
        try:
            if len(key) > _SHORT:
                check_name(key)
            value = bucket.plain.get(key)
        except Exception as error:
            raise refusal("get", error) from error
        if value is not None and not isinstance(value, bytes):
            raise refusal("get", TypeError(f"get returned a value of type {type(value).__name__}"))
        return value

    return get


def _set(refusal: _Refusal, store: GuardedStore) -> Callable[[GuardedBucket, str, bytes], None]:
    check_size, limit = store.check_size, store.settings.max_value

    def set_(bucket: GuardedBucket, key: str, value: bytes) -> None:
        try:
            if len(key) > _SHORT:
                check_name(key)
            if len(value) > limit:
                check_size(value)
            bucket.plain.set(key, value)
        except Exception as error:
            raise refusal("set", error) from error

    return set_


def _delete(refusal: _Refusal) -> Callable[[GuardedBucket, str], None]:
    def delete(bucket: GuardedBucket, key: str) -> None:
        try:
            check_name(key)
            bucket.plain.delete(key)
        except Exception as error:
            raise refusal("delete", error) from error

    return delete


def _exists(refusal: _Refusal) -> Callable[[GuardedBucket, str], bool]:
    def exists(bucket: GuardedBucket, key: str) -> bool:
        try:
            check_name(key)
            found = bucket.plain.exists(key)
        except Exception as error:
            raise refusal("exists", error) from error
        if not isinstance(found, bool):
            raise refusal("exists", TypeError(f"exists returned a value of type {type(found).__name__}"))
        return found

    return exists
