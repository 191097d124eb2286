"""The directory that holds a store: opening it, and the staging directory of each process that uses it.

::

    <root>/.staging/<process>/       what this process is writing, and what it is removing
    <root>/<namespace>/<container>/<object>

Names are encoded (`wasmplex.capabilities.naming`): none begins with a dot. A process holds a lock on its
staging directory as long as it lives, however it ends; what is there without a lock is rubbish.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import RLock

from wasmplex.plugin import BackendError

from host_plugin_filesystem.directories import enter, remove_tree, sync
from host_plugin_filesystem.failures import opening_failed
from host_plugin_filesystem.files import Staging

__all__ = ["MARKER", "Root"]

MARKER = ".container"
"""The file that a container has from the start on: when that was is when it was made."""
_STAGING = ".staging"
_ROOT = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Root(Staging):
    """An open root. Everything in it blocks.

    :ivar number: the directory, open
    """

    def __init__(self, path: Path, *, create: bool) -> None:
        """Open it, and remove what processes have left that are gone.

        :raises wasmplex.errors.BackendError: if it cannot be opened, or cannot hold a store
        """
        super().__init__()
        self._path = path
        self._lock = RLock()
        self._staging = self._all = self.number = -1
        self._name = ""
        try:
            self.number = _opened(path, create=create)
            self._all = _made(self.number, _STAGING)
            self._sweep()
            self._claim()
            _check_case(self.staging, path)
        except OSError as error:
            self.close()
            raise opening_failed(error, path) from error
        except BaseException:
            self.close()
            raise

    @property
    def staging(self) -> int:
        """The staging directory of this process, open.

        :raises OSError: if the store is closed
        """
        if self._staging < 0:
            raise OSError(errno.EBADF, "the store is closed")
        return self._staging

    def is_there(self) -> bool:
        """Return whether the directory is still what its path names."""
        try:
            return os.path.samestat(self._path.stat(), os.fstat(self.number))
        except (FileNotFoundError, NotADirectoryError):
            return False

    def close(self) -> None:
        """Close it, and remove what was being written."""
        with self._lock:
            if self._staging >= 0:
                for _ in remove_tree(self._all, self._name):
                    pass
                os.close(self._staging)  # and with it goes the lock
            for number in (self._all, self.number):
                if number >= 0:
                    os.close(number)
            self._staging = self._all = self.number = -1

    # ------------------------------------------------------------ staging

    def create(self) -> tuple[str, int]:
        """Make a file; return its name and its number."""
        name = secrets.token_hex(12)
        with self._lock:
            return name, os.open(name, _FILE, 0o666, dir_fd=self.staging)

    def place(self, name: str, directory: int, target: str) -> None:
        """Put a file, or a directory, in its place."""
        with self._lock:
            os.rename(name, target, src_dir_fd=self.staging, dst_dir_fd=directory)

    def remove(self, name: str) -> None:
        """Remove a file, if it is there; where the store is closed, it is not."""
        with self._lock, suppress(OSError):
            os.unlink(name, dir_fd=self.staging)

    def container(self) -> str:
        """Make a container that has no place yet; return its name."""
        name = secrets.token_hex(12)
        with self._lock:
            os.mkdir(name, dir_fd=self.staging)
            inside = enter(self.staging, name)
        try:
            os.close(os.open(MARKER, _FILE, 0o666, dir_fd=inside))
            sync(inside)
        finally:
            os.close(inside)
        return name

    def trash(self, directory: int, name: str) -> Iterator[int]:
        """Take a directory out of its place at once, and remove it step by step."""
        new = secrets.token_hex(12)
        with self._lock:
            os.rename(name, new, src_dir_fd=directory, dst_dir_fd=self.staging)
        sync(directory)
        return remove_tree(self.staging, new)

    # ------------------------------------------------------------ other processes

    def _claim(self) -> None:
        """Make the staging directory of this process, and lock it."""
        while True:
            self._name = f"{os.getpid()}-{secrets.token_hex(8)}"
            os.mkdir(self._name, 0o700, dir_fd=self._all)
            number = _locked(self._all, self._name)
            if number is not None:
                self._staging = number
                return  # else another process took it for rubbish before it was locked

    def _sweep(self) -> None:
        with os.scandir(self._all) as entries:
            names = [entry.name for entry in entries]
        for name in names:
            number = _locked(self._all, name)
            if number is not None:
                try:
                    for _ in remove_tree(self._all, name):
                        pass
                finally:
                    os.close(number)


def _locked(directory: int, name: str) -> int | None:
    """Open a staging directory that nobody has locked, and lock it; None if somebody has, or it is none."""
    try:
        number = enter(directory, name)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno in (errno.ENOTDIR, errno.ELOOP):
            return None
        raise
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(number).st_nlink:  # else it was removed in between
            return number
    except BlockingIOError:
        pass
    except BaseException:
        os.close(number)
        raise
    os.close(number)
    return None


def _opened(path: Path, *, create: bool) -> int:
    if create:
        with suppress(FileExistsError):
            path.mkdir()
    elif not path.exists():
        raise BackendError(
            f"the directory {path} does not exist",
            why="create is false",
            fix=f'mkdir "{path}", or create = true',
        )
    return os.open(path, _ROOT)


def _made(directory: int, name: str) -> int:
    with suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=directory)
    return enter(directory, name)


def _check_case(directory: int, path: Path) -> None:
    """Refuse a file system where ``A`` and ``a`` are one name."""
    name = f"case-{secrets.token_hex(4)}-a"
    os.close(os.open(name, _FILE, 0o600, dir_fd=directory))
    try:
        os.stat(name.upper(), dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return
    finally:
        os.unlink(name, dir_fd=directory)
    raise BackendError(
        f"the directory {path} cannot hold a blob store",
        why="its file system takes names for one that differ in case only",
        fix="name a directory on another file system",
    )
