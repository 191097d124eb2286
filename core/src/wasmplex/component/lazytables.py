"""Tables of functions that fill themselves when used: for guests that are linked from libraries.

The libraries of such a guest share one table. A module that is made before them defines it, and each library
writes its functions into it: for CPython 5,000 references, made anew for every instance, and a call uses a
few hundred. wasmtime makes a reference when it is first used, but only in a table of the module itself that
is filled from constants. So the library with the most functions gets a table of its own in the place of the
shared one:

- its own functions stand in it, at the places they had;
- what others put into the shared table is copied into it when all of them have been made;
- in the shared table, its functions are replaced by small ones that pass a call on. They cannot name a
  table that is made after them: each goes through one of a few *forwarders*, one for each signature, in a
  second table that is filled in the end as well.

A pointer to a function is an index, and stays what it was for all. Where the segment of another module
reaches into the library's range, or may, all stays as it is. Only what somebody would write into a table
later on is not seen in the other one; that takes instructions that no compiler emits for this table.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from wasmplex.component.coremodule import FuncSignature, Kind
from wasmplex.component.draft import Draft, Edit, Insertion
from wasmplex.component.encoding import as_section, leb, signed, text, vec
from wasmplex.component.entities import Sort
from wasmplex.component.linkage import Linkage
from wasmplex.component.sharedtables import TABLE, Library, largest
from wasmplex.errors import ComponentError

__all__ = ["NEEDED", "lazy"]

NEEDED: Final = ("bulk-memory", "reference-types")
"""The proposals that the component uses afterwards."""
_TYPES, _IMPORTS, _FUNCTIONS, _TABLES, _EXPORTS, _ELEMENTS, _CODE = 1, 2, 3, 4, 7, 9, 10
_INSTANCE_SORT = 0x12
_OWN, _FORWARDERS = "wasmplex-own-table", "wasmplex-forwarders"
_NAMES: Final = {0x7F: "i32", 0x7E: "i64", 0x7D: "f32", 0x7C: "f64", 0x7B: "v128"}
_I32 = b"\x7f"
_FUNCREF = b"\x70"


def lazy(wasm: bytes, assemble: Callable[[str], bytes]) -> bytes | None:
    """Return the component with the functions of its largest library in a table that fills itself.

    :param assemble: turns the text of a core module into bytes
    :return: None if it has no such library, or anything else about it is not as expected
    """
    try:
        draft = Draft(wasm)
        linkage = Linkage.of(draft)
        library = None if linkage is None else largest(draft, linkage)
    except (ComponentError, LookupError):
        return None  # whoever compiles it says what is wrong
    return None if library is None else _rewritten(draft, library, assemble)


# ---------------------------------------------------------------- writing


def _rewritten(draft: Draft, library: Library, assemble: Callable[[str], bytes]) -> bytes | None:
    kinds = list(dict.fromkeys(library.signatures))
    edits = [
        Edit(*library.owner.place, _with_stand_ins(library, kinds)),
        Edit(*library.user.place, _with_own_table(library)),
    ]
    ending = _ending(draft, library, assemble(_finisher(library, kinds)))
    return draft.written(edits, [Insertion(len(draft.sections) - 1, ending, {}, {})])


def _with_stand_ins(library: Library, kinds: Sequence[FuncSignature]) -> bytes:
    """Return the module of the shared table with a function in the place of each of the library's."""
    module, segment = library.owner.module, library.segment
    types = module.count(_TYPES)
    functions = len(module.function_types())
    both = [(kind, FuncSignature(kind.params + _I32, kind.results)) for kind in kinds]
    stand_ins = range(functions, functions + len(segment.functions))
    number_of = {kind: number for number, kind in enumerate(kinds)}
    codes, indices = [], []
    for at, signature in enumerate(library.signatures, segment.base):
        number = number_of[signature]
        indices.append(leb(types + 2 * number))
        codes.append(_stand_in(at, number, len(signature.params), types + 2 * number + 1))
    return module.written(
        {
            _TYPES: module.appended(_TYPES, *(_type(signature) for pair in both for signature in pair)),
            _FUNCTIONS: module.appended(_FUNCTIONS, *indices),
            _TABLES: module.appended(_TABLES, _table(len(kinds))),
            _EXPORTS: module.appended(_EXPORTS, text(_FORWARDERS) + bytes([Kind.TABLE]) + b"\1"),
            _ELEMENTS: module.appended(_ELEMENTS, _element(segment.base, stand_ins)),
            _CODE: module.appended(_CODE, *codes),
        }
    )


def _type(signature: FuncSignature) -> bytes:
    return b"\x60" + b"".join(leb(len(part)) + part for part in signature)


def _element(base: int, functions: Sequence[int]) -> bytes:
    return b"\0\x41" + signed(base) + b"\x0b" + vec([leb(function) for function in functions])


def _table(size: int) -> bytes:
    return _FUNCREF + b"\1" + leb(size) + leb(size)


def _stand_in(at: int, number: int, params: int, forwarder_type: int) -> bytes:
    """Return the code of a function that calls what stands in the library's table at an index."""
    arguments = b"".join(b"\x20" + leb(param) for param in range(params))
    call = b"\x41" + signed(at) + b"\x41" + signed(number) + b"\x11" + leb(forwarder_type) + b"\1"
    body = b"\0" + arguments + call + b"\x0b"
    return leb(len(body)) + body


def _with_own_table(library: Library) -> bytes:
    module, table, segment = library.user.module, library.table, library.segment
    cursor = module.cursor(_IMPORTS)
    count = cursor.u32("a count")
    imports = leb(count - 1) + cursor.data[cursor.pos : table.start] + cursor.data[table.end : cursor.end]
    return module.written(
        {
            _IMPORTS: imports,
            _TABLES: module.appended(_TABLES, _table(library.size)),
            _EXPORTS: module.appended(_EXPORTS, text(_OWN) + bytes([Kind.TABLE]) + b"\0"),
            _ELEMENTS: vec([_element(segment.base, segment.functions)]),
        }
    )


def _finisher(library: Library, kinds: Sequence[FuncSignature]) -> str:
    """Return the module that fills what can only be filled in the end."""
    base, end = library.segment.base, library.segment.base + len(library.segment.functions)
    size = library.size
    forwarders = "\n".join(_forwarder(number, kind) for number, kind in enumerate(kinds))
    names = " ".join(f"$f{number}" for number in range(len(kinds)))
    return f"""(module
      (import "" "shared" (table $shared {size} funcref))
      (import "" "own" (table $own {size} funcref))
      (import "" "forwarders" (table $forwarders {len(kinds)} {len(kinds)} funcref))
      {forwarders}
      (elem (table $forwarders) (i32.const 0) func {names})
      (func $complete
        (table.copy $own $shared (i32.const 0) (i32.const 0) (i32.const {base}))
        (table.copy $own $shared (i32.const {end}) (i32.const {end}) (i32.const {size - end})))
      (start $complete))"""


def _forwarder(number: int, kind: FuncSignature) -> str:
    params = " ".join(_NAMES[code] for code in kind.params)
    results = " ".join(_NAMES[code] for code in kind.results)
    arguments = " ".join(f"(local.get {param})" for param in range(len(kind.params)))
    of = f"(param {params}) (result {results})"
    index = f"(local.get {len(kind.params)})"
    return f"""(func $f{number} (param {params} i32) (result {results})
        (call_indirect $own {of} {arguments} {index}))"""


def _ending(draft: Draft, library: Library, finisher: bytes) -> bytes:
    """Return the sections that instantiate the finisher, to stand behind all others."""
    counts = draft.sections[-1].counts
    tables, instances, modules = counts["core table"], counts["core instance"], counts[Sort.MODULE]
    taken = {
        "shared": (library.owner.instance, library.shared),
        "own": (library.user.instance, _OWN),
        "forwarders": (library.owner.instance, _FORWARDERS),
    }
    aliases = [b"\0\1\1" + leb(instance) + text(name) for instance, name in taken.values()]
    given = [text(name) + bytes([TABLE]) + leb(tables + number) for number, name in enumerate(taken)]
    made = [
        b"\1" + vec(given),
        b"\0" + leb(modules) + b"\1" + text("") + bytes([_INSTANCE_SORT]) + leb(instances),
    ]
    return as_section(1, finisher) + as_section(6, vec(aliases)) + as_section(2, vec(made))
