"""Prints WIT types in the component text format.

A `Scope` is one component (or instance type) being written: it defines each structural type once, under a
number of its own, and knows the names that resources and named types already have there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from wasmplex.bridge.errors import BridgeError
from wasmplex.bridge.kinds import inner_types
from wasmplex.component.shape import InstanceType, NamedType
from wasmplex.wit.types import (
    Borrow,
    Enum,
    Flags,
    FuncType,
    FutureType,
    ListType,
    MapType,
    Option,
    Own,
    Primitive,
    Record,
    Resource,
    ResultType,
    StreamType,
    TupleType,
    ValueType,
    VariantType,
)

__all__ = ["Scope", "instance_type", "nameless", "quote"]


def quote(name: str) -> str:
    """Return a name as a string of the text format."""
    return json.dumps(name)


class Scope:
    """Types of one component or instance type, as they are written.

    :param prefix: makes this scope's type names different from those of enclosing scopes
    :param outer: a scope whose resources are visible here
    """

    def __init__(self, prefix: str, outer: Scope | None = None) -> None:
        self.lines: list[str] = []
        self.resources: dict[int, str] = dict(outer.resources) if outer else {}
        self.named: dict[int, str] = dict(outer.named) if outer else {}  # by the identity of a NamedType
        # Types that the enclosing component has exported under a name for their own sake.
        self.exported: dict[ValueType, str] = dict(outer.exported) if outer else {}
        self._names: dict[ValueType, str] = {}
        self._prefix = prefix
        self._count = 0

    def fresh(self) -> str:
        """Return a type name that is not in use."""
        self._count += 1
        return f"${self._prefix}{self._count}"

    def name(self, type_: ValueType, text: str) -> None:
        """Let a type be referred to as `text` from here on."""
        self._names[type_] = text

    def define(self, type_: ValueType) -> str:
        """Define a type, even if it has a name already, and return the new name."""
        body = self._body(type_)
        name = self.fresh()
        self.lines.append(f"(type {name} {body})")
        return name

    def ref(self, type_: ValueType) -> str:
        """Return the text that refers to a type, defining it first if need be."""
        if isinstance(type_, Primitive):
            return type_.name
        if type_ not in self._names and type_ in self.exported:
            return self.exported[type_]
        if type_ not in self._names:
            self._names[type_] = self.define(type_)
        return self._names[type_]

    def func(self, type_: FuncType) -> str:
        """Return the text of a function type, without parentheses."""
        params = [f"(param {quote(p.name)} {self.ref(p.type)})" for p in type_.params]
        result = [] if type_.result is None else [f"(result {self.ref(type_.result)})"]
        return " ".join([*(["async"] if type_.is_async else []), *params, *result])

    def _refs(self, types: Iterable[ValueType]) -> str:
        return " ".join(self.ref(type_) for type_ in types)

    def _optional(self, word: str, type_: ValueType | None) -> str:
        return "" if type_ is None else f" ({word} {self.ref(type_)})"

    def _body(self, type_: ValueType) -> str:  # noqa: C901, PLR0912  one case a type
        match type_:
            case ListType(element, length):
                return f"(list {self.ref(element)}{'' if length is None else f' {length}'})"
            case MapType(key, value):
                return f"(map {self.ref(key)} {self.ref(value)})"
            case Option(element):
                return f"(option {self.ref(element)})"
            case ResultType(ok, None):
                return f"(result{'' if ok is None else ' ' + self.ref(ok)})"
            case ResultType(ok, err):
                return f"(result{'' if ok is None else ' ' + self.ref(ok)}{self._optional('error', err)})"
            case TupleType(elements):
                return f"(tuple {self._refs(elements)})"
            case Record(fields):
                return f"(record {' '.join(f'(field {quote(f.name)} {self.ref(f.type)})' for f in fields)})"
            case VariantType(cases):
                texts = [f"(case {quote(c.name)}{self._payload(c.type)})" for c in cases]
                return f"(variant {' '.join(texts)})"
            case Enum(names):
                return f"(enum {' '.join(map(quote, names))})"
            case Flags(names):
                return f"(flags {' '.join(map(quote, names))})"
            case Own(resource):
                return f"(own {self._resource(resource)})"
            case Borrow(resource):
                return f"(borrow {self._resource(resource)})"
            case StreamType(item):
                return f"(stream{self._payload(item)})"
            case FutureType(item):
                return f"(future{self._payload(item)})"
            case Primitive(name):
                return name
        raise BridgeError(f"the bridge cannot carry a value of type {type(type_).__name__}")

    def _payload(self, type_: ValueType | None) -> str:
        return "" if type_ is None else " " + self.ref(type_)

    def _resource(self, resource: Resource) -> str:
        try:
            return self.resources[resource.id]
        except KeyError:
            raise BridgeError(
                f"resource {resource.name!r} of {resource.owner!r} is not served through the bridge"
            ) from None


def instance_type(instance: InstanceType, scope: Scope, prefix: str) -> tuple[str, Scope]:
    """Return the text of an instance type, without parentheses, and the scope inside it.

    A resource that the enclosing scope knows is that one; any other is introduced here.
    """
    inner = Scope(prefix, scope)
    here: dict[int, str] = {}
    for name, extern in instance.exports.items():
        match extern:
            case Resource(id=number):
                # `type headers = fields` is the resource again: functions go by the name it was given first.
                known, local = here.get(number) or scope.resources.get(number), inner.fresh()
                inner.resources[number] = here.setdefault(number, local)
                bound = f"(eq {known})" if known else "(sub resource)"
                inner.lines.append(f"(export {quote(name)} (type {local} {bound}))")
            case NamedType(type_):
                # A type that is used from elsewhere is that one: what it is made of has its names there.
                body, local = _origin(extern, scope) or inner.define(type_), inner.fresh()
                inner.lines.append(f"(export {quote(name)} (type {local} (eq {body})))")
                inner.name(type_, local)
            case FuncType():
                text = inner.func(extern)
                inner.lines.append(f"(export {quote(name)} (func {text}))")
            case _:
                raise BridgeError(f"export {name!r}: only types, resources and functions pass the bridge")
    return "\n".join(inner.lines), inner


def nameless(instance: InstanceType) -> list[ValueType]:
    """Return what the named types of an instance are made of that needs a name and has none there.

    Records, variants, enums and flags may be used in imported and exported functions only under a name. What
    an interface uses of another is made of types that only that other one may name.
    """
    named: set[ValueType] = set()
    found: list[ValueType] = []
    for extern in instance.exports.values():
        if isinstance(extern, NamedType):
            named.add(extern.type)
            parts = [p for p in inner_types(extern.type) if isinstance(p, (Record, VariantType, Enum, Flags))]
            found += [part for part in parts if part not in named and part not in found]
    return found


def _origin(named: NamedType, scope: Scope) -> str | None:
    """Return what the enclosing scope calls the type that `named` is an alias of; None if it has none."""
    source = named.source
    while source is not None:
        if id(source) in scope.named:
            return scope.named[id(source)]
        source = source.source
    return None
