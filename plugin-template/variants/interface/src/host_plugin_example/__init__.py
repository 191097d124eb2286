"""The WIT package ``example:geo``: what the host imports when a component does."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from wasmplex.plugin import Err, ImportRequest, InterfaceProvider, Settings, hookimpl, wit_package

PLACES = {"Berlin": (52.5, 13.4), "Lagos": (6.5, 3.4), "Lima": (-12.0, -77.0)}


class GeoSettings(Settings):
    """The keys that a binding may have; all others are refused."""

    digits: int = 1
    """How many digits a position has after the point."""


class Lookup:
    """The interface ``lookup``; each import of it, labelled or not, has an object of its own."""

    def __init__(self, request: ImportRequest) -> None:
        assert isinstance(request.settings, GeoSettings)
        self.settings = request.settings

    async def find(self, place: str) -> dict[str, float] | None:
        """Serve ``find``; `Err` is the err case of its result, None the option without a value."""
        if not place:
            raise Err("a place has a name")
        if place not in PLACES:
            return None
        latitude, longitude = (round(degrees, self.settings.digits) for degrees in PLACES[place])
        return {"latitude": latitude, "longitude": longitude}

    class Listing:
        """The resource ``listing``."""

        def __init__(self, prefix: str) -> None:
            self.places = sorted(place for place in PLACES if place.startswith(prefix))

        def next(self, limit: int) -> list[str]:
            """Return the places that come next."""
            page, self.places = self.places[:limit], self.places[limit:]
            return page


@hookimpl
def wasmplex_interfaces() -> Iterable[InterfaceProvider]:
    """Register the package; the classes are compared with the WIT here."""
    wit = Path(__file__).with_name("geo.wit")
    return [wit_package(wit, {"lookup": Lookup}, settings=GeoSettings)]
