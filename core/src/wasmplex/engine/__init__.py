"""Runs components on wasmtime: the only package that touches its C API.

Everything happens on the event loop's thread except compiling and the epoch ticker.
"""

from __future__ import annotations

from wasmplex.engine.accounts import MemoryBudget
from wasmplex.engine.compiled import Compiled
from wasmplex.engine.engine import Engine
from wasmplex.engine.instance import Instance
from wasmplex.engine.linker import Linked
from wasmplex.engine.resources import GuestResource
from wasmplex.engine.settings import EngineSettings
from wasmplex.wit.mismatch import ValueMismatch

__all__ = [
    "Compiled",
    "Engine",
    "EngineSettings",
    "GuestResource",
    "Instance",
    "Linked",
    "MemoryBudget",
    "ValueMismatch",
]
