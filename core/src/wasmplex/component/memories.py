"""Which memories the instances of a component have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from wasmplex.component.binary import Budget, Cursor
from wasmplex.component.coremodule import CoreModule
from wasmplex.component.draft import Draft
from wasmplex.component.linkage import Linkage, Made
from wasmplex.component.sections import COMPONENT_MAGIC

__all__ = ["only_memory"]

_MODULE, _COMPONENT, _MEMORIES = 1, 4, 5
_MAXIMUM: Final = 0x01
_STEPS: Final = 1_000_000


def only_memory(draft: Draft) -> int | None:
    """Return the limit, in pages, of the one memory that an instance has; 0 if it declares none.

    :return: None if it has none, several, or one that is shared or of 64 bits; or that cannot be told
    """
    linkage = Linkage.of(draft)
    if linkage is None:
        return None
    nested = (section for section in draft.sections if section.number == _COMPONENT)
    if any(_in_component(draft.wasm, section.start, section.end) for section in nested):
        return None
    instances = Counter(made.module for made in linkage.instances if isinstance(made, Made))
    found = [
        limit
        for number, (start, end) in enumerate(linkage.modules)
        for limit in list(_limits(CoreModule(draft.wasm, start, end))) * instances[number]
    ]
    return found[0] if len(found) == 1 else None


def _limits(module: CoreModule) -> Iterator[int | None]:
    """Yield the limit of each memory that a module defines; None for one that is not plain, the last told."""
    cursor = module.cursor(_MEMORIES)
    for _ in cursor.vec("memories"):
        flags = cursor.byte("limits")
        if flags > _MAXIMUM:
            yield None
            return
        cursor.u32("a limit")
        yield cursor.u32("a limit") if flags else 0


def _in_component(wasm: bytes, start: int, end: int) -> bool:
    """Say whether a nested component has modules that define memories."""
    cursor = Cursor(wasm, start, end, "a component", Budget(_STEPS))
    cursor.raw(len(COMPONENT_MAGIC), "a component")
    while cursor.pos < cursor.end:
        number, inner = cursor.part("a component")
        if number == _COMPONENT and _in_component(wasm, inner.pos, inner.end):
            return True
        if number == _MODULE and CoreModule(wasm, inner.pos, inner.end).count(_MEMORIES):
            return True
    return False
