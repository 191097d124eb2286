"""Compares the functions that a component imports with those that are served, by types as WIT writes them.

A name that an interface gives to a type stands for any type here: what is told apart are primitives, lists,
options, results and the like. What differs deeper shows when it is called.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TypeAlias

from wasmplex.component.shape import InstanceType
from wasmplex.wit.expressions import TypeNames
from wasmplex.wit.names import FunctionName
from wasmplex.wit.source import WitFunction, WitInterface
from wasmplex.wit.types import FuncType

__all__ = ["alike", "differences"]

# fmt: off
_BUILT_IN = frozenset({
    "_", "bool", "s8", "u8", "s16", "u16", "s32", "u32", "s64", "u64", "f32", "f64", "char", "string", "list",
    "option", "result", "tuple", "map", "stream", "future",
})
# fmt: on
_TOKEN = re.compile(r"%?[a-zA-Z0-9_-]+|[<>]")
_Tree: TypeAlias = tuple[str, tuple["_Tree", ...]]


def differences(type_: InstanceType, served: WitInterface) -> list[str]:
    """Return what of the functions that a component imports is not as it is served, a sentence each."""
    names = TypeNames(type_.exports.items())
    return [
        found
        for name, function in type_.functions.items()
        for found in _compared(name, function, names, served)
    ]


def alike(type_: InstanceType, served: WitInterface) -> bool:
    """Return whether what a component imports may well be an interface that is served, under another name."""
    functions = type_.functions
    if not functions or differences(type_, served):
        return False
    return all(function.is_async == served.functions[name].is_async for name, function in functions.items())


def _compared(name: str, function: FuncType, names: TypeNames, served: WitInterface) -> Iterator[str]:
    wanted = served.functions.get(name)
    if wanted is None:
        yield f"{_short(name)} is not served; there are {', '.join(map(_short, served.functions))}"
        return
    given = function.params[1:] if FunctionName.parse(name).kind == "method" else function.params
    if len(given) != len(wanted.params):
        yield f"{_short(name)} has {len(given)} parameters, and is served with {len(wanted.params)}"
        return
    for param, (_, text) in zip(given, wanted.params, strict=True):
        if not _fits(written := names.expression(param.type), text):
            yield f"{_short(name)} takes {written} as {param.name}, and is served with {text}"
    yield from _result(name, function, names, wanted)


def _result(name: str, function: FuncType, names: TypeNames, wanted: WitFunction) -> Iterator[str]:
    if FunctionName.parse(name).kind == "constructor":
        return
    written = "" if function.result is None else names.expression(function.result)
    if bool(written) != bool(wanted.result) or (written and not _fits(written, wanted.result)):
        returned = written or "nothing"
        yield f"{_short(name)} returns {returned}, and is served with {wanted.result or 'nothing'}"


def _short(name: str) -> str:
    """Return ``bucket.get`` for ``[method]bucket.get``."""
    return name.rpartition("]")[2]


def _fits(one: str, other: str) -> bool:
    return _same(_tree(one), _tree(other))


def _same(one: _Tree, other: _Tree) -> bool:
    (name, parts), (wanted, wanted_parts) = one, other
    if name not in _BUILT_IN or wanted not in _BUILT_IN:
        return True
    if name == "result":
        parts, wanted_parts = _sides(parts), _sides(wanted_parts)
    return name == wanted and len(parts) == len(wanted_parts) and all(map(_same, parts, wanted_parts))


def _sides(parts: Sequence[_Tree]) -> tuple[_Tree, ...]:
    nothing: _Tree = ("_", ())
    return (*parts, nothing, nothing)[:2]


def _tree(text: str) -> _Tree:
    tokens = [*_TOKEN.findall(text), "", ""]
    tree, _ = _parsed(tokens, 0)
    return tree


def _parsed(tokens: list[str], at: int) -> tuple[_Tree, int]:
    name, at = tokens[at], at + 1
    parts: list[_Tree] = []
    if tokens[at] == "<":
        at += 1
        while tokens[at] not in (">", ""):
            part, at = _parsed(tokens, at)
            parts.append(part)
        at += 1
    return (name, tuple(parts)), at
