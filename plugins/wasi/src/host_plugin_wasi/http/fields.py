"""The resource ``fields``: headers and trailers. Names keep their case and order; lookups ignore the case."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Self

from wasmplex.plugin import Err, Variant

from host_plugin_wasi.io import Violation

__all__ = ["FORBIDDEN", "SIZE_LIMIT", "TOKEN", "Fields", "entry_size"]

Entry = tuple[str, bytes]

FORBIDDEN = frozenset({
    "connection", "host", "http2-settings", "keep-alive", "proxy-authenticate", "proxy-authorization",
    "proxy-connection", "transfer-encoding", "upgrade",
})  # fmt: skip
"""What belongs to the connection, and so to the host: a guest neither sees nor sets it."""
_FORBIDDEN_BYTES = frozenset(name.encode() for name in FORBIDDEN)

SIZE_LIMIT = 128 * 1024
"""Bytes that one ``fields`` may hold. They are the host's memory, not the guest's."""

_PER_ENTRY = 32
_MOST = SIZE_LIMIT // _PER_ENTRY
_LENGTH_DIGITS = 18
"""Those of a length that every recipient can hold in a signed number of 64 bits."""
TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_INVALID, _DENIED, _IMMUTABLE = Variant("invalid-syntax"), Variant("forbidden"), Variant("immutable")


class Fields:
    """The resource ``fields``.

    :param entries: names and values, valid and allowed
    :param mutable: False for those of a request or response that has been made
    """

    __slots__ = ("_entries", "_mutable", "_size")

    def __init__(self, entries: Iterable[Entry] = (), *, mutable: bool = True) -> None:
        self._entries: list[Entry] = [*entries]
        self._mutable = mutable
        self._size = 0  # of entries that never change nobody needs it
        if mutable and self._entries:
            self._size = sum(entry_size(name, value) for name, value in self._entries)

    @classmethod
    def received(cls, headers: Iterable[tuple[bytes, bytes]]) -> Self:
        """Return what came over the wire, without what is the connection's own."""
        entries = [(str(n, "latin-1"), v) for n, v in headers if n.lower() not in _FORBIDDEN_BYTES]
        return cls(entries, mutable=False)

    def sent(self) -> list[tuple[bytes, bytes]]:
        """Return the entries for the wire, names in lower case."""
        return [(name.lower().encode("ascii"), value) for name, value in self._entries]

    def as_made(self) -> list[tuple[bytes, bytes]]:
        """Return the entries for the wire, names in the case that the guest gave them."""
        return [(name.encode("ascii"), value) for name, value in self._entries]

    def frozen(self) -> Self:
        """Return a copy that the guest may read only."""
        return type(self)(self._entries, mutable=False)

    def content_length(self) -> int | None:
        """Return what ``content-length`` says.

        :raises ValueError: if it is there twice, or is no number: RFC 9112 section 6.3 has a recipient
            choose what such a message means, and two recipients choose differently
        """
        if not self._entries:
            return None
        lengths = [value for name, value in self._entries if name.lower() == "content-length"]
        if not lengths:
            return None
        if len(lengths) > 1 or not (text := lengths[0]).isdigit() or len(text) > _LENGTH_DIGITS:
            raise ValueError("content-length has to be one number")
        return int(text)

    # ------------------------------------------------------------ the guest's

    @classmethod
    def from_list(cls, entries: Sequence[Entry]) -> Self:
        """Return new fields; raises ``header-error`` if an entry is not valid or not allowed."""
        fields = cls()
        for name, value in entries:
            _check(name, (value,))
            fields._add(name, value)
        return fields

    def get(self, name: str) -> list[bytes]:
        """Return the values of a name."""
        name = name.lower()
        return [value for n, value in self._entries if n.lower() == name]

    def has(self, name: str) -> bool:
        """Say whether there is a value."""
        name = name.lower()
        return any(n.lower() == name for n, _ in self._entries)

    def set(self, name: str, value: Sequence[bytes]) -> None:
        """Replace the values of a name."""
        self._check(name, value)
        self._remove(name)
        for each in value:
            self._add(name, each)

    def delete(self, name: str) -> None:
        """Remove the values of a name."""
        self._check(name, ())
        self._remove(name)

    def append(self, name: str, value: bytes) -> None:
        """Add a value to those of a name."""
        self._check(name, (value,))
        self._add(name, value)

    def entries(self) -> list[Entry]:
        """Return all names and values."""
        return self._entries

    def clone(self) -> Self:
        """Return a copy that may be changed."""
        return type(self)(self._entries)

    def _check(self, name: str, values: Sequence[bytes]) -> None:
        if not self._mutable:
            raise Err(_IMMUTABLE)
        if len(values) > _MOST:  # whatever they are: they are not even looked at
            self._grow(SIZE_LIMIT + 1)
        _check(name, values)

    def _remove(self, name: str) -> None:
        name = name.lower()
        kept = [entry for entry in self._entries if entry[0].lower() != name]
        if len(kept) < len(self._entries):
            self._entries = kept
            self._size = sum(entry_size(n, v) for n, v in kept)

    def _add(self, name: str, value: bytes) -> None:
        self._grow(entry_size(name, value))
        self._entries.append((name, value))

    def _grow(self, size: int) -> None:
        self._size += size
        if self._size > SIZE_LIMIT:
            raise Violation(f"wasi:http/types: more than {SIZE_LIMIT} bytes of fields")


def _check(name: str, values: Sequence[bytes]) -> None:
    if TOKEN.fullmatch(name) is None:
        raise Err(_INVALID)
    for value in values:
        if _VALUE.fullmatch(value) is None:
            raise Err(_INVALID)
    if name.lower() in FORBIDDEN:
        raise Err(_DENIED)


def entry_size(name: str, value: bytes) -> int:
    """Return the bytes that an entry counts, with what keeping it costs."""
    return len(name) + len(value) + _PER_ENTRY
