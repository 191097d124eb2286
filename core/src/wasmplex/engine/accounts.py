"""Books on memory: what one instance may have, and what all instances of a host may have together.

Every linear memory and every garbage-collected heap is made and grown by the host (`host_memory`), which asks
the instance's `Account`. Tables, whose growth the host is not told of, are taken off from the beginning. What
an account takes is taken from the `MemoryBudget` of the host as well: an eighth of it is divided among the
workloads as what each has for itself, the rest is there for whoever comes first.
"""

from __future__ import annotations

import asyncio
import sys
from threading import Lock
from typing import TYPE_CHECKING, Final, Protocol

import anyio

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["HOST", "OWN", "Account", "LinearMemory", "MemoryBudget", "Tenant"]

_OWN: Final = 8
"""The workloads have this part of a host's memory for themselves."""
_TIGHT, _EASY = 0.875, 0.75
"""Parts of what is common: from the first on idle instances are ended, until it is the second."""
_MOMENT: Final = 0.02
OWN: Final = "limits.memory"
HOST: Final = "[host] memory"


class LinearMemory(Protocol):
    """A linear memory of an instance, see `wasmplex.engine.host_memory.HostMemory`."""

    base: int
    size: int
    maximum: int

    def read(self, at: int, count: int) -> bytes:
        """Return the bytes at [at, at + count)."""

    def write(self, at: int, data: bytes | bytearray | memoryview) -> None:
        """Write bytes at [at, at + len(data))."""


class Tenant:
    """A workload, as far as it takes memory of a host.

    :ivar used: bytes that its instances have
    :ivar reclaim: ends an instance that nobody uses; returns False if there is none
    """

    __slots__ = ("budget", "reclaim", "used")

    def __init__(self, budget: MemoryBudget) -> None:
        self.budget = budget
        self.used = 0
        self.reclaim: Callable[[], bool] = bool


class MemoryBudget:
    """The memory of a host. It may be taken and given back in any thread.

    :param total: bytes
    :param workloads: how many there will be
    :ivar used: bytes that instances have
    :ivar loop: the event loop in which instances may be ended and waited for; None while there is none
    """

    def __init__(self, total: int = sys.maxsize, workloads: int = 1) -> None:
        self.total = total
        self.used = 0
        self._own = total // _OWN // max(workloads, 1)
        self._common = total - self._own * max(workloads, 1)
        self._taken = 0
        """Bytes of what is common."""
        self._lock = Lock()
        self._tenants: list[Tenant] = []
        self._waiting: list[asyncio.Future[None]] = []
        self.loop: asyncio.AbstractEventLoop | None = None
        self._trimming = False

    def tenant(self) -> Tenant:
        """Return the books of one more workload."""
        tenant = Tenant(self)
        self._tenants.append(tenant)
        return tenant

    def leave(self, tenant: Tenant) -> None:
        """Close the books of a workload that has ended."""
        self._tenants.remove(tenant)

    def take(self, tenant: Tenant, size: int) -> bool:
        """Take bytes for a workload; return False if there are not so many."""
        with self._lock:
            extra = max(tenant.used + size - self._own, 0) - max(tenant.used - self._own, 0)
            if self._taken + extra > self._common:
                return False
            self._taken += extra
            tenant.used += size
            self.used += size
        if self._taken > self._common * _TIGHT and not self._trimming and self.loop is not None:
            self._trimming = True
            self.loop.call_soon_threadsafe(self._trim)
        return True

    def give(self, tenant: Tenant, size: int) -> None:
        """Give bytes of a workload back."""
        with self._lock:
            self._taken -= max(tenant.used - self._own, 0) - max(tenant.used - size - self._own, 0)
            tenant.used -= size
            self.used -= size
        if self._waiting and self.loop is not None:
            self.loop.call_soon_threadsafe(self._wake)

    async def reserve(self, tenant: Tenant, size: int, patience: float) -> bool:
        """Take bytes for a workload; end idle instances for them, or wait, if need be.

        :param patience: seconds
        :return: False if there were not so many in this time
        """
        if self.take(tenant, size):
            return True
        self.loop = asyncio.get_running_loop()
        with anyio.move_on_after(patience):
            while True:
                used, ended = self.used, self._end_idle()
                if self.take(tenant, size):
                    return True
                if not ended:
                    await self._freed()
                elif self.used >= used:  # it ends in another thread
                    with anyio.move_on_after(_MOMENT):
                        await self._freed()
        return False

    async def _freed(self) -> None:
        assert self.loop is not None  # noqa: S101  the caller has set it
        freed: asyncio.Future[None] = self.loop.create_future()
        self._waiting.append(freed)
        try:
            await freed
        finally:
            if freed in self._waiting:
                self._waiting.remove(freed)

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for freed in waiting:
            if not freed.done():
                freed.set_result(None)

    def _end_idle(self) -> bool:
        """End an idle instance of the workload that has most, of those that have one."""
        return any(tenant.reclaim() for tenant in sorted(self._tenants, key=_used, reverse=True))

    def _trim(self) -> None:
        """End idle instances until there is room again, so that those at work can grow."""
        self._trimming = False
        while self._taken > self._common * _EASY and self._end_idle():
            pass


class Account:
    """The memory of one instance.

    :param limit: bytes that it may have
    :ivar used: bytes that it has
    :ivar asked: bytes that it has, or was refused last
    :ivar refused: what the last refusal was for: its own limit, or that of the host; empty if there was none
    :ivar memories: its linear memories in the order in which they were made
    """

    __slots__ = ("_prepaid", "asked", "limit", "memories", "refused", "tenant", "used")

    def __init__(self, tenant: Tenant, limit: int) -> None:
        self.tenant = tenant
        self.limit = limit
        self.used = self.asked = 0
        self.refused = ""
        self.memories: list[LinearMemory] = []
        self._prepaid = 0

    async def prepay(self, size: int, patience: float) -> bool:
        """Reserve memory for what is to be taken; see `MemoryBudget.reserve`."""
        if await self.tenant.budget.reserve(self.tenant, size, patience):
            self._prepaid = size
            return True
        self.refused = HOST
        return False

    def settle(self) -> None:
        """Give back what was reserved and not taken."""
        rest, self._prepaid = self._prepaid, 0
        if rest:
            self.tenant.budget.give(self.tenant, rest)

    def take(self, size: int) -> bool:
        """Take bytes; return False if they may not be had."""
        self.asked = self.used + size
        if self.asked > self.limit:
            self.refused = OWN
            return False
        prepaid = min(self._prepaid, size)
        if not self.tenant.budget.take(self.tenant, size - prepaid):
            self.refused = HOST
            return False
        self._prepaid -= prepaid
        self.used += size
        return True

    def give(self, size: int) -> None:
        """Give bytes back."""
        self.used -= size
        self.tenant.budget.give(self.tenant, size)


def _used(tenant: Tenant) -> int:
    return tenant.used
