"""Generates the code that puts a host function's result into the slot that wasmtime keeps for it.

The slot must only ever hold what wasmtime itself allocated (`engine.memory`, invariant 3). Plain results are
written into it piece by piece, the kind last; ``result`` and ``option`` around them come from a ready-made
tree that is cloned into the slot and whose innermost val is then written in the same way. Everything else
is built in an arena and cloned as a whole.
"""

from __future__ import annotations

import ctypes
from functools import lru_cache
from typing import Any

from wasmplex.engine.capi import KINDS
from wasmplex.engine.codec.layout import VAL, fixed_words
from wasmplex.engine.codec.source import Source, index, name_literal
from wasmplex.engine.codec.writer import SCALARS, Place, emit_side, emit_write
from wasmplex.engine.inplace import InPlace
from wasmplex.wit.types import Enum, ListType, Option, Own, Primitive, ResultType, ValueType

__all__ = ["emit_err", "emit_result"]

_NONE, _RESULT, _OPTION, _RESULT_OPTION = "none", "result", "option", "result-option"


@lru_cache(maxsize=1)
def _templates() -> dict[str, tuple[int, Any]]:
    """Return address (and owner) of constant trees; the innermost val is ``bool(false)``."""
    ok, some, leaf = [KINDS["result"], 1, VAL, 0], [KINDS["option"], VAL, 0, 0], [0, 0, 0, 0]
    trees = {
        _NONE: [*ok, KINDS["option"], 0, 0, 0],
        _RESULT: [*ok, *leaf],
        _OPTION: [*some, *leaf],
        _RESULT_OPTION: [*ok, KINDS["option"], 2 * VAL, 0, 0, *leaf],
    }
    pointers = {_NONE: (2,), _RESULT: (2,), _OPTION: (1,), _RESULT_OPTION: (2, VAL + 1)}
    blocks = {}
    for name, words in trees.items():
        block = (ctypes.c_uint64 * len(words))(*words)
        for pointer in pointers[name]:
            block[pointer] = ctypes.addressof(block) + 8 * words[pointer]
        blocks[name] = (ctypes.addressof(block), block)
    return blocks


def emit_result(source: Source, type: ValueType | None, value: str) -> None:
    """Emit the writing of a function's result (of a ``result``, the ok value) to the slot ``res``."""
    if type is None:
        source.line(f"if {value} is not None: raise Unfit")
        return
    source.line("o=res>>3")
    ok = type.ok if isinstance(type, ResultType) else type
    if ok is None:
        source.line(f"if {value} is not None: raise Unfit")
        source.line(f"U64[o+1]=1;U64[o+2]=0;U64[o]={KINDS['result']}")
    elif _is_plain(ok):
        _emit_plain_result(source, ok, value, wrapped=isinstance(type, ResultType))
    elif isinstance(ok, Option) and _is_plain(ok.element):
        _emit_plain_option(source, ok, value, wrapped=isinstance(type, ResultType))
    elif isinstance(type, ResultType):
        _emit_tree(source, type, value, 1)
    else:
        _emit_cloned(source, type, lambda place: emit_write(source, type, place, value, top=True))


def emit_err(source: Source, type: ResultType, value: str) -> None:
    """Emit the writing of the err case of a function's result to the slot ``res``."""
    _emit_tree(source, type, value, 0)


def _emit_tree(source: Source, type: ResultType, value: str, flag: int) -> None:
    def body(place: Place) -> None:
        source.line(f"U64[{place.at(0)}]={KINDS['result']};U64[{place.at(1)}]={flag}")
        emit_side(source, type.ok if flag else type.err, place, 2, value)

    _emit_cloned(source, type, body)


def _emit_cloned(source: Source, type: ValueType, body: Any) -> None:
    source.line(f"ar=Arena.take({VAL + fixed_words(type)})")
    with source.block("try:"):
        source.line("a=ar.base")
        body(Place("a", 0, "a", VAL))
        source.line("val_clone(a<<3,res)")
    source.line("finally: ar.release()")


def _is_plain(type: ValueType) -> bool:
    """Tell whether a type can be written into a slot without an arena's tree."""
    return isinstance(type, (Primitive, Enum, Own)) or (
        isinstance(type, ListType)
        and not isinstance(type, InPlace)
        and type.length is None
        and isinstance(type.element, Primitive)
        and type.element.name in SCALARS
    )


def _emit_plain_result(source: Source, type: ValueType, value: str, *, wrapped: bool) -> None:
    if not wrapped:
        _emit_plain(source, type, "o", value)
        return
    source.line(f"val_clone({_templates()[_RESULT][0]},res);leaf=U64[o+2]>>3")
    _emit_plain(source, type, "leaf", value)


def _emit_plain_option(source: Source, type: Option, value: str, *, wrapped: bool) -> None:
    with source.block(f"if {value} is None:"):
        if wrapped:
            source.line(f"val_clone({_templates()[_NONE][0]},res)")
        else:
            source.line(f"U64[o+1]=0;U64[o]={KINDS['option']}")
    with source.block("else:"):
        template = _templates()[_RESULT_OPTION if wrapped else _OPTION][0]
        pointer = "U64[(U64[o+2]>>3)+1]" if wrapped else "U64[o+1]"
        source.line(f"val_clone({template},res);leaf={pointer}>>3")
        _emit_plain(source, type.element, "leaf", value)


def _emit_plain(source: Source, type: ValueType, slot: str, value: str) -> None:
    """Write a plain value to the val at index `slot`, which wasmtime owns."""
    kind = "list"
    pair = f"({index(slot, 1)})<<3"
    match type:
        case Primitive(name="string"):
            text = source.let(f"encode({value})")
            source.line(f"byte_vec_new({pair},len({text}),id({text})+HEADER)")
            kind = "string"
        case Primitive():
            emit_write(source, type, Place(slot, 0, slot, 0), value)
            return
        case Enum():
            names = source.constant({case: name_literal(case) for case in type.cases})
            source.line(f"byte_vec_new({pair},*{names}[{value}])")
            kind = "enum"
        case Own():
            source.line(f"U64[{index(slot, 1)}]=state.hand({source.constant(type.resource)},{value})")
            kind = "resource"
        case ListType(element=Primitive(name="u8")):
            source.line(f"put_byte_list({pair},{value} if {value}.__class__ is bytes else as_bytes({value}))")
        case ListType(element=Primitive(name=name)):
            _emit_plain_numbers(source, name, pair, value)
    source.line(f"U64[{slot}]={KINDS[kind]}")


def _emit_plain_numbers(source: Source, name: str, pair: str, value: str) -> None:
    view, unit, code = SCALARS[name]
    first, step = f"a*{unit}+{unit}", VAL * unit
    source.line(f"n=numbers({code!r},{value});ar=Arena.take({VAL}*len(n))")
    with source.block("try:"):
        source.line("a=ar.base")
        with source.block("if n:"):
            source.line(f"U64[a:a+{VAL}*len(n):{VAL}]=array('Q',({KINDS[name]},))*len(n)")
            source.line(f"{view}[{first}:{first}+{step}*len(n):{step}]=n")
        source.line(f"vallist_new({pair},len(n),a<<3)")
    source.line("finally: ar.release()")
