"""Decides what of a component goes through the bridge, builds its adapters, and links them.

A `Bridged` component is to the engine a component like any other: its imports are what passes by the
adapter, and one instance of plain functions that a `Session` serves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from wasmplex.bridge.compose import START, compose, outer_text
from wasmplex.bridge.functions import AdapterKinds, Codec, codecs, is_coroutine, serve
from wasmplex.bridge.imports import HOST, ImportAdapter, import_adapter
from wasmplex.bridge.kinds import Function, inner_types
from wasmplex.bridge.parts import STREAM_HEAP
from wasmplex.bridge.port import port
from wasmplex.component.shape import Import, InstanceType, Shape
from wasmplex.plugins.contracts import HostFunctions
from wasmplex.wit.types import FuncType, FutureType, ListType, Primitive, Resource, StreamType

__all__ = ["Bridged", "bridge", "needing", "wanted"]


@dataclass(frozen=True)
class Bridged:
    """A component with its adapters.

    :ivar wasm: the composed component
    :ivar start: the export to call once in every fresh instance, None if there is nothing to start
    """

    wasm: bytes
    adapter: ImportAdapter
    codecs: tuple[Codec, ...]
    kinds: AdapterKinds
    start: str | None

    def link(self, imports: Mapping[str, HostFunctions]) -> dict[str, HostFunctions]:
        """Return what to link the composed component with: the session in place of what it serves.

        :param imports: the functions of every import of the component, as for a direct link
        """
        passing = {
            name: functions for name, functions in imports.items() if name not in self.adapter.instances
        }
        served = [serve(codec, imports[codec.function.owner][codec.function.name]) for codec in self.codecs]
        return {**passing, HOST: port(served, self.kinds)}


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


def _functions(item: Import) -> dict[str, FuncType]:
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


def _resources(item: Import) -> set[Resource]:
    found = set(item.type.resources.values()) if isinstance(item.type, InstanceType) else set()
    for function in _functions(item).values():
        for type_ in (*(param.type for param in function.params), function.result):
            found |= {r for part in inner_types(type_) if (r := getattr(part, "resource", None)) is not None}
    return found


def bridge(
    wasm: bytes,
    shape: Shape,
    imports: Mapping[str, HostFunctions],
    assemble: Callable[[str], bytes],
    want: Callable[[Import], bool] = wanted,
) -> Bridged | None:
    """Build the adapter for a component, or return None if it needs none.

    :param imports: the functions that will serve its imports; only asked whether they are ``async def``
    :param assemble: turns component text into bytes
    :param want: which imports go through the bridge; those that share resources with them follow
    :raises BridgeError: if a type cannot be carried
    """
    chosen = needing(shape, want)
    if not chosen:
        return None
    functions = [
        Function(number, item.name, name, type_, is_coroutine(imports[item.name][name]))
        for number, (item, name, type_) in enumerate(
            (item, name, type_) for item in chosen for name, type_ in _functions(item).items()
        )
    ]
    adapter = import_adapter(chosen, functions)
    outer = assemble(outer_text(shape, adapter, shape.exports))
    return Bridged(
        compose(outer, {0: wasm}),
        adapter,
        codecs(functions, adapter.kinds),
        AdapterKinds(adapter.kinds, adapter.builtins, STREAM_HEAP),
        START if adapter.needs_start else None,
    )
