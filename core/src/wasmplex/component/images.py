"""Taking the initial content of large memories out of a component, for a host that provides it itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from wasmplex.component.binary import Budget, Cursor
from wasmplex.component.coremodule import CoreModule, Kind
from wasmplex.component.encoding import as_section, leb
from wasmplex.component.sections import COMPONENT_MAGIC
from wasmplex.errors import ComponentError

__all__ = ["LEAST", "MemoryImage", "without_images"]

LEAST: Final = 128 << 10
"""Bytes of content that make it worth it."""
_MOST_EMPTY: Final = 16 << 20
"""Bytes of a memory that may be empty in the beginning: all of it is kept as a file."""
_PAGE: Final = 1 << 16
_MOST_PAGES: Final = 1 << 16
_MEMORIES, _DATA, _DATA_COUNT = 5, 11, 12
_MODULE, _COMPONENT = 1, 4
_STEPS: Final = 1_000_000


@dataclass(frozen=True)
class MemoryImage:
    """What one memory contains in the beginning.

    :ivar maximum: the limit, in bytes, that the memory now declares; no other memory of the component
        with an image declares the same
    :ivar size: bytes that the memory has in the beginning
    :ivar segments: what lies where
    """

    maximum: int
    size: int
    segments: tuple[tuple[int, bytes], ...]


def without_images(wasm: bytes) -> tuple[bytes, list[MemoryImage]]:
    """Return the component without the data of its large memories, and these memories' images.

    A memory counts if its module defines it without a limit, fills it with nothing but data at constant
    places, and never looks at this data again.
    """
    images: list[MemoryImage] = []
    try:
        limits = set(_limits(wasm, 0, len(wasm)))
        free = (pages for pages in range(_MOST_PAGES - 1, 0, -1) if pages not in limits)
        written = _component(wasm, 0, len(wasm), images, free)
    except ComponentError:
        return wasm, []  # whoever compiles it says what is wrong
    return (written if images else wasm), images


def _component(wasm: bytes, start: int, end: int, images: list[MemoryImage], free: Iterator[int]) -> bytes:
    cursor = Cursor(wasm, start, end, "a component", Budget(_STEPS))
    if cursor.raw(len(COMPONENT_MAGIC), "a component") != COMPONENT_MAGIC:
        cursor.fail("this is not a component", start)
    out = [COMPONENT_MAGIC]
    while cursor.pos < cursor.end:
        at = cursor.pos
        number, inner = cursor.part("a component")
        known = len(images)
        content = b""
        if number == _COMPONENT:
            content = _component(wasm, inner.pos, inner.end, images, free)
        elif number == _MODULE and inner.end - inner.pos > LEAST:
            content = _module(CoreModule(wasm, inner.pos, inner.end), images, free)
        out.append(as_section(number, content) if len(images) > known else wasm[at : inner.end])
    return b"".join(out)


def _limits(wasm: bytes, start: int, end: int) -> Iterator[int]:
    """Yield the limits, in pages, that memories of a component declare."""
    cursor = Cursor(wasm, start, end, "a component", Budget(_STEPS))
    cursor.raw(len(COMPONENT_MAGIC), "a component")
    while cursor.pos < cursor.end:
        number, inner = cursor.part("a component")
        if number == _COMPONENT:
            yield from _limits(wasm, inner.pos, inner.end)
        elif number == _MODULE:
            memories = CoreModule(wasm, inner.pos, inner.end).cursor(_MEMORIES)
            for _ in memories.vec("memories"):
                flags, _least = memories.byte("limits"), memories.u32("a limit")
                if flags & 0x01:
                    yield memories.u32("a limit")


def _module(module: CoreModule, images: list[MemoryImage], free: Iterator[int]) -> bytes:
    pages, segments = _pages(module), _segments(module)
    if pages is None or segments is None:
        return b""
    filled = sum(len(data) for _, data in segments)
    if filled < LEAST or pages * _PAGE - filled > _MOST_EMPTY:
        return b""
    if max(at + len(data) for at, data in segments) > pages * _PAGE:
        return b""
    most = next(free)
    images.append(MemoryImage(most * _PAGE, pages * _PAGE, tuple(segments)))
    return module.written({_MEMORIES: b"\1\1" + leb(pages) + leb(most)}, leave_out=_DATA)


def _pages(module: CoreModule) -> int | None:
    """Return the size of a module's only memory, if it has no limit."""
    if module.count(_MEMORIES) != 1 or any(item.kind == Kind.MEMORY for item in module.imports()):
        return None
    cursor = module.cursor(_MEMORIES)
    cursor.u32("a count")
    if cursor.byte("limits") != 0:
        return None
    least = cursor.u32("a limit")
    cursor.done()
    return least


def _segments(module: CoreModule) -> list[tuple[int, bytes]] | None:
    """Return the data of a module, if all of it lies at constant places and no instruction names any."""
    if module.count(_DATA) == 0 or _DATA_COUNT in module.sections:
        return None
    cursor, found = module.cursor(_DATA), list[tuple[int, bytes]]()
    for _ in cursor.vec("segments"):
        if cursor.byte("the kind of a segment") != 0 or cursor.byte("an instruction") != 0x41:
            return None
        at = cursor.s33("an address") % (1 << 32)
        if cursor.byte("an instruction") != 0x0B:
            return None
        found.append((at, cursor.raw(cursor.u32("a size"), "a segment")))
    cursor.done()
    return found
