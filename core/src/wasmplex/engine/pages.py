"""Pages of this process: reserved, mapped, protected and given back, with the calls of the C library."""

from __future__ import annotations

import ctypes
import mmap
from contextlib import suppress
from ctypes import c_int, c_long, c_size_t, c_ulong, c_void_p
from typing import Any, Final

__all__ = ["PAGE", "copy", "discard", "forbid", "map_file", "permit", "release", "reserve", "trim"]

PAGE: Final = mmap.PAGESIZE
_READ, _READ_WRITE = 1, 1 | 2
_ANYWHERE: Final = sum(getattr(mmap, name, 0) for name in ("MAP_PRIVATE", "MAP_ANONYMOUS", "MAP_NORESERVE"))
_FILE: Final = getattr(mmap, "MAP_PRIVATE", 0)
_FIXED: Final = 0x10
_DISCARD: Final = getattr(mmap, "MADV_DONTNEED", 4)
_FAILED: Final = 2**64 - 1


def reserve(size: int) -> int:
    """Return the address of `size` bytes of address space that nobody may touch yet.

    :raises MemoryError: if there is none
    """
    return _mapped(_libc.mmap(None, size, 0, _ANYWHERE, -1, 0))


def map_file(file: int, size: int, at: int | None = None) -> int:
    """Map the beginning of a file.

    :param at: where in reserved address space, to be written to without changing the file; None to only
        read it, anywhere
    :raises MemoryError: if it cannot be mapped
    """
    if at is None:
        return _mapped(_libc.mmap(None, size, _READ, _FILE, file, 0))
    return _mapped(_libc.mmap(at, size, _READ_WRITE, _FILE | _FIXED, file, 0))


def permit(at: int, size: int) -> None:
    """Let bytes of reserved address space be read and written.

    :raises MemoryError: if the system has not that much memory
    """
    if size and _libc.mprotect(at, size, _READ_WRITE):
        raise MemoryError


def forbid(at: int, size: int) -> None:
    """Let bytes be touched by nobody.

    :raises MemoryError: if that is impossible
    """
    if _libc.mprotect(at, size, 0):
        raise MemoryError


def discard(at: int, size: int) -> None:
    """Bring bytes back to what they were: zero, or what the mapped file has there.

    :raises MemoryError: if that is impossible
    """
    if _libc.madvise(at, size, _DISCARD):
        raise MemoryError


def copy(process: int, to: int, source: int, count: int) -> int:
    """Copy pieces of this process's memory in one go.

    :param process: the id of this process
    :param to: address of the pieces to write: address and size of each, 64 bits wide
    :param source: address of the pieces to read
    :param count: how many pieces there are
    :return: how many bytes were copied; -1 if the system refuses
    """
    copied: int = _libc.process_vm_readv(process, to, count, source, count, 0)
    return copied


def release(at: int, size: int) -> None:
    """Give address space back."""
    _libc.munmap(at, size)


def trim() -> None:
    """Give what is free in the heap of the C library back to the system, where it can (glibc)."""
    with suppress(AttributeError):
        _libc.malloc_trim(0)


def _mapped(address: int | None) -> int:
    if address is None or address == _FAILED:
        raise MemoryError
    return address


class _Libc:
    """The functions of the C library; bound when first used, for not every system has them."""

    _TYPES: Final[dict[str, tuple[Any, list[Any]]]] = {
        "malloc_trim": (c_int, [c_size_t]),
        "madvise": (c_int, [c_size_t, c_size_t, c_int]),
        "mmap": (c_void_p, [c_void_p, c_size_t, c_int, c_int, c_int, c_long]),
        "mprotect": (c_int, [c_size_t, c_size_t, c_int]),
        "munmap": (c_int, [c_size_t, c_size_t]),
        "process_vm_readv": (c_long, [c_int, c_size_t, c_ulong, c_size_t, c_ulong, c_ulong]),
    }

    def __getattr__(self, name: str) -> Any:
        function = ctypes.CDLL(None)[name]
        function.restype, function.argtypes = self._TYPES[name]
        setattr(self, name, function)
        return function


_libc = _Libc()
