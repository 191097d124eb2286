"""File descriptors with an owner count, so that none is closed under a system call or left open."""

from __future__ import annotations

import errno
import os
from threading import Lock
from types import TracebackType

__all__ = ["Handle"]


class Handle:
    """An open file descriptor and the number of those who hold it; the last to let go closes it.

    Descriptors and streams hold it, and so does every call in a worker thread while it runs: a
    cancelled call leaves its thread behind, and the number must not be another file's by then.
    ``with handle as fd:`` holds it for a moment.
    """

    __slots__ = ("_fd", "_holders", "_lock")

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._holders = 1
        self._lock = Lock()

    def hold(self) -> Handle:
        """Become one more holder.

        :raises OSError: EBADF, if it is closed already
        """
        with self._lock:
            if not self._holders:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            self._holders += 1
        return self

    def release(self) -> None:
        """Let go."""
        with self._lock:
            self._holders -= 1
            last = self._holders == 0
        if last:
            os.close(self._fd)

    def __enter__(self) -> int:
        self.hold()
        return self._fd

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def __del__(self) -> None:
        # Opened by a call that was cancelled before it could take the result.
        if self._holders > 0:
            self._holders = 0
            os.close(self._fd)
