"""A component's shape as WIT text: its world, then the packages of the interfaces that it names.

The layout is that of ``wasm-tools component wit``, which reads the text back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from wasmplex.component.shape import (
    ComponentType,
    CoreModuleType,
    DefinedType,
    Export,
    Extern,
    Import,
    InstanceType,
    NamedType,
    Shape,
    ValueExtern,
)
from wasmplex.wit import types as t
from wasmplex.wit.expressions import TypeNames, escape
from wasmplex.wit.names import FunctionName, InterfaceId

__all__ = ["interface_of", "kind_of", "render"]

_Items = Sequence[tuple[str, Extern]]
_Part = tuple[str, InstanceType]


def render(shape: Shape) -> str:
    """Return `shape` as WIT text.

    What WIT has no words for (core modules, components, values) is left as a comment.
    """
    document = _Document(shape)
    lines = ["package root:component;", "", "world root {", *_indent(document.world()), "}"]
    for package, interfaces in document.packages().items():
        lines += [f"package {package} {{", *_indent(interfaces), "}", "", ""]
    return "\n".join(lines).rstrip() + "\n"


def interface_of(item: Import | Export) -> InterfaceId | None:
    """Return the interface an import or export stands for, its whole version put together; else None."""
    parsed = InterfaceId.try_parse(item.interface) if isinstance(item.type, InstanceType) else None
    if parsed is None or not item.version_suffix or not parsed.version:
        return parsed
    version = parsed.version + item.version_suffix
    return InterfaceId(parsed.namespace, parsed.package, parsed.interface, version)


def kind_of(extern: Extern) -> str:
    """Return what an import or export is, in the words of the component model."""
    match extern:
        case InstanceType():
            return "instance"
        case t.FuncType():
            return "async func" if extern.is_async else "func"
        case t.Resource():
            return "resource"
        case NamedType() | DefinedType():
            return "type"
        case ValueExtern():
            return "value"
        case CoreModuleType():
            return "core module"
        case ComponentType():
            return "component"


class _Document:
    """What is known of all interfaces: their ids, their parts, and where each named type was defined."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self.ids: dict[str, InterfaceId] = {}
        self.origins: dict[int, tuple[str, str]] = {}
        # One interface may be imported several times, under labels, each time with other functions.
        self._parts: dict[InterfaceId, list[_Part]] = {}
        everything: tuple[Import | Export, ...] = (*shape.imports, *shape.exports)
        for item in everything:
            if isinstance(item.type, InstanceType):
                self._add(item, item.type)
            elif isinstance(item.type, t.Resource | NamedType):
                self.origins.setdefault(id(item.type), ("", item.name))

    def _add(self, item: Import | Export, instance: InstanceType) -> None:
        for name, extern in instance.exports.items():
            if isinstance(extern, t.Resource | NamedType):
                self.origins.setdefault(id(extern), (item.name, name))
        if (interface := interface_of(item)) is not None:
            self.ids.setdefault(item.name, interface)
            self._parts.setdefault(interface, []).append((item.name, instance))

    def world(self) -> list[str]:
        """Return the lines of the world."""
        imports, exports = self._shape.imports, self._shape.exports
        everything: tuple[Import | Export, ...] = (*imports, *exports)
        items = [(item.name, item.type) for item in everything]
        names = TypeNames(items)
        body = _Body(self, None, {""}, items, names)
        first = [line for item in imports for line in self._instance_lines("import", item)] + body.uses()
        blocks = [block for block in (first, *body.definitions()) if block]
        if functions := [line for item in imports for line in _function_lines("import", item, names)]:
            # Right below what stands there, as the tools print it.
            blocks[-1:] = [[*(blocks[-1] if blocks else []), *functions]]
        offered: list[str] = []
        for item in exports:
            offered += (*self._instance_lines("export", item), *_function_lines("export", item, names))
        return _separated([*blocks, offered] if offered else blocks)

    def _instance_lines(self, keyword: str, item: Import | Export) -> Iterator[str]:
        if isinstance(item.type, t.FuncType | t.Resource | NamedType):
            return
        if not isinstance(item.type, InstanceType):
            yield f"// {keyword} {item.name}: {kind_of(item.type)}"
            return
        yield from _external_id(item)
        if (interface := interface_of(item)) is not None:
            label = f"{escape(item.name)}: " if item.label is not None else ""
            yield f"{keyword} {label}{_path(interface)};"
        else:
            yield f"{keyword} {escape(item.name)}: interface {{"
            yield from _indent(self._interface(None, [(item.name, item.type)]))
            yield "}"

    def packages(self) -> dict[str, list[str]]:
        """Return the lines of each package, by its name with its version; what one uses comes before it."""
        lines: dict[str, list[str]] = {}
        needs: dict[str, list[str]] = {}
        for interface, parts in self._parts.items():
            package = _package(interface)
            body = _indent(self._interface(interface, parts))
            lines.setdefault(package, []).extend([f"interface {escape(interface.interface)} {{", *body, "}"])
            needs.setdefault(package, []).extend(self._needs(parts))
        return {package: lines[package] for package in _ordered(needs)}

    def _needs(self, parts: list[_Part]) -> Iterator[str]:
        for _, instance in parts:
            for extern in instance.exports.values():
                if (origin := self.origin(extern)) is not None and origin[0] in self.ids:
                    yield _package(self.ids[origin[0]])

    def origin(self, extern: Extern) -> tuple[str, str] | None:
        """Return where a type comes from and its name there; None if it is defined where it stands."""
        if not isinstance(extern, t.Resource | NamedType):
            return None
        known = None if extern.source is None else self.origins.get(id(extern.source))
        return known or ((extern.owner, extern.name) if isinstance(extern, t.Resource) else None)

    def _interface(self, interface: InterfaceId | None, parts: list[_Part]) -> list[str]:
        every = [item for _, instance in parts for item in instance.exports.items()]
        # What several parts have is printed as the first has it; each part refers to its own types.
        items: dict[str, Extern] = {}
        for name, extern in every:
            items.setdefault(name, extern)
        body = _Body(self, interface, {owner for owner, _ in parts}, list(items.items()), TypeNames(every))
        uses = body.uses()
        return _separated([*([uses] if uses else []), *body.definitions(), *body.functions()])


class _Body:
    """What stands inside one interface, or inside the world."""

    def __init__(
        self, document: _Document, here: InterfaceId | None, owners: set[str], items: _Items, names: TypeNames
    ) -> None:
        self._document = document
        self._here = here
        self._owners = owners
        self._items = items
        self._names = names

    def uses(self) -> list[str]:
        """Return the ``use`` lines, one for each interface that types are taken from."""
        taken: list[tuple[str, list[str]]] = []
        for name, extern in self._items:
            if (origin := self._foreign(extern)) is None:
                continue
            owner, original = origin
            path = _path(self._document.ids[owner], self._here)
            word = escape(name) if name == original else f"{escape(original)} as {escape(name)}"
            if taken and taken[-1][0] == path:
                taken[-1][1].append(word)
            else:
                taken.append((path, [word]))
        return [f"use {path}.{{{', '.join(words)}}};" for path, words in taken]

    def _foreign(self, extern: Extern) -> tuple[str, str] | None:
        origin = self._document.origin(extern)
        if origin is None or origin[0] in self._owners or origin[0] not in self._document.ids:
            return None
        return None if self._document.ids[origin[0]] == self._here else origin

    def definitions(self) -> list[list[str]]:
        """Return the lines of each type that is defined here."""
        return [
            self._definition(name, extern)
            for name, extern in self._items
            if isinstance(extern, t.Resource | NamedType) and self._foreign(extern) is None
        ]

    def _definition(self, name: str, extern: t.Resource | NamedType) -> list[str]:
        origin = self._document.origin(extern)
        if origin is not None and origin[1] != name:
            return [f"type {escape(name)} = {escape(origin[1])};"]
        if isinstance(extern, NamedType):
            return self._names.definition(name, extern.type)
        members = [
            self._names.member(func, full_name)
            for full_name, func in self._items
            if isinstance(func, t.FuncType) and FunctionName.parse(full_name).resource == name
        ]
        if not members:
            return [f"resource {escape(name)};"]
        return [f"resource {escape(name)} {{", *_indent(members), "}"]

    def functions(self) -> list[list[str]]:
        """Return the line of each function that belongs to no resource."""
        return [
            [f"{escape(FunctionName.parse(name).name)}: {self._names.function(extern, name)};"]
            for name, extern in self._items
            if isinstance(extern, t.FuncType) and FunctionName.parse(name).resource is None
        ]


def _ordered(needs: Mapping[str, list[str]]) -> Iterator[str]:
    """Yield the packages in their order, each after those it needs (unless they need each other)."""
    done: set[str] = set()
    for package in needs:
        waiting = [package]
        met = {package}
        while waiting:
            missing = next((need for need in needs[waiting[-1]] if need not in met | done), None)
            if missing is not None:
                met.add(missing)
                waiting.append(missing)
            elif (ready := waiting.pop()) not in done:
                done.add(ready)
                yield ready


def _function_lines(keyword: str, item: Import | Export, names: TypeNames) -> Iterator[str]:
    if isinstance(item.type, t.FuncType) and FunctionName.parse(item.name).resource is None:
        yield from _external_id(item)
        name = FunctionName.parse(item.name).name
        yield f"{keyword} {escape(name)}: {names.function(item.type, item.name)};"


def _external_id(item: Import | Export) -> Iterator[str]:
    if item.external_id is not None:
        text = "".join(_escaped(character) for character in item.external_id)
        yield f'@external-id("{text}")'


_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def _escaped(character: str) -> str:
    if (character.isascii() and character.isalnum()) or character in "-_./: ":
        return character
    return _ESCAPES.get(character) or f"\\u{{{ord(character):x}}}"


def _package(interface: InterfaceId) -> str:
    namespace = ":".join(escape(part) for part in interface.namespace.split(":"))
    version = f"@{interface.version}" if interface.version else ""
    return f"{namespace}:{escape(interface.package)}{version}"


def _path(interface: InterfaceId, here: InterfaceId | None = None) -> str:
    name = "/".join(escape(part) for part in interface.interface.split("/"))
    if here is not None and _package(here) == _package(interface):
        return name
    package, at, version = _package(interface).partition("@")
    return f"{package}/{name}{at}{version}"


def _indent(lines: Iterable[str]) -> list[str]:
    return [f"  {line}" if line else line for line in lines]


def _separated(blocks: Iterable[list[str]]) -> list[str]:
    lines: list[str] = []
    for block in blocks:
        lines += ["", *block] if lines else block
    return lines
