"""What is done in the directories, each function one operation. All of them block: they run in threads."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from wasmplex.capabilities.blobstore import (
    ContainerAlreadyExists,
    ContainerInfo,
    NoSuchContainer,
    NoSuchObject,
    ObjectInfo,
    Other,
    Page,
    StoreUnavailable,
)

from host_plugin_filesystem.directories import descend, descended, is_file, prune, sync
from host_plugin_filesystem.files import Source, Staged
from host_plugin_filesystem.listing import Windows
from host_plugin_filesystem.places import Place
from host_plugin_filesystem.root import MARKER, Root

__all__ = [
    "check", "commit", "create", "delete", "delete_container", "move", "object_info", "page", "read", "state",
]  # fmt: skip

_ATTEMPTS = 100
_NO_DIRECTORY = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}
_IN_THE_WAY = {errno.EISDIR, errno.ENOTDIR, errno.ELOOP}


# ---------------------------------------------------------------- containers


@contextmanager
def _inside(root: Root, place: Place) -> Iterator[int]:
    """Return the directory of a container, open inside the context.

    :raises StoreUnavailable: if the store is not where it was: what was done would be done elsewhere
    """
    _check_root(root)
    try:
        directory = descend(root.number, [*place.way, place.name])
    except OSError as error:
        if error.errno not in _NO_DIRECTORY:
            raise
        raise NoSuchContainer from None
    try:
        yield directory
    finally:
        os.close(directory)


def _check_root(root: Root) -> None:
    if not root.is_there():
        raise StoreUnavailable("the directory of the store was removed or replaced")


def create(root: Root, place: Place) -> None:
    """Make a container."""
    _check_root(root)
    staged = root.container()
    try:
        with descended(root.number, place.way, make=True) as directory:
            root.place(staged, directory, place.name)
            sync(directory)
    except OSError as error:
        for _ in root.trash(root.staging, staged):
            pass
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY):
            raise ContainerAlreadyExists from None
        if error.errno in _IN_THE_WAY:
            raise Other("something that is no container is in its place") from None
        raise


def check(root: Root, place: Place) -> None:
    """Raise NoSuchContainer unless the container exists."""
    with _inside(root, place):
        pass


def state(root: Root, place: Place) -> ContainerInfo:
    """Return what is known of a container."""
    with _inside(root, place) as directory:
        try:
            found = os.stat(MARKER, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:  # a directory that somebody else made
            found = os.fstat(directory)
        return ContainerInfo(found.st_mtime_ns)


def delete_container(root: Root, place: Place) -> Iterator[int]:
    """Take a container away at once, then remove what it holds."""
    _check_root(root)
    try:
        with descended(root.number, place.way) as directory, descended(directory, [place.name]):
            removal = root.trash(directory, place.name)
    except OSError as error:
        if error.errno not in _NO_DIRECTORY:
            raise
        return
    yield 0
    yield from removal


def page(root: Root, place: Place, windows: Windows, cursor: str | None, limit: int) -> Page:
    """Return some names of objects."""
    with _inside(root, place) as directory:
        return windows.page(place, directory, cursor, limit)


# ---------------------------------------------------------------- objects


def read(root: Root, place: Place, target: Place) -> Source:
    """Open an object for reading."""
    with _inside(root, place) as directory:
        try:
            with descended(directory, target.way) as inside:
                return Source(inside, target.name)
        except OSError as error:
            if error.errno not in _NO_DIRECTORY:
                raise
            raise NoSuchObject from None


def object_info(root: Root, place: Place, target: Place) -> ObjectInfo:
    """Return what is known of an object."""
    with _inside(root, place) as directory:
        try:
            with descended(directory, target.way) as inside:
                found = os.stat(target.name, dir_fd=inside, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _NO_DIRECTORY:
                raise
            raise NoSuchObject from None
        if not stat.S_ISREG(found.st_mode):
            raise NoSuchObject
        return ObjectInfo(found.st_size, found.st_mtime_ns)


def commit(root: Root, place: Place, target: Place, staged: Staged) -> None:
    """Put an object that was written in its place, on disk."""
    staged.sync()
    with _inside(root, place) as directory:
        for _ in range(_ATTEMPTS):
            with suppress(FileNotFoundError), _target(directory, target) as inside:
                staged.place(inside, target.name)
                sync(inside)
                return
    raise Other("its directory is made and removed all the time")


@contextmanager
def _target(directory: int, target: Place) -> Iterator[int]:
    """Return the directory that an object is to be put in."""
    try:
        with descended(directory, target.way, make=True) as inside:
            yield inside
    except OSError as error:
        if error.errno in _IN_THE_WAY:
            raise Other("something that is no object is in its place") from None
        raise


def delete(root: Root, place: Place, targets: Sequence[Place]) -> None:
    """Delete objects; the first error is raised when all were tried."""
    first: OSError | None = None
    with _inside(root, place) as directory:
        for target in targets:
            try:
                _unlink(directory, target)
            except OSError as error:
                first = first or error
        sync(directory)
    if first is not None:
        raise first


def _unlink(directory: int, target: Place) -> None:
    try:
        with descended(directory, target.way) as inside:
            if not is_file(inside, target.name):
                return
            os.unlink(target.name, dir_fd=inside)
            if target.way:
                sync(inside)
    except OSError as error:
        if error.errno in _NO_DIRECTORY:
            return
        raise
    prune(directory, target.way)


def move(root: Root, place: Place, source: Place, destination: Place, target: Place) -> None:
    """Move an object over another one, or to a new place, in one step."""
    with _inside(root, place) as origin, _inside(root, destination) as directory:
        for _ in range(_ATTEMPTS):
            if _moved(origin, source, directory, target):
                prune(origin, source.way)
                return
    raise Other("its directory is made and removed all the time")


def _moved(origin: int, source: Place, directory: int, target: Place) -> bool:
    """Try to; return False if the object, or the directory of the target, was removed meanwhile."""
    try:
        with descended(origin, source.way) as before:
            if not is_file(before, source.name):
                raise NoSuchObject
            with suppress(FileNotFoundError), _target(directory, target) as after:
                os.rename(source.name, target.name, src_dir_fd=before, dst_dir_fd=after)
                sync(after)
                sync(before)
                return True
    except OSError as error:
        if error.errno in _NO_DIRECTORY:
            raise NoSuchObject from None
        raise
    return False
