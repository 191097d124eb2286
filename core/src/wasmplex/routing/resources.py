"""Questions about resources in the types of imports: which functions take them, who hands them out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from wasmplex.component.shape import Import, InstanceType
from wasmplex.wit.names import FunctionName
from wasmplex.wit.types import Borrow, FuncType, Own

__all__ = ["handed_out", "has_only_methods", "producers", "taken", "takes_only_resources"]


def taken(instance: InstanceType) -> frozenset[int]:
    """Return the ids of the resources that its functions take as parameters."""
    return frozenset(id_ for function in instance.functions.values() for id_ in _taken_by(function))


def handed_out(instance: InstanceType) -> frozenset[int]:
    """Return the ids of the resources that its functions return."""
    results = (function.result for function in instance.functions.values())
    return frozenset(handle.resource.id for result in results for handle in _handles(result, Own))


def takes_only_resources(instance: InstanceType) -> bool:
    """Return whether every function takes at least one resource, so that each call says where it goes.

    Or makes one of the interface's own: it goes nowhere until it is handed to a resource that does.
    """
    return all(_taken_by(function) or _makes(name) for name, function in instance.functions.items())


def _makes(name: str) -> bool:
    return FunctionName.parse(name).kind in ("constructor", "static")


def has_only_methods(instance: InstanceType) -> bool:
    """Return whether it is the home of resources and nothing else: whoever has one may use its methods."""
    return all(FunctionName.parse(name).kind == "method" for name in instance.functions)


def producers(resources: Iterable[int], imports: Iterable[Import]) -> list[Import]:
    """Return the imports that hand out one of `resources`."""
    wanted = frozenset(resources)
    return [i for i in imports if isinstance(i.type, InstanceType) and handed_out(i.type) & wanted]


def _taken_by(function: FuncType) -> frozenset[int]:
    return frozenset(h.resource.id for p in function.params for h in _handles(p.type, (Own, Borrow)))


def _handles(value: Any, kind: type[Any] | tuple[type[Any], ...]) -> Iterator[Any]:
    """Yield every handle of a kind in a value type, however deep it stands."""
    if isinstance(value, kind):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from _handles(item, kind)
    elif is_dataclass(value) and not isinstance(value, type):
        for part in fields(value):
            yield from _handles(getattr(value, part.name), kind)
