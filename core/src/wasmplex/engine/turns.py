"""Shares the event loop among guests: how long they run in one turn of it, and who is next.

As long as guests take little time they run when they are ready to. The first one after a round opens another
*round*: for 5 to 10 ms, others may run as well, in this turn of the loop and in those that follow. That is
enough for many short calls: one that waits keeps its instance, and who comes meanwhile takes another, which
is in no cache of the processor. Another round is opened in another turn of the loop only, so one turn has at
most two. Whoever comes later, or has used up two time slices, waits in a queue: of its workload, so that many
instances of one workload count as one. While somebody waits everybody does, and each turn of the loop lets a
few go on: of the workload that has had the least time, calls that have just begun or come back from the host
before those that compute. Such a call does not wait at all while its workload has had less time than those
that do: one that is seldom called is answered between two rounds.

While somebody computes, a round is one time slice, and the loop has some turns between two rounds: what has
come is read, answered and written there. So it waits for the rest of a slice, and not for one at each step.

Time is counted in ticks that passed while a guest of the workload ran. That is as good as a clock on the
average, and costs next to nothing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from wasmplex.engine.ticker import Ticker

__all__ = ["Share", "Turns"]

_MOST: Final = 64
"""Guests that one round lets go on at most."""
_SHORT_TICKS: Final = 3
"""Ticks that a round takes when they are short, and nobody has computed lately; else one."""
_LATELY: Final = 50
"""Ticks for which it matters that somebody has computed."""
_PAUSE: Final = 4
"""Turns of the loop between two rounds while somebody computes. A small request takes three."""
_ROUNDS: Final = 8
"""After how many rounds in a row ticks are to be short, though nobody who waits has used up a time slice."""
_CREDIT: Final = 2
"""Ticks that the calls of a workload may take without waiting, which wanted none while others had theirs."""


class Share:
    """The guests of one workload, as far as they wait for the processor.

    :ivar spent: ticks that they have had
    """

    __slots__ = ("_computing", "_fresh", "_was_fresh", "served", "spent")

    def __init__(self) -> None:
        self.spent = 0
        self.served = 0
        """The round that it was last served in, to decide between equals."""
        self._fresh: deque[asyncio.Future[None]] = deque()
        self._computing: deque[asyncio.Future[None]] = deque()
        self._was_fresh = False

    def add(self, turn: asyncio.Future[None], *, computing: bool) -> None:
        """Put a guest at the end of the queue."""
        (self._computing if computing else self._fresh).append(turn)

    def put_back(self, turn: asyncio.Future[None], *, computing: bool) -> None:
        """Put a guest at the front, that was let go on and came too late."""
        (self._computing if computing else self._fresh).appendleft(turn)

    def next(self) -> asyncio.Future[None] | None:
        """Return who is next: in turns one that has just come and one that computes, if there are both."""
        first, second = self._fresh, self._computing
        if self._was_fresh:
            first, second = second, first
        for queue in (first, second):
            while queue:
                if not (turn := queue.popleft()).done():  # else its call was cancelled meanwhile
                    self._was_fresh = queue is self._fresh
                    return turn
        return None

    @property
    def computes(self) -> bool:
        """Whether somebody waits who has used up a time slice."""
        return bool(self._computing)

    def clear(self) -> None:
        """Forget who waits."""
        self._fresh.clear()
        self._computing.clear()

    def __bool__(self) -> bool:
        return bool(self._fresh or self._computing)


class Turns:
    """Decides which guests run in a turn of the event loop.

    Before a guest runs, whoever drives it compares: with ``ticker.ticks >= turns.until and not
    turns.begin()`` it has to `wait`.

    :ivar until: the number of ticks from which on no guest begins to run unless it has waited
    """

    def __init__(self, ticker: Ticker) -> None:
        self._ticker = ticker
        self.until = -1
        self._ends = -1
        """The same for those that have waited; -1 until the first of them begins."""
        self._loop: asyncio.AbstractEventLoop | None = None
        """The loop in which a round was opened in this turn, or somebody waits; None if neither is so."""
        self._waiting: dict[Share, None] = {}
        self._let_go = 0
        """Guests that were let go on and have not begun."""
        self._late = 0
        """Those that came too late in this round."""
        self._size = _MOST
        """How many guests the next round lets go on."""
        self._computes = False
        """Whether somebody waits who computes."""
        self._lately = -1
        """The number of ticks up to which it matters that somebody has."""
        self._paused = 0
        """Turns of the loop since the last round began."""
        self._overtaking = -1
        """The number of ticks from which on no call overtakes in this turn; -1 until the first one does."""
        self._rounds = 0
        self._pressing = 0
        """Rounds in a row after which somebody still waited."""
        self._clock = 0
        """What the workload had spent that was served last."""

    def begin(self) -> bool:
        """Open a round, if none was in this turn of the loop; say whether the caller may run a guest."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # driven by hand, without an event loop
            return True
        if self._loop is loop:
            return False
        if self._loop is not None:
            self._forget()
        self._loop = loop
        self._overtaking = -1
        self._paused = 0
        self.until = self._end()
        loop.call_soon(self._turn)
        return True

    def _end(self) -> int:
        """Return the number of ticks at which a round ends that begins now."""
        ticks = self._ticker.ticks
        return ticks + (_SHORT_TICKS if self._ticker.short and ticks > self._lately else 1)

    def _forget(self) -> None:
        """Forget a loop that has ended before those had their turn that wait in it."""
        for share in self._waiting:
            share.clear()
        self._waiting.clear()
        self._let_go = self._late = 0

    async def wait(self, share: Share, *, computing: bool) -> None:
        """Wait until a guest may run.

        :param share: of its workload
        :param computing: whether it has used up a time slice
        """
        self.begin()
        if self._loop is None:
            await asyncio.sleep(0)
            return
        if not computing and self._may_overtake(share):
            return
        if computing:
            self._computes, self._lately = True, self._ticker.ticks + _LATELY
        self.until = -1  # while somebody waits everybody does
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        share.add(turn, computing=computing)
        if share not in self._waiting:
            share.spent = max(share.spent, self._clock)  # what it did not want before is not saved up
            self._waiting[share] = None
        while not await self._its_turn(turn):
            turn = asyncio.get_running_loop().create_future()
            share.put_back(turn, computing=computing)
            self._waiting[share] = None

    def _may_overtake(self, share: Share) -> bool:
        """Say whether a call that has just come need not wait, for its workload has had less than the others.

        So much less, at most, that it may do so for `_CREDIT` ticks without a pause; and all that do so in a
        turn of the loop have as many together.
        """
        if share in self._waiting or share.spent >= self._clock:
            return False
        if self._overtaking < 0:
            self._overtaking = self._ticker.ticks + _CREDIT
        elif self._ticker.ticks >= self._overtaking:
            return False
        share.spent = max(share.spent, self._clock - _CREDIT)
        self._ticker.hurried = self._ticker.hurried or self._computes
        return True

    async def _its_turn(self, turn: asyncio.Future[None]) -> bool:
        """Wait until a guest is let go on; say whether that is not too late in the round."""
        try:
            await turn
        except BaseException:
            self._let_go -= turn.done() and not turn.cancelled()
            raise
        self._let_go -= 1
        if self._ends < 0:
            self._ends = self._end()
            if not self._waiting and not self._computes:
                self.until = self._ends
        elif self._ticker.ticks >= self._ends:
            self._late += 1
            return False
        return True

    def _turn(self) -> None:
        """End a round, in the next turn of the loop; begin another if somebody waits."""
        self._overtaking = -1
        if not self._let_go and not self._waiting:
            self._loop, self._computes = None, False
            return
        self.until = -1
        asyncio.get_running_loop().call_soon(self._turn)
        if self._let_go:  # they are woken in this turn of the loop
            return
        self._paused += 1
        self._computes = any(share.computes for share in self._waiting)
        if not self._computes or self._paused > _PAUSE:
            self._let_go_on()

    def _let_go_on(self) -> None:
        """Begin a round of those that wait."""
        self._paused = 0
        self._size = max(1, self._size - self._late) if self._late else min(self._size * 2, _MOST)
        self._late, self._ends = 0, -1
        self._rounds += 1
        for _ in range(self._size):
            if not self._let_one_go():
                break
        if not self._waiting:
            self._pressing = 0
            return
        self._pressing += 1  # somebody waits for longer than a round: let it be short, if that is of use
        if self._pressing > _ROUNDS or self._computes:
            self._ticker.pressed = True

    def _let_one_go(self) -> bool:
        while self._waiting:
            share = min(self._waiting, key=_order)
            turn = share.next()
            if not share:
                del self._waiting[share]
            if turn is not None:
                self._clock = max(self._clock, share.spent)
                share.served = self._rounds
                self._let_go += 1
                turn.set_result(None)
                return True
        return False


def _order(share: Share) -> tuple[int, int]:
    return share.spent, share.served
