"""Decides what of a component goes through the bridge, builds its adapters, and links them.

A `Bridged` component is to the engine a component like any other: its imports are what passes by the
adapter, and one instance of plain functions that a `Session` serves.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wasmplex.bridge.compose import KEEPER, START, compose, outer_text
from wasmplex.bridge.exporting import ExportCodec, export_codecs
from wasmplex.bridge.exports import HOST_EXPORTS, ExportAdapter, export_adapter
from wasmplex.bridge.functions import AdapterKinds, Codec, codecs, is_coroutine, serve
from wasmplex.bridge.imports import HOST, ImportAdapter, import_adapter
from wasmplex.bridge.kinds import Function, functions_of, mentioned, value_types
from wasmplex.bridge.parts import STREAM_HEAP
from wasmplex.bridge.port import export_port, keeper_port, port
from wasmplex.bridge.transport import MEMORY, PLAIN_STRINGS, STRINGS, Transport, TransportName
from wasmplex.bridge.twins import Twins, double
from wasmplex.component import read
from wasmplex.component.shape import Import, Shape
from wasmplex.plugins.contracts import HostFunctions
from wasmplex.wit.types import FuncType, FutureType, ListType, Primitive, Resource, StreamType

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
    :ivar keeper: the numbers of the resources whose handles the export adapter has the engine make
    :ivar transport: how blocks cross
    """

    wasm: bytes
    below: Below | None
    above: Above | None
    keeper: Sequence[int] = ()
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
            if self.keeper:
                linked[KEEPER] = keeper_port(self.keeper)
        return linked


def needing(shape: Shape, want: Callable[[Import], bool]) -> tuple[Import, ...]:
    """Return the imports that `want` chooses, and those that share resources with them."""
    roots = {item.name: item.type for item in shape.imports if isinstance(item.type, Resource)}
    resources = {
        item.name: {r.id for r in mentioned(item.type)} | {r.id for r in _owner(item.name, roots)}
        for item in shape.imports
    }
    chosen = [item for item in shape.imports if functions_of(item) and want(item)]
    while True:
        shared = {id_ for item in chosen for id_ in resources[item.name]}
        more = [i for i in shape.imports if i not in chosen and resources[i.name] & shared]
        if not more:
            return tuple(item for item in shape.imports if item in chosen)
        chosen += more


def _owner(name: str, roots: Mapping[str, Resource]) -> list[Resource]:
    """Return the resource of the root that a function of the root belongs to: its type may not say so."""
    kind, _, rest = name.partition("]")
    found = roots.get(rest.partition(".")[0]) if kind.startswith("[") else None
    return [] if found is None else [found]


def wanted(item: Import) -> bool:
    """Say whether an import cannot be linked directly, or gains from the bridge: it moves ``list<u8>``.

    The interfaces of WASI 0.2 share their resources with exports that the host calls directly.
    """
    functions = functions_of(item).values()
    if any(function.is_async or _carries_streams(function) for function in functions):
        return True
    return not item.interface.startswith(_DIRECT) and any(map(_carries_bytes, functions))


_DIRECT = tuple(
    f"wasi:{name}/" for name in ("cli", "clocks", "filesystem", "http", "io", "random", "sockets")
)


def _carries_streams(function: FuncType) -> bool:
    return any(isinstance(part, (StreamType, FutureType)) for part in value_types(function))


def _carries_bytes(function: FuncType) -> bool:
    return ListType(Primitive("u8")) in value_types(function)


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
    way = MEMORY if transport == "memory" else STRINGS if vectors else PLAIN_STRINGS
    chosen = needing(shape, want)
    twins: Twins = {}
    moving = [item.name for item in chosen if any(map(_carries_bytes, functions_of(item).values()))]
    if moving and (doubled := double(wasm, moving, assemble)) is not None:
        wasm, twins = doubled
        shape = read(wasm)
        through = {item.name for item in chosen}
        chosen = tuple(item for item in shape.imports if item.name in through)
    served = {resource.id for item in chosen for resource in mentioned(item.type)}
    exported = _bridged_functions(shape, served)
    hosts = {r.id for f in exported for r in mentioned(f.type) if r.id in _imported(shape)}
    below = _below(chosen, imports, served & hosts, way, twins)
    above = _above(exported, hosts, way)
    if below is None and above is None:
        return None
    keeper = [] if above is None else [
        number for number, resource in enumerate(above.adapter.kinds.resources)
        if resource.id in hosts - served
    ]  # fmt: skip
    text = outer_text(shape, below.adapter if below else None, above.adapter if above else None, way)
    return Bridged(compose(assemble(text), {0: wasm}), below, above, keeper, way)


def _imported(shape: Shape) -> set[int]:
    """Return the ids of the resources that the guest does not implement."""
    return {resource.id for item in shape.imports for resource in mentioned(item.type)}


def _below(
    chosen: tuple[Import, ...],
    imports: Mapping[str, HostFunctions],
    shared: Collection[int],
    transport: Transport,
    twins: Twins,
) -> Below | None:
    if not chosen:
        return None
    functions: list[Function] = []
    for item in chosen:
        own = functions_of(item)
        for name, type_ in own.items():
            of = twins.get((item.name, name), name)
            twin = None if of == name else (name, type_)
            waits = is_coroutine(imports[item.name][of])
            functions.append(Function(len(functions), item.name, of, own[of], waits, twin))
    adapter = import_adapter(chosen, functions, shared, transport)
    kinds = AdapterKinds(adapter.kinds, adapter.builtins, STREAM_HEAP)
    return Below(adapter, codecs(functions, adapter.kinds), kinds)


def _above(functions: Sequence[Function], hosts: Collection[int], transport: Transport) -> Above | None:
    """Build the export adapter for some exported functions."""
    if not functions:
        return None
    adapter = export_adapter(functions, hosts, transport)
    kinds = AdapterKinds(adapter.kinds, adapter.builtins, STREAM_HEAP)
    return Above(adapter, export_codecs(adapter), kinds)


def _bridged_functions(shape: Shape, served: Collection[int]) -> list[Function]:
    """Return the exported functions that the host calls through the bridge.

    Streams have no other way, nor have resources that the import adapter defines, and bytes are faster. A
    handle of the guest's resource is known on the way it came: what has to do with one takes the same.
    """
    imported = _imported(shape)
    every = [
        ("" if isinstance(export.type, FuncType) else export.name, name, type_)
        for export in shape.exports
        for name, type_ in functions_of(export).items()
    ]

    def needs(type_: FuncType) -> bool:
        ids = {resource.id for resource in mentioned(type_)}
        has_bytes = _carries_bytes(type_) and not ids & imported
        return _carries_streams(type_) or has_bytes or bool(ids & set(served))

    chosen = [function for function in every if needs(function[2])]
    while True:
        shared = {r.id for _, _, type_ in chosen for r in mentioned(type_)} - imported
        more = [f for f in every if f not in chosen and any(r.id in shared for r in mentioned(f[2]))]
        if not more:
            return [Function(n, *function) for n, function in enumerate(f for f in every if f in chosen)]
        chosen += more
