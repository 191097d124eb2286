"""Rewriting the names of a component's own imports and exports; everything else stays byte for byte.

Definitions refer to each other by index, never by name or offset, so only the import and export sections of
the outermost component change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

from wasmplex.component.binary import Budget, Cursor
from wasmplex.component.encoding import leb, text
from wasmplex.component.entities import Sort
from wasmplex.component.foreign import foreign
from wasmplex.component.scope import Attributes, read_sort
from wasmplex.component.sections import COMPONENT_MAGIC
from wasmplex.component.typedefs import read_attributes
from wasmplex.errors import ComponentError, Diagnostic, nearest
from wasmplex.wit.names import InterfaceId, is_label

__all__ = ["relabel", "rename"]

_IMPORT, _EXPORT = 10, 11
_STEPS = 1_000_000


class _Declared(NamedTuple):
    """One import or export as it stands in the file."""

    name: str
    attributes: Attributes
    is_instance: bool
    rest: bytes


_Change = Callable[[_Declared], tuple[str, Attributes]]


def relabel(wasm: bytes, labels: Mapping[str, tuple[str, str]]) -> bytes:
    """Return the component with imports renamed to labels, each marked with the interface it implements.

    This is what makes labels usable from toolchains that cannot compile two imports of one interface: give
    each label an interface of its own (``labels:kv/cache@0.1.0``) in WIT, and relabel the result.

    :param labels: for the name of an import now, the label it gets and the id of the interface it
        implements: ``{"labels:kv/cache@0.1.0": ("cache", "wasi:keyvalue/store@0.2.0-draft")}``
    :raises ComponentError: an import is not there or is not an instance, a label or interface id is not
        one, or a label would be there twice; all that is wrong at once
    """
    declared = [item for number, item in _declarations(wasm) if number == _IMPORT]
    if problems := _problems(declared, labels):
        raise ComponentError(problems)

    def change(item: _Declared) -> tuple[str, Attributes]:
        if item.name not in labels:
            return item.name, item.attributes
        label, interface = labels[item.name]
        # The suffix belongs to a version in the name, and there is none in a label.
        return label, replace(item.attributes, implements=interface, version_suffix=None)

    return _rewrite(wasm, {_IMPORT: change})


def rename(wasm: bytes, names: Mapping[str, str]) -> bytes:
    """Return the component with the given imports and exports renamed.

    :param names: old name to new name; an old name that ends in ``:`` or ``/`` renames all that start so
    :raises ComponentError: nothing has such a name, or two would have the same
    """
    used: set[str] = set()

    def change(item: _Declared) -> tuple[str, Attributes]:
        return _renamed(item.name, names, used), item.attributes

    known: set[str] = set()
    for number in (_IMPORT, _EXPORT):
        declared = [item for section, item in _declarations(wasm) if section == number]
        known |= {item.name for item in declared}
        _distinct([_renamed(item.name, names, used) for item in declared])
    for old in names.keys() - used:
        fix = nearest(old, known) or "see its imports with `wasmplex inspect`"
        raise ComponentError(f"nothing is called {old!r} in the component", fix=fix)
    return _rewrite(wasm, {_IMPORT: change, _EXPORT: change})


def _renamed(name: str, names: Mapping[str, str], used: set[str]) -> str:
    for old, new in names.items():
        if name == old or (old.endswith((":", "/")) and name.startswith(old)):
            used.add(old)
            return new + name[len(old) :]
    return name


def _distinct(names: list[str]) -> None:
    folded = [name.lower() for name in names]
    for name, fold in zip(names, folded, strict=True):
        if folded.count(fold) > 1:
            raise ComponentError(f"the component would have two imports or exports called {name!r}")


def _problems(declared: list[_Declared], labels: Mapping[str, tuple[str, str]]) -> list[Diagnostic]:
    problems: list[Diagnostic] = []
    by_name = {item.name: item for item in declared}
    taken = {name.lower(): name for name in by_name if name not in labels}
    for old, (label, interface) in labels.items():
        problems += _problems_of(old, label, interface, by_name)
        if (other := taken.setdefault(label.lower(), old)) != old:
            what = f"the label {label!r} would be there twice"
            problems.append(Diagnostic(what, old, f"{other!r} has that name already"))
    return problems


def _problems_of(
    old: str, label: str, interface: str, by_name: Mapping[str, _Declared]
) -> Iterator[Diagnostic]:
    if (item := by_name.get(old)) is None:
        fix = nearest(old, by_name) or "the component has no imports"
        yield Diagnostic(f"the component does not import {old!r}", fix=fix)
        if interface == old:  # what it would stand for was left to the import
            interface = ""
    elif not item.is_instance:
        why = "only an interface can have a label, and this is a function, type, module or component"
        yield Diagnostic(f"the import {old!r} cannot get a label", why=why)
    if not is_label(label):
        why = "a label is words of letters and digits, joined by single hyphens, each in one case"
        yield Diagnostic(f"{label!r} is not a label", old, why, "such as `cache` or `user-db`")
    if interface and InterfaceId.try_parse(interface) is None:
        fix = "such as wasi:keyvalue/store@0.2.0-draft"
        yield Diagnostic(f"{interface!r} is not the id of an interface", old, fix=fix)


def _top(wasm: bytes) -> Iterator[tuple[int, int, Cursor]]:
    """Yield the sections: where each starts, its number, a cursor over its content."""
    if (error := foreign(wasm)) is not None:
        raise error
    cursor = Cursor(wasm, len(COMPONENT_MAGIC), len(wasm), "the component", Budget(_STEPS))
    while cursor.pos < cursor.end:
        cursor.spend()
        start, number = cursor.pos, cursor.byte("a section")
        size = cursor.u32("the size of a section")
        if size > cursor.end - cursor.pos:
            cursor.fail("it ends in the middle of a section", cursor.end)
        yield (
            start,
            number,
            cursor.sub(size, {_IMPORT: "import section", _EXPORT: "export section"}.get(number, "")),
        )


def _declarations(wasm: bytes) -> Iterator[tuple[int, _Declared]]:
    for _, number, cursor in _top(wasm):
        if number in (_IMPORT, _EXPORT):
            for _ in cursor.vec("definitions"):
                yield number, _declaration(cursor, number)
            cursor.done()


def _declaration(cursor: Cursor, number: int) -> _Declared:
    name, attributes = read_attributes(cursor)
    start = cursor.pos
    if number == _IMPORT:
        is_instance = cursor.peek("a type") == Sort.INSTANCE
        _skip_extern(cursor)
    else:
        is_instance = read_sort(cursor) is Sort.INSTANCE
        cursor.u32("an index")
        if cursor.flag("whether an export has a type of its own"):
            _skip_extern(cursor)
    return _Declared(name, attributes, is_instance, cursor.data[start : cursor.pos])


def _skip_extern(cursor: Cursor) -> None:
    kind = cursor.byte("the type of an import or export")
    if kind == 0x00:
        cursor.byte("a core module type")
        cursor.u32("an index")
    elif kind == Sort.VALUE:
        cursor.s33("a value type")
    elif kind != Sort.TYPE or not cursor.flag("the bound of a type"):
        cursor.u32("an index")


def _rewrite(wasm: bytes, changes: Mapping[int, _Change]) -> bytes:
    out = [COMPONENT_MAGIC]
    for start, number, cursor in _top(wasm):
        if (change := changes.get(number)) is None:
            out.append(wasm[start : cursor.end])
            continue
        items = [_declaration(cursor, number) for _ in cursor.vec("definitions")]
        body = b"".join(_encode(*change(item), item.rest) for item in items)
        body = leb(len(items)) + body
        out.append(bytes([number]) + leb(len(body)) + body)
    return b"".join(out)


def _encode(name: str, attributes: Attributes, rest: bytes) -> bytes:
    given = [(0, attributes.implements), (1, attributes.version_suffix), (2, attributes.external_id)]
    written = [bytes([kind]) + text(value) for kind, value in given if value is not None]
    if not written:
        return b"\0" + text(name) + rest
    return b"\2" + text(name) + leb(len(written)) + b"".join(written) + rest
