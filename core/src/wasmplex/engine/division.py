"""How the memory that an instance may have is divided between its tables and everything else.

wasmtime bounds the elements of each table by one number, and tells nobody when a table grows. So the tables
of a component are counted beforehand (`wasmplex.component.capacity`), and what they can reach with that bound
is taken off what memories and heaps may have.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from wasmplex.component.capacity import Capacity
from wasmplex.plugins.limits import Limits

__all__ = ["Division", "divide"]

_ELEMENT: Final = 8
"""Bytes of an element of a table."""
_PART: Final = 16
"""Tables that grow may have this part of the memory, if those that do not leave so much."""
_MOST_TABLES: Final = 1_000


class Division(NamedTuple):
    """What an instance may have.

    :ivar memory: bytes of memories and heaps
    :ivar elements: elements that each of its tables may have
    :ivar refused: the key of the limit that does not even allow what it begins with; empty if all do
    :ivar why: what it begins with
    """

    memory: int
    elements: int
    refused: str = ""
    why: str = ""


def divide(capacity: Capacity, limits: Limits) -> Division:
    """Divide what ``limits.memory`` and ``limits.tables`` allow."""
    if not capacity.known:  # as many tables as there may be in a store, of the same size
        capacity = Capacity({(capacity.largest(), 2**63): _MOST_TABLES}, capacity.contexts)
    if capacity.elements > limits.tables:
        why = f"its tables begin with {capacity.elements} elements, {limits.tables} are allowed"
        return Division(0, 0, "limits.tables", why)
    growing = limits.memory // _PART // _ELEMENT
    elements = min(limits.tables, max(growing, capacity.reached(capacity.largest())))
    bound = capacity.bound(elements)
    if bound is None:
        why = f"each of its tables could become as large as the largest, which makes more than {elements}"
        return Division(0, 0, "limits.tables", why)
    taken = capacity.reached(bound) * _ELEMENT
    if capacity.contexts > limits.memory // _PART:
        taken += capacity.contexts
    if taken > limits.memory:
        why = f"its tables and core instances take {taken} bytes, {limits.memory} are allowed"
        return Division(0, 0, "limits.memory", why)
    return Division(limits.memory - taken, bound)
