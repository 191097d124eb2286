"""Prints WIT types in the component text format.

A `Scope` is one component or instance type being written. It defines each structural type once, under a
number of its own, and knows what resources are called there.

Records, variants, enums and flags may be imported and exported, and stand in what is, only where they have a
name (Explainer.md, "Type Definitions"). Value types are compared by their structure, so one name is as good
as another: what has none of its own in a scope is *introduced* there, each kind of scope in its way. As a
type is written after what it is made of, names come in the order of dependency by themselves.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from wasmplex.bridge.errors import BridgeError
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

__all__ = ["NOMINAL", "BagScope", "ImportScope", "InstanceScope", "Scope", "instance_type", "quote"]


def quote(name: str) -> str:
    """Return a name as a string of the text format."""
    return json.dumps(name)


NOMINAL = (Record, VariantType, Enum, Flags)
"""The types that need a name."""
HIDDEN = "wasmplex-type-"
"""What the names begin with that stand for no name of the guest's."""


class Scope:
    """Types of one component or instance type, as they are written; types are defined, none gets a name.

    :param prefix: makes this scope's type names different from those of enclosing scopes
    :param outer: a scope whose resources are visible here
    """

    def __init__(self, prefix: str, outer: Scope | None = None) -> None:
        self.lines: list[str] = []
        self.resources: dict[int, str] = dict(outer.resources) if outer else {}
        self._names: dict[ValueType, str] = {}
        self._prefix = prefix
        self._count = 0

    def fresh(self) -> str:
        """Return a type name that is not in use."""
        self._count += 1
        return f"${self._prefix}{self._count}"

    def take(self) -> list[str]:
        """Return the lines written since they were last taken."""
        lines, self.lines = self.lines, []
        return lines

    def name(self, type_: ValueType, text: str) -> None:
        """Let a type be referred to as `text` from here on."""
        self._names[type_] = text

    def named(self, other: Scope) -> None:
        """Let the types that need a name, and have one in another scope, go by it here."""
        self._names |= {type_: text for type_, text in other._names.items() if isinstance(type_, NOMINAL)}

    def define(self, type_: ValueType) -> str:
        """Return what a definition of a type is called: the one there is, or a new one."""
        if type_ in self._names:
            return self._names[type_]
        body = self._body(type_)
        name = self.fresh()
        self.lines.append(f"(type {name} {body})")
        return name

    def introduce(self, name: str, type_: ValueType) -> str:
        """Give a type that is defined as `name` a name to be known by; return what to refer to it by then."""
        return name

    def ref(self, type_: ValueType) -> str:
        """Return the text that refers to a type, defining it first if need be."""
        if isinstance(type_, Primitive):
            return type_.name
        if type_ not in self._names:
            name = self.define(type_)
            self._names[type_] = self.introduce(name, type_) if isinstance(type_, NOMINAL) else name
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


class InstanceScope(Scope):
    """An instance type: what needs a name is exported under one."""

    def introduce(self, name: str, type_: ValueType) -> str:
        """See `Scope.introduce`."""
        local = self.fresh()
        self.lines.append(f'(export "{HIDDEN}{self._count}" (type {local} (eq {name})))')
        return local


class ImportScope(Scope):
    """A component's imports: what needs a name is imported under one.

    :ivar introduced: the name of each such import, and its type in the order of their introduction
    """

    def __init__(self, prefix: str, outer: Scope | None = None) -> None:
        super().__init__(prefix, outer)
        self.introduced: list[tuple[str, ValueType]] = []

    def introduce(self, name: str, type_: ValueType) -> str:
        """See `Scope.introduce`."""
        local = self.fresh()
        self.lines.append(f'(import "{HIDDEN}{self._count}" (type {local} (eq {name})))')
        self.introduced.append((f"{HIDDEN}{self._count}", type_))
        return local


class BagScope(Scope):
    """A component's exports: what needs a name is exported, all of it in one instance, before anything else.

    An instance that is put together from exports gives its types no new identity: what refers to a
    definition refers to something that has a name once that instance is exported.
    """

    def __init__(self, prefix: str, outer: Scope | None = None) -> None:
        super().__init__(prefix, outer)
        self._members: list[str] = []

    def introduce(self, name: str, type_: ValueType) -> str:
        """See `Scope.introduce`."""
        self._members.append(name)
        return name

    def bag(self, local: str, resources: Mapping[str, str]) -> str | None:
        """Return the instance of all that was introduced; None if that is nothing.

        :param local: what to call it
        :param resources: resources to export in it: name and what they are called here
        """
        parts = [f'(export "{name}" (type {text}))' for name, text in resources.items()]
        parts += [f'(export "t{number}" (type {text}))' for number, text in enumerate(self._members)]
        return f"(instance {local} {' '.join(parts)})" if parts else None


def instance_type(instance: InstanceType, scope: Scope, prefix: str) -> tuple[str, Scope]:
    """Return the text of an instance type, without parentheses, and the scope inside it.

    A resource that the enclosing scope knows is that one; any other is introduced here.
    """
    inner = InstanceScope(prefix, scope)
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
                body, local = inner.define(type_), inner.fresh()
                inner.lines.append(f"(export {quote(name)} (type {local} (eq {body})))")
                inner.name(type_, local)
            case FuncType():
                text = inner.func(extern)
                inner.lines.append(f"(export {quote(name)} (func {text}))")
            case _:
                raise BridgeError(f"export {name!r}: only types, resources and functions pass the bridge")
    return "\n".join(inner.lines), inner
