"""What is under way for one instance, and what the host holds for it meanwhile: async calls, and streams.

Whoever calls an async function and does not wait for it leaves its arguments with the host, and in the end
its result. There may be so many calls, and so many bytes, of one instance; a guest that wants more traps. The
component model has back-pressure for this, calls that wait before they begin; but how many wait, nobody can
tell or bound, and each costs the engine half a KiB: a guest that begins calls for ever would only be slower.
A stream does wait: who feeds it is ours.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from wasmplex.errors import LimitReached
from wasmplex.packed import PackedRows
from wasmplex.values import Err, Ok, Some

if TYPE_CHECKING:
    from wasmplex.engine.accounts import Account
    from wasmplex.plugins.limits import Limits

__all__ = ["CALL", "Chunks", "InFlight", "weight"]

CALL: Final = 8 << 10
"""Bytes that a call takes besides arguments and result: what waits for it, here and in the engine."""
_PIECE: Final = 1 << 20
"""Bytes by which the memory of the host is asked for."""


class InFlight:
    """The async calls of one instance.

    :ivar calls: how many there are
    :ivar bytes: what the host holds for them
    """

    __slots__ = ("_account", "_charged", "_limits", "_released", "_workload", "bytes", "calls")

    def __init__(self, workload: str, limits: Limits, account: Account) -> None:
        self._workload = workload
        self._limits = limits
        self._account = account
        self._charged = 0
        self._released = False
        self.calls = self.bytes = 0

    def check(self, arguments: int) -> None:
        """Find out whether one more call may begin.

        :param arguments: bytes of its arguments
        :raises wasmplex.errors.LimitReached: if not
        """
        if self.calls >= self._limits.calls_in_flight:
            why = f"it began a call while {self.calls} were under way"
            raise LimitReached(self._workload, "calls_in_flight", why)
        if self.bytes + arguments > self._limits.bytes_in_flight:
            self._refuse(f"it began a call with {arguments} bytes while {self.bytes} were in flight")

    def begin(self, arguments: int) -> int:
        """Note that a call is under way; return what it is reckoned at."""
        self.calls += 1
        self._change(arguments + CALL)
        return arguments + CALL

    def finished(self, cost: int, result: Any) -> int:
        """Note that the result of a call is there; return what it is reckoned at until the guest takes it.

        :raises wasmplex.errors.LimitReached: if there is more than there may be
        """
        if self._released:
            return 0
        size = weight(result)
        self._change(size + CALL - cost)
        if self.bytes > self._limits.bytes_in_flight:
            self._refuse(f"results that it has not taken, and arguments, have {self.bytes} bytes")
        return size + CALL

    def end(self, cost: int) -> None:
        """Note that nothing of a call is left."""
        if self._released:
            return
        self.calls -= 1
        self._change(-cost)

    def release(self) -> None:
        """Give everything back: the instance ends, and with it what is under way, a little later."""
        self._released, self.calls = True, 0
        self._change(-self.bytes)

    def _change(self, size: int) -> None:
        """Take or give back memory of the host. What is here already cannot be refused."""
        self.bytes += size
        tenant, wanted = self._account.tenant, self.bytes // _PIECE * _PIECE
        if wanted > self._charged:
            if tenant.budget.take(tenant, wanted - self._charged):
                self._charged = wanted
        elif wanted < self._charged:
            tenant.budget.give(tenant, self._charged - wanted)
            self._charged = wanted

    def _refuse(self, why: str) -> None:
        raise LimitReached(self._workload, "bytes_in_flight", why)


class Chunks:
    """The chunks of streams and values of futures that one instance has not taken yet.

    :param most: bytes that they may have; a single one may have more
    """

    __slots__ = ("_most", "_waiting", "bytes")

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self.bytes = 0

    async def hold(self, size: int) -> None:
        """Wait until there is room for a chunk, and note it."""
        if not self.hold_at_once(size):
            await self._room(size)

    async def _room(self, size: int) -> None:
        """Wait for room; whoever makes it counts the chunk, so that nobody else takes it first."""
        room = asyncio.get_running_loop().create_future()
        self._waiting.append((size, room))
        try:
            await room
        except asyncio.CancelledError:
            if room.done() and not room.cancelled():
                self.taken(size)
            raise

    def hold_at_once(self, size: int) -> bool:
        """Note a chunk if there is room for it; say whether there is."""
        fits = self._fits(size)
        if fits:
            self.bytes += size
        return fits

    def taken(self, size: int) -> None:
        """Note that a chunk has been taken, or given up."""
        self.bytes -= size
        self._let_in()

    def _fits(self, size: int) -> bool:
        return not self.bytes or self.bytes + size <= self._most

    def _let_in(self) -> None:
        """Let those in who wait, as far as there is room; a small one passes a large one that does not fit.

        The guest may read the small one first. Few are looked at: a chunk makes room for about one.
        """
        passed: list[tuple[int, asyncio.Future[None]]] = []
        while self._waiting and not (self.bytes and self.bytes >= self._most):
            size, room = self._waiting.popleft()
            if room.done():
                continue
            if self._fits(size):
                self.bytes += size
                room.set_result(None)
            else:
                passed.append((size, room))
        self._waiting.extendleft(reversed(passed))


def weight(value: Any) -> int:
    """Return how many bytes a value takes, about: those of text and bytes, and some for all else."""
    match value:
        case str() | bytes() | bytearray() | memoryview():
            return len(value)
        case None | int() | float():
            return 8
        case Ok() | Err() | Some():
            return weight(value.value)
        case PackedRows():
            return value.size
        case [int() | float(), *_]:
            return 8 * len(value)
        case list() | tuple():
            return sum(map(weight, value)) + 8 * len(value)
        case Mapping():
            return sum(weight(key) + weight(part) for key, part in value.items())
    return 8
