"""One open file: an object that is read, or one that is being written and is not there yet.

Their methods block and are called in threads. A call may be given up and go on in its thread, so each file
has a lock: it is closed when that call has ended, and never while its number could be used for another file.
"""

from __future__ import annotations

import errno
import os
import stat
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from threading import Lock

__all__ = ["COPY_STEP", "Source", "Staged", "Staging"]

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY

_SYNC_EVERY = 64 << 20
"""Bytes after which what was written is sent to the disk, so that the end does not wait for all of it."""

_AHEAD = 3 << 18
"""Bytes that the system is asked to read ahead of what is read from the disk: pieces that are then cached."""
_ADVISES = hasattr(os, "posix_fadvise")

_TELLS = hasattr(os, "RWF_NOWAIT")
"""Whether the system can tell what is in memory."""
_TELLS_NOT = {errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}
"""The file system cannot."""

_FEW = 4
"""Pieces that are written one by one; of more, which are small, it takes longer than to copy them."""

_NO_OBJECT = {errno.ENOENT, errno.ENXIO, errno.ENOTDIR, errno.ELOOP, errno.ENODEV}
"""Nothing, a socket, a link, a device without a driver."""

_NO_RANGES = {errno.ENOSYS, errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.EPERM}
"""The file system cannot copy by itself."""

COPY_STEP = 16 << 20
"""Bytes that are copied in one step."""


class _File:
    _number = -1

    def __init__(self, number: int) -> None:
        self._lock = Lock()
        self._number = number

    def close(self) -> None:
        """Close it; doing so again does nothing."""
        with self._lock:
            number, self._number = self._number, -1
            if number >= 0:
                os.close(number)

    def __del__(self) -> None:
        if self._number >= 0:  # the call that opened it was given up: its result went to nobody
            self.close()

    def _open(self) -> int:
        if self._number < 0:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return self._number


class Source(_File):
    """An object that is read: what it was when it was opened, whatever becomes of its name.

    :ivar size: in bytes
    """

    def __init__(self, directory: int, name: str) -> None:
        """Open a regular file.

        :raises FileNotFoundError: if there is none of that name; a link, a directory or a device is none
        """
        try:
            number = os.open(name, _READ, dir_fd=directory)
        except OSError as error:
            if error.errno in _NO_OBJECT:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)) from None
            raise
        super().__init__(number)
        self._tells = _TELLS
        found = os.fstat(number)
        if not stat.S_ISREG(found.st_mode):
            self.close()
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        self.size = found.st_size

    def read(self, length: int, offset: int) -> bytes:
        """Return bytes from an offset on, fewer at the end of the file only, and have some more cached."""
        with self._lock:
            number = self._open()
            data = os.pread(number, length, offset)
            if _ADVISES:
                os.posix_fadvise(number, offset + length, _AHEAD, os.POSIX_FADV_WILLNEED)
            return data

    def read_cached(self, buffer: memoryview, offset: int) -> int:
        """Fill a buffer from an offset on, as far as that needs no disk; return how many bytes it has.

        Does not block.
        """
        if not self._tells or not self._lock.acquire(blocking=False):
            return 0
        try:
            return os.preadv(self._open(), [buffer], offset, os.RWF_NOWAIT)
        except BlockingIOError:  # not in memory
            return 0
        except OSError as error:  # what else there is to say of it, `read` says
            self._tells = error.errno not in _TELLS_NOT
            return 0
        finally:
            self._lock.release()

    def copy_to(self, target: Staged, offset: int) -> int:
        """Copy up to `COPY_STEP` bytes from an offset on; return how many, 0 at the end."""
        with self._lock:
            return target.copy_from(self._open(), offset)


class Staging(ABC):
    """Where objects are while they are written.

    :ivar given_up: files whose writers went to nobody; removed when the next one is made, or at the end
    """

    def __init__(self) -> None:
        self.given_up: deque[str] = deque()

    def tidy(self) -> None:
        """Remove what was given up."""
        with suppress(IndexError):  # another thread may have taken the last one
            while self.given_up:
                self.remove(self.given_up.popleft())

    @abstractmethod
    def create(self) -> tuple[str, int]:
        """Make a file; return its name and its number."""

    @abstractmethod
    def place(self, name: str, directory: int, target: str) -> None:
        """Put a file in its place in a directory, instead of what is there."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""


class Staged(_File):
    """An object that is being written, in the staging directory until it is put in its place."""

    def __init__(self, staging: Staging) -> None:
        self._written = self._synced = 0
        self._staging = staging
        staging.tidy()
        self._name, number = staging.create()
        super().__init__(number)

    def write(self, pieces: Sequence[bytes]) -> None:
        """Add bytes at the end."""
        if len(pieces) > _FEW:
            pieces = [b"".join(pieces)]
        with self._lock:
            number = self._open()
            for piece in pieces:
                view = memoryview(piece)
                while view:
                    view = view[os.write(number, view) :]
                self._grown(number, len(piece))

    def copy_from(self, source: int, offset: int) -> int:
        """Add bytes of an open file; return how many, 0 at its end."""
        with self._lock:
            number = self._open()
            try:
                count = os.copy_file_range(source, number, COPY_STEP, offset)
            except OSError as error:
                if error.errno not in _NO_RANGES:
                    raise
                count = os.sendfile(number, source, offset, COPY_STEP)
            self._grown(number, count)
            return count

    def _grown(self, number: int, count: int) -> None:
        self._written += count
        if self._written - self._synced >= _SYNC_EVERY:
            os.fdatasync(number)
            self._synced = self._written

    def sync(self) -> None:
        """Have all of it on disk."""
        with self._lock:
            os.fsync(self._open())

    def place(self, directory: int, name: str) -> None:
        """Put it in its place in a directory, instead of what is there.

        :raises OSError: ENOENT if the directory was removed meanwhile
        """
        with self._lock:
            self._staging.place(self._name, directory, name)
            self._name = ""

    def discard(self) -> None:
        """Close it, and remove it unless it is in its place."""
        self.close()
        with self._lock:
            name, self._name = self._name, ""
        if name:
            self._staging.remove(name)

    def __del__(self) -> None:
        if self._number >= 0:  # perhaps on the event loop, where nothing is removed
            self.close()
            self._staging.given_up.append(self._name)
