"""What adapters and the host have agreed on: blocks, orders, events, and who has what at which address.

The host's side takes the names from here, and the WAT of the adapters is filled from here: ``@ARENA@`` in it
is `ARENA`. docs/internals/bridge.md tells how they work together.

Memory of calls, of each adapter::

    RESULTS     pointer and length that canonical ABI results of imported functions are returned by
    ENDS        both ends of a stream or future that is made for, or by, another adapter
    POLLED      payload of waitable-set.poll
    MADE        where the entry of the next call of a series is (`wasmplex.bridge.series`)
    PAUSED      written by the host: not 0 if no further call of the series is to be made
    DROPPED     the representation of a resource of the host whose handle is gone, where the host sees it
    ROUSE       written by the host, during a direct call: the record of a task to wake after it, or 0
    TO          where an answer with data out of line goes, if there can be one
    MORE        written by the host: bytes that the answer needs, where it has not been put in place
    SLOTS       the flat values of the call, 8 bytes each
    RESULT      an answer without data out of line
    ORDERS      written by the host, where it sees the memory: orders to be followed one after the other, each
                with its operands, in the place of which the machine puts its outcome
    WRITABLES   the writable ends of streams and futures that were made in the places of numbers, by these
    EVENTS      what a task is told besides the event that it is told of
    TASKS       task records (`TASK_BYTES` each), up to BLOCKS
    BLOCKS      written by the host: arguments of calls that are begun by one list of orders
    ARENA       arguments and results of the one core call that runs; empty between calls

Two further memories are for streams: one for elements that are all in line, which has the digits of packed
chunks at `DIGITS`, below the buffers, and one for those that point at something, where what is pointed at
begins at `STREAM_HEAP`, above the buffers.
"""

from __future__ import annotations

import re
from enum import IntEnum
from typing import Final

__all__ = [
    "ARENA", "ASCII", "BLOCKS", "BLOCK_BYTES", "BUFFERS", "DROPPED", "EMPTY_ARENA", "EMPTY_HEAP", "ENDS",
    "EVENTS", "EVENTS_MOST", "FINAL", "FOLLOWED", "FULL", "HEADER", "HEAP_END", "LARGE", "MADE", "MORE",
    "NUMBERS", "ORDERS", "ORDERS_MOST", "PACKED", "PAUSED", "PIECE", "POLLED", "RESULT", "RESULTS",
    "RESULT_BYTES", "ROOM", "ROUSE", "SERVE", "SLACK", "SLOTS", "STREAM_HEAP", "TASKS", "TASK_BYTES", "TO",
    "WRITABLES", "Event", "First", "Op", "fill",
]  # fmt: skip

# ---------------------------------------------------------------- blocks

HEADER: Final = 16
"""Bytes before the values in a block that the host sends; keeps what follows 16-aligned. Two words of it mean
something: the first is a `First`, the second depends on it."""


class First(IntEnum):
    """The first word of a block that the host sends."""

    PENDING = 0
    """Of an async function: it has not finished."""
    DONE = 1
    """Values follow. The second word is the record of a task to wake, or 0."""
    EXCHANGE = 2
    """Entries follow, as many as the second word says: (built-in << 1 | what, handle), see `$exchange`."""
    GROW = 3
    """The block was kept back, and has as many bytes as the second word says; make room and ask again."""


PACKED: Final = 1 << 31
"""Added to the number of a function or task: the block beside it is packed (`wasmplex.bridge.packing`)."""
ASCII: Final = 1
"""See `Op.FILL`. The engine copies ASCII as a whole, and all else byte by byte."""
SERVE: Final = (1 << 31) - 1
"""In the place of the number of a function: the call is one that makes others, by `Op.ENTER`."""
ROOM: Final = 1 << 16
"""Bytes that are free behind the arena for an answer that the host puts in place itself."""

# ---------------------------------------------------------------- memory

RESULTS: Final = 16
ENDS: Final = 24
POLLED: Final = 32
MADE: Final = 40
PAUSED: Final = 44
HEAP_END: Final = 8
"""Of the second memory of streams: where what elements point at ends, 0 if there is nothing."""
DROPPED: Final = 48
ROUSE: Final = 124
TO: Final = 128
MORE: Final = 132
SLOTS: Final = 136
RESULT: Final = 272
RESULT_BYTES: Final = 512
ORDERS: Final = 1024
ORDERS_MOST: Final = 64
"""How many are given at once, 16 bytes each."""
WRITABLES: Final = ORDERS + 16 * ORDERS_MOST
NUMBERS: Final = 64
"""Numbers for streams and futures that are to be made, 4 bytes each."""
EVENTS: Final = WRITABLES + 4 * NUMBERS
EVENTS_MOST: Final = 64
"""How many there are at once besides the first, behind 16 bytes with their number, 16 bytes each."""
TASKS: Final = EVENTS + 16 + 16 * EVENTS_MOST
TASK_BYTES: Final = 16
ARENA: Final = 1 << 20
FULL: Final = 1 << 20
"""Bytes of results in it from which on no further call begins before it can be emptied."""
LARGE: Final = 1 << 27
"""Bytes of a result that need an order of their own."""
BLOCK_BYTES: Final = HEADER + 8 * 16 + 16
"""Room for as many flat values as the canonical ABI passes."""
BLOCKS: Final = ARENA - BLOCK_BYTES * ORDERS_MOST
STREAM_HEAP: Final = 1 << 22
PIECE: Final = 60 << 10
"""Bytes of a buffer that cross at once as a string: room for the digits of more is had from the system, each
time anew."""
DIGITS: Final = 64
SLACK: Final = 16
"""Bytes behind a buffer that whoever fills it may overwrite."""
BUFFERS: Final = DIGITS + 2 * PIECE + 64
"""Where the buffers begin in the first memory of streams."""
_TASK: Final = {"ASLEEP": 0, "SET": 4, "READER": 8, "WRITER": 12}
"""Fields of a task record: whether it sleeps (in a free record: the next free one), its waitable set, both
ends of its wake stream."""

# ---------------------------------------------------------------- events and orders


class Event(IntEnum):
    """What `step` is told; those up to `CANCELLED` are the component model's own."""

    NONE = 0
    SUBTASK = 1
    STREAM_READ = 2
    CANCELLED = 6
    OPERATION = 100
    """The outcome of the order before."""
    START = 101
    RETURNED = 102


class Op(IntEnum):
    """What `step` may tell a task to do; bits 8 to 31 are `index`, the high half is `operand`."""

    EXIT = 0
    YIELD = 1
    WAIT = 2
    RETURN = 3
    """Take the result of function `index` and return it to the guest."""
    WAKE = 4
    """Wake the task whose record is `operand`."""
    NEXT = 5
    """Suspend the store until the host has something for it."""
    CANCELLED = 6
    """Resolve this task as cancelled."""
    NEW = 7
    """Make a stream or future by built-in `index`; the outcome is its readable and its writable end."""
    ONE = 8
    """Call built-in `index`, one handle in (`operand`), one number out."""
    DROP = 9
    """Call built-in `index`, one handle in (`operand`), nothing out."""
    COPY = 10
    """Read from or write to stream `operand` by built-in `index`; the operands are pointer and count."""
    COPY_ONE = 11
    """The same for a future; the operand is the pointer."""
    FILL = 12
    """Copy the host's chunk into stream memory `index`; operands are where to, and of what it is made: 0 is
    bytes, `ASCII` bytes none of which is above 127, and any more are so many digits to make bytes of."""
    EMIT = 13
    """Hand a piece of stream memory `index` to the host; the operands are pointer and length.

    A length of -1 is up to the end of the heap.
    """
    JOIN = 14
    """Add waitable `operand` to this task's set."""
    LEAVE = 15
    """Take waitable `operand` out of its set."""
    GROW = 16
    """Have at least `operand` bytes of stream memory `index`; 0 empties the heap of the second."""
    DOZE = 17
    """Wait like `WAIT`, where the wake stream is being read already."""
    DELIVER = 18
    """Hand the result of the guest's function to the host; drop its subtask `operand`, if there is one."""
    FINISH = 19
    """Return from ``call`` and exit."""
    TOP = 20
    """The outcome is where the next block will lie; with an `index` of 1 the arena is emptied before."""
    ENTER = 21
    """Call exported function `index` with the block at `operand`, or with that which ``take`` gives if it is
    0; the outcome is the status of the subtask and where its result will lie. If it has returned there is no
    subtask; the number in its place is the size of the result where `RESULT` has been followed, else 0."""
    RESULT = 22
    """Hand to the host what lies from `operand` on: the result of a call of function `index` by `ENTER`. The
    outcome is where it lies and how long it is, where the host sees that."""
    FORGET = 23
    """Drop subtask `operand`, which has returned."""
    COPY_OR_YIELD = 24
    """As `COPY`, but where the other end is not ready the task yields, and its next event is the outcome: the
    host, which would say so, is not asked. The stream is in the task's set."""
    WRITE_ALL = 25
    """As `COPY_OR_YIELD`, for writing: again and again until all is written or the other end not ready. The
    outcome is of all of it; where the task has yielded, its second word is what was taken before."""
    READ_ALL = 26
    """As `COPY`, for reading bytes: again and again until there is no room or the other end not ready. The
    outcome is of all of it; where it is blocked, its second word is what was read before."""
    LISTED = 27
    """Follow the orders that lie in `ORDERS`."""


FOLLOWED: Final = 1 << 7
"""In an order that lies in `ORDERS`: another lies behind it, and the host is not asked for it."""
FINAL: Final = frozenset({Op.EXIT, Op.YIELD, Op.WAIT, Op.NEXT, Op.DOZE, Op.FINISH})
"""Orders that end a task's turn, or suspend the store: nothing follows them."""
EMPTY_HEAP: Final = Op.GROW | 1 << 8
"""Forget what elements of streams point at. It has no outcome that matters."""
EMPTY_ARENA: Final = Op.TOP | 1 << 8
"""Forget what lies in the arena, where the outcome does not matter."""


# ---------------------------------------------------------------- in WAT

_NAMES: Final = {
    "ARENA": ARENA, "ASCII": ASCII, "BLOCKS": BLOCKS, "DIGITS": DIGITS, "ENDS": ENDS, "EVENTS": EVENTS,
    "EVENTS_END": EVENTS + 16 + 16 * EVENTS_MOST, "FIRST_EVENT": EVENTS + 16, "FOLLOWED": FOLLOWED,
    "FULL": FULL, "HEADER": HEADER, "HEAP_END": HEAP_END, "LARGE": LARGE, "LISTED": Op.LISTED,
    "MADE": MADE, "MORE": MORE, "ORDERS": ORDERS, "PACKED": PACKED, "PAUSED": PAUSED, "POLLED": POLLED,
    "READ_ALL": Op.READ_ALL,
    "RESULT": RESULT, "RESULTS": RESULTS, "ROOM": ROOM, "ROUSE": ROUSE, "SERVE": SERVE, "SLOTS": SLOTS,
    "STREAM_HEAP": STREAM_HEAP, "TASKS": TASKS, "TASK_BYTES": TASK_BYTES, "TO": TO, "WRITABLES": WRITABLES,
    **_TASK,
    **{f"EVENT_{event.name}": event for event in Event}, **{f"FIRST_{first.name}": first for first in First},
}  # fmt: skip
_NAME: Final = re.compile(r"@(\w+)@")


def fill(text: str) -> str:
    """Return the text of a module with numbers in the place of names."""
    return _NAME.sub(lambda match: str(int(_NAMES[match[1]])), text)
