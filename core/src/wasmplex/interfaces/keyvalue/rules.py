"""The rules of key-value operations as plain functions: names, batches, limits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wasmplex.capabilities.keyvalue import InvalidArgument, QuotaExceeded
from wasmplex.policy.names import MAX_NAME, too_long

__all__ = [
    "MAX_ANSWER", "MAX_ASKED", "MAX_BATCH", "MAX_PAGE", "MAX_TTL_MS", "MAX_VALUE", "check_batch",
    "check_name",
]  # fmt: skip

MAX_VALUE = 64 * 2**20
"""Bytes that ``max_value`` may be set to."""
MAX_BATCH = 1000
"""Items in one batch."""
MAX_ANSWER = 16 * 2**20
"""Bytes that the values of one batch may have together, if a single one may not have more."""
MAX_ASKED = 64 * 2**20
"""Bytes that may be on their way from a backend for one batch."""
MAX_PAGE = 1000
"""Keys in one page."""
MAX_TTL_MS = 2**53
"""A longer time to live is cut to this (285,000 years), so that backends can add it to a date."""


def check_name(name: str) -> None:
    """Refuse a name of more than `MAX_NAME` bytes."""
    if too_long(name):
        raise InvalidArgument(f"a name is over {MAX_NAME} bytes")


def check_batch(items: Sequence[Any]) -> None:
    """Refuse a batch of more than `MAX_BATCH` items."""
    if len(items) > MAX_BATCH:
        raise QuotaExceeded(f"a batch of {len(items)} items is over the limit of {MAX_BATCH}")
