"""Decides what of a component goes through the bridge, builds its adapters, and links them.

A `Bridged` component is to the engine a component like any other: its imports are what passes by the
adapter, and one instance of plain functions that a `Session` serves.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from wasmplex.bridge.compose import GIVEN, START, compose, outer_text
from wasmplex.bridge.exporting import ExportCodec, export_codecs
from wasmplex.bridge.exports import HOST_EXPORTS, ExportAdapter, export_adapter
from wasmplex.bridge.functions import AdapterKinds, Codec, codecs, is_coroutine, serve
from wasmplex.bridge.imports import HOST, ImportAdapter, import_adapter
from wasmplex.bridge.kinds import Function, inner_types
from wasmplex.bridge.parts import STREAM_HEAP
from wasmplex.bridge.port import export_port, port
from wasmplex.bridge.transport import MEMORY, PLAIN_STRINGS, STRINGS, Transport, TransportName
from wasmplex.bridge.twins import Twins, double
from wasmplex.component import read
from wasmplex.component.shape import Export, Import, InstanceType, Shape
from wasmplex.plugins.contracts import HostFunctions
from wasmplex.wit.types import FuncType, FutureType, ListType, Own, Param, Primitive, Resource, StreamType

__all__ = ["Above", "Below", "Bridged", "bridge", "needing", "wanted"]


@dataclass(frozen=True)
class Below:
    """The import adapter of a component, with its codecs."""

    adapter: ImportAdapter
    codecs: tuple[Codec, ...]
    kinds: AdapterKinds


@dataclass(frozen=True)
class Above:
    """The export adapter of a component, with its codecs by the names that a call gives."""

    adapter: ExportAdapter
    codecs: Mapping[str, ExportCodec]
    kinds: AdapterKinds


@dataclass(frozen=True)
class Bridged:
    """A component with its adapters.

    :ivar wasm: the composed component
    :ivar below: the import adapter, None without
    :ivar above: the export adapter, None without
    :ivar takes: for each export that takes resources of the host: the positions of these parameters, and the
        exports that make their handles
    :ivar transport: how blocks cross
    """

    wasm: bytes
    below: Below | None
    above: Above | None
    takes: Mapping[str, Sequence[tuple[int, str]]] = field(default_factory=dict)
    transport: Transport = STRINGS

    @property
    def host_memory(self) -> bool:
        """Whether the engine must show the host the memories of instances."""
        return self.transport is MEMORY

    @property
    def start(self) -> str | None:
        """The export to call once in every fresh instance, None if there is nothing to start."""
        return START if self.below is not None and self.below.adapter.needs_start else None

    def link(self, imports: Mapping[str, HostFunctions]) -> dict[str, Mapping[str, Any]]:
        """Return what to link the composed component with: the sessions in place of what they serve.

        :param imports: the functions of every import of the component, as for a direct link
        """
        linked: dict[str, Mapping[str, Any]] = dict(imports)
        if self.below is not None:
            for name in self.below.adapter.instances:
                linked.pop(name, None)
            served = [
                serve(
                    codec,
                    imports[codec.function.owner][codec.function.name],
                    self.below.adapter.kinds,
                    direct=codec.function.number in self.below.adapter.direct,
                )
                for codec in self.below.codecs
            ]
            linked[HOST] = port(served, self.below.kinds, self.below.adapter.kinds, self.transport)
        if self.above is not None:
            linked[HOST_EXPORTS] = export_port(self.above.kinds, self.transport)
        return linked


def needing(shape: Shape, want: Callable[[Import], bool]) -> tuple[Import, ...]:
    """Return the imports that `want` chooses, and those that share resources with them."""
    instances = [item for item in shape.imports if isinstance(item.type, (InstanceType, FuncType))]
    chosen = [item for item in instances if want(item)]
    while True:
        shared = {resource.id for item in chosen for resource in _resources(item)}
        more = [i for i in instances if i not in chosen and any(r.id in shared for r in _resources(i))]
        if not more:
            return tuple(item for item in shape.imports if item in chosen)
        chosen += more


def _functions(item: Import | Export) -> dict[str, FuncType]:
    if isinstance(item.type, FuncType):
        return {item.name: item.type}
    return item.type.functions if isinstance(item.type, InstanceType) else {}


def wanted(item: Import) -> bool:
    """Say whether an import cannot be linked directly, or gains from the bridge: it moves ``list<u8>``.

    The interfaces of WASI 0.2 share their resources with exports that the host calls directly.
    """
    functions = _functions(item).values()
    if any(function.is_async or _carries_streams(function) for function in functions):
        return True
    return not item.interface.startswith(_DIRECT) and any(map(_carries_bytes, functions))


_DIRECT = tuple(
    f"wasi:{name}/" for name in ("cli", "clocks", "filesystem", "http", "io", "random", "sockets")
)


def _carries_streams(function: FuncType) -> bool:
    types = [*(param.type for param in function.params), function.result]
    return any(isinstance(p, (StreamType, FutureType)) for type_ in types for p in inner_types(type_))


def _carries_bytes(function: FuncType) -> bool:
    types = [*(param.type for param in function.params), function.result]
    octets = ListType(Primitive("u8"))
    return any(part == octets for type_ in types for part in inner_types(type_))


def _mentioned(function: FuncType) -> set[Resource]:
    types = [*(param.type for param in function.params), function.result]
    parts = [part for type_ in types for part in inner_types(type_)]
    return {resource for part in parts if (resource := getattr(part, "resource", None)) is not None}


def _resources(item: Import) -> set[Resource]:
    found = set(item.type.resources.values()) if isinstance(item.type, InstanceType) else set()
    return found.union(*(_mentioned(function) for function in _functions(item).values()))


def bridge(
    wasm: bytes,
    shape: Shape,
    imports: Mapping[str, HostFunctions],
    assemble: Callable[[str], bytes],
    want: Callable[[Import], bool] = wanted,
    transport: TransportName = "strings",
    *,
    vectors: bool = True,
) -> Bridged | None:
    """Build the adapters for a component, or return None if it needs none.

    :param imports: the functions that will serve its imports; only asked whether they are ``async def``
    :param assemble: turns component text into bytes
    :param transport: how blocks cross; ``memory`` needs an engine that shows the host its memories
    :param vectors: whether adapters may use vector instructions (the proposal ``simd``)
    :param want: which imports go through the bridge; those that share resources with them follow
    :raises BridgeError: if a type cannot be carried
    """
    given = {part.resource for _, _, param in _export_params(shape) if isinstance(part := param.type, Own)}
    way = MEMORY if transport == "memory" else STRINGS if vectors else PLAIN_STRINGS
    chosen = needing(shape, want)
    twins: Twins = {}
    moving = [item.name for item in chosen if any(map(_carries_bytes, _functions(item).values()))]
    if moving and (doubled := double(wasm, moving, assemble)) is not None:
        wasm, twins = doubled
        shape = read(wasm)
        through = {item.name for item in chosen}
        chosen = tuple(item for item in shape.imports if item.name in through)
    below = _below(chosen, imports, given, way, twins)
    above = _above(
        [(export, names) for export in shape.exports if (names := _bridged_functions(export))], way
    )
    if below is None and above is None:
        return None
    text = outer_text(
        shape, below.adapter if below else None, above.adapter if above else None, shape.exports, way
    )
    return Bridged(compose(assemble(text), {0: wasm}), below, above, _takes(shape, below), way)


def _export_params(shape: Shape) -> Iterator[tuple[str, int, Param]]:
    """Yield every parameter of every exported function, by the name that a call gives."""
    for export in shape.exports:
        prefix = "" if isinstance(export.type, FuncType) else f"{export.name}#"
        for name, function in _functions(export).items():
            for position, param in enumerate(function.params):
                yield prefix + name, position, param


def _takes(shape: Shape, below: Below | None) -> dict[str, list[tuple[int, str]]]:
    """Find the parameters that take ownership of a resource that the import adapter defines."""
    takes: dict[str, list[tuple[int, str]]] = {}
    givers = {} if below is None else below.adapter.givers
    for name, position, param in _export_params(shape):
        if isinstance(param.type, Own) and param.type.resource.id in givers:
            function, _ = givers[param.type.resource.id]
            takes.setdefault(name, []).append((position, GIVEN + function))
    return takes


def _below(
    chosen: tuple[Import, ...],
    imports: Mapping[str, HostFunctions],
    given: Collection[Resource],
    transport: Transport,
    twins: Twins,
) -> Below | None:
    if not chosen:
        return None
    functions: list[Function] = []
    for item in chosen:
        own = _functions(item)
        for name, type_ in own.items():
            of = twins.get((item.name, name), name)
            twin = None if of == name else (name, type_)
            waits = is_coroutine(imports[item.name][of])
            functions.append(Function(len(functions), item.name, of, own[of], waits, twin))
    adapter = import_adapter(chosen, functions, given, transport)
    kinds = AdapterKinds(adapter.kinds, adapter.builtins, STREAM_HEAP)
    return Below(adapter, codecs(functions, adapter.kinds), kinds)


def _above(chosen: list[tuple[Export, list[str]]], transport: Transport) -> Above | None:
    """Build the export adapter for some functions of some exports."""
    if not chosen:
        return None
    found = [
        ("" if isinstance(export.type, FuncType) else export.name, name, _functions(export)[name])
        for export, names in chosen
        for name in names
    ]
    functions = [Function(number, *function) for number, function in enumerate(found)]
    adapter = export_adapter([export for export, _ in chosen], functions, transport)
    kinds = AdapterKinds(adapter.kinds, adapter.builtins, STREAM_HEAP)
    return Above(adapter, export_codecs(adapter), kinds)


def _bridged_functions(export: Export) -> list[str]:
    """Return the functions of an export that the host calls through the bridge.

    Those that take resources of the host are called directly: the adapter above knows the guest's only.
    """
    return [
        name
        for name, function in _functions(export).items()
        if (_carries_streams(function) or _carries_bytes(function))
        and not any(resource.imported for resource in _mentioned(function))
    ]
