"""The streams of ``wasi:io``, and their errors.

Everything lives on one event loop. A stream may be used by the guest on one side and by the host on
the other; each side changes state between awaits only, so no lock is needed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from asyncio import sleep
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias, TypeVar

from wasmplex.capabilities.io.waiting import Pollable, Violation
from wasmplex.values import Err, Variant

__all__ = [
    "MOST_ZEROES", "READ_LIMIT", "Error", "InputStream", "MaybeAwaitable", "OutputStream", "closed", "failed",
]  # fmt: skip

T = TypeVar("T")

MaybeAwaitable: TypeAlias = T | Awaitable[T]
"""A stream's method may be a ``def`` that returns at once or an ``async def`` that may wait."""

READ_LIMIT = 1 << 16
"""The most bytes that one read, skip or splice moves, however many the guest asked for: all that stands
between a guest's number and the host's memory, and between its loop and everybody else's turn."""

MOST_ZEROES = 4096
"""The most bytes of ``blocking-write-zeroes-and-flush``, as its WIT says; it has no short answer."""


class Error:
    """The resource ``error``: what went wrong, for people, and as the code of the package it is from.

    :ivar message: text for people; no secrets and no paths of the host
    :ivar domain: ``"filesystem"``, ``"network"`` or ``"http"``: whose `code` it is
    :ivar code: the value of that package's ``error-code`` type
    """

    __slots__ = ("code", "domain", "message")

    def __init__(self, message: str, domain: str = "", code: Any = None) -> None:
        self.message = message
        self.domain = domain
        self.code = code

    def to_debug_string(self) -> str:
        """Return the text."""
        return self.message

    def code_of(self, domain: str) -> Any:
        """Return the code if it is `domain`'s, else None."""
        return self.code if self.domain == domain else None


def closed() -> Err[Variant]:
    """Return the exception for ``stream-error::closed``, to be raised."""
    return Err(Variant("closed"))


def failed(message: str, domain: str = "", code: Any = None) -> Err[Variant]:
    """Return the exception for ``stream-error::last-operation-failed``, to be raised; see `Error`."""
    return Err(Variant("last-operation-failed", Error(message, domain, code)))


class InputStream(ABC):
    """The resource ``input-stream``. A subclass needs `read` and `subscribe`; the rest follows from them.

    Where a method's type is `MaybeAwaitable`, a subclass may override it by ``def`` or ``async def``;
    a ``def`` that answers at once costs least.
    """

    __slots__ = ()

    @abstractmethod
    def read(self, length: int) -> MaybeAwaitable[bytes]:
        """Return at most `length` bytes, and ``b""`` if there are none yet; do not wait for the other side.

        :raises Err: `closed` at the end, `failed` after an error
        """

    @abstractmethod
    def subscribe(self) -> Pollable:
        """Return a new pollable that is ready when `read` would not return ``b""``, or would raise."""

    def blocking_read(self, length: int) -> MaybeAwaitable[bytes]:
        """As `read`, but wait for the first byte (not if `length` is 0)."""
        return self._blocking_read(length)

    def skip(self, length: int) -> MaybeAwaitable[int]:
        """Read and throw away; return how many bytes."""
        return self._skip(length, self.read)

    def blocking_skip(self, length: int) -> MaybeAwaitable[int]:
        """As `skip`, but wait for the first byte."""
        return self._skip(length, self.blocking_read)

    def drop(self) -> None:  # noqa: B027  a stream that holds nothing has nothing to release
        """Release what the stream holds. Called once, when the guest lets go of it or ends."""

    async def _blocking_read(self, length: int) -> bytes:
        while True:
            data = self.read(length)
            if not isinstance(data, bytes):
                data = await data
            if data or not length:
                return data
            await self.subscribe().block()

    async def _skip(self, length: int, read: Callable[[int], MaybeAwaitable[bytes]]) -> int:
        data = read(length)
        return len(data if isinstance(data, bytes) else await data)


class OutputStream(ABC):
    """The resource ``output-stream``. A subclass needs `check_write`, `write` and `subscribe`.

    One that buffers overrides `flush` too, and answers 0 from `check_write` from a flush until all is out.
    """

    __slots__ = ()

    @abstractmethod
    def check_write(self) -> int:
        """Return how many bytes `write` takes now; 0: wait for `subscribe`.

        :raises Err: `closed`, or `failed` for an earlier write that came to grief
        """

    @abstractmethod
    def write(self, contents: bytes) -> MaybeAwaitable[None]:
        """Take `contents`; do not wait for the other side.

        :raises Violation: if they are more than `check_write` permits
        :raises Err: as `check_write`
        """

    @abstractmethod
    def subscribe(self) -> Pollable:
        """Return a new pollable that is ready when `check_write` would not return 0, or would raise."""

    def flush(self) -> MaybeAwaitable[None]:
        """Ask that everything written so far goes out; do not wait for it."""
        return None

    def blocking_flush(self) -> MaybeAwaitable[None]:
        """Flush, and wait until it is done."""
        return self._blocking_flush()

    def blocking_write_and_flush(self, contents: bytes) -> MaybeAwaitable[None]:
        """Write all of `contents`, in as many pieces as it takes, and flush."""
        return self._blocking_write_and_flush(contents)

    def write_zeroes(self, length: int) -> MaybeAwaitable[None]:
        """Write `length` zero bytes; same rules as `write`."""
        if length > self.check_write():
            raise Violation("wasi:io/streams: write-zeroes of more than check-write permits")
        return self.write(bytes(length))

    def blocking_write_zeroes_and_flush(self, length: int) -> MaybeAwaitable[None]:
        """Write `length` zero bytes, in as many pieces as it takes, and flush.

        :raises Violation: if they are more than `MOST_ZEROES`
        """
        if length > MOST_ZEROES:
            raise Violation(
                f"wasi:io/streams: blocking-write-zeroes-and-flush of {length} bytes, at most {MOST_ZEROES}"
            )
        return self._blocking_write_and_flush(bytes(length))

    def splice(self, source: InputStream, length: int) -> MaybeAwaitable[int]:
        """Move at most `length` bytes from `source` to here without waiting; return how many."""
        return self._splice(source.read, length)

    def blocking_splice(self, source: InputStream, length: int) -> MaybeAwaitable[int]:
        """As `splice`, but wait until there is room here, and then for the first byte there."""
        return self._blocking_splice(source, length)

    def drop(self) -> None:  # noqa: B027  a stream that holds nothing has nothing to release
        """Release what the stream holds. Called once, when the guest lets go of it or ends."""

    async def _room(self) -> int:
        while not (room := self.check_write()):
            await self.subscribe().block()
        return room

    async def _blocking_flush(self) -> None:
        pending = self.flush()
        if pending is not None:
            await pending
        await self._room()

    async def _blocking_write_and_flush(self, contents: bytes) -> None:
        rest = memoryview(contents)
        while rest:
            room = await self._room()
            piece = contents if len(rest) == len(contents) <= room else bytes(rest[:room])
            if (pending := self.write(piece)) is not None:
                await pending
            rest = rest[len(piece) :]
            if rest:
                await sleep(0)  # a stream that always has room would keep everybody else waiting
        await self._blocking_flush()

    async def _splice(self, read: Callable[[int], MaybeAwaitable[bytes]], length: int) -> int:
        room = min(self.check_write(), length, READ_LIMIT)
        if not room:
            return 0
        data = read(room)
        if not isinstance(data, bytes):
            data = await data
        if data and (pending := self.write(data)) is not None:
            await pending
        return len(data)

    async def _blocking_splice(self, source: InputStream, length: int) -> int:
        await self._room()
        return await self._splice(source.blocking_read, length)
