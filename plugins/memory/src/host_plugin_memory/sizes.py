"""What a message takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wasmplex.capabilities.messaging import Message

__all__ = ["size_of"]

_OVERHEAD = 256
"""Bytes that a message takes besides what its sender chose; measured with CPython 3.11 and rounded up."""


def size_of(message: Message) -> int:
    """Return the bytes that a message takes while it is kept: body, headers and what is around them."""
    size = len(message.body) + _OVERHEAD
    for name, value in (message.headers or {}).items():
        size += len(name.encode(errors="surrogatepass")) + len(value.encode(errors="surrogatepass"))
    return size
