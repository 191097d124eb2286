"""Looking into core modules, briefly, for the wasm proposals that they need.

Only types, imports, tables, memories, tags and the toolchain's list of target features are looked at; an
instruction in a function body is not noticed.
"""

from __future__ import annotations

from collections.abc import Callable

from wasmplex.component.binary import Budget, Cursor
from wasmplex.component.coretypes import (
    read_externtype,
    read_limits,
    read_rectype,
    read_tabletype,
    read_valtype,
)
from wasmplex.errors import ComponentError

__all__ = ["MODULE_MAGIC", "module_budget", "note_module"]

MODULE_MAGIC = b"\0asm\x01\0\0\0"

# Enough for the largest modules known (20 MB of code have about 3000 types); the rest goes unseen.
_STEPS = 200_000

# What nothing but a function body would show, and LLVM lists when the toolchain switched it on. Others of
# its names are left out: toolchains switch them on for all, and few components use them.
_FEATURES = {"tail-call": "tail-call"}


def note_module(cursor: Cursor, proposals: set[str], budget: Budget) -> None:
    """Look into the core module that `cursor` covers; its sections have to fit, their content may be new.

    :param budget: what all modules of a component together may cost; see `module_budget`
    :raises ComponentError: a section is longer than the module
    """
    if not cursor.data.startswith(MODULE_MAGIC, cursor.pos, cursor.end):
        cursor.fail("this is not a core module", why="it does not start with 00 61 73 6d 01 00 00 00")
    cursor.pos += len(MODULE_MAGIC)
    memories = 0
    while cursor.pos < cursor.end:
        cursor.spend()
        section = cursor.byte("a section")
        start, size = cursor.pos, cursor.u32("the size of a section")
        if size > cursor.end - cursor.pos:
            left = cursor.end - cursor.pos
            cursor.fail(
                "a section of a core module does not fit", start, why=f"{size} bytes, {left} are left"
            )
        inner = cursor.sub(size, "core module")
        if (look := _SECTIONS.get(section)) is not None:
            inner.budget = budget
            memories += _look(inner, proposals, look)
    if memories > 1:
        proposals.add("multi-memory")


def module_budget() -> Budget:
    """Return what looking into all the core modules of one component may cost."""
    return Budget(_STEPS)


def _look(cursor: Cursor, proposals: set[str], look: Callable[[Cursor, set[str]], int]) -> int:
    seen: set[str] = set()
    try:
        memories = look(cursor, seen)
    except ComponentError:
        # Newer than this reader, or damaged: the engine will say so. What was seen until here is true.
        memories = 0
    proposals |= seen
    return memories


def _types(cursor: Cursor, proposals: set[str]) -> int:
    for _ in cursor.vec("types"):
        read_rectype(cursor, proposals)
    return 0


def _imports(cursor: Cursor, proposals: set[str]) -> int:
    memories = 0
    for _ in cursor.vec("imports"):
        cursor.text("a module name")
        cursor.text("an import name")
        kind = cursor.byte("the kind of an import")
        memories += kind == 0x02
        read_externtype(cursor, proposals, kind)
    return memories


def _tables(cursor: Cursor, proposals: set[str]) -> int:
    for _ in cursor.vec("tables"):
        if cursor.peek("a table") == 0x40:
            proposals.add("function-references")
            break  # an initializer follows; what comes after it goes unseen
        read_tabletype(cursor, proposals)
    return 0


def _memories(cursor: Cursor, proposals: set[str]) -> int:
    count = cursor.count("memories")
    for _ in range(count):
        read_limits(cursor, proposals)
    return count


def _tags(cursor: Cursor, proposals: set[str]) -> int:
    if cursor.count("tags"):
        proposals.add("exception-handling")
    return 0


def _globals(cursor: Cursor, proposals: set[str]) -> int:
    if cursor.count("globals"):
        read_valtype(cursor, proposals)
    return 0


def _custom(cursor: Cursor, proposals: set[str]) -> int:
    if cursor.text("the name of a section") == "target_features":
        for _ in cursor.vec("features"):
            used = cursor.byte("a feature") == ord("+")
            feature = cursor.text("a feature")
            if used and feature in _FEATURES:
                proposals.add(_FEATURES[feature])
    return 0


_SECTIONS: dict[int, Callable[[Cursor, set[str]], int]] = {
    0: _custom,
    1: _types,
    2: _imports,
    4: _tables,
    5: _memories,
    6: _globals,
    13: _tags,
}
