"""What plugin authors and their tests use: conformance kits, test doubles, a fake clock, event loops, a host.

The kits need pytest and Hypothesis (``pip install wasmplex[testing]``); the doubles need nothing more.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from wasmplex.testing.clock import FakeClock
from wasmplex.testing.doubles import Delayed, Faulty, Hang, Recording, plugin
from wasmplex.testing.loops import EVENT_LOOPS

if TYPE_CHECKING:
    from wasmplex.testing.blobstore import BlobStoreConformance
    from wasmplex.testing.hosting import HostFactory, WasmHost
    from wasmplex.testing.keyvalue import KeyValueConformance
    from wasmplex.testing.messaging import MessagingConformance
    from wasmplex.testing.postgres import PostgresConformance

__all__ = [
    "EVENT_LOOPS", "BlobStoreConformance", "Delayed", "DelayedKeyValue", "FakeClock", "Faulty",
    "FaultyKeyValue", "Hang", "HostFactory", "KeyValueConformance", "MessagingConformance",
    "PostgresConformance", "Recording", "WasmHost", "plugin",
]  # fmt: skip

DelayedKeyValue, FaultyKeyValue = Delayed, Faulty
"""The names of 0.1.0, when doubles were for key-value alone."""

_KITS = {
    "BlobStoreConformance": "wasmplex.testing.blobstore",
    "KeyValueConformance": "wasmplex.testing.keyvalue",
    "MessagingConformance": "wasmplex.testing.messaging",
    "PostgresConformance": "wasmplex.testing.postgres",
}


def __getattr__(name: str) -> Any:
    if (kit := _KITS.get(name)) is not None:  # imported late: they need pytest
        import pytest

        if kit not in sys.modules:
            pytest.register_assert_rewrite(kit)
        return getattr(import_module(kit), name)
    if name in ("HostFactory", "WasmHost"):  # imported late: they need the engine
        from wasmplex.testing import hosting

        return getattr(hosting, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
