"""Writes guests that hand an argument of any type through to the host and back."""

from __future__ import annotations

from wasmplex.wit.types import (
    Enum,
    Flags,
    ListType,
    MapType,
    Option,
    Primitive,
    Record,
    ResultType,
    TupleType,
    ValueType,
    VariantType,
)
from wasmplex.wit.walk import children

__all__ = ["identity_guest"]

_LIBC = """
  (core module $libc
    (memory (export "memory") 2)
    (global $top (mut i32) (i32.const 65536))
    (func (export "reset") (global.set $top (i32.const 65536)))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $top) (i32.const 15)) (i32.const -16)))
      (global.set $top (i32.add (local.get $at) (local.get 3)))
      (if (i32.gt_u (global.get $top) (i32.mul (memory.size) (i32.const 65536)))
        (then (drop (memory.grow (i32.add (i32.div_u (local.get 3) (i32.const 65536)) (i32.const 2))))))
      (local.get $at)))
  (core instance $libc (instantiate $libc))
  (alias core export $libc "memory" (core memory $memory))
  (alias core export $libc "realloc" (core func $realloc))
"""
_OPTIONS = "(memory (core memory $memory)) (realloc (core func $realloc))"
_CORE = {"s64": "i64", "u64": "i64", "f32": "f32", "f64": "f64"}


def quote(name: str) -> str:
    return f'"{name}"'


def flat(type: ValueType) -> list[str]:
    """Return the core types of a value that is passed in registers."""
    match type:
        case Primitive(name):
            return ["i32", "i32"] if name == "string" else [_CORE.get(name, "i32")]
        case ListType() | MapType():
            return ["i32", "i32"]
        case Record() | TupleType():
            return [core for part in children(type) for core in flat(part)]
        case Option() | ResultType() | VariantType():
            joined: list[str] = []
            for part in children(type):
                for at, core in enumerate(flat(part)):
                    if at == len(joined):
                        joined.append(core)
                    elif joined[at] != core:
                        joined[at] = "i32" if {joined[at], core} == {"i32", "f32"} else "i64"
            return ["i32", *joined]
        case _:
            return ["i32"]


class _Types:
    """The types of one scope as text, each named type once."""

    def __init__(self, prefix: str) -> None:
        self.lines: list[str] = []
        self._names: dict[ValueType, str] = {}
        self._prefix = prefix

    def ref(self, type: ValueType) -> str:
        if isinstance(type, Primitive):
            return type.name
        if type not in self._names:
            self._names[type] = self._define(type)
        return self._names[type]

    def _define(self, type: ValueType) -> str:
        body, number = self._body(type), len(self.lines)
        self.lines.append(f"(type ${self._prefix}d{number} {body})")
        if not isinstance(type, (Record, VariantType, Enum, Flags)):
            return f"${self._prefix}d{number}"
        self.lines.append(self.export(f"n{number}", f"${self._prefix}n{number}", f"${self._prefix}d{number}"))
        return f"${self._prefix}n{number}"

    def export(self, name: str, bound: str, defined: str) -> str:
        return f'(export "{name}" (type {bound} (eq {defined})))'

    def _optional(self, type: ValueType | None) -> str:
        return "" if type is None else f" {self.ref(type)}"

    def _body(self, type: ValueType) -> str:
        match type:
            case ListType(element):
                return f"(list {self.ref(element)})"
            case MapType(key, value):
                return f"(map {self.ref(key)} {self.ref(value)})"
            case Option(element):
                return f"(option {self.ref(element)})"
            case ResultType(ok, err):
                return f"(result{self._optional(ok)}{f' (error {self.ref(err)})' if err else ''})"
            case TupleType(elements):
                return f"(tuple {' '.join(map(self.ref, elements))})"
            case Record(fields):
                return f"(record {' '.join(f'(field {quote(f.name)} {self.ref(f.type)})' for f in fields)})"
            case VariantType(cases):
                return (
                    f"(variant {' '.join(f'(case {quote(c.name)}{self._optional(c.type)})' for c in cases)})"
                )
            case Enum(names):
                return f"(enum {' '.join(map(quote, names))})"
            case Flags(names):
                return f"(flags {' '.join(map(quote, names))})"
        raise AssertionError(type)


class _OuterTypes(_Types):
    def export(self, name: str, bound: str, defined: str) -> str:
        return f'(export {bound} "{name}" (type {defined}))'


def identity_guest(type: ValueType, *, whole: bool = True) -> str:
    """Return a guest whose export ``echo`` hands its argument to the import ``t:t/t#echo`` and back.

    :param whole: False to wrap the type in a list, both ways
    """
    passed = type if whole else ListType(type)
    inner, outer = _Types("i"), _OuterTypes("o")
    imported, exported = inner.ref(passed), outer.ref(passed)
    cores = flat(passed)
    params = cores if len(cores) <= 16 else ["i32"]
    direct = len(cores) == 1
    takes = " ".join(params)
    gives = f"(result {cores[0]})" if direct else "(result i32)"
    arguments = " ".join(f"(local.get {i})" for i in range(len(params)))
    body = (
        f"(call $echo {arguments})"
        if direct
        else f"(call $echo {arguments} (i32.const 1024)) (i32.const 1024)"
    )
    imports = f"(func $echo (param {takes}{'' if direct else ' i32'}) {gives if direct else ''})"
    return f"""(component
  (import "t:t/t" (instance $host
    {chr(10).join(inner.lines)}
    (export "echo" (func (param "x" {imported}) (result {imported})))))
  {_LIBC}
  (core func $lowered (canon lower (func $host "echo") {_OPTIONS}))
  (core module $main
    (import "h" "echo" {imports})
    (import "l" "reset" (func $reset))
    (func (export "echo") (param {takes}) {gives} {body})
    (func (export "post") (param {cores[0] if direct else "i32"}) (call $reset)))
  (core instance $main (instantiate $main
    (with "h" (instance (export "echo" (func $lowered)))) (with "l" (instance $libc))))
  {chr(10).join(outer.lines)}
  (func (export "echo") (param "x" {exported}) (result {exported})
    (canon lift (core func $main "echo") {_OPTIONS} (post-return (core func $main "post")))))"""
