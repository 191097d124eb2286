"""Builds the adapters of a component, puts them together with it, and links them.

A `Bridged` component is to the engine a component like any other: its imports are what passes by the
adapters, and an instance of plain functions for each adapter, which a session serves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from wasmplex.bridge.bodies import BodySeries, takes_body
from wasmplex.bridge.compose import KEEPER, Adapters, compose, outer_text
from wasmplex.bridge.custody import Custody
from wasmplex.bridge.deciding import Division, Named, carries_bytes, divide, needing, wanted
from wasmplex.bridge.exportcodecs import ExportCodec, export_codecs
from wasmplex.bridge.exports import HOST_EXPORTS, ExportAdapter, export_adapter
from wasmplex.bridge.functions import AdapterKinds, Codec, codecs, is_coroutine, serve
from wasmplex.bridge.imports import ASIDE, BELOW, ImportAdapter, Role, Wanted, import_adapter
from wasmplex.bridge.kinds import Function, functions_of, mentioned
from wasmplex.bridge.port import export_port, keeper_port, port
from wasmplex.bridge.protocol import STREAM_HEAP
from wasmplex.bridge.series import Series, is_serial
from wasmplex.bridge.transport import MEMORY, PLAIN_STRINGS, STRINGS, Transport, TransportName
from wasmplex.bridge.twins import Twins, double
from wasmplex.component import read
from wasmplex.component.shape import Import, Shape
from wasmplex.engine.defects import TWO_BORROWS
from wasmplex.plugins.contracts import HostFunctions
from wasmplex.wit.types import FuncType, Resource

__all__ = ["Above", "Bridged", "Underneath", "bridge"]


@dataclass(frozen=True)
class Underneath:
    """An import adapter of a component, with its codecs."""

    adapter: ImportAdapter
    codecs: tuple[Codec, ...]
    kinds: AdapterKinds

    def link(self, imports: Mapping[str, HostFunctions], transport: Transport) -> Mapping[str, Any]:
        """Return what to link its host import with."""
        functions = [
            serve(
                codec,
                imports[codec.function.owner][codec.function.name],
                self.adapter.kinds,
                direct=codec.function.number in self.adapter.direct,
            )
            for codec in self.codecs
        ]
        adapter = self.adapter
        name, tasks = adapter.role.name, adapter.needs_start
        return port(name, functions, self.kinds, adapter.kinds, transport, tasks=tasks)


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
    :ivar aside: the second import adapter, None without
    :ivar above: the export adapter, None without
    :ivar keeper: how many resources there are whose handles adapters have the engine make
    :ivar transport: how blocks cross
    :ivar series: the exports whose calls can be made in a series
    """

    wasm: bytes
    below: Underneath | None
    aside: Underneath | None
    above: Above | None
    keeper: int = 0
    transport: Transport = STRINGS
    series: Mapping[str, Series] = field(default_factory=dict)

    @property
    def starts(self) -> tuple[str, ...]:
        """The exports to call once in every fresh instance."""
        adapters = [part.adapter for part in (self.below, self.aside) if part is not None]
        return tuple(adapter.role.start for adapter in adapters if adapter.needs_start)

    @property
    def start(self) -> str | None:
        """What to call a `BridgedInstance` with before anything else, None if there is nothing to start."""
        return self.starts[0] if self.starts else None

    def link(self, imports: Mapping[str, HostFunctions]) -> dict[str, Mapping[str, Any]]:
        """Return what to link the composed component with: the sessions in place of what they serve.

        :param imports: the functions of every import of the component, as for a direct link
        """
        linked: dict[str, Mapping[str, Any]] = dict(imports)
        for part in (self.below, self.aside):
            if part is not None:
                linked[part.adapter.role.host] = part.link(imports, self.transport)
        if self.above is not None:
            linked[HOST_EXPORTS] = export_port(self.above.kinds, self.transport)
        if self.keeper:
            linked[KEEPER] = keeper_port(self.keeper)
        return linked


def bridge(
    wasm: bytes,
    shape: Shape,
    imports: Mapping[str, HostFunctions],
    assemble: Callable[[str], bytes],
    want: Callable[[Import], bool] = wanted,
    transport: TransportName = "strings",
    *,
    vectors: bool = True,
    twins: bool = True,
    goes_on: bool = False,
) -> Bridged | None:
    """Build the adapters for a component, or return None if it needs none.

    :param imports: the functions that will serve its imports; only asked whether they are ``async def``
    :param assemble: turns component text into bytes
    :param transport: how blocks cross; ``memory`` needs an engine that shows the host its memories
    :param vectors: whether adapters may use vector instructions (the proposal ``simd``)
    :param want: which imports go through the bridge; those that share resources with them follow
    :param twins: whether functions that move bytes get twins, and exports with bytes go through the bridge
    :param goes_on: whether async exports go on after they have returned: they go through the bridge for that
    :raises BridgeError: if a type cannot be carried
    """
    way = MEMORY if transport == "memory" else STRINGS if vectors else PLAIN_STRINGS
    chosen = needing(shape, want)
    of: Twins = {}
    moving = [item.name for item in chosen if any(map(carries_bytes, functions_of(item).values()))]
    if twins and moving and (doubled := double(wasm, moving, assemble)) is not None:
        wasm, of = doubled
        shape = read(wasm, composed=True)
        through = {item.name for item in chosen}
        chosen = tuple(item for item in shape.imports if item.name in through)
    division = divide(
        shape, chosen, two_borrows=lambda: TWO_BORROWS.present, fast_bytes=twins, goes_on=goes_on
    )
    if not chosen and not division.aside and not division.above:
        return None
    return _Building(shape, chosen, division, imports, way, of).bridged(wasm, assemble)


class _Building:
    """The adapters of a component while they are built."""

    def __init__(
        self,
        shape: Shape,
        chosen: Sequence[Import],
        division: Division,
        imports: Mapping[str, HostFunctions],
        transport: Transport,
        twins: Twins,
    ) -> None:
        self._shape, self._division, self._imports = shape, division, imports
        self._transport, self._twins = transport, twins
        resources = {r.id: r for item in chosen for r in mentioned(item.type)}
        self._resources: Sequence[Resource] = list(resources.values())
        imported = {r.id for item in shape.imports for r in mentioned(item.type)}
        self._custody = dict.fromkeys(imported, Custody.LINKED) | dict.fromkeys(resources, Custody.KEPT)

    def bridged(self, wasm: bytes, assemble: Callable[[str], bytes]) -> Bridged:
        """Return the component with its adapters."""
        below = self._below()
        aside, above = self._aside(below), self._above(below)
        linked = [
            resource.id
            for part in (aside, above)
            if part is not None
            for _, resource in part.adapter.kinds.custodians()
            if part.adapter.kinds.custody(resource) is Custody.LINKED
        ]
        adapters = Adapters(
            None if below is None else below.adapter,
            None if aside is None else aside.adapter,
            None if above is None else above.adapter,
            tuple(dict.fromkeys(linked)),
        )
        composed = compose(assemble(outer_text(self._shape, adapters, self._transport)), wasm)
        bridged = Bridged(composed, below, aside, above, len(adapters.linked), self._transport)
        return replace(bridged, series=_series(bridged))

    def _below(self) -> Underneath | None:
        division = self._division
        if not (division.below or division.makes or self._resources):
            return None
        others = [function[2] for function in (*division.aside, *division.above)]
        shared = [resource.id for type_ in others for resource in mentioned(type_)]
        return self._underneath(BELOW, division.below, Wanted(self._resources, {}, shared, division.makes))

    def _aside(self, below: Underneath | None) -> Underneath | None:
        if not self._division.aside:
            return None
        wanted = Wanted((), self._custody, (), (), self._division.makes_aside)
        made = self._underneath(ASIDE, self._division.aside, wanted)
        return Underneath(made.adapter, made.codecs, self._kinds(made.adapter, below))

    def _above(self, below: Underneath | None) -> Above | None:
        if not self._division.above:
            return None
        functions = [Function(number, *named) for number, named in enumerate(self._division.above)]
        custody = {r.id: self._custody.get(r.id, Custody.GUEST) for f in functions for r in mentioned(f.type)}
        adapter = export_adapter(functions, custody, self._division.makes_above, self._transport)
        return Above(adapter, export_codecs(adapter), self._kinds(adapter, below))

    def _underneath(self, role: Role, named: Sequence[Named], wanted: Wanted) -> Underneath:
        functions = []
        for number, (owner, name, type_) in enumerate(named):
            of = self._twins.get((owner, name), name)
            twin = None if of == name else (name, type_)
            waits = is_coroutine(self._imports[owner][of])
            functions.append(Function(number, owner, of, self._type(owner, of), waits, twin))
        adapter = import_adapter(role, functions, self._transport, wanted)
        return Underneath(
            adapter, codecs(functions, adapter.kinds, adapter.exchanged), self._kinds(adapter, None)
        )

    def _type(self, owner: str, name: str) -> FuncType:
        return next(functions_of(item)[name] for item in self._shape.imports if item.name == owner)

    @staticmethod
    def _kinds(adapter: ImportAdapter | ExportAdapter, below: Underneath | None) -> AdapterKinds:
        kinds = AdapterKinds(adapter.kinds, adapter.builtins, STREAM_HEAP)
        if below is not None:
            kinds.note_elsewhere(adapter.elsewhere, adapter.kinds, below.adapter.kinds)
        return kinds


def _series(bridged: Bridged) -> dict[str, Series]:
    """Return the exports whose calls can be made in a series.

    There are none where something may go on beside a call, or has to be done before the next one: where an
    adapter has a driver, or the guest's resources are dropped.
    """
    above = bridged.above
    if above is None or bridged.starts or bridged.transport is not MEMORY or above.adapter.kinds.resources:
        return {}
    return {
        name: Series(codec) if is_serial(codec) else BodySeries(codec)
        for name, codec in above.codecs.items()
        if is_serial(codec) or takes_body(codec)
    }
