"""What a workload may hold of the host's file descriptors and threads: a guest must not use them up."""

from __future__ import annotations

import errno
import os
import resource
from threading import RLock

from wasmplex.plugin import Threads, WorkloadContext

__all__ = ["Allowance"]

_SHARE = 4
_LEAST = 16


def _limit() -> int:
    """Return a quarter of what this process may have open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(_LEAST, soft // _SHARE) if soft != resource.RLIM_INFINITY else 2**31


class Allowance:
    """A count of files, directories and sockets together, kept by all instances of a workload.

    :param limit: the most there may be, if that is not more than the process can spare
    :ivar limit: the most there may be
    :ivar used: how many there are
    :ivar threads: what blocks is called in these
    """

    def __init__(self, limit: int = 2**31, name: str = "") -> None:
        self.limit = min(limit, _limit())
        self.used = 0
        self.threads = Threads(f"wasi {name}")
        self._lock = RLock()
        """The garbage collector may give back in the middle of `take`."""

    @classmethod
    def of(cls, workload: WorkloadContext) -> Allowance:
        """Return the one allowance of a workload."""
        if cls not in workload.shared:
            workload.shared[cls] = cls(workload.limits.descriptors, workload.name)
        found: Allowance = workload.shared[cls]
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
