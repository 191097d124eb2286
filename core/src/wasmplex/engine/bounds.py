"""How much of what a guest passes at once becomes values of the host's: others wait while it does."""

from __future__ import annotations

from typing import Final

from wasmplex.errors import LimitExceeded

__all__ = ["BYTES", "NUMBERS", "VALUES", "too_many", "too_many_bytes"]

VALUES: Final = 1 << 18
"""Values, other than numbers in a list, that a list may be; about 100 ns each."""
NUMBERS: Final = 1 << 20
"""Numbers that a list may be; about 15 ns and 36 bytes each."""
BYTES: Final = 1 << 18
"""Bytes that may cross to the guest one value each: 80 bytes and 100 ns for one of them."""


def too_many(count: int) -> LimitExceeded:
    """Return the error for a list of too many values, to be raised."""
    return LimitExceeded(
        f"a list of {count} values is passed to or from a guest",
        why=f"no more than {VALUES} are taken at once, {NUMBERS} if they are numbers",
        fix="pass it in several calls, or as bytes",
    )


def too_many_bytes(count: int) -> LimitExceeded:
    """Return the error for a result of too many bytes, to be raised."""
    return LimitExceeded(
        f"{count} bytes are passed to a guest as values",
        why=f"no more than {BYTES} are at once, where the guest cannot take them in place",
        fix="read them in several calls",
    )
