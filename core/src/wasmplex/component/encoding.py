"""Writing the pieces of the binary format: numbers, names and sections."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["as_section", "leb", "signed", "text", "vec"]


def leb(number: int) -> bytes:
    """Return an unsigned number in LEB128."""
    return _groups(number, 0x7F)


def signed(number: int) -> bytes:
    """Return a number that is not negative in signed LEB128."""
    return _groups(number, 0x3F)


def _groups(number: int, largest_last: int) -> bytes:
    out = bytearray()
    while number > largest_last:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def text(name: str) -> bytes:
    """Return a name with its length in front."""
    raw = name.encode()
    return leb(len(raw)) + raw


def vec(definitions: Sequence[bytes]) -> bytes:
    """Return definitions with their number in front."""
    return leb(len(definitions)) + b"".join(definitions)


def as_section(number: int, content: bytes) -> bytes:
    """Return a section of a component or of a core module."""
    return bytes([number]) + leb(len(content)) + content
