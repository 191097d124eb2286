"""The rules of key-value operations as plain functions: limits, names, cursors, typed errors."""

from __future__ import annotations

import errno
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from wasmplex.capabilities.keyvalue import (
    AccessDenied,
    InvalidArgument,
    KeyValueError,
    Other,
    QuotaExceeded,
    StoreUnavailable,
    Timeout,
)
from wasmplex.logs import get_logger

__all__ = [
    "MAX_BATCH", "MAX_NAME", "MAX_PAGE", "MAX_TTL_MS", "MAX_VALUE", "check_batch", "check_name",
    "seal_cursor", "sift", "typed", "unseal_cursor",
]  # fmt: skip

T = TypeVar("T")
logger = get_logger(__name__)

MAX_NAME = 1024
"""Bytes of UTF-8 in a name: bucket, key, prefix."""
MAX_VALUE = 64 * 2**20
"""Bytes that ``max_value`` may be set to."""
MAX_BATCH = 1000
"""Items in one batch."""
MAX_PAGE = 1000
"""Keys in one page."""
MAX_TTL_MS = 2**53
"""A longer time to live is cut to this (285,000 years), so that backends can add it to a date."""


def check_name(name: str) -> None:
    """Refuse a name of more than `MAX_NAME` bytes; up to a quarter of it in characters needs no encoding."""
    if len(name) > MAX_NAME // 4 and len(name.encode()) > MAX_NAME:
        raise InvalidArgument(f"a name is over {MAX_NAME} bytes")


def check_batch(items: Sequence[Any]) -> None:
    """Refuse a batch of more than `MAX_BATCH` items."""
    if len(items) > MAX_BATCH:
        raise QuotaExceeded(f"a batch of {len(items)} items is over the limit of {MAX_BATCH}")


def sift(items: Sequence[T], check: Callable[[T], None]) -> tuple[list[T], KeyValueError | None]:
    """Return the items that pass `check`, and the error of the first that does not."""
    good: list[T] = []
    first: KeyValueError | None = None
    for item in items:
        try:
            check(item)
        except KeyValueError as error:
            first = first or error
        else:
            good.append(item)
    return good, first


def seal_cursor(tag: bytes, cursor: str) -> str:
    """Return the cursor as guests see it: with a tag that says what it belongs to."""
    return urlsafe_b64encode(tag + cursor.encode()).decode("ascii")


def unseal_cursor(tag: bytes, sealed: str) -> str:
    """Return the backend's cursor.

    :raises InvalidArgument: if it is malformed or belongs to another bucket, prefix or binding
    """
    try:
        raw = b64decode(sealed, altchars=b"-_", validate=True)
        cursor = raw[len(tag) :].decode()
        if seal_cursor(tag, cursor) == sealed:
            return cursor
    except ValueError:
        pass
    raise InvalidArgument("the cursor is not one that this listing returned")


_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def typed(operation: str, error: Exception, plugin: str = "") -> KeyValueError:
    """Return the typed error for an exception that a backend let through.

    Its own text is for the host's log only: it may hold a path, an address or a secret.
    """
    match error:
        case TimeoutError():
            return Timeout("no answer before the deadline")
        case ConnectionError():
            return StoreUnavailable(error.strerror or type(error).__name__)
        case MemoryError():
            return QuotaExceeded("out of memory")
        case PermissionError():
            return AccessDenied(error.strerror or "no permission")
        case OSError(errno=code) if code in _FULL:
            return QuotaExceeded(error.strerror or "no space")
        case OSError() if error.strerror:
            return Other(error.strerror)
    who = plugin or "a backend"
    logger.warning("%s: key-value %s failed with an untyped error", who, operation, exc_info=error)
    return Other(type(error).__name__)
