"""The resource ``fields`` of wasi:http 0.3: more functions than in 0.2, and an error where that traps."""

from __future__ import annotations

from collections.abc import Sequence

from wasmplex.plugin import Err, Variant

from host_plugin_wasi.http.fields import SIZE_LIMIT, Fields, entry_size

__all__ = ["Fields3"]

_TOO_LARGE = Variant("size-exceeded")


class Fields3(Fields):
    """Names match whatever their case; the case in which one came first is kept (types.wit, ``fields``)."""

    __slots__ = ()

    def set(self, name: str, value: Sequence[bytes]) -> None:
        """Replace the values of a name; without values, remove it."""
        self._check(name, value)
        before = sum(entry_size(known, old) for known, old in self._entries if known.lower() == name.lower())
        self._room(sum(entry_size(name, each) for each in value) - before)
        known = self._known(name)
        self._remove(name)
        for each in value:
            self._add(known, each)

    def append(self, name: str, value: bytes) -> None:
        """Add a value to those of a name."""
        self._check(name, (value,))
        self._add(self._known(name), value)

    def get_and_delete(self, name: str) -> list[bytes]:
        """Remove the values of a name, and return them."""
        self._check(name, ())
        values = self.get(name)
        self._remove(name)
        return values

    def _known(self, name: str) -> str:
        if not self._entries:
            return name
        lower = name.lower()
        return next((known for known, _ in self._entries if known.lower() == lower), name)

    def _grow(self, size: int) -> None:
        self._room(size)
        self._size += size

    def _room(self, size: int) -> None:
        if self._size + size > SIZE_LIMIT:
            raise Err(_TOO_LARGE)
