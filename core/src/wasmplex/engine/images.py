"""Memories that begin with an image and come back to it: for large guests whose instances end soon.

An instance of CPython begins with 11 MiB and writes to a tenth of its pages. To copy all of it for every
instance takes a millisecond; to have each page copied when it is written to, as a mapped file has, takes
longer: each time, the system is interrupted. So a memory that an instance leaves behind is kept, the pages
that were written to are found in the system's page tables, and only these are copied anew.
"""

from __future__ import annotations

import functools
import os
import re
import weakref
from array import array
from typing import TYPE_CHECKING, Final, NamedTuple

from wasmplex.component.images import MemoryImage
from wasmplex.engine import pages
from wasmplex.engine.host_memory import HostMemory
from wasmplex.engine.memory import RAW, U8
from wasmplex.engine.pages import PAGE

if TYPE_CHECKING:
    from wasmplex.engine.accounts import Account

__all__ = ["KEPT", "KEPT_FEW", "Image", "ImageMemory", "possible"]

KEPT: Final = 16
"""Memories of an image that are kept when nobody uses them, where instances are made often."""
KEPT_FEW: Final = 4
"""The same where they serve many calls: pages that are copied ahead save it a tenth of its time even so."""
_RESIDENT: Final = 6 << 20
"""Bytes of a kept memory that may be pages of its own; with more, all of them are given back."""
_PAGEMAP: Final = "/proc/self/pagemap"
_ENTRY: Final = 8
"""Bytes of an entry of the page map; the highest one tells what is needed here."""
_PRESENT, _SWAPPED, _OF_FILE = 0x80, 0x40, 0x20
_OWN: Final = bytes(
    1 if entry & (_PRESENT | _SWAPPED) and not entry & _OF_FILE else 0 for entry in range(256)
)
_RUN: Final = re.compile(rb"\x01+")


class _Restoring(NamedTuple):
    """What to copy where to bring one memory back to its image, if just the pages in `own` are its own."""

    own: bytes
    to: array[int]
    source: array[int]
    size: int


class Image:
    """The image of one memory of a component, and the memories that are kept for it.

    :param image: what the memory contains in the beginning
    :param keep: how many of its memories are kept when nobody uses them
    :raises OSError: if the system has no means for this; see `possible`
    :raises MemoryError: if there is no room for it
    """

    def __init__(self, image: MemoryImage, keep: int = KEPT) -> None:
        self._keep = keep
        self.maximum = image.maximum
        self.size = image.size
        self._process = os.getpid()
        self._files: list[int] = []
        self._free: list[tuple[int, int]] = []
        self._restoring: dict[int, _Restoring] = {}
        weakref.finalize(self, _close, self._files, self._free)
        self._files.append(os.memfd_create("wasmplex-image", os.MFD_CLOEXEC))
        self._files.append(os.open(_PAGEMAP, os.O_RDONLY | os.O_CLOEXEC))
        self._file, self._pagemap = self._files
        os.ftruncate(self._file, self.size)
        for at, data in image.segments:
            os.pwrite(self._file, data, at)
        self._source = pages.map_file(self._file, self.size)
        weakref.finalize(self, pages.release, self._source, self.size)

    def memory(self, account: Account, capacity: int, guard: int) -> ImageMemory:
        """Return a memory with the image.

        :raises MemoryError: if there is no room for it, or it may not be had
        """
        return ImageMemory(self, account, capacity, guard)

    @property
    def kept(self) -> int:
        """How many memories are kept for the next instances."""
        return len(self._free)

    def take(self, mapped: int) -> int:
        """Return the address of `mapped` bytes of address space that begin with the image."""
        try:
            base, reserved = self._free.pop()
        except IndexError:
            pass
        else:
            if reserved == mapped:
                return base
            pages.release(base, reserved)
        base = pages.reserve(mapped)
        try:
            return pages.map_file(self._file, self.size, base)
        except MemoryError:
            pages.release(base, mapped)
            raise

    def give(self, base: int, mapped: int, size: int) -> None:
        """Take back what `take` returned.

        :param size: bytes of it that the instance may have used
        """
        if len(self._free) < self._keep and os.getpid() == self._process:
            try:
                self._restore(base, size)
            except (MemoryError, OSError):
                pass
            else:
                self._free.append((base, mapped))
                return
        self._restoring.pop(base, None)
        pages.release(base, mapped)

    def _restore(self, base: int, size: int) -> None:
        if size > self.size:
            pages.discard(base + self.size, size - self.size)
            pages.forbid(base + self.size, size - self.size)
        own = _own_pages(self._pagemap, base, self.size)
        if len(own) * PAGE != self.size or own.count(1) * PAGE > _RESIDENT:
            pages.discard(base, self.size)
            return
        todo = self._restoring.get(base)
        if todo is None or todo.own != own:
            todo = self._restoring[base] = self._plan(base, own)
        to, source = todo.to, todo.source
        copied = pages.copy(self._process, to.buffer_info()[0], source.buffer_info()[0], len(to) // 2)
        if copied != todo.size:
            pages.discard(base, self.size)

    def _plan(self, base: int, own: bytes) -> _Restoring:
        to, source = array("Q"), array("Q")
        for run in _RUN.finditer(own):
            start, end = run.start() * PAGE, run.end() * PAGE
            to.extend((base + start, end - start))
            source.extend((self._source + start, end - start))
        return _Restoring(own, to, source, sum(to[1::2]))


class ImageMemory(HostMemory):
    """A memory that begins with an image; when it is given back, it is kept for another instance."""

    __slots__ = ("_image",)

    def __init__(self, image: Image, account: Account, capacity: int, guard: int) -> None:
        if not account.take(image.size):
            raise MemoryError
        self.account = account
        self._image = image
        self.size = self.reached = image.size
        self.maximum = image.maximum
        self.capacity = capacity
        self._mapped = capacity + guard
        self._open = image.size
        try:
            self.base = image.take(self._mapped)
        except MemoryError:
            account.give(image.size)
            raise

    def unmap(self) -> None:
        """Give the memory back; its content is gone."""
        base, size, self.base, self.size = self.base, self.size, 0, 0
        if base:
            self._image.give(base, self._mapped, self.reached)
            self.account.give(size)


def _own_pages(pagemap: int, base: int, size: int) -> bytes:
    """Return a byte for each page: 1 if it is not the file's any more, for it was written to."""
    entries = os.pread(pagemap, size // PAGE * _ENTRY, base // PAGE * _ENTRY)
    return entries[_ENTRY - 1 :: _ENTRY].translate(_OWN)


def _close(files: list[int], free: list[tuple[int, int]]) -> None:
    while files:
        os.close(files.pop())
    while free:
        pages.release(*free.pop())


@functools.cache
def possible() -> bool:
    """Say whether this system tells which pages were written to, and lets them be restored."""
    content, size = b"a" * 4 * PAGE, 4 * PAGE
    try:
        image = Image(MemoryImage(size, size, ((0, content),)))
        base = image.take(size)
        U8[base + PAGE] = ord("b")
        U8[base + 3 * PAGE] = U8[base + 2 * PAGE] + 1  # reading makes a page no own one
        with open(_PAGEMAP, "rb") as pagemap:  # noqa: PTH123
            told = _own_pages(pagemap.fileno(), base, size)
        image.give(base, size, size)
    except (AttributeError, MemoryError, OSError):
        return False
    return told == b"\0\1\0\1" and image.kept == 1 and RAW[base : base + size] == content
