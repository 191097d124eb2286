"""Standard error: messages and log lines. Nothing that becomes of it may become of the host.

The reader may be gone, the disk full, the descriptor closed: what is written then is lost, and counted. And a
reader that is still there may not read. A host that serves does not wait for it: what a pipe does not take is
kept, up to a bound, and written by a thread that may wait.
"""

from __future__ import annotations

import io
import os
import select
import sys
import threading
from collections import deque
from typing import TYPE_CHECKING

from wasmplex.cli.descriptors import wait_until_writable
from wasmplex.logs import get_logger

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["Messages", "finish", "never_wait"]

log = get_logger("wasmplex.messages")

_MOST = 2**20
"""Bytes that are kept for a reader that does not read."""
_PIECE = 4096
"""Bytes that a pipe takes which takes any (``PIPE_BUF``)."""
_PATIENCE = 1.0
"""Seconds that messages get to be read when the process ends."""


class Messages(io.RawIOBase):
    """Standard error as bytes.

    :param descriptor: where to
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._poll: select.poll | None = None  # waits for what is not taken at once while there is none
        self._lock = threading.RLock()
        self._kept: deque[bytes] = deque()
        self._size = 0  # bytes in it
        self._thread: threading.Thread | None = None
        self._lost = 0

    def writable(self) -> bool:
        """Return True."""
        return True

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._descriptor

    def isatty(self) -> bool:
        """Say whether it is a terminal."""
        return os.isatty(self._descriptor)

    def never_wait(self) -> None:
        """From now on keep what is not taken at once."""
        if hasattr(select, "poll"):
            self._poll = select.poll()
            self._poll.register(self._descriptor, select.POLLOUT)

    def write(self, data: ReadableBuffer) -> int:
        """Write a message, keep it, or lose it; in whatever thread."""
        left = memoryview(data).cast("B")
        with self._lock:
            if self._thread is not None:
                self._keep(left)
                return len(left)
            written = self._write_all(left) if self._poll is None else self._write_some(left, self._poll)
            lost = self._lost if written else 0
            self._lost -= lost
        if lost:
            log.warning("%d messages were lost: standard error did not take them", lost)
        return len(left)

    def finish(self) -> None:
        """Give the reader a moment to read what is kept."""
        thread = self._thread
        if thread is not None:
            thread.join(_PATIENCE)

    # ------------------------------------------------------------ writing

    def _write_all(self, left: memoryview) -> bool:
        """Write a message, however long that takes; say whether it was not lost."""
        while left:
            try:
                left = left[os.write(self._descriptor, left) :]
            except BlockingIOError:
                wait_until_writable(self._descriptor)
            except OSError:
                self._lost += 1
                return False
        return True

    def _write_some(self, left: memoryview, poll: select.poll) -> bool:
        """Write as much of a message as is taken at once, keep the rest; say whether it was not lost."""
        while left:
            if not poll.poll(0):
                return self._keep(left)
            try:
                left = left[os.write(self._descriptor, left[:_PIECE]) :]
            except BlockingIOError:
                continue  # less room than poll told
            except OSError:
                self._lost += 1
                return False
        return True

    def _keep(self, left: memoryview) -> bool:
        if self._size + len(left) > _MOST:
            self._lost += 1
            return False
        self._kept.append(bytes(left))
        self._size += len(left)
        if self._thread is None:
            self._thread = threading.Thread(target=self._catch_up, name="wasmplex-messages", daemon=True)
            self._thread.start()
        return True

    def _catch_up(self) -> None:
        """Write what is kept, however long that takes."""
        while True:
            with self._lock:
                if not self._kept:
                    self._thread = None
                    return
                data = self._kept[0]
            self._write_all(memoryview(data))
            with self._lock:
                self._kept.popleft()
                self._size -= len(data)


def _messages() -> Messages | None:
    raw = getattr(sys.stderr, "buffer", None)
    return raw if isinstance(raw, Messages) else None


def never_wait() -> None:
    """Have standard error never hold up this process."""
    if (messages := _messages()) is not None:
        messages.never_wait()


def finish() -> None:
    """Give messages that are kept a moment to be read, before the process ends."""
    if (messages := _messages()) is not None:
        messages.finish()
