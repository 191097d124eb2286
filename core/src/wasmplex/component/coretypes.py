"""Core WebAssembly types: stepped over, for the wasm proposals that they show to be needed."""

from __future__ import annotations

from wasmplex.component.binary import Cursor

__all__ = [
    "read_component_core_type",
    "read_externtype",
    "read_limits",
    "read_pointer",
    "read_rectype",
    "read_tabletype",
    "read_valtype",
]

_NUMBERS = frozenset((0x7F, 0x7E, 0x7D, 0x7C, 0x7B))
_I64 = 0x7E
_PACKED = frozenset((0x78, 0x77))
# Abstract heap types; each alone is also short for a nullable reference to it.
_HEAP = {
    0x70: "",  # func
    0x6F: "",  # extern
    0x6E: "gc",  # any
    0x6D: "gc",  # eq
    0x6C: "gc",  # i31
    0x6B: "gc",  # struct
    0x6A: "gc",  # array
    0x71: "gc",  # none
    0x72: "gc",  # noextern
    0x73: "gc",  # nofunc
    0x69: "exception-handling",  # exn
    0x74: "exception-handling",  # noexn
    0x68: "stack-switching",  # cont
    0x75: "stack-switching",  # nocont
}
_SHARED = 0x65
_FUNC, _STRUCT, _ARRAY, _CONT = 0x60, 0x5F, 0x5E, 0x5D
_SUB, _SUB_FINAL, _REC = 0x50, 0x4F, 0x4E
_MODULE = 0x50


def read_pointer(cursor: Cursor, proposals: set[str]) -> None:
    """Step over the core value type of a resource's representation or of a task's context slot."""
    if cursor.peek("a core value type") == _I64:
        proposals.add("component-model-memory64")
    read_valtype(cursor, proposals)


def read_valtype(cursor: Cursor, proposals: set[str]) -> None:
    """Step over a core value type."""
    byte = cursor.byte("a core value type")
    if byte in _NUMBERS:
        return
    if byte in (0x63, 0x64):
        proposals.add("function-references")
        _heaptype(cursor, proposals)
    elif byte == _SHARED:
        proposals.add("shared-everything-threads")
        read_valtype(cursor, proposals)
    elif byte in _HEAP:
        _note(_HEAP[byte], proposals)
    else:
        cursor.unexpected(byte, "a core value type")


def _note(proposal: str, proposals: set[str]) -> None:
    if proposal:
        proposals.add(proposal)


def _heaptype(cursor: Cursor, proposals: set[str]) -> None:
    byte = cursor.peek("a heap type")
    if byte == _SHARED:
        proposals.add("shared-everything-threads")
        cursor.pos += 1
        byte = cursor.peek("a heap type")
    if byte in _HEAP:
        cursor.pos += 1
        _note(_HEAP[byte], proposals)
    elif cursor.s33("a heap type") < 0:
        cursor.unexpected(byte, "a heap type")


def _fieldtype(cursor: Cursor, proposals: set[str]) -> None:
    if cursor.peek("a field type") in _PACKED:
        cursor.pos += 1
    else:
        read_valtype(cursor, proposals)
    cursor.flag("whether a field is mutable")


def _valtypes(cursor: Cursor, proposals: set[str]) -> None:
    for _ in cursor.vec("core value types"):
        read_valtype(cursor, proposals)


def _comptype(cursor: Cursor, proposals: set[str], opcode: int) -> None:
    if opcode == _SHARED:
        proposals.add("shared-everything-threads")
        opcode = cursor.byte("a core type")
    if opcode == _FUNC:
        _valtypes(cursor, proposals)
        _valtypes(cursor, proposals)
    elif opcode == _STRUCT:
        proposals.add("gc")
        for _ in cursor.vec("fields"):
            _fieldtype(cursor, proposals)
    elif opcode == _ARRAY:
        proposals.add("gc")
        _fieldtype(cursor, proposals)
    elif opcode == _CONT:
        proposals.add("stack-switching")
        _heaptype(cursor, proposals)
    else:
        cursor.unexpected(opcode, "a core type")


def _subtype(cursor: Cursor, proposals: set[str], opcode: int) -> None:
    if opcode in (_SUB, _SUB_FINAL):
        proposals.add("gc")
        for _ in cursor.vec("supertypes"):
            cursor.u32("a supertype")
        opcode = cursor.byte("a core type")
    _comptype(cursor, proposals, opcode)


def read_rectype(cursor: Cursor, proposals: set[str]) -> int:
    """Step over an entry of a core type section; return how many types it defines."""
    cursor.spend()
    opcode = cursor.byte("a core type")
    if opcode != _REC:
        _subtype(cursor, proposals, opcode)
        return 1
    proposals.add("gc")
    count = cursor.count("types of a group")
    for _ in range(count):
        _subtype(cursor, proposals, cursor.byte("a core type"))
    return count


def read_limits(cursor: Cursor, proposals: set[str]) -> None:
    """Step over the limits of a memory or table."""
    flags = cursor.byte("limits")
    if flags > 0x0F:
        cursor.unexpected(flags, "limits")
    if flags & 0x02:
        proposals.add("threads")
    if flags & 0x04:
        proposals.add("memory64")
    for _ in range(2 if flags & 0x01 else 1):
        _u64(cursor, "a limit")
    if flags & 0x08:
        proposals.add("custom-page-sizes")
        cursor.u32("a page size")


def _u64(cursor: Cursor, expected: str) -> None:
    start = cursor.pos
    for _ in range(10):
        if cursor.byte(expected) < 0x80:
            return
    cursor.fail(f"{expected} is not a number of 64 bits", start)


def read_tabletype(cursor: Cursor, proposals: set[str]) -> None:
    """Step over the type of a table."""
    read_valtype(cursor, proposals)
    read_limits(cursor, proposals)


def read_externtype(cursor: Cursor, proposals: set[str], kind: int) -> None:
    """Step over the type of a core import or export of the given kind."""
    match kind:
        case 0x00:
            cursor.u32("a core type index")
        case 0x01:
            read_tabletype(cursor, proposals)
        case 0x02:
            read_limits(cursor, proposals)
        case 0x03:
            read_valtype(cursor, proposals)
            cursor.byte("whether a global is mutable")
        case 0x04:
            proposals.add("exception-handling")
            cursor.byte("the kind of a tag")
            cursor.u32("a core type index")
        case 0x20:  # a function import with an exact type
            cursor.u32("a core type index")
        case _:
            cursor.unexpected(kind, "the type of a core import or export")


def read_component_core_type(cursor: Cursor, proposals: set[str]) -> int:
    """Step over a core type in a component; return how many types it defines."""
    opcode = cursor.peek("a core type")
    if opcode == 0x00:
        # Tells a subtype that is not final from a module type.
        cursor.pos += 1
        if cursor.peek("a core type") != _SUB:
            cursor.unexpected(cursor.byte("a core type"), "a subtype")
    elif opcode == _MODULE:
        cursor.pos += 1
        for _ in cursor.vec("declarations of a module type"):
            _module_declaration(cursor, proposals)
        return 1
    return read_rectype(cursor, proposals)


def _module_declaration(cursor: Cursor, proposals: set[str]) -> None:
    kind = cursor.byte("a declaration of a module type")
    match kind:
        case 0x00:
            cursor.text("a module name")
            cursor.text("an import name")
            read_externtype(cursor, proposals, cursor.byte("the kind of an import"))
        case 0x01:
            read_rectype(cursor, proposals)
        case 0x02:
            if cursor.byte("an alias") != 0x10 or cursor.byte("an alias") != 0x01:
                cursor.unexpected(cursor.data[cursor.pos - 1], "an outer alias of a type")
            cursor.u32("the number of levels")
            cursor.u32("a core type index")
        case 0x03:
            cursor.text("an export name")
            read_externtype(cursor, proposals, cursor.byte("the kind of an export"))
        case _:
            cursor.unexpected(kind, "a declaration of a module type")
