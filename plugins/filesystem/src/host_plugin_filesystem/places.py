"""Where containers and objects are, as names of directories and files."""

from __future__ import annotations

from typing import NamedTuple

from wasmplex.capabilities.naming import components

__all__ = ["Place", "container"]


class Place(NamedTuple):
    """A name in a directory below another one.

    :ivar way: the directories between; most names have none
    :ivar name: the last component
    """

    way: tuple[str, ...]
    name: str

    @classmethod
    def of(cls, name: str) -> Place:
        """Return the place of an object in its container."""
        *way, last = components(name)
        return cls(tuple(way), last)


def container(namespace: str, name: str) -> Place:
    """Return the place of a container in the root."""
    place = Place.of(name)
    return Place((*components(namespace), *place.way), place.name)
