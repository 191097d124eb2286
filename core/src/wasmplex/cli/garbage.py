"""Python's garbage collection in a process that serves: it must not hold up the event loop.

A full collection looks at every object there is, 100 ms for a million, and Python makes one each time the
young ones have become a quarter more. What there is when a host begins to serve stays, so it is never looked
at again. What guests hold after that comes and goes: young objects are looked at often, all of them seldom.
When another host has taken over, what the old one had is found once.
"""

from __future__ import annotations

import gc

__all__ = ["settle"]

_THRESHOLDS = (2_000, 10, 250)


def settle() -> None:
    """Keep what there is out of all collections to come, and have full ones made seldom."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
