"""Decides which functions of a component go through the bridge, and which way. Nothing is made here."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from wasmplex.bridge.kinds import End, ends, functions_of, mentioned, value_types
from wasmplex.bridge.layout import cases, fields
from wasmplex.component.shape import Export, Import, InstanceType, NamedType, Shape
from wasmplex.wit.types import (
    Borrow,
    FuncType,
    FutureType,
    ListType,
    MapType,
    Primitive,
    Resource,
    StreamType,
    ValueType,
)

__all__ = ["Division", "Named", "carries_bytes", "divide", "needing", "required", "wanted"]

Named = tuple[str, str, FuncType]
"""A function: the external name of its import or export (empty for the root's), its name, its type."""


def needing(shape: Shape, want: Callable[[Import], bool]) -> tuple[Import, ...]:
    """Return the imports that `want` chooses, and those that share resources with them.

    Besides, those whose resources an exported function is given in a stream, and may return in the very same:
    the adapter that makes it has to know them.
    """
    roots = {item.name: item.type for item in shape.imports if isinstance(item.type, Resource)}
    resources = {
        item.name: {r.id for r in mentioned(item.type)} | {r.id for r in _owner(item.name, roots)}
        for item in shape.imports
    }
    exported = [("", name, type_) for item in shape.exports for name, type_ in functions_of(item).items()]
    home = {r.id for end in _coming_home(exported, lambda _: True) for r in mentioned(NamedType(end))}
    chosen = [i for i in shape.imports if (functions_of(i) and want(i)) or resources[i.name] & home]
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


def required(item: Import) -> bool:
    """Say whether an import cannot be linked directly."""
    return any(type_.is_async or carries_ends(type_) for type_ in functions_of(item).values())


def wanted(item: Import) -> bool:
    """Say whether an import cannot be linked directly, or gains from the bridge: it moves ``list<u8>``."""
    return required(item) or any(map(carries_bytes, functions_of(item).values()))


def carries_ends(function: FuncType) -> bool:
    """Say whether a function is given, or returns, a stream or future."""
    return any(isinstance(part, (StreamType, FutureType)) for part in value_types(function))


def carries_bytes(function: FuncType) -> bool:
    """Say whether a function is given, or returns, ``list<u8>``."""
    return ListType(Primitive("u8")) in value_types(function)


# ---------------------------------------------------------------- which adapter


@dataclass(frozen=True)
class Division:
    """Which functions go through which adapter.

    :ivar below: imported functions that the adapter serves that defines their resources
    :ivar aside: imported functions that the other one serves
    :ivar above: exported functions
    :ivar makes: streams and futures that the first makes for the other two
    :ivar makes_aside: those of them that are for the second
    :ivar makes_above: those that are for the export adapter
    """

    below: tuple[Named, ...]
    aside: tuple[Named, ...]
    above: tuple[Named, ...]
    makes_aside: tuple[End, ...]
    makes_above: tuple[End, ...]

    @property
    def makes(self) -> tuple[End, ...]:
        """The streams and futures that the first adapter makes for others."""
        return tuple(dict.fromkeys([*self.makes_aside, *self.makes_above]))


def divide(
    shape: Shape,
    chosen: Collection[Import],
    *,
    two_borrows: Callable[[], bool],
    fast_bytes: bool = True,
    goes_on: bool = False,
) -> Division:
    """Divide the functions of a component among its adapters.

    :param chosen: the imports that go through the bridge, see `needing`
    :param two_borrows: whether wasmtime fails where a function of the host is lent two resources, in an
        engine with support for concurrency; asked where that matters
    :param fast_bytes: whether exported functions go through the bridge for bytes alone
    :param goes_on: whether they do so for being async
    """
    served = {resource.id for item in chosen for resource in mentioned(item.type)}
    imported = {resource.id for item in shape.imports for resource in mentioned(item.type)}
    through = _functions(item for item in shape.imports if item in chosen)
    above = _exports(shape, served, imported, fast_bytes=fast_bytes, goes_on=goes_on)
    below_makes = ends(type_.result for _, _, type_ in through)
    linked = {id_ for id_ in imported if id_ not in served}
    makes_above = _coming_home(above, lambda end: _only(end, served))
    home = {*below_makes, *makes_above}
    aside = [f for f in through if home.intersection(_given(f[2]))]
    below = [f for f in through if f not in aside]
    taken = {end for _, _, type_ in aside for end in _given(type_)}
    makes_aside = [end for end in ends(type_.result for _, _, type_ in aside) if end in taken]
    concurrent = bool(above) or any(f[2].is_async or carries_ends(f[2]) for f in through) or _is_async(shape)
    passing = _functions(item for item in shape.imports if item not in chosen)
    if linked and concurrent and any(_lends_two(f[2]) for f in passing) and two_borrows():
        aside += [function for function in passing if _lends_two(function[2])]
    return Division(tuple(below), tuple(aside), tuple(above), tuple(makes_aside), tuple(makes_above))


def _functions(items: Iterable[Import]) -> list[Named]:
    return [(item.name, name, type_) for item in items for name, type_ in functions_of(item).items()]


def _given(function: FuncType) -> list[End]:
    return ends(param.type for param in function.params)


def _only(type_: ValueType, ids: Collection[int]) -> bool:
    """Say whether a type has no resources but some."""
    return all(resource.id in ids for resource in mentioned(NamedType(type_)))


def _coming_home(functions: Sequence[Named], can: Callable[[End], bool]) -> list[End]:
    """Return the streams and futures that exported functions are given, and return: perhaps the very same."""
    given = [end for _, _, type_ in functions for end in _given(type_)]
    returned = ends(type_.result for _, _, type_ in functions)
    return [end for end in dict.fromkeys(given) if end in returned and can(end)]


def _is_async(shape: Shape) -> bool:
    """Say whether a component needs an engine with support for concurrency as it is."""
    items: list[Import | Export] = [*shape.imports, *shape.exports]
    functions = [type_ for item in items for type_ in functions_of(item).values()]
    proposals = any("async" in proposal for proposal in shape.proposals)
    return proposals or any(type_.is_async or carries_ends(type_) for type_ in functions)


def _lends_two(function: FuncType) -> bool:
    return sum(_lent(param.type) for param in function.params) > 1


def _lent(type_: ValueType) -> int:
    """Return how many resources a value may lend, two standing for more."""
    match type_:
        case Borrow():
            return 1
        case ListType(element) | MapType(_, element):
            return 2 * _lent(element)
    return sum(_lent(part) for part in (*(fields(type_) or ()), *(cases(type_) or ())) if part is not None)


def _exports(
    shape: Shape, served: Collection[int], imported: Collection[int], *, fast_bytes: bool, goes_on: bool
) -> list[Named]:
    """Return the exported functions that the host calls through the bridge.

    Streams have no other way, nor have resources that an adapter defines, and bytes are faster. A handle of
    the guest's resource is known on the way it came: what has to do with one takes the same.
    """
    every: list[Named] = [
        (export.name if isinstance(export.type, InstanceType) else "", name, type_)
        for export in shape.exports
        for name, type_ in functions_of(export).items()
    ]
    resources = {f[:2]: {resource.id for resource in mentioned(f[2])} for f in every}

    def needs(function: Named) -> bool:
        ids = resources[function[:2]]
        has_bytes = fast_bytes and carries_bytes(function[2]) and not ids.intersection(imported)
        lasts = goes_on and function[2].is_async
        return lasts or carries_ends(function[2]) or has_bytes or bool(ids.intersection(served))

    chosen = [function for function in every if needs(function)]
    while True:
        shared = {id_ for function in chosen for id_ in resources[function[:2]]}.difference(imported)
        more = [f for f in every if f not in chosen and shared & resources[f[:2]]]
        if not more:
            return [function for function in every if function in chosen]
        chosen += more
