"""Draws guests that give back what they are given, for types of every kind: the values cross all adapters."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import wasmtime
from wasmplex.bridge.layout import MAX_FLAT_PARAMS, Core, flatten, size
from wasmplex.component import read
from wasmplex.component.shape import InstanceType, Shape
from wasmplex.wit.types import FuncType

from .drawing import Draw, Interface
from .making import component

__all__ = ["BACK", "ECHO", "OWN", "TYPES", "Echo", "echo"]

TYPES, ECHO, BACK, OWN = (f"t:echo/{name}" for name in ("types", "echo", "back", "mines"))
_PADS = "".join(f", pad{n}: u32" for n in range(MAX_FLAT_PARAMS))


@dataclass(frozen=True)
class Echo:
    """A guest: what it imports as `ECHO` it exports as `BACK`; `OWN` has a resource of its own.

    The functions of `OWN` have many parameters besides, so that they pass in memory, where the result has the
    same place as the first.
    """

    wit: str
    wasm: bytes
    shape: Shape


def echo(seed: int, folder: Path) -> Echo:
    """Draw the guest of a seed."""
    wit = _wit(Draw(seed))
    shape = read(component(folder, wit))
    wasm = component(folder, wit, core=bytes(wasmtime.wat2wasm(_core(shape))))
    return Echo(wit, wasm, read(wasm))


def _wit(draw: Draw) -> str:
    types = Interface(TYPES, "t:echo")
    types.lines.append("resource thing { constructor(n: u32); number: func() -> u32; }")
    types.resources.append("thing")
    for _ in draw.some(2, 6):
        draw.typedef(types)
    back = Interface(BACK, "t:echo")
    draw.use(back, types, every=True)
    uses = list(back.lines)
    for number in draw.some(1, 5):
        word = "async " if draw.asynchronous and draw.random.random() < 0.5 else ""
        type_ = draw.type(back)
        back.lines.append(f"e{number}: {word}func(v: {type_}) -> {type_};")
    lends = ", ".join(f"v{n}: borrow<thing>" for n in draw.some(1, 3)).replace(
        "thing", next(name for name in back.resources)
    )
    back.lines.append(f"lend: func({lends}) -> u32;")
    own = Interface(OWN, "t:echo")
    own.lines += uses
    own.types, own.resources = [*back.types], [*back.resources]
    bytes_ = "numbers: func() -> list<u8>;" if draw.random.random() < 0.5 else ""
    own.lines.append(f"resource mine {{ constructor(n: u32); number: func() -> u32; {bytes_} }}")
    own.resources += ["mine"] * 3
    for _ in draw.some(0, 2):
        draw.typedef(own)
    for number in draw.some(1, 4):
        type_ = draw.type(own, 3)
        own.lines.append(f"m{number}: func(v: {type_}{_PADS}) -> {type_};")
    body = "\n".join(back.lines)
    return f"""package t:echo;
interface types {{ {chr(10).join(types.lines)} }}
interface echo {{ {body} }}
interface back {{ {body} }}
interface mines {{ {chr(10).join(own.lines)} }}
world w {{ import types; import echo; export back; export mines; }}"""


# ---------------------------------------------------------------- the core module


def _signature(type_: FuncType) -> tuple[tuple[Core, ...], tuple[Core, ...]]:
    params = tuple(core for param in type_.params for core in flatten(param.type))
    return params if len(params) <= MAX_FLAT_PARAMS else ("i32",), flatten(
        type_.result
    ) if type_.result else ()


def _core(shape: Shape) -> str:
    exports = {e.name: e.type.functions for e in shape.exports if isinstance(e.type, InstanceType)}
    imports, functions = [], []
    for name, type_ in exports[BACK].items():
        params, results = _signature(type_)
        given = " ".join(f"(local.get {n})" for n in range(len(params)))
        drops = (
            " ".join(f"(call $drop (local.get {n}))" for n in range(len(params))) if name == "lend" else ""
        )
        param = f"(param {' '.join(params)})"
        if len(results) > 1:
            imports.append(f'(import "{ECHO}" "{name}" (func ${name} {param} (param i32)))')
            to = "(local $to i32) (local.set $to (call $new (i32.const 4096)))"
            body = f"{to} (call ${name} {given} (local.get $to)) (local.get $to)"
            result = "(result i32)"
        else:
            result = f"(result {results[0]})" if results else ""
            imports.append(f'(import "{ECHO}" "{name}" (func ${name} {param} {result}))')
            body = f"(call ${name} {given}) {drops}"
        functions.append(f'(func (export "{BACK}#{name}") {param} {result} {body})')
    for name, type_ in exports[OWN].items():
        functions.append(_own(name, type_))
    return f"""(module
{chr(10).join(imports)}
(import "{TYPES}" "[resource-drop]thing" (func $drop (param i32)))
(import "[export]{OWN}" "[resource-new]mine" (func $mine (param i32) (result i32)))
(memory (export "memory") 4)
(global $top (mut i32) (i32.const 4096))
(func $new (param $size i32) (result i32)
  (call $realloc (i32.const 0) (i32.const 0) (i32.const 16) (local.get $size)))
(func $realloc (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (local $at i32) (local $end i32)
  (local.set $at (i32.and (i32.add (global.get $top) (i32.const 15)) (i32.const -16)))
  (local.set $end (i32.add (local.get $at) (local.get 3)))
  (if (i32.gt_u (local.get $end) (i32.shl (memory.size) (i32.const 16))) (then
    (if (i32.eq (i32.const -1) (memory.grow (i32.add (i32.const 1) (i32.shr_u (i32.sub (local.get $end)
      (i32.shl (memory.size) (i32.const 16))) (i32.const 16))))) (then unreachable))))
  (global.set $top (local.get $end))
  (if (local.get 1) (then (memory.copy (local.get $at) (local.get 0)
    (select (local.get 1) (local.get 3) (i32.lt_u (local.get 1) (local.get 3))))))
  (local.get $at))
(global $dropped (mut i32) (i32.const 0))
(func (export "{OWN}#[dtor]mine") (param i32)
  (global.set $dropped (i32.add (global.get $dropped) (i32.const 1))))
{chr(10).join(functions)})"""


def _own(name: str, type_: FuncType) -> str:
    export = f'(func (export "{OWN}#{name}")'
    match name:
        case "[constructor]mine":
            return f"{export} (param i32) (result i32) (call $mine (local.get 0)))"
        case "[method]mine.number":
            return f"{export} (param i32) (result i32) (local.get 0))"
        case "[method]mine.numbers":
            return f"""{export} (param i32) (result i32) (local $at i32)
              (local.set $at (call $new (i32.const 16)))
              (i32.store (local.get $at) (i32.add (local.get $at) (i32.const 8)))
              (i32.store offset=4 (local.get $at) (i32.const 4))
              (i32.store offset=8 (local.get $at) (local.get 0)) (local.get $at))"""
    result = type_.result
    assert result is not None
    flat = flatten(result)
    if len(flat) > 1:
        return f"{export} (param i32) (result i32) (local.get 0))"
    load = f"{flat[0]}.load"
    if flat[0] == "i32" and size(result) < 4:
        load = f"i32.load{8 * size(result)}_u"
    return f"{export} (param i32) (result {flat[0]}) ({load} (local.get 0)))"
