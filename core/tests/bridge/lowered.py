"""A guest that calls any imported function with any core values: its memory is written and read from outside.

Values are put into its memory by an encoder that shares nothing with the bridge's but the sizes, at addresses
of its own choosing, with noise wherever the layout leaves a gap.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator, Mapping
from typing import Any

from wasmplex.bridge.kinds import inner_types
from wasmplex.bridge.layout import (
    MAX_FLAT_PARAMS,
    Core,
    align_to,
    alignment,
    cases,
    discriminant_size,
    fields,
    flatten,
    payload_offset,
    size,
)
from wasmplex.bridge.wat import Scope, instance_type
from wasmplex.component.shape import InstanceType, NamedType
from wasmplex.engine.text import assemble
from wasmplex.values import Err, Ok, Some, Variant
from wasmplex.wit.types import (
    Enum,
    Flags,
    FuncType,
    ListType,
    Option,
    Primitive,
    Record,
    ResultType,
    TupleType,
    ValueType,
    VariantType,
)

SLOTS, FLAT, AREA, HEAP, TOP = 1024, 2048, 4096, 65_536, 4 << 16
"""Where the core arguments are taken from, where a core result goes, results in memory, arguments in memory,
and what the guest's allocator gives out."""
_CODES = {"bool": "B", "s8": "b", "u8": "B", "s16": "h", "u16": "H", "s32": "i", "u32": "I", "s64": "q",
          "u64": "Q", "f32": "f", "f64": "d", "char": "I"}  # fmt: skip
_SLOT = {"i32": "<I", "i64": "<Q", "f32": "<f", "f64": "<d"}
_UNSIGNED = {1: "<B", 2: "<H", 4: "<I"}


_MAX_FLAT_ASYNC_PARAMS = 4


def signature(type_: FuncType, *, asynchronously: bool = False) -> tuple[tuple[Core, ...], tuple[Core, ...]]:
    """Return the core parameters and results of the lowered function, a pointer to results included."""
    params = tuple(core for param in type_.params for core in flatten(param.type))
    if len(params) > (_MAX_FLAT_ASYNC_PARAMS if asynchronously else MAX_FLAT_PARAMS):
        params = ("i32",)
    result = flatten(type_.result) if type_.result else ()
    if asynchronously:
        return ((*params, "i32") if result else params), ("i32",)
    return ((*params, "i32"), ()) if len(result) > 1 else (params, result)


def guest(functions: Mapping[str, FuncType], *, asynchronously: bool = False) -> bytes:
    """Return a guest that imports some functions as ``in``, and exports ``call-NAME`` for each.

    :param asynchronously: whether it lowers them as asynchronous functions, and waits for what has not ended
    """
    exports: dict[str, Any] = {}
    for function in functions.values():
        for type_ in (*(param.type for param in function.params), function.result):
            for part in inner_types(type_):
                named = isinstance(part, (Record, VariantType, Enum, Flags))
                if named and NamedType(part) not in exports.values():
                    exports[f"t{len(exports)}"] = NamedType(part)
    text, _ = instance_type(InstanceType({**exports, **functions}), Scope("o"), "i")
    lowered, imported, called, lifted, given = "", "", "", "", ""
    for name, function in functions.items():
        params, results = signature(function, asynchronously=asynchronously)
        lowered += f"""(alias export $i "{name}" (func $f{name}))
(core func $l{name} (canon lower (func $f{name}) (memory $mem) (realloc $realloc)
  {"async" if asynchronously else ""}))"""
        result = f"(result {results[0]})" if results else ""
        imported += f'(import "h" "{name}" (func ${name} (param {" ".join(params)}) {result}))\n'
        loads = " ".join(
            f"({core}.load (i32.const {SLOTS + 8 * index}))" for index, core in enumerate(params)
        )
        call = f"(call ${name} {loads})"
        store = f"({results[0]}.store (i32.const {FLAT}) {call})" if results else call
        body, how = (f"(result i32) (call $ended {call})", _ASYNC) if asynchronously else (store, "")
        called += f'(func (export "{name}") {body})\n'
        kind = "async" if asynchronously else ""
        lifted += f'(func (export "call-{name}") {kind} (canon lift (core func $main "{name}") {how}))\n'
        given += f'(export "{name}" (func $l{name})) '
    return assemble(f"""(component (import "in" (instance $i {text}))
(core module $Libc
  (memory (export "memory") {TOP >> 16})
  (global $top (mut i32) (i32.const {TOP}))
  (func (export "top") (result i32) (global.get $top))
  (func (export "reset") (global.set $top (i32.const {TOP})))
  (func (export "realloc") (param $old i32) (param $size i32) (param $align i32) (param $new i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $top) (i32.sub (local.get $align) (i32.const 1)))
      (i32.sub (i32.const 0) (local.get $align))))
    (global.set $top (i32.add (local.get $at) (local.get $new)))
    (if (i32.gt_u (global.get $top) (i32.shl (memory.size) (i32.const 16))) (then
      (drop (memory.grow (i32.add (i32.const 1) (i32.shr_u (local.get $new) (i32.const 16)))))))
    (memory.copy (local.get $at) (local.get $old)
      (select (local.get $size) (local.get $new) (i32.lt_u (local.get $size) (local.get $new))))
    (local.get $at)))
(core instance $libc (instantiate $Libc))
(alias core export $libc "memory" (core memory $mem))
(alias core export $libc "realloc" (core func $realloc))
{lowered}
{_BUILTINS if asynchronously else ""}
(core module $Main
  (import "l" "memory" (memory 1))
  (import "l" "reset" (func $reset))
  {imported}
  {_WAITING if asynchronously else ""}
  {called}
  (func (export "poke") (param $at i32) (param $from i32) (param $size i32)
    (memory.copy (local.get $at) (local.get $from) (local.get $size)) (call $reset))
  (func (export "peek") (param $at i32) (param $size i32) (result i32)
    (i32.store (i32.const 16) (local.get $at)) (i32.store (i32.const 20) (local.get $size)) (i32.const 16)))
(core instance $main (instantiate $Main (with "l" (instance $libc)) (with "h" (instance {given}))
  {_WITH_BUILTINS if asynchronously else ""}))
(type $octets (list u8))
(func (export "poke") (param "at" u32) (param "data" $octets)
  (canon lift (core func $main "poke") (memory $mem) (realloc $realloc)))
(func (export "peek") (param "at" u32) (param "size" u32) (result $octets)
  (canon lift (core func $main "peek") (memory $mem)))
(alias core export $libc "top" (core func $top))
(func (export "top") (result u32) (canon lift (core func $top)))
{lifted})""")


_ASYNC = 'async (callback (core func $main "go-on"))'
_BUILTINS = """(core func $set_new (canon waitable-set.new))
(core func $join (canon waitable.join))
(core func $subtask_drop (canon subtask.drop))
(core func $return (canon task.return))"""
_WITH_BUILTINS = """(with "b" (instance (export "set-new" (func $set_new)) (export "join" (func $join))
  (export "subtask-drop" (func $subtask_drop)) (export "return" (func $return))))"""
_WAITING = """(import "b" "set-new" (func $set_new (result i32)))
  (import "b" "join" (func $join (param i32 i32)))
  (import "b" "subtask-drop" (func $subtask_drop (param i32)))
  (import "b" "return" (func $return))
  (func $ended (param $status i32) (result i32)
    (local $set i32)
    (if (i32.eq (local.get $status) (i32.const 2)) (then (call $return) (return (i32.const 0))))
    (local.set $set (call $set_new))
    (call $join (i32.shr_u (local.get $status) (i32.const 4)) (local.get $set))
    (i32.or (i32.const 2) (i32.shl (local.get $set) (i32.const 4))))
  (func (export "go-on") (param $event i32) (param $subtask i32) (param $state i32) (result i32)
    (if (i32.ne (local.get $state) (i32.const 2)) (then (return (i32.const 1))))
    (call $subtask_drop (local.get $subtask))
    (call $return)
    (i32.const 0))"""


class Lowered:
    """Calls the functions of a `guest`."""

    def __init__(
        self, instance: Any, functions: Mapping[str, FuncType], *, asynchronously: bool = False
    ) -> None:
        self.instance = instance
        self.functions = functions
        self.asynchronously = asynchronously
        self.random = random.Random(0)

    async def call(self, name: str, *values: Any) -> Any:
        """Call a function with values, return what it returned in the guest; an `Err` is one."""
        encoder = _Encoder(self.random)
        types = [param.type for param in self.functions[name].params]
        cores = [core for type_ in types for core in flatten(type_)]
        if len(cores) > (_MAX_FLAT_ASYNC_PARAMS if self.asynchronously else MAX_FLAT_PARAMS):
            whole = TupleType(tuple(types))
            at = encoder.room(size(whole), alignment(whole))
            encoder.store(whole, tuple(values), at)
            slots = [struct.pack("<I", at)]
        else:
            flat = [
                bits
                for type_, value in zip(types, values, strict=True)
                for bits in encoder.lower(type_, value)
            ]
            slots = [pack(core, value) for core, value in zip(cores, flat, strict=True)]
        await self.instance.call("poke", HEAP, bytes(encoder.memory))
        return await self.raw(name, slots)

    async def raw(self, name: str, slots: list[bytes]) -> Any:
        """Call a function with core values, each as bytes."""
        type_ = self.functions[name].result
        params, results = signature(self.functions[name], asynchronously=self.asynchronously)
        if len(params) > len(slots):
            slots = [*slots, struct.pack("<I", AREA)]
        await self.instance.call("poke", SLOTS, b"".join(slot.ljust(8, b"\0") for slot in slots))
        await self.instance.call(f"call-{name}")
        if type_ is None:
            return None
        decoder = _Decoder(await self.instance.call("peek", 0, await self.instance.call("top")))
        if results and not self.asynchronously:
            [core] = results
            return decoder.lift(type_, iter(struct.unpack_from(_SLOT[core], decoder.memory, FLAT)))
        return decoder.load(type_, AREA)


def pack(core: Core, value: Any) -> bytes:
    """Return a core value as bytes; a float of an integer's bits may be given as an integer."""
    return struct.pack(_SLOT[core], value)


class _Encoder:
    def __init__(self, noise: random.Random) -> None:
        self.memory = bytearray()
        self.noise = noise

    def room(self, count: int, align: int) -> int:
        """Return the address of `count` new bytes of noise."""
        gap = self.noise.randrange(24)
        start = align_to(HEAP + len(self.memory) + gap, align)
        self.memory += self.noise.randbytes(start + count - HEAP - len(self.memory))
        return start

    def put(self, at: int, data: bytes) -> None:
        self.memory[at - HEAP : at - HEAP + len(data)] = data

    def out_of_line(self, type_: ValueType, value: Any) -> tuple[int, int]:
        if type_ == Primitive("string"):
            value = value.encode()
            element: ValueType = Primitive("u8")
        else:
            assert isinstance(type_, ListType)
            element = type_.element
        width = size(element)
        at = self.room(width * len(value), alignment(element))
        if isinstance(value, bytes):
            self.put(at, value)
        else:
            for index, item in enumerate(value):
                self.store(element, item, at + width * index)
        return at, len(value)

    def store(self, type_: ValueType, value: Any, at: int) -> None:
        match type_:
            case Primitive("string") | ListType(length=None):
                self.put(at, struct.pack("<II", *self.out_of_line(type_, value)))
            case Primitive(name):
                self.put(at, struct.pack("<" + _CODES[name], ord(value) if name == "char" else value))
            case Flags(names):
                bits = _bits(names, value)
                self.put(at, bits.to_bytes(size(type_), "little"))
            case _ if (parts := fields(type_)) is not None:
                for part, item in zip(parts, _items(type_, value), strict=True):
                    at = align_to(at, alignment(part))
                    self.store(part, item, at)
                    at += size(part)
            case _:
                payloads = cases(type_) or ()
                index, payload = _case(type_, value)
                self.put(at, struct.pack(_UNSIGNED[discriminant_size(len(payloads))], index))
                if (inner := payloads[index]) is not None:
                    self.store(inner, payload, at + payload_offset(payloads))

    def lower(self, type_: ValueType, value: Any) -> list[Any]:
        match type_:
            case Primitive("string") | ListType(length=None):
                return [*self.out_of_line(type_, value)]
            case Primitive("char"):
                return [ord(value)]
            case Primitive(name):
                return [
                    float(value)
                    if name[0] == "f"
                    else int(value) & ((1 << 64) - 1 if "64" in name else (1 << 32) - 1)
                ]
            case Flags(names):
                bits = _bits(names, value)
                return [bits >> 32 * index & 0xFFFFFFFF for index in range(len(flatten(type_)))]
        if (parts := fields(type_)) is not None:
            return [
                s
                for part, item in zip(parts, _items(type_, value), strict=True)
                for s in self.lower(part, item)
            ]
        payloads, (index, payload) = cases(type_) or (), _case(type_, value)
        inner = payloads[index]
        flat = [] if inner is None else [*zip(flatten(inner), self.lower(inner, payload), strict=True)]
        joined = []
        for position, want in enumerate(flatten(type_)[1:]):
            have, core = flat[position] if position < len(flat) else (want, 0)
            if have != want and have[0] == "f":
                core = int.from_bytes(pack(have, core), "little")
            joined.append(core)
        return [index, *joined]


class _Decoder:
    def __init__(self, memory: bytes) -> None:
        self.memory = memory

    def out_of_line(self, type_: ValueType, at: int, count: int) -> Any:
        if type_ == Primitive("string"):
            return self.memory[at : at + count].decode()
        assert isinstance(type_, ListType)
        element = type_.element
        assert at % alignment(element) == 0
        if element == Primitive("u8"):
            return self.memory[at : at + count]
        return [self.load(element, at + size(element) * index) for index in range(count)]

    def load(self, type_: ValueType, at: int) -> Any:
        match type_:
            case Primitive("string") | ListType(length=None):
                return self.out_of_line(type_, *struct.unpack_from("<II", self.memory, at))
            case Primitive(name):
                [value] = struct.unpack_from("<" + _CODES[name], self.memory, at)
                return chr(value) if name == "char" else value == 1 if name == "bool" else value
            case Flags(names):
                return _names(names, int.from_bytes(self.memory[at : at + size(type_)], "little"))
        if (parts := fields(type_)) is not None:
            items = []
            for part in parts:
                at = align_to(at, alignment(part))
                items.append(self.load(part, at))
                at += size(part)
            return _whole(type_, items)
        payloads = cases(type_) or ()
        [index] = struct.unpack_from(_UNSIGNED[discriminant_size(len(payloads))], self.memory, at)
        inner = payloads[index]
        return _chosen(
            type_, index, None if inner is None else self.load(inner, at + payload_offset(payloads))
        )

    def lift(self, type_: ValueType, slots: Iterator[Any]) -> Any:
        """Return what one core value stands for."""
        match type_:
            case Primitive(name):
                value = next(slots)
                if name == "char":
                    return chr(value)
                if name == "bool":
                    return value == 1
                bits = 64 if name == "s64" else 32
                return value - (1 << bits) if name[0] == "s" and value >> bits - 1 else value
            case Flags(names):
                return _names(names, next(slots))
        if (parts := fields(type_)) is not None:
            return _whole(type_, [self.lift(part, slots) for part in parts])
        return _chosen(type_, next(slots), None)


# ---------------------------------------------------------------- values in Python


def _bits(names: tuple[str, ...], value: Any) -> int:
    return sum(1 << names.index(name) for name in value)


def _names(names: tuple[str, ...], bits: int) -> frozenset[str]:
    return frozenset(name for index, name in enumerate(names) if bits >> index & 1)


def _items(type_: ValueType, value: Any) -> list[Any]:
    return [value[field.name] for field in type_.fields] if isinstance(type_, Record) else list(value)


def _whole(type_: ValueType, items: list[Any]) -> Any:
    if isinstance(type_, Record):
        return {field.name: item for field, item in zip(type_.fields, items, strict=True)}
    return tuple(items) if isinstance(type_, TupleType) else items


def _case(type_: ValueType, value: Any) -> tuple[int, Any]:
    match type_:
        case Enum(names):
            return names.index(value), None
        case Option():
            return int(value is not None), value.value if isinstance(value, Some) else value
        case ResultType():
            return int(isinstance(value, Err)), value.value
    assert isinstance(type_, VariantType)
    return [case.name for case in type_.cases].index(value.tag), value.value


def _chosen(type_: ValueType, index: int, payload: Any) -> Any:
    match type_:
        case Enum(names):
            return names[index]
        case Option(element):
            return None if not index else Some(payload) if isinstance(element, Option) else payload
        case ResultType():
            return Err(payload) if index else Ok(payload)
    assert isinstance(type_, VariantType)
    return Variant(type_.cases[index].name, payload)
