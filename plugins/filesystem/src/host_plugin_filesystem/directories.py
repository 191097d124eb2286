"""Directories by file descriptor, never through a symbolic link.

Everything is opened relative to a directory that is open, one component at a time and without following
links: whoever swaps a directory for a link while we walk makes us fail, and read or write nothing elsewhere.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

__all__ = ["descend", "descended", "enter", "is_file", "prune", "remove_tree", "sync"]

_ENTER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_ATTEMPTS = 100


def enter(directory: int, name: str) -> int:
    """Open a directory in a directory.

    :raises OSError: ENOENT if it is missing, ENOTDIR if it is something else, a link included
    """
    return os.open(name, _ENTER, dir_fd=directory)


def _entered(directory: int, name: str, *, make: bool) -> int:
    for _ in range(_ATTEMPTS):
        try:
            return enter(directory, name)
        except FileNotFoundError:
            if not make:
                raise
        with suppress(FileExistsError):  # another process was faster
            os.mkdir(name, dir_fd=directory)
            sync(directory)
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))  # it is made and removed all the time


def descend(start: int, parts: Sequence[str], *, make: bool = False) -> int:
    """Open the directory that `parts` name below `start`.

    :param make: make the directories that are missing
    :raises OSError: as `enter`
    """
    current = os.dup(start)
    for part in parts:
        try:
            following = _entered(current, part, make=make)
        finally:
            os.close(current)
        current = following
    return current


@contextmanager
def descended(start: int, parts: Sequence[str], *, make: bool = False) -> Iterator[int]:
    """Return what `descend` does, open inside the context."""
    directory = descend(start, parts, make=make)
    try:
        yield directory
    finally:
        os.close(directory)


def is_file(directory: int, name: str) -> bool:
    """Return whether there is a regular file of that name; a link is none, wherever it leads."""
    try:
        return stat.S_ISREG(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def sync(directory: int) -> None:
    """Have the entries of a directory on disk."""
    os.fsync(directory)


def prune(start: int, parts: Sequence[str]) -> None:
    """Remove the directories that `parts` name below `start`, from the last on, as far as they are empty."""
    for count in range(len(parts), 0, -1):
        try:
            with descended(start, parts[: count - 1]) as directory:
                os.rmdir(parts[count - 1], dir_fd=directory)
        except OSError:
            return  # there is something in it, or another process has removed it


def remove_tree(directory: int, name: str) -> Iterator[int]:
    """Remove an entry of a directory with all that is below; of links, the link. Yields numbers of entries.

    What others put there meanwhile is removed as well.
    """
    for _ in range(_ATTEMPTS):
        try:
            inside = enter(directory, name)
        except FileNotFoundError:
            return
        except OSError:
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=directory)
            return
        try:
            yield from _emptied(inside)
        finally:
            os.close(inside)
        try:
            os.rmdir(name, dir_fd=directory)
        except FileNotFoundError:
            return
        except OSError:
            continue
        return


_STEP = 200


def _emptied(directory: int) -> Iterator[int]:
    count = 0
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from remove_tree(directory, entry.name)
            else:
                with suppress(FileNotFoundError):
                    os.unlink(entry.name, dir_fd=directory)
            count += 1
            if count == _STEP:
                yield count
                count = 0
    yield count
