"""The core functions behind results in place: each has the guest make room, and the host fill it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from wasmplex.bridge.choosing import option_index
from wasmplex.bridge.layout import MAX_FLAT_PARAMS, Core, align_to, alignment, flatten, payload_offset, size
from wasmplex.component.draft import CORE_FUNC, AnySort, Lowered
from wasmplex.component.encoding import leb, text
from wasmplex.engine.inplace import InPlace
from wasmplex.wit.types import Option, Param, ResultType, TupleType, ValueType

__all__ = ["MEMORY", "REALLOC", "Added", "Call", "module_of"]

MEMORY: Final = 0x03
"""The canonical option that names a memory."""
REALLOC: Final = 0x04
"""The canonical option that names what makes room in it."""


@dataclass(frozen=True)
class Added:
    """A function that was added.

    :ivar params: of the function that it stands for
    :ivar result: what it returns, if there are bytes in place in it, else None
    """

    name: str
    params: tuple[Param, ...]
    result: ValueType | None


@dataclass(frozen=True)
class Call:
    """A lowered function, and what was added for it.

    :ivar core: the core function that the added one is lowered to
    """

    number: int
    lowered: Lowered
    added: Added
    core: int

    @property
    def fills(self) -> bool:
        """Whether a core function has to stand behind it."""
        return self.added.result is not None

    def option(self, kind: int) -> int:
        """Return the index in a canonical option."""
        [found] = [option for option in self.lowered.options if option[0] == kind]
        return option_index(found)

    @property
    def flat(self) -> list[Core]:
        """The core parameters, without that for where a result goes."""
        flat = [core for param in self.added.params for core in flatten(param.type)]
        return flat if len(flat) <= MAX_FLAT_PARAMS else ["i32"]

    def given(self, fill: int, moved: Callable[[AnySort, int], int]) -> Iterator[bytes]:
        """Yield what the core module is given for this one.

        :param fill: index of the core function that has the host fill room
        :param moved: returns an index in the new numbering
        """
        yield text(f"call{self.number}") + b"\0" + leb(self.core)
        yield text(f"fill{self.number}") + b"\0" + leb(fill)
        yield text(f"realloc{self.number}") + b"\0" + leb(moved(CORE_FUNC, self.option(REALLOC)))

    def imports(self) -> str:
        """Return what the core module imports for this one."""
        n, params = self.number, " ".join([*self.flat, "i32"])
        return f"""(import "h" "call{n}" (func $call{n} (param {params})))
(import "h" "fill{n}" (func $fill{n} (param i32 i32) (result i32)))
(import "h" "realloc{n}" (func $realloc{n} (param i32 i32 i32 i32) (result i32)))"""

    def functions(self) -> str:
        """Return the core function that stands behind the added one, and what takes one list of bytes."""
        n, count = self.number, len(self.flat)
        given = " ".join(f"(local.get {index})" for index in range(count + 1))
        assert self.added.result is not None  # noqa: S101  it is for those that return bytes
        taken = _taken(self.added.result, f"(local.get {count})", 0, f"$take{n}")
        params = " ".join([*self.flat, "i32"])
        return f"""(func (export "{n}") (param {params}) (call $call{n} {given}) {taken})
(func $take{n} (param $at i32) (local $token i32) (local $to i32) (local $left i32) (local $done i32)
  (local.set $token (i32.load (local.get $at)))
  (local.set $left (i32.load offset=4 (local.get $at)))
  (local.set $to
    (call $realloc{n} (i32.const 0) (i32.const 0) (i32.const 1) (local.get $left)))
  (i32.store (local.get $at) (local.get $to))
  (if (local.get $left) (then (loop $more
    (local.set $done (call $fill{n} (local.get $token) (local.get $to)))
    (local.set $to (i32.add (local.get $to) (local.get $done)))
    (br_if $more (local.tee $left (i32.sub (local.get $left) (local.get $done))))))))"""


def _taken(type_: ValueType, at: str, offset: int, take: str) -> str:
    """Return the instructions that take each list of bytes in a result.

    :param at: the expression for where the result lies
    :param offset: of the part of it that has the type
    :param take: the function that takes one list, given its place
    """
    match type_:
        case InPlace():
            return f"(call {take} (i32.add {at} (i32.const {offset})))"
        case TupleType(elements):
            parts = []
            for element in elements:
                offset = align_to(offset, alignment(element))
                parts.append(_taken(element, at, offset, take))
                offset += size(element)
            return " ".join(parts)
        case Option(element):
            inner = offset + payload_offset((None, element))
            return f"(if (i32.load8_u offset={offset} {at}) (then {_taken(element, at, inner, take)}))"
        case ResultType(ok, err):
            inner = offset + payload_offset((ok, err))
            sides = ["" if side is None else _taken(side, at, inner, take) for side in (err, ok)]
            return f"(if (i32.load8_u offset={offset} {at}) (then {sides[0]}) (else {sides[1]}))"
    return ""


def module_of(calls: Sequence[Call]) -> str:
    """Return the core module with the functions behind some calls."""
    imports = "\n".join(call.imports() for call in calls)
    functions = "\n".join(call.functions() for call in calls)
    return f'(module {imports}\n(import "h" "memory" (memory 0))\n{functions})'
