"""The bridge: async functions, streams, futures and fast bytes, which wasmtime's C API cannot carry.

For the imports of a component that need it, an adapter component is generated and composed with the guest; it
turns them into plain functions, which a `Session` in Python serves. The guest's core modules stay untouched;
its imports that move bytes get twins through which these are copied as a whole.
"""

from __future__ import annotations

from wasmplex.bridge.bridging import Bridged, bridge
from wasmplex.bridge.chaining import Link, chain
from wasmplex.bridge.deciding import needing, required, wanted
from wasmplex.bridge.errors import BridgeError
from wasmplex.bridge.guarding import guarded
from wasmplex.bridge.inplace import InPlaceBytes, in_place, locate
from wasmplex.bridge.instance import BridgedInstance
from wasmplex.bridge.session import Session
from wasmplex.bridge.shared import SharedInstance
from wasmplex.bridge.transport import TransportName

__all__ = [
    "BridgeError",
    "Bridged",
    "BridgedInstance",
    "InPlaceBytes",
    "Link",
    "Session",
    "SharedInstance",
    "TransportName",
    "bridge",
    "chain",
    "guarded",
    "in_place",
    "locate",
    "needing",
    "required",
    "wanted",
]
