"""Who defines a resource, as an adapter sees it: that decides what the adapter can do with a handle of it.

=========  ==================  ===================================================================
custody    defined by          what becomes of a handle
=========  ==================  ===================================================================
DEFINED    the adapter itself  of a borrowed one it is given the representation, an owned one it
                               takes apart, and makes from a representation
KEPT       another adapter     the same by three functions that it imports: ``take`` and ``peek``
                               of an owned and a borrowed handle, and ``give``
LINKED     the host, past all  the same, by functions of the host; the object is in the table from
           adapters            ``take`` or ``peek`` until it is called for, and up to ``give``
GUEST      the guest           it is all that the host gets
=========  ==================  ===================================================================

The representation is the key of the object in the host's table, whoever keeps it.
"""

from __future__ import annotations

from enum import Enum, auto

__all__ = ["Custody", "keeper_types"]


class Custody(Enum):
    """See the module."""

    DEFINED = auto()
    KEPT = auto()
    LINKED = auto()
    GUEST = auto()

    @property
    def elsewhere(self) -> bool:
        """Whether functions that the adapter imports deal with its handles."""
        return self in (Custody.KEPT, Custody.LINKED)


def keeper_types(resource: str) -> dict[str, str]:
    """Return the three functions of a keeper with their types, without parentheses.

    :param resource: what the resource is called where the types stand
    """
    return {
        "take": f'(param "handle" (own {resource})) (result u32)',
        "give": f'(param "rep" u32) (result (own {resource}))',
        "peek": f'(param "handle" (borrow {resource})) (result u32)',
    }
