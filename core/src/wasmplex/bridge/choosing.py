"""The core functions in front of twins: each calls the twin if it can, else what it is the twin of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce

from wasmplex.bridge.layout import MAX_FLAT_PARAMS, Core, align_to, alignment, flatten, size
from wasmplex.component.binary import Budget, Cursor
from wasmplex.component.draft import Lowered
from wasmplex.component.encoding import leb, text
from wasmplex.wit.types import FuncType

__all__ = ["MEMORY", "Choice", "Twin", "chooser", "option_index"]

MEMORY = 0x03
"""The canonical option that names a memory."""
_ASYNC = 0x06
_MAX_FLAT_ASYNC_PARAMS = 4
_SHORT = 64
"""Bytes below which a twin is not worth its while."""


def option_index(option: bytes) -> int:
    """Return the index in a canonical option."""
    return Cursor(option, 1, len(option), "an option", Budget(1)).u32("an index")


@dataclass(frozen=True)
class Twin:
    """A twin: its name, the function it is of, that one's type, which parameters are strings in the twin."""

    name: str
    of: str
    type: FuncType
    strings: tuple[int, ...]


@dataclass(frozen=True)
class Choice:
    """A core function that calls a twin if it can, else the function it is the twin of."""

    number: int
    twin_core: int
    core: int
    lowered: Lowered
    twin: Twin

    @property
    def is_async(self) -> bool:
        """Whether the guest lowers the function as an asynchronous one."""
        return any(option[0] == _ASYNC for option in self.lowered.options)

    @property
    def memory(self) -> int:
        """The index of the memory that its values lie in."""
        return next(option_index(option) for option in self.lowered.options if option[0] == MEMORY)

    def signature(self) -> tuple[tuple[Core, ...], tuple[Core, ...], bool]:
        """Return the core parameters and results, and whether the parameters are in memory."""
        params = tuple(core for param in self.twin.type.params for core in flatten(param.type))
        spilled = len(params) > (_MAX_FLAT_ASYNC_PARAMS if self.is_async else MAX_FLAT_PARAMS)
        if spilled:
            params = ("i32",)
        result = flatten(self.twin.type.result) if self.twin.type.result else ()
        if self.is_async:
            return (*params, *(("i32",) if result else ())), ("i32",), spilled
        return ((*params, "i32"), (), spilled) if len(result) > 1 else (params, result, spilled)

    def exports(self) -> Iterator[bytes]:
        """Yield what the chooser imports for this one."""
        yield text(f"twin{self.number}") + b"\0" + leb(self.twin_core)
        yield text(f"func{self.number}") + b"\0" + leb(self.core)
        yield text(f"memory{self.number}") + b"\2" + leb(self.memory)

    def imports(self) -> str:
        """Return what the core module imports for this one."""
        params, results, spilled = self.signature()
        kind = f"(func $NAME (param {' '.join(params)}) (result {' '.join(results)}))"
        lines = [
            f'(import "h" "{name}{self.number}" {kind.replace("NAME", f"{name}{self.number}")})'
            for name in ("twin", "func")
        ]
        memory = f'(import "h" "memory{self.number}" (memory $memory{self.number} 0))'
        return "\n".join([*lines, *([memory] if spilled else [])])

    def function(self) -> str:
        """Return the core function."""
        params, results, _ = self.signature()
        given = " ".join(f"(local.get {index})" for index in range(len(params)))
        result = f"(result {' '.join(results)})"
        return f"""(func (export "{self.number}") (param {" ".join(params)}) {result}
(if {result} (i32.or {self._short()} (i32.and {self._misplaced()} (i32.const 1)))
  (then (call $func{self.number} {given}))
  (else (call $twin{self.number} {given}))))"""

    def _short(self) -> str:
        """Return the expression that says that the loop over bytes takes less than what the twin needs."""
        return _folded("i32.and", [f"(i32.lt_u {n} (i32.const {_SHORT}))" for _, n in self._strings()])

    def _misplaced(self) -> str:
        """Return the expression whose last bit says that a string of the twin is at an odd address.

        Or that it is so long that its length would mean another encoding.
        """
        parts = [(pointer, f"(i32.shr_u {length} (i32.const 31))") for pointer, length in self._strings()]
        return _folded("i32.or", [part for pair in parts for part in pair])

    def _strings(self) -> Iterator[tuple[str, str]]:
        """Yield the expressions for pointer and length of each string of the twin."""
        _, _, spilled = self.signature()
        flat = offset = 0
        for position, param in enumerate(self.twin.type.params):
            offset = align_to(offset, alignment(param.type))
            if position in self.twin.strings:
                if spilled:
                    load = f"i32.load $memory{self.number} offset="
                    yield f"({load}{offset} (local.get 0))", f"({load}{offset + 4} (local.get 0))"
                else:
                    yield f"(local.get {flat})", f"(local.get {flat + 1})"
            flat += len(flatten(param.type))
            offset += size(param.type)


def _folded(operator: str, parts: Sequence[str]) -> str:
    return reduce(lambda left, right: f"({operator} {left} {right})", parts)


def chooser(choices: Sequence[Choice]) -> str:
    """Return the core module that makes the choices."""
    imports = "\n".join(choice.imports() for choice in choices)
    functions = "\n".join(choice.function() for choice in choices)
    return f"(module {imports}\n{functions})"
