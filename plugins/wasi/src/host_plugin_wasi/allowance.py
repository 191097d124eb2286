"""How many file descriptors a workload may hold: a guest must not use up those of the host."""

from __future__ import annotations

import errno
import os
import resource
from threading import Lock

from wasmplex.plugin import WorkloadContext

__all__ = ["Allowance"]

_SHARE = 4
_LEAST = 16


def _limit() -> int:
    """Return a quarter of what this process may have open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(_LEAST, soft // _SHARE) if soft != resource.RLIM_INFINITY else 2**31


class Allowance:
    """A count of files, directories and sockets together, kept by all instances of a workload.

    :ivar limit: the most there may be
    :ivar used: how many there are
    """

    def __init__(self, limit: int | None = None) -> None:
        self.limit = _limit() if limit is None else limit
        self.used = 0
        self._lock = Lock()

    @classmethod
    def of(cls, workload: WorkloadContext) -> Allowance:
        """Return the one allowance of a workload."""
        found: Allowance = workload.shared.setdefault(cls, cls())
        return found

    def take(self) -> None:
        """Count one more.

        :raises OSError: EMFILE, if there are as many as there may be
        """
        with self._lock:
            if self.used >= self.limit:
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            self.used += 1

    def give(self) -> None:
        """Count one less."""
        with self._lock:
            self.used -= 1
