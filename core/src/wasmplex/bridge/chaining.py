"""Puts middleware and what it stands in front of together into one component.

What the links call each other for is passed from one to the next in wasmtime; all else is imported from the
host, for each link under names of its own, so that each is served with its own grants. The one instance that
all of them share is the one whose resources they hand each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Final

from wasmplex.bridge.compose import compose
from wasmplex.bridge.wat import ImportScope, instance_type, quote
from wasmplex.component.shape import Import, InstanceType, Shape
from wasmplex.errors import ComponentError
from wasmplex.wit.names import InterfaceId
from wasmplex.wit.types import Resource

__all__ = ["Link", "chain"]

_IDS: Final = 1_000_000
"""How far apart the ids of the links' resources are: more than one component has."""


@dataclass(frozen=True)
class Link:
    """A component of a chain.

    :ivar prefix: what the names of its imports begin with on the outside
    """

    wasm: bytes
    shape: Shape
    prefix: str = ""


def chain(links: Sequence[Link], passed: str, shared: str, assemble: Callable[[str], bytes]) -> bytes:
    """Return a component in which each link's import `passed` is the export of the next.

    It exports what the last link does, `passed` by the first one's hands.

    :param links: outermost first; the last one imports nothing from another, and its prefix is empty
    :param passed: the interface that all of them export, ``wasi:http/handler@0.3``
    :param shared: the interface that has the resources in it, ``wasi:http/types@0.3``
    :raises ComponentError: if a link imports something besides interfaces
    """
    text = _Chain(links, InterfaceId.parse(passed), InterfaceId.parse(shared)).text()
    return compose(assemble(text), *(link.wasm for link in links))


class _Chain:
    """The outer component while it is written; link N is component N in it, and instance ``$linkN``."""

    def __init__(self, links: Sequence[Link], passed: InterfaceId, shared: InterfaceId) -> None:
        self._links, self._passed, self._shared = links, passed, shared
        self._scope = ImportScope("p")
        self._lines = ["(component"]

    def text(self) -> str:
        """Return the text."""
        numbered = [*enumerate(self._links)]
        imports = {number: [*_moved(link, number)] for number, link in numbered}
        self._import_shared([item for found in imports.values() for item in found])
        for number, link in numbered:
            for at, item in enumerate(imports[number]):
                self._import(item, f"$link{number}i{at}", link.prefix)
        self._lines += ["(component)" for _ in numbered]  # their places
        for number, _ in reversed(numbered):
            self._instantiate(number, imports[number])
        self._export()
        return "\n".join([*self._lines, ")"])

    def _import_shared(self, every: Sequence[Import]) -> None:
        """Import the shared instance once, with whatever one of the links knows of it."""
        found = [item for item in every if self._shared.serves(item.name)]
        exports: dict[str, Any] = {}
        resources: dict[int, Resource] = {}
        for item in reversed(found):  # under the last one's names: those of the routes
            assert isinstance(item.type, InstanceType)  # noqa: S101  `_moved` has looked
            for name, resource in item.type.resources.items():
                if isinstance(known := exports.get(name), Resource):
                    resources[resource.id] = known
            exports = {**_with(item.type, resources).exports, **exports}
        self._resources = resources
        if found:
            text, _ = instance_type(InstanceType(exports), self._scope, "shared")
            self._lines.append(f"(import {quote(found[-1].name)} (instance $shared\n{text}))")
            self._learn(InstanceType(exports), "$shared")

    def _import(self, item: Import, local: str, prefix: str) -> None:
        if self._shared.serves(item.name) or self._passed.serves(item.name):
            return
        assert isinstance(item.type, InstanceType)  # noqa: S101  `_moved` has looked
        type_ = _with(item.type, self._resources)
        text, _ = instance_type(type_, self._scope, f"{local[1:]}x")
        self._lines.append(f"(import {quote(prefix + item.name)} (instance {local}\n{text}))")
        self._learn(type_, local)

    def _learn(self, type_: InstanceType, local: str) -> None:
        """Give the resources of an import names that later ones may use."""
        for name, resource in type_.resources.items():
            if resource.id not in self._scope.resources:
                self._scope.resources[resource.id] = own = self._scope.fresh()
                self._lines.append(f"(alias export {local} {quote(name)} (type {own}))")

    def _instantiate(self, number: int, imports: Sequence[Import]) -> None:
        given = []
        for at, item in enumerate(imports):
            where = f"$link{number}i{at}"
            if self._shared.serves(item.name):
                where = "$shared"
            elif self._passed.serves(item.name):
                where = f"$link{number + 1} {quote(self._exported(number + 1))}"
            given.append(f"(with {quote(item.name)} (instance {where}))")
        self._lines.append(f"(instance $link{number} (instantiate {number} {' '.join(given)}))")

    def _exported(self, number: int) -> str:
        """Return the name under which a link exports what is passed on."""
        return next(e.name for e in self._links[number].shape.exports if self._passed.serves(e.name))

    def _export(self) -> None:
        last = len(self._links) - 1
        for export in self._links[last].shape.exports:
            if isinstance(export.type, InstanceType):  # that others go is documented: no trigger calls them
                number, name = last, export.name
                if self._passed.serves(name):
                    number, name = 0, self._exported(0)
                self._lines.append(f"(export {quote(export.name)} (instance $link{number} {quote(name)}))")


def _moved(link: Link, number: int) -> Iterator[Import]:
    """Yield the imports of a link, its resources numbered unlike those of all others."""
    for item in link.shape.imports:
        if not isinstance(item.type, InstanceType):
            raise ComponentError(
                f"the import {item.name!r} keeps the component out of a chain of middleware",
                why="it is no interface",
            )
        yield replace(item, type=_renumbered(item.type, lambda r: replace(r, id=r.id + number * _IDS)))


def _with(type_: InstanceType, resources: Mapping[int, Resource]) -> InstanceType:
    return _renumbered(type_, lambda resource: resources.get(resource.id, resource))


def _renumbered(type_: InstanceType, change: Callable[[Resource], Resource]) -> InstanceType:
    """Return a type with its resources changed, however deep they stand.

    What stands in several places is changed once: a type may be far larger written out than it is.
    """
    known: dict[int, Any] = {}

    def changed(value: Any) -> Any:
        if id(value) not in known:
            known[id(value)] = inside(value)
        return known[id(value)]

    def inside(value: Any) -> Any:
        if isinstance(value, Resource):
            return change(value)
        if isinstance(value, tuple):
            return tuple(map(changed, value))
        if isinstance(value, Mapping):
            return {name: changed(item) for name, item in value.items()}
        if is_dataclass(value) and not isinstance(value, type):
            return replace(
                value, **{f.name: changed(getattr(value, f.name)) for f in fields(value) if f.compare}
            )
        return value

    renumbered: InstanceType = inside(type_)
    return renumbered
