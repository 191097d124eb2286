"""Linear memories that the host allocates: so it can bound them, and read and write them in place.

With a memory creator (a public interface of wasmtime) the host knows where each memory of an instance lies:
bytes are sliced out of it and into it without passing through vals. And it is asked before a memory is made
or grows, where wasmtime itself could only bound each memory by itself. Garbage-collected heaps are memories
like all others here. The price is that wasmtime copies the data of a memory at instantiation instead of
mapping it; large data is mapped by the host, see `wasmplex.engine.images`.

A memory is reserved whole when it is made and never moves; pages become accessible as it grows.
"""

from __future__ import annotations

import ctypes
import itertools
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable
from ctypes import CFUNCTYPE, c_size_t, c_void_p
from typing import TYPE_CHECKING, Any, Final, Protocol

from wasmtime import _ffi

from wasmplex.engine import capi, pages
from wasmplex.engine.entry import uninterrupted_entry
from wasmplex.engine.memory import RAW, U8, U64

if TYPE_CHECKING:
    from wasmplex.engine.accounts import Account

__all__ = ["Content", "HostMemory", "MemoryCreator"]

_P = c_size_t
_GET: Final = CFUNCTYPE(_P, _P, _P, _P)
_GROW: Final = CFUNCTYPE(_P, _P, _P)
_FINALIZE: Final = CFUNCTYPE(None, _P)
_NEW: Final = CFUNCTYPE(_P, _P, _P, _P, _P, _P, _P, _P)

_WHOLE_32_BIT_SPACE: Final = 2**32


_KEPT: Final = 16 if sys.platform == "linux" else 0
"""About how many reservations are kept for other memories, each an address range without pages: to make and
unmake one costs more than all else of a small memory. Elsewhere discarded pages need not be zero."""
_KEPT_SIZE: Final = 1 << 20
"""The most bytes of one that have been accessible: to empty what is larger takes long."""
_kept: Final[deque[tuple[int, int, int]]] = deque()
"""Reserved address space: where it is, how long, and how much from its start is accessible, and zero."""


class HostMemory:
    """One linear memory. Addresses in it are offsets from its start.

    :ivar base: where it lies in the process
    :ivar size: its size now, in bytes
    :ivar reached: the size that it was to get at most, in bytes
    :ivar maximum: the limit that the module declares, in bytes; the mark by which to tell memories
    """

    __slots__ = ("_mapped", "_open", "account", "base", "capacity", "maximum", "reached", "size")

    def __init__(self, account: Account, size: int, maximum: int, capacity: int, guard: int) -> None:
        self.account = account
        self.size = 0
        self.maximum = maximum
        self.capacity = capacity
        self._mapped = capacity + guard
        self.reached = 0
        self.base, self._open = _reserved(self._mapped, size)
        try:
            self.grow(size)
        except MemoryError:
            self.unmap()
            raise

    def grow(self, size: int) -> None:
        """Make the first `size` bytes accessible.

        :raises MemoryError: if it has not that much reserved, may not have it, or the system has none
        """
        more = size - self.size
        if size > self.capacity or not self.account.take(more):
            raise MemoryError
        self.reached = max(self.reached, size)  # first: whatever happens then, more may be open than `size`
        if size != self._open:
            try:
                pages.permit(self.base, size)
            except MemoryError:
                self.account.give(more)
                raise
            self._open = size
        self.size = size

    def unmap(self) -> None:
        """Give the memory back; it is gone."""
        base, size, self.base, self.size = self.base, self.size, 0, 0
        if base:
            _give_back(base, self._mapped, self._open if self.reached == size else -1)
            self.account.give(size)

    def read(self, at: int, count: int) -> bytes:
        """Return the bytes at [at, at + count).

        :raises IndexError: if they are not all in the memory
        """
        if at < 0 or count < 0 or at + count > self.size:
            raise IndexError(f"[{at}, {at + count}) is not within a memory of {self.size} bytes")
        start = self.base + at
        data: bytes = RAW[start : start + count]
        return data

    def view(self, at: int, count: int) -> memoryview:
        """Return the bytes at [at, at + count), to be written to before anything can end the memory.

        :raises IndexError: if they are not all in the memory
        """
        if at < 0 or count < 0 or at + count > self.size:
            raise IndexError(f"[{at}, {at + count}) is not within a memory of {self.size} bytes")
        start = self.base + at
        return U8[start : start + count]

    def write(self, at: int, data: bytes | bytearray | memoryview) -> None:
        """Write bytes at [at, at + len(data)).

        :raises IndexError: if they do not all fit into the memory
        """
        if at < 0 or at + len(data) > self.size:
            raise IndexError(f"[{at}, {at + len(data)}) is not within a memory of {self.size} bytes")
        start = self.base + at
        U8[start : start + len(data)] = data


def _reserved(length: int, size: int) -> tuple[int, int]:
    """Return an address range of this length, and how much of it is accessible: at most `size` bytes.

    :raises MemoryError: if there is none
    """
    try:
        kept = _kept.pop()
    except IndexError:
        return pages.reserve(length), 0
    base, kept_length, is_open = kept
    if kept_length == length and is_open <= size:
        return base, is_open
    pages.release(base, kept_length)
    return pages.reserve(length), 0


def _give_back(base: int, length: int, is_open: int) -> None:
    """Empty an address range and keep it, or release it.

    :param is_open: how much of it is accessible; negative if that is not known
    """
    if 0 <= is_open <= _KEPT_SIZE and len(_kept) < _KEPT:
        try:
            pages.discard(base, is_open)
        except MemoryError:
            pages.release(base, length)
            return
        _kept.append((base, length, is_open))
        return
    pages.release(base, length)


class Content(Protocol):
    """What memories with a certain maximum begin with, see `wasmplex.engine.images.Image`."""

    @property
    def maximum(self) -> int:
        """The limit, in bytes, by which they are told."""

    @property
    def size(self) -> int:
        """Bytes of it."""

    @property
    def kept(self) -> int:
        """How many memories with it are kept for the next instances."""

    def memory(self, account: Account, capacity: int, guard: int) -> HostMemory:
        """Return a memory that begins with it."""


class _Making(threading.local):
    """The books of the instance that a thread is making."""

    account: Account | None = None


class MemoryCreator:
    """Gives memories to all instances of one wasmtime engine.

    :param images: what memories begin with, if they do not begin empty
    :ivar making: the books of the instance that this thread is making
    """

    def __init__(self, images: Iterable[Content] = ()) -> None:
        self.making = _Making()
        self._images = {image.maximum: image for image in images}
        self._live: dict[int, HostMemory] = {}
        self._numbers = itertools.count(1)
        get, grow, finalize = _GET(self._get()), _GROW(self._grow()), _FINALIZE(self._finalize())
        self._parts = tuple(capi.address(part) for part in (get, grow, finalize))
        self._new = _NEW(self._create())
        self._keep = (get, grow, finalize)

    @property
    def image_size(self) -> int:
        """Bytes of all images."""
        return sum(image.size for image in self._images.values())

    @property
    def live(self) -> int:
        """How many memories exist."""
        return len(self._live)

    def install(self, config: Any) -> None:
        """Make a `wasmtime.Config` use this creator. It must outlive the engine."""
        struct = (ctypes.c_uint64 * 3)(0, capi.address(self._new), 0)
        _memory_creator_set(ctypes.cast(config.ptr(), c_void_p).value, ctypes.addressof(struct))
        config.memory_init_cow = False  # wasmtime refuses the two together

    def _create(self) -> Callable[..., int]:
        def create(
            env: int, type: int, minimum: int, maximum: int, reserved: int, guard: int, out: int
        ) -> int:  # fmt: skip
            try:
                if (account := self.making.account) is None:
                    return _no_memory()
                capacity = reserved or max(minimum, min(maximum, _WHOLE_32_BIT_SPACE))
                if (image := self._images.get(maximum)) is None or image.size != minimum:
                    memory = HostMemory(account, minimum, maximum, capacity, guard)
                else:
                    memory = image.memory(account, capacity, guard)
                number = next(self._numbers)
                self._live[number] = memory
                account.memories.append(memory)
                at = out >> 3
                U64[at], U64[at + 1], U64[at + 2], U64[at + 3] = number, *self._parts
                return 0
            except BaseException:  # noqa: BLE001  nothing may be raised through wasmtime
                return _no_memory()

        return uninterrupted_entry(create)

    def _get(self) -> Callable[..., int]:
        live = self._live

        def get(number: int, size: int, capacity: int) -> int:
            # No call in here: nothing that could raise, for there is no way to tell of it.
            memory = live[number]
            U64[size >> 3] = memory.size
            U64[capacity >> 3] = memory.capacity
            return memory.base

        return uninterrupted_entry(get)

    def _grow(self) -> Callable[..., int]:
        def grow(number: int, size: int) -> int:
            try:
                self._live[number].grow(size)
                return 0
            except BaseException:  # noqa: BLE001  nothing may be raised through wasmtime
                return _no_memory()

        return uninterrupted_entry(grow)

    def _finalize(self) -> Callable[..., None]:
        def finalize(number: int) -> None:
            self._live.pop(number).unmap()

        return uninterrupted_entry(finalize)


def _no_memory() -> int:
    pointer: int = capi.error_new(b"out of memory")
    return pointer


_memory_creator_set = _ffi.dll["wasmtime_config_host_memory_creator_set"]
_memory_creator_set.argtypes = [c_void_p, c_void_p]
_memory_creator_set.restype = None
