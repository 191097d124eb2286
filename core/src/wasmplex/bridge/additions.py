"""Imported instance types opened for additions: functions of other types beside those that are there.

What a type has keeps its indices: whatever is added stands at its end.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from wasmplex.component.binary import Budget, Cursor
from wasmplex.component.draft import Draft, Edit
from wasmplex.component.encoding import leb, signed, text
from wasmplex.component.entities import Sort
from wasmplex.component.scope import Scope
from wasmplex.component.shape import NamedType
from wasmplex.component.typedefs import PRIMITIVES, read_attributes, read_declaration, read_value
from wasmplex.wit.types import ValueType
from wasmplex.wit.walk import with_children

__all__ = ["Additions", "Reference", "Replace", "is_alone"]

_TYPE, _EXPORT = 0x01, 0x04
_LIST, _OPTION, _TUPLE, _RESULT = 0x70, 0x6B, 0x6F, 0x6A

Reference: TypeAlias = tuple[bytes, ValueType]
"""The bytes that refer to a type, and the type."""
Replace: TypeAlias = Callable[[ValueType], Reference | None]
"""Returns what stands for a type, if anything."""


def is_alone(draft: Draft, name: str, names: set[str]) -> bool:
    """Say whether the instance type of an import is used for none but some imports.

    :param names: external names of these
    """
    if name not in draft.imports:
        return False
    type_ = draft.imports[name][1]
    chosen = sum(1 for other, (_, index) in draft.imports.items() if index == type_ and other in names)
    uses = sum(1 for use in draft.uses if use.sort == Sort.TYPE and use.number == type_)
    return type_ in draft.instance_types and uses == chosen


class Additions:
    """An instance type, and the functions that are added to it.

    :param index: which of the outermost component's types
    :param prefix: what the names of the new functions begin with
    """

    def __init__(self, draft: Draft, index: int, prefix: str) -> None:
        start, self._end = draft.instance_types[index]
        self._draft = draft
        self._scope = Scope.inside(draft.scope, draft.cursor(start), concrete=False)
        self._starts: dict[int, int] = {}
        self._functions: dict[str, int] = {}
        self._added: list[bytes] = []
        self._names = (f"{prefix}{number}" for number in itertools.count())
        cursor = draft.cursor(start + 1, self._end)
        self._declarations = cursor.u32("a count")
        self._count = Edit(start + 1, cursor.pos, b"")
        for _ in range(self._declarations):
            self._read(cursor)
        self._last = len(self._types) - 1

    @property
    def _types(self) -> list[Any]:
        return self._scope.spaces[Sort.TYPE]

    def edits(self) -> Iterator[Edit]:
        """Yield what has to change in the file."""
        if self._added:
            yield self._count._replace(data=leb(self._declarations + len(self._added)))
            yield Edit(self._end, self._end, b"".join(self._added))

    def _read(self, cursor: Cursor) -> None:
        start, before = cursor.pos, len(self._types)
        kind = cursor.byte("a declaration")
        read_declaration(cursor, self._scope, kind)
        if kind == _TYPE:
            self._starts[before] = start + 1
        elif kind == _EXPORT and len(self._types) == before:
            export = self._draft.cursor(start + 1, self._end)
            name, _ = read_attributes(export)
            if export.byte("a type") == Sort.FUNC and (index := export.u32("an index")) in self._starts:
                self._functions[name] = self._starts[index]

    # ------------------------------------------------------------ reading

    def function(self, name: str) -> Cursor | None:
        """Return a cursor over the definition of a function's type, None if it stands elsewhere."""
        if name not in self._functions:
            return None
        return self._draft.cursor(self._functions[name], self._end)

    def value(self, cursor: Cursor) -> Reference:
        """Read a value type."""
        start = cursor.pos
        value = read_value(cursor, self._scope)
        return cursor.data[start : cursor.pos], value

    # ------------------------------------------------------------ adding

    def define(self, definition: bytes) -> bytes:
        """Add a type; return the bytes that refer to it."""
        self._added.append(bytes([_TYPE]) + definition)
        self._last += 1
        return signed(self._last)

    def add_function(self, definition: bytes) -> str:
        """Add a function with a type; return its name."""
        self.define(definition)
        name = next(name for name in self._names if name not in self._scope.exports)
        self._added.append(bytes([_EXPORT, 0]) + text(name) + bytes([Sort.FUNC]) + leb(self._last))
        return name

    def replaced(self, code: bytes, replace: Replace, *, in_lists: bool = True) -> Reference | None:
        """Return what stands for a type once parts of it are replaced; None if none is.

        What is inside of a type with a name is not replaced: the name has one meaning for all.

        :param code: the bytes that refer to the type
        :param in_lists: whether the elements of lists count as parts
        """
        if code[0] in PRIMITIVES:
            return None
        index = Cursor(code, 0, len(code), "a type", Budget(1)).s33("a type")
        entry = self._types[index]
        type_ = entry.type if isinstance(entry, NamedType) else entry
        if (new := replace(type_)) is not None:
            return new
        if index not in self._starts:
            return None
        cursor = self._draft.cursor(self._starts[index], self._end)
        if (parts := self._parts(cursor, in_lists=in_lists)) is None:
            return None
        head, marks, before = parts
        changed = [self.replaced(part, replace, in_lists=in_lists) for part, _ in before]
        if not any(changed):
            return None
        after = [new or old for new, old in zip(changed, before, strict=True)]
        codes = iter([code for code, _ in after])
        body = b"".join(mark + (next(codes) if mark != b"\0" else b"") for mark in marks)
        return self.define(head + body), with_children(type_, [part for _, part in after])

    def _parts(self, cursor: Cursor, *, in_lists: bool) -> tuple[bytes, list[bytes], list[Reference]] | None:
        """Read a type without a name: how it begins, what stands before each part, and the parts."""
        opcode = cursor.byte("a type")
        head = bytes([opcode])
        if opcode == _OPTION or (opcode == _LIST and in_lists):
            return head, [b""], [self.value(cursor)]
        if opcode == _TUPLE:
            count = cursor.u32("a count")
            return head + leb(count), [b""] * count, [self.value(cursor) for _ in range(count)]
        if opcode != _RESULT:
            return None
        marks, parts = list[bytes](), list[Reference]()
        for _ in range(2):
            there = cursor.flag("whether there is a type")
            marks.append(b"\1" if there else b"\0")
            parts += [self.value(cursor)] if there else []
        return head, marks, parts
