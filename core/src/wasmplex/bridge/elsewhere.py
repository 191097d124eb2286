"""What one adapter does for another: it defines resources, and makes streams and futures that come home."""

from __future__ import annotations

from collections.abc import Collection

from wasmplex.bridge.builtins import Builtins
from wasmplex.bridge.custody import Custody, keeper_types
from wasmplex.bridge.kinds import End, KindTable
from wasmplex.bridge.wat import Scope
from wasmplex.wit.types import Primitive, StreamType, TupleType

__all__ = ["elsewhere_imports", "end_name", "maker", "maker_core"]


def end_name(end: End, kinds: KindTable) -> str:
    """Return what a stream or future type is called in the names of functions that make it."""
    if isinstance(end, StreamType):
        return f"stream{kinds.stream(end)}"
    return f"future{kinds.future(end)}"


def elsewhere_imports(kinds: KindTable, ends: Collection[End], scope: Scope) -> list[str]:
    """Return the imports of an adapter: resources, and functions that deal with handles for it."""
    lines = []
    for number, resource in enumerate(kinds.resources):
        custody, name = kinds.custody(resource), scope.resources[resource.id]
        if custody is not Custody.DEFINED:
            lines.append(f'(import "r{number}" (type {name} (sub resource)))')
        if custody.elsewhere:
            lines += [
                f'(import "{name}{number}" (func ${name}{number} {type_}))'
                for name, type_ in keeper_types(name).items()
            ]
    for end in ends:
        name, type_ = f"make_{end_name(end, kinds)}", maker_type(end, scope)
        lines += [*scope.take(), f'(import "{name.replace("_", "-")}" (func ${name} {type_}))']
    return lines


def maker_type(end: End, scope: Scope) -> str:
    """Return the type of what makes a stream or future: the readable end, the writable one's name."""
    ends = scope.ref(TupleType((end, Primitive("u32"))))
    return f"(result {ends})"


def maker(end: End, kinds: KindTable, scope: Scope) -> str:
    """Export the function that makes a stream or future for other adapters.

    It returns the readable end, and what the writable one is called here.
    """
    name = f"make_{end_name(end, kinds)}"
    lift = f'(canon lift (core func $machine "{name}") (memory $mem))'
    return f"""(func ${name} {maker_type(end, scope)} {lift})
(export "{name.replace("_", "-")}" (func ${name}))"""


def maker_core(end: End, kinds: KindTable, builtins: Builtins) -> str:
    """Return the core function that does it."""
    first = builtins.stream[kinds.stream(end)] if isinstance(end, StreamType) else (
        builtins.future[kinds.future(end)])  # fmt: skip
    return f'(func (export "make_{end_name(end, kinds)}") (result i32) (call $made (i32.const {first})))'
