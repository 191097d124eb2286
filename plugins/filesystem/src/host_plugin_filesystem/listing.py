"""The names of a container's objects, in pages.

A directory cannot be read on from a name, so the names of many pages are read at once, sorted and kept for a
moment: a cursor is the last name before the next page, as it is on disk, and is good at any time.
"""

from __future__ import annotations

import heapq
import os
import time
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from threading import Lock
from typing import NamedTuple

from wasmplex.capabilities.blobstore import InvalidArgument, Page
from wasmplex.capabilities.naming import joined

from host_plugin_filesystem.directories import enter

__all__ = ["Windows", "names"]

_WINDOW = 10_000
_WINDOWS = 32
_MOST = 8 * 2**20
"""Characters of names that are kept for all listings together, or those of one."""
_LIFETIME = 60.0
_DEEPEST = 16  # a name of 1 KiB has 6 components


class _Window(NamedTuple):
    """Names that were read ahead.

    :ivar size: their characters
    """

    made: float
    parts: list[str]
    size: int
    complete: bool


class Windows:
    """The names that were read ahead, of the containers that are being listed."""

    def __init__(self, size: int = _WINDOW, most: int = _MOST) -> None:
        self._size = size
        self._most = most
        self._windows: OrderedDict[Hashable, _Window] = OrderedDict()
        self._lock = Lock()

    @property
    def size(self) -> int:
        """Characters of the names that are kept."""
        return sum(window.size for window in [*self._windows.values()])

    def page(self, place: Hashable, directory: int, cursor: str | None, limit: int) -> Page:
        """Return the names that follow a cursor in a directory, at most `limit`. Blocks.

        :param place: what tells the container from others
        :raises InvalidArgument: if no page had this cursor
        """
        if cursor is not None:
            _check(cursor)
        window = self._kept((place, cursor)) if cursor is not None else None
        if window is None or time.monotonic() - window.made > _LIFETIME:
            window = self._read(directory, cursor)
        page, rest = window.parts[:limit], window.parts[limit:]
        following = page[-1] if page and (rest or not window.complete) else None
        if following is not None and rest:
            self._keep((place, following), window._replace(parts=rest, size=window.size - _size(page)))
        return Page([joined(part.split("/")) for part in page], following)

    def _kept(self, key: Hashable) -> _Window | None:
        with self._lock:
            return self._windows.pop(key, None)

    def _keep(self, key: Hashable, window: _Window) -> None:
        with self._lock:  # several threads list at the same time
            self._windows[key] = window
            while len(self._windows) > 1 and (len(self._windows) > _WINDOWS or self.size > self._most):
                self._windows.popitem(last=False)

    def _read(self, directory: int, cursor: str | None) -> _Window:
        following = (part for part in names(directory) if cursor is None or part > cursor)
        parts = heapq.nsmallest(self._size + 1, following)
        read = parts[: self._size]
        return _Window(time.monotonic(), read, _size(read), len(parts) <= self._size)


def _size(parts: list[str]) -> int:
    return sum(map(len, parts))


def _check(cursor: str) -> None:
    try:
        joined(cursor.split("/"))
    except ValueError:
        raise InvalidArgument("the cursor is none of this container's") from None


def names(directory: int, way: tuple[str, ...] = ()) -> Iterator[str]:
    """Return the objects of a directory by their components, with slashes between: no links, nothing else."""
    with os.scandir(directory) as entries:
        for entry in entries:
            name = entry.name
            if name.endswith("%+"):
                if len(way) < _DEEPEST and entry.is_dir(follow_symlinks=False):
                    yield from _below(directory, name, (*way, name))
            elif not name.startswith(".") and entry.is_file(follow_symlinks=False) and _is_ours(way, name):
                yield "/".join((*way, name))


def _below(directory: int, name: str, way: tuple[str, ...]) -> Iterator[str]:
    try:
        inside = enter(directory, name)
    except OSError:
        return  # removed, or swapped, in between
    try:
        yield from names(inside, way)
    finally:
        os.close(inside)


def _is_ours(way: tuple[str, ...], name: str) -> bool:
    try:
        joined([*way, name])
    except ValueError:
        return False
    return True
