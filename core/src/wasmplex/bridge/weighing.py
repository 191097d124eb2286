"""Core functions that weigh the arguments of a call before wasmtime makes values of them.

wasmtime reads arguments whole, 128 MiB of them if the guest likes, before any code of the host can say no: a
quarter of a second and half a gigabyte. So in front of functions with strings or lists in their parameters
stands one that adds up how many values there are, and traps where they are too many. It runs as a part of
the guest: it can be interrupted like any other, and what it reads is the guest's own memory.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Final, Literal, TypeAlias

from wasmplex.bridge.kinds import points
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
from wasmplex.engine.bounds import VALUES
from wasmplex.engine.traps import TOO_MUCH
from wasmplex.wit.types import (
    FuncType,
    FutureType,
    ListType,
    MapType,
    Primitive,
    StreamType,
    TupleType,
    ValueType,
)

__all__ = ["MOST", "Encoding", "core_type", "weighed", "weighing_module"]

Encoding: TypeAlias = Literal["utf8", "utf16", "latin1+utf16"]
"""How the strings of a lowered function lie in memory: the canonical option ``string-encoding``."""

MOST: Final = VALUES
"""How many values the arguments of one call may be: 50 ns and 80 bytes each. Text is one for 32 bytes."""
_SHIFT: Final = 5
"""Bytes of text that are one value, as a power of two."""
_HEAVY: Final = 3
"""What a string, a list or a handle counts on top of one value."""
_TEXT: Final[dict[Encoding, str]] = {
    "utf8": f"(i32.shr_u {{count}} (i32.const {_SHIFT}))",
    "utf16": f"(i32.shr_u {{count}} (i32.const {_SHIFT - 1}))",
    "latin1+utf16": f"""(i32.shr_u
      (select (i32.shl {{count}} (i32.const 1)) {{count}} (i32.lt_s {{count}} (i32.const 0)))
      (i32.const {_SHIFT}))""",
}
"""What a string weighs by its count of code units. In latin1+utf16 its highest bit says that they
are of two bytes (CanonicalABI.md, "Loading", ``utf16_tag``)."""
_LOADS: Final = {1: "i32.load8_u", 2: "i32.load16_u", 4: "i32.load"}


def weighed(type_: FuncType) -> bool:
    """Say whether the arguments of a function can be of any size."""
    return any(_points(param.type) for param in type_.params)


def _points(type_: ValueType) -> bool:
    """Say whether a value has data out of line. An end of a stream has none, whatever flows there."""
    if isinstance(type_, (StreamType, FutureType)):
        return False
    parts: Sequence[ValueType | None] | None = fields(type_)
    if parts is None and (parts := cases(type_)) is None:
        return points(type_)
    return any(_points(part) for part in parts if part is not None)


def core_type(type_: FuncType) -> tuple[tuple[Core, ...], tuple[Core, ...]]:
    """Return the core parameters and results of a function that is lowered as a synchronous one."""
    params = tuple(core for param in type_.params for core in flatten(param.type))
    if len(params) > MAX_FLAT_PARAMS:
        params = ("i32",)
    result = flatten(type_.result) if type_.result else ()
    return ((*params, "i32"), ()) if len(result) > 1 else (params, result)


def weighing_module(functions: Sequence[tuple[FuncType, Encoding]]) -> str:
    """Return the core module with a function in front of each of some functions.

    It imports them as ``call0`` and so on, and the memory, from ``h``; it exports ``0`` and so on.
    """
    imports = []
    for number, (type_, _) in enumerate(functions):
        params, results = core_type(type_)
        imports.append(f'(import "h" "call{number}" (func $call{number} {_signature(params, results)}))')
    bodies = "\n".join(_front(number, *function) for number, function in enumerate(functions))
    return f"""(module ${TOO_MUCH} {" ".join(imports)} (import "h" "memory" (memory 0))
(func $take (param $left i32) (param $some i32) (result i32)
  (if (i32.gt_u (local.get $some) (local.get $left)) (then (call $too_much)))
  (i32.sub (local.get $left) (local.get $some)))
(func $too_much unreachable)
{bodies})"""


def _signature(params: Sequence[Core], results: Sequence[Core]) -> str:
    return f"(param {' '.join(params)}) (result {' '.join(results)})"


def _front(number: int, type_: FuncType, encoding: Encoding) -> str:
    params, results = core_type(type_)
    weighing = _Weighing(encoding)
    types = [param.type for param in type_.params]
    if sum(len(flatten(type_)) for type_ in types) > MAX_FLAT_PARAMS:
        body = [*weighing.stored(TupleType(tuple(types)), "(local.get 0)", 0)]
    else:
        body, at = [], 0
        for param in types:
            width = len(flatten(param))
            body += weighing.flat(param, [(f"(local.get {at + n})", params[at + n]) for n in range(width)])
            at += width
    given = " ".join(f"(local.get {index})" for index in range(len(params)))
    names = " ".join(f"(local ${name} i32)" for name in ["left", *weighing.names])
    return f"""(func (export "{number}") {_signature(params, results)} {names}
(local.set $left (i32.const {MOST}))
{" ".join(body)}
(call $call{number} {given}))"""


class _Weighing:
    """Makes the instructions for one function."""

    def __init__(self, encoding: Encoding) -> None:
        self._text = _TEXT[encoding]
        self.names: list[str] = []
        self._numbers = itertools.count()

    def _local(self) -> str:
        self.names.append(f"v{next(self._numbers)}")
        return self.names[-1]

    # ------------------------------------------------------------ values as core values

    def flat(self, type_: ValueType, given: Sequence[tuple[str, Core]]) -> Iterator[str]:
        """Yield the instructions for a value that is passed as core values."""
        if not _points(type_):
            return
        if (parts := fields(type_)) is not None:
            at = 0
            for part in parts:
                width = len(flatten(part))
                yield from self.flat(part, given[at : at + width])
                at += width
        elif (payloads := cases(type_)) is not None:
            for number, payload in enumerate(payloads):
                if payload is not None and _points(payload):
                    rest = zip(given[1:], flatten(payload), strict=False)
                    inner = [*self.flat(payload, [(_as(want, *have), want) for have, want in rest])]
                    yield _if(f"(i32.eq {given[0][0]} (i32.const {number}))", inner)
        else:
            yield from self._out_of_line(type_, given[0][0], given[1][0])

    # ------------------------------------------------------------ values in memory

    def stored(self, type_: ValueType, at: str, offset: int) -> Iterator[str]:
        """Yield the instructions for a value that lies in memory."""
        if not _points(type_):
            return
        if (parts := fields(type_)) is not None:
            for part in parts:
                offset = align_to(offset, alignment(part))
                yield from self.stored(part, at, offset)
                offset += size(part)
        elif (payloads := cases(type_)) is not None:
            load = f"({_LOADS[discriminant_size(len(payloads))]} offset={offset} {at})"
            for number, payload in enumerate(payloads):
                if payload is not None and _points(payload):
                    inner = [*self.stored(payload, at, offset + payload_offset(payloads))]
                    yield _if(f"(i32.eq {load} (i32.const {number}))", inner)
        else:
            first, second = (f"(i32.load offset={offset + n} {at})" for n in (0, 4))
            yield from self._out_of_line(type_, first, second)

    def _out_of_line(self, type_: ValueType, at: str, count: str) -> Iterator[str]:
        """Yield the instructions for a string or list."""
        if type_ == Primitive("string"):
            yield _take(self._text.format(count=count))
            return
        element = _element(type_)
        left, each = self._local(), _values(element)
        yield f"(local.set ${left} {count})"
        # The product must not overflow; a count above this is too much in any case.
        yield f"(if (i32.gt_u (local.get ${left}) (i32.const {MOST // each})) (then (call $too_much)))"
        yield _take(f"(i32.mul (local.get ${left}) (i32.const {each}))")
        if not _points(element):
            return
        place = self._local()
        inner = " ".join(self.stored(element, f"(local.get ${place})", 0))
        yield f"""(local.set ${place} {at})
(if (local.get ${left}) (then (loop $each_{place} {inner}
  (local.set ${place} (i32.add (local.get ${place}) (i32.const {size(element)})))
  (br_if $each_{place} (local.tee ${left} (i32.sub (local.get ${left}) (i32.const 1)))))))"""


def _take(count: str) -> str:
    return f"(local.set $left (call $take (local.get $left) {count}))"


def _if(condition: str, then: Sequence[str]) -> str:
    return f"(if {condition} (then {' '.join(then)}))"


def _as(want: Core, value: str, core: Core) -> str:
    """Return a core value that cases share as that of one of them; only pointers and lengths matter."""
    return f"(i32.wrap_i64 {value})" if core == "i64" and want == "i32" else value


def _element(type_: ValueType) -> ValueType:
    match type_:
        case ListType(element):
            return element
        case MapType(key, value):
            return TupleType((key, value))
    raise NotImplementedError(f"{type_} does not point")


def _values(type_: ValueType) -> int:
    """Return how much a value counts, without what it points at."""
    if (parts := fields(type_)) is not None:
        return 1 + sum(map(_values, parts))
    if (payloads := cases(type_)) is not None:
        return 1 + max((_values(part) for part in payloads if part is not None), default=0)
    return 1 if isinstance(type_, Primitive) and type_ != Primitive("string") else 1 + _HEAVY
