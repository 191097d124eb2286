"""``wasi:io``: pollables, streams and errors, for the other packages to build on.

Everything lives on one event loop. A stream may be used by the guest on one side and by the host on
the other; each side changes state between awaits only, so no lock is needed.

Waiting is by callback, not by task: whoever waits attaches a waker to each `Pollable`, and detaches it
afterwards, cancelled or not. That makes `wait_any` over many pollables cheap and leaves nothing behind.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from asyncio import Future, get_running_loop
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from wasmplex.plugin import Err, Variant

from host_plugin_wasi.packages import Tables

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from wasmplex.plugin import BoundInterfaces, WorkloadContext

__all__ = [
    "READ_LIMIT", "Error", "FuturePollable", "InputStream", "MaybeAwaitable", "OutputStream", "Pollable",
    "ReadyPollable", "Signal", "SignalPollable", "Violation", "Waker", "bind", "closed", "failed", "wait_any",
]  # fmt: skip

T = TypeVar("T")

MaybeAwaitable: TypeAlias = T | Awaitable[T]
"""A stream's method may be a ``def`` that returns at once or an ``async def`` that may wait."""

Waker: TypeAlias = Callable[[], None]

READ_LIMIT = 1 << 20
"""The most bytes that one read, skip or splice moves, however many the guest asked for."""

_ZEROES = bytes(4096)


class Violation(Exception):
    """The guest broke a rule that WASI answers with a trap."""


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


# ---------------------------------------------------------------- waiting


class Signal:
    """Wakes whoever waits for some state to change. It has no state of its own and needs no closing."""

    __slots__ = ("_wakers",)

    def __init__(self) -> None:
        self._wakers: dict[Waker, None] = {}

    def notify(self) -> None:
        """Say that the state may have changed. Call it from the event loop only."""
        if self._wakers:
            for waker in tuple(self._wakers):
                waker()

    def attach(self, waker: Waker) -> None:
        """Have `waker` called by `notify`; attaching it twice is attaching it once."""
        self._wakers[waker] = None

    def detach(self, waker: Waker) -> None:
        """Undo `attach`."""
        self._wakers.pop(waker, None)

    async def wait(self) -> None:
        """Wait for the next `notify`."""
        future = get_running_loop().create_future()
        waker = _waker(future)
        self.attach(waker)
        try:
            await future
        finally:
            self.detach(waker)


class Pollable(ABC):
    """The resource ``pollable``."""

    __slots__ = ()

    @abstractmethod
    def ready(self) -> bool:
        """Say whether it is ready now. Cheap: it is asked on every wake-up."""

    @abstractmethod
    def attach(self, waker: Waker) -> None:
        """Have `waker` called from the event loop when this may have become ready.

        Called after `ready` has said no, without an await between. It may call too often, and has to
        bear the same waker twice.
        """

    @abstractmethod
    def detach(self, waker: Waker) -> None:
        """Undo `attach`; also for a waker that is not attached."""

    async def block(self) -> None:
        """Wait until it is ready."""
        if not self.ready():
            await wait_any((self,))


class ReadyPollable(Pollable):
    """Always ready."""

    __slots__ = ()

    def ready(self) -> bool:
        """Say yes."""
        return True

    def attach(self, waker: Waker) -> None:
        """Do nothing: nobody waits for what is ready."""

    def detach(self, waker: Waker) -> None:
        """Do nothing."""


class SignalPollable(Pollable):
    """Ready when `check` says so; `signal` is notified whenever that may have changed."""

    __slots__ = ("_check", "_signal")

    def __init__(self, check: Callable[[], bool], signal: Signal) -> None:
        self._check = check
        self._signal = signal

    def ready(self) -> bool:
        """Ask `check`."""
        return self._check()

    def attach(self, waker: Waker) -> None:
        """Attach to the signal."""
        self._signal.attach(waker)

    def detach(self, waker: Waker) -> None:
        """Detach from the signal."""
        self._signal.detach(waker)


class FuturePollable(Pollable):
    """Ready when a future is done, well or badly. It neither owns nor cancels the future."""

    __slots__ = ("_callbacks", "_future")

    def __init__(self, future: Future[Any]) -> None:
        self._future = future
        self._callbacks: dict[Waker, Callable[[Future[Any]], None]] = {}

    def ready(self) -> bool:
        """Say whether the future is done."""
        return self._future.done()

    def attach(self, waker: Waker) -> None:
        """Have `waker` called when the future is done."""
        if waker not in self._callbacks:
            callback = self._callbacks[waker] = lambda _: waker()
            self._future.add_done_callback(callback)

    def detach(self, waker: Waker) -> None:
        """Undo `attach`."""
        if callback := self._callbacks.pop(waker, None):
            self._future.remove_done_callback(callback)


def _waker(future: Future[None]) -> Waker:
    def wake() -> None:
        if not future.done():
            future.set_result(None)

    return wake


async def wait_any(pollables: Sequence[Pollable]) -> list[int]:
    """Wait until at least one is ready; return the indices of all that are, in order.

    :raises Violation: if there is none to wait for
    """
    if not pollables:
        raise Violation("wasi:io/poll: the list to poll is empty")
    while True:
        if ready := [i for i, pollable in enumerate(pollables) if pollable.ready()]:
            return ready
        future = get_running_loop().create_future()
        waker = _waker(future)
        try:
            for pollable in pollables:
                pollable.attach(waker)
            await future
        finally:
            for pollable in pollables:
                pollable.detach(waker)


# ---------------------------------------------------------------- streams


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
        """Write `length` zero bytes, in as many pieces as it takes, and flush."""
        return self._blocking_write_zeroes_and_flush(length)

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
            pending = self.write(contents if room >= len(contents) else bytes(rest[:room]))
            if pending is not None:
                await pending
            rest = rest[room:]
        await self._blocking_flush()

    async def _blocking_write_zeroes_and_flush(self, length: int) -> None:
        while length:
            piece = _ZEROES[: min(length, await self._room())]
            pending = self.write(piece)
            if pending is not None:
                await pending
            length -= len(piece)
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


# ---------------------------------------------------------------- what the linker gets
# Plain functions that find the method on the object they are handed: one frame deep where it answers
# at once.


async def _block(pollable: Pollable) -> None:
    if not pollable.ready():
        await wait_any((pollable,))


async def _read(stream: InputStream, length: int) -> bytes:
    data = stream.read(min(length, READ_LIMIT))
    return data if isinstance(data, bytes) else await data


async def _blocking_read(stream: InputStream, length: int) -> bytes:
    data = stream.blocking_read(min(length, READ_LIMIT))
    return data if isinstance(data, bytes) else await data


async def _skip(stream: InputStream, length: int) -> int:
    count = stream.skip(min(length, READ_LIMIT))
    return count if isinstance(count, int) else await count


async def _blocking_skip(stream: InputStream, length: int) -> int:
    count = stream.blocking_skip(min(length, READ_LIMIT))
    return count if isinstance(count, int) else await count


async def _write(stream: OutputStream, contents: bytes) -> None:
    if (pending := stream.write(contents)) is not None:
        await pending


async def _blocking_write_and_flush(stream: OutputStream, contents: bytes) -> None:
    if (pending := stream.blocking_write_and_flush(contents)) is not None:
        await pending


async def _flush(stream: OutputStream) -> None:
    if (pending := stream.flush()) is not None:
        await pending


async def _blocking_flush(stream: OutputStream) -> None:
    if (pending := stream.blocking_flush()) is not None:
        await pending


async def _write_zeroes(stream: OutputStream, length: int) -> None:
    if (pending := stream.write_zeroes(length)) is not None:
        await pending


async def _blocking_write_zeroes_and_flush(stream: OutputStream, length: int) -> None:
    if (pending := stream.blocking_write_zeroes_and_flush(length)) is not None:
        await pending


async def _splice(stream: OutputStream, source: InputStream, length: int) -> int:
    count = stream.splice(source, length)
    return count if isinstance(count, int) else await count


async def _blocking_splice(stream: OutputStream, source: InputStream, length: int) -> int:
    count = stream.blocking_splice(source, length)
    return count if isinstance(count, int) else await count


_INTERFACES = Tables({
    "error": {
        "[method]error.to-debug-string": lambda error: error.to_debug_string(),
    },
    "poll": {
        "[method]pollable.ready": lambda pollable: pollable.ready(),
        "[method]pollable.block": _block,
        "poll": wait_any,
    },
    "streams": {
        "[method]input-stream.read": _read,
        "[method]input-stream.blocking-read": _blocking_read,
        "[method]input-stream.skip": _skip,
        "[method]input-stream.blocking-skip": _blocking_skip,
        "[method]input-stream.subscribe": lambda stream: stream.subscribe(),
        "[method]output-stream.check-write": lambda stream: stream.check_write(),
        "[method]output-stream.write": _write,
        "[method]output-stream.blocking-write-and-flush": _blocking_write_and_flush,
        "[method]output-stream.flush": _flush,
        "[method]output-stream.blocking-flush": _blocking_flush,
        "[method]output-stream.subscribe": lambda stream: stream.subscribe(),
        "[method]output-stream.write-zeroes": _write_zeroes,
        "[method]output-stream.blocking-write-zeroes-and-flush": _blocking_write_zeroes_and_flush,
        "[method]output-stream.splice": _splice,
        "[method]output-stream.blocking-splice": _blocking_splice,
    },
})  # fmt: skip


def bind(workload: WorkloadContext) -> AbstractAsyncContextManager[BoundInterfaces]:
    """Bind ``wasi:io``; it is the same for every workload."""
    return _INTERFACES.context()
