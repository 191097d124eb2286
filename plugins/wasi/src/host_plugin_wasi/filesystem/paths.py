"""Finding what a guest's path names without ever leaving the directory it starts from.

A path is walked one component at a time, each opened relative to the directory before it and without
following symbolic links. Links are read and walked the same way, so nothing depends on what a check saw
a moment ago: whoever swaps a directory for a link while we walk makes us read the link, or fail.
``..`` is a walk from the start again, over components known to be directories, because the parent of
a directory that has been moved away may lie outside. Only one directory is open at any time.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

__all__ = ["LINKS", "PATH_LIMIT", "Entry", "Place", "entry", "fail", "place"]

PATH_LIMIT = 4096
"""Bytes of a path, those of a link included."""

LINKS = 40
"""Symbolic links in one path, as in Linux."""

_STEPS = 4096
"""Directories entered for one path; walking up costs the depth."""

_ENTER = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | getattr(os, "O_PATH", os.O_RDONLY)


class Place(NamedTuple):
    """An entry of a directory, which may or may not exist; ``.`` is the directory itself.

    :ivar directory: an open file descriptor, valid inside the context only
    """

    directory: int
    name: bytes


class Entry(NamedTuple):
    """An entry of a directory that is to be made, moved or removed, and is not followed if it is a link.

    The system calls for that each answer in their own way to a path that ends in ``.``, ``..`` or a slash.

    :ivar directory: an open file descriptor, valid inside the context only
    :ivar dots: the last component if that is ``.`` or ``..``, else empty; `name` is ``.`` then
    :ivar slash: whether a slash follows
    """

    directory: int
    name: bytes
    dots: bytes
    slash: bool

    @property
    def is_directory(self) -> bool | None:
        """Whether it is a directory; None if there is no such entry."""
        try:
            mode = os.stat(self.name, dir_fd=self.directory, follow_symlinks=False).st_mode
        except FileNotFoundError:
            return None
        return stat.S_ISDIR(mode)


def fail(number: int) -> OSError:
    """Return the exception for an error number, to be raised."""
    return OSError(number, os.strerror(number))


def _components(path: bytes) -> list[bytes]:
    """Return the components, last first; a final slash counts as ``.`` behind it."""
    if not path:
        raise fail(errno.ENOENT)
    if len(path) > PATH_LIMIT:
        raise fail(errno.ENAMETOOLONG)
    if b"\0" in path:
        raise fail(errno.EINVAL)
    if path.startswith(b"/"):
        raise fail(errno.EPERM)
    names = [name for name in path.split(b"/") if name]
    if path.endswith(b"/"):
        names.append(b".")
    return names[::-1]


def _target(directory: int, name: bytes) -> bytes | None:
    """Return where a symbolic link points, None if the entry is missing or is something else."""
    try:
        return os.readlink(name, dir_fd=directory)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOENT):
            return None
        raise


class _Walk:
    def __init__(self, start: int) -> None:
        self._start = start
        self._names: list[bytes] = []
        self._steps = 0
        self.current = start

    def down(self, name: bytes) -> None:
        self._steps += 1
        if self._steps > _STEPS:
            raise fail(errno.ELOOP)
        self._move(os.open(name, _ENTER, dir_fd=self.current))
        self._names.append(name)

    def up(self) -> None:
        if not self._names:
            raise fail(errno.EPERM)
        names, self._names = self._names[:-1], []
        self._move(self._start)
        for name in names:
            self.down(name)

    def close(self) -> None:
        self._move(self._start)

    def _move(self, to: int) -> None:
        old, self.current = self.current, to
        if old != self._start:
            os.close(old)


def _find(walk: _Walk, path: bytes, follow: bool) -> bytes:
    """Walk to the directory of the last component and return that component's name."""
    pending = _components(path)
    links = 0
    while True:
        name = pending.pop()
        link = None
        if name == b"..":
            walk.up()
            name = b"."
        if not pending and (name == b"." or not follow):
            return name
        if name == b".":
            continue
        if not pending:
            link = _target(walk.current, name)
            if link is None:
                return name
        else:
            link = _descend(walk, name)
        if link is not None:
            links += 1
            if links > LINKS:
                raise fail(errno.ELOOP)
            pending += _components(link)


def _descend(walk: _Walk, name: bytes) -> bytes | None:
    """Enter a directory; if `name` is a symbolic link, return where it points instead."""
    try:
        walk.down(name)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENOTDIR):
            raise
        link = _target(walk.current, name)
        if link is None:
            raise
        return link
    return None


@contextmanager
def place(start: int, path: str, *, follow: bool = False) -> Iterator[Place]:
    """Find what `path` names below the directory `start`.

    Use the result with ``dir_fd`` and without following links. Blocks on the file system.

    :param follow: if the last component is a symbolic link, go where it points
    :raises OSError: EPERM if it leads out of `start`, and whatever the file system says
    """
    walk = _Walk(start)
    try:
        name = _find(walk, _encoded(path), follow)
        yield Place(walk.current, name)
    finally:
        walk.close()


@contextmanager
def entry(start: int, path: str) -> Iterator[Entry]:
    """Find the entry that `path` names below a directory, to make, move or remove it; see `place`."""
    encoded = _encoded(path)
    bare = encoded.rstrip(b"/") or encoded
    last = bare.rpartition(b"/")[2]
    walk = _Walk(start)
    try:
        name = _find(walk, bare, follow=False)
        yield Entry(walk.current, name, last if last in (b".", b"..") else b"", bare != encoded)
    finally:
        walk.close()


def _encoded(path: str) -> bytes:
    if len(path) > PATH_LIMIT:
        raise fail(errno.ENAMETOOLONG)
    return path.encode()
