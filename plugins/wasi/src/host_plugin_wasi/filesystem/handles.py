"""File descriptors with an owner count, so that none is closed under a system call or left open."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from threading import Lock
from types import TracebackType
from typing import Any

from wasmplex.plugin import Threads

from host_plugin_wasi.allowance import Allowance

__all__ = ["Handle"]


class Handle:
    """An open file descriptor and the number of those who hold it; the last to let go closes it.

    Descriptors and streams hold it, and so does every call in a worker thread while it runs: a
    cancelled call leaves its thread behind, and the number must not be another file's by then.
    ``with handle as fd:`` holds it for a moment. The caller that opens it is its first holder.

    :param opener: returns the file descriptor
    :ivar allowance: what it is counted in
    :raises OSError: EMFILE if there is no allowance left; and what `opener` raises
    """

    __slots__ = ("_fd", "_holders", "_lock", "allowance")

    def __init__(self, allowance: Allowance, opener: Callable[..., int], *args: Any, **kwargs: Any) -> None:
        self._holders = 0
        self._lock = Lock()
        self.allowance = allowance
        allowance.take()
        try:
            self._fd = opener(*args, **kwargs)
        except BaseException:
            allowance.give()
            raise
        self._holders = 1

    @property
    def threads(self) -> Threads:
        """The threads of the workload that it belongs to."""
        return self.allowance.threads

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
            self._close()

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
            self._close()

    def _close(self) -> None:
        os.close(self._fd)
        self.allowance.give()
