"""A cursor over the bytes of a component, with errors that say where it stood.

Hostile input is met here: every count is checked against the bytes that are left, and everything read is
charged to one `Budget`, so that neither time nor memory can grow beyond what the budget allows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NoReturn, TypeVar

from wasmplex.errors import ComponentError

__all__ = ["Budget", "Cursor", "malformed"]

T = TypeVar("T")

_MAX_NAME = 100_000
_REBUILD = "build the component again, or fetch it again if it was downloaded"


def malformed(what: str, offset: int, section: str, *, why: str = "", fix: str = _REBUILD) -> ComponentError:
    """Return the error for bytes that are not what the component binary format says."""
    return ComponentError(
        f"malformed component: {what}", where=f"byte {offset:#x}, {section}", why=why, fix=fix
    )


class Budget:
    """How much work one component may cost to read, in steps of about a microsecond."""

    __slots__ = ("left", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = self.left = limit

    def spend(self, steps: int, offset: int, section: str) -> None:
        """Take `steps` away.

        :raises ComponentError: nothing is left
        """
        self.left -= steps
        if self.left < 0:
            raise malformed(
                "its types are too large",
                offset,
                section,
                why=f"reading them takes more than {self.limit} steps; real components take a few thousand",
            )


class Cursor:
    """Reads values one after the other from ``data[pos:end]``.

    :ivar section: what is being read, for error messages
    """

    __slots__ = ("budget", "data", "end", "pos", "section")

    def __init__(self, data: bytes, pos: int, end: int, section: str, budget: Budget) -> None:
        self.data = data
        self.pos = pos
        self.end = end
        self.section = section
        self.budget = budget

    def sub(self, size: int, section: str) -> Cursor:
        """Return a cursor over the next `size` bytes, and step over them."""
        start, self.pos = self.pos, self.pos + size
        return Cursor(self.data, start, start + size, section, self.budget)

    def part(self, whole: str) -> tuple[int, Cursor]:
        """Read a section's header; return its number, and a cursor over it.

        :param whole: what it is a section of
        """
        number, start = self.byte("a section"), self.pos
        size = self.u32("the size of a section")
        if size > self.end - self.pos:
            why = f"{size} bytes, {self.end - self.pos} are left"
            self.fail(f"a section of {whole} does not fit", start, why=why)
        return number, self.sub(size, f"section {number} of {whole}")

    def raw(self, size: int, expected: str) -> bytes:
        """Read that many bytes."""
        if size > self.end - self.pos:
            self.fail(f"{expected} does not fit", why=f"{size} bytes, {self.end - self.pos} are left")
        self.pos += size
        return self.data[self.pos - size : self.pos]

    def error(self, what: str, offset: int | None = None, *, why: str = "") -> ComponentError:
        """Return the error for malformed input at `offset`, by default at the cursor."""
        return malformed(what, self.pos if offset is None else offset, self.section, why=why)

    def fail(self, what: str, offset: int | None = None, *, why: str = "") -> NoReturn:
        """Raise the error for malformed input at `offset`, by default at the cursor."""
        raise self.error(what, offset, why=why)

    def spend(self, steps: int = 1) -> None:
        """Charge the budget."""
        self.budget.spend(steps, self.pos, self.section)

    def byte(self, expected: str) -> int:
        """Read one byte."""
        if self.pos >= self.end:
            self.fail(f"it ends where {expected} was expected")
        value = self.data[self.pos]
        self.pos += 1
        return value

    def peek(self, expected: str) -> int:
        """Return the next byte without stepping over it."""
        if self.pos >= self.end:
            self.fail(f"it ends where {expected} was expected")
        return self.data[self.pos]

    def unexpected(self, value: int, expected: str) -> NoReturn:
        """Raise the error for the byte just read."""
        self.fail(f"expected {expected}, found byte {value:#04x}", self.pos - 1)

    def flag(self, expected: str) -> bool:
        """Read a byte that is 0 or 1."""
        value = self.byte(expected)
        if value > 1:
            self.unexpected(value, f"{expected} (0 or 1)")
        return value == 1

    def u32(self, expected: str) -> int:
        """Read an unsigned LEB128 number of at most 32 bits."""
        start = self.pos
        value = self.byte(expected)
        if value < 0x80:
            return value
        value &= 0x7F
        for shift in (7, 14, 21, 28):
            more = self.byte(expected)
            value |= (more & 0x7F) << shift
            if more < 0x80:
                if value >> 32:
                    break
                return value
        raise self.error(f"{expected} is not a number of 32 bits", start)

    def s33(self, expected: str) -> int:
        """Read a signed LEB128 number of at most 33 bits."""
        start = self.pos
        value = shift = 0
        for shift in (7, 14, 21, 28, 35):
            more = self.byte(expected)
            value |= (more & 0x7F) << (shift - 7)
            if more < 0x80:
                return value - (1 << shift) if more & 0x40 else value
        raise self.error(f"{expected} is not a number of 33 bits", start)

    def index(self, limit: int, expected: str) -> int:
        """Read an index that has to be below `limit`."""
        start = self.pos
        value = self.u32(expected)
        if value >= limit:
            self.fail(f"{expected} {value} is out of range", start, why=f"there are {limit} so far")
        return value

    def count(self, expected: str) -> int:
        """Read how many items follow; each takes at least one byte."""
        start = self.pos
        value = self.u32(f"the number of {expected}")
        if value > self.end - self.pos:
            self.fail(
                f"{value} {expected} cannot follow",
                start,
                why=f"only {self.end - self.pos} bytes are left",
            )
        self.spend(value)
        return value

    def vec(self, expected: str) -> Iterator[int]:
        """Read a count, then yield that many times."""
        return iter(range(self.count(expected)))

    def many(self, read: Callable[[], T], expected: str) -> tuple[T, ...]:
        """Read a count and that many items."""
        return tuple([read() for _ in self.vec(expected)])

    def optional(self, read: Callable[[], T], expected: str) -> T | None:
        """Read a byte that says whether an item follows, and the item."""
        return read() if self.flag(expected) else None

    def text(self, expected: str) -> str:
        """Read a length and that many bytes of UTF-8."""
        start = self.pos
        size = self.u32(f"the length of {expected}")
        if size > self.end - self.pos:
            why = f"it is {size} bytes long, only {self.end - self.pos} are left"
            self.fail(f"{expected} does not fit", start, why=why)
        if size > _MAX_NAME:
            self.fail(f"{expected} is too long", start, why=f"it has {size} bytes, the limit is {_MAX_NAME}")
        raw = self.data[self.pos : self.pos + size]
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            self.fail(f"{expected} is not UTF-8")
        self.pos += size
        return text

    def name(self, expected: str) -> str:
        """Read a name that may be printed: not empty, without control characters."""
        start = self.pos
        text = self.text(expected)
        if not text or not text.isprintable():
            self.fail(f"{expected} {text[:80]!r} is not a name", start)
        return text

    def done(self) -> None:
        """Check that everything was read."""
        if self.pos != self.end:
            self.fail(f"{self.end - self.pos} bytes are left over at the end")
