"""Which flow feeds a stream or future of the guest: after what it is fed from."""

from __future__ import annotations

import asyncio
from typing import Any

from wasmplex.bridge.elements import Elements
from wasmplex.bridge.flows import Flow, Streaming
from wasmplex.bridge.futures import OutgoingFuture
from wasmplex.bridge.outflows import Outflow
from wasmplex.bridge.pouring import PouredOutflow
from wasmplex.bridge.pulling import PulledOutflow
from wasmplex.streams import ByteSource, ChunkSource

__all__ = ["fed_future", "fed_stream"]


def fed_future(side: Streaming, elements: Elements, first: int, writable: int, source: Any) -> Flow:
    """Start feeding a future.

    :param first: number of the built-in ``new`` of its type
    :param writable: its writable end
    """
    if asyncio.isfuture(source) and not elements.gives:
        return OutgoingFuture(side, elements, first, writable, source)
    return Outflow(side, elements, first, writable, source, single=True)


def fed_stream(side: Streaming, elements: Elements, first: int, writable: int, source: Any) -> Flow:
    """Start feeding a stream, likewise."""
    flow = Outflow
    if isinstance(source, ChunkSource):
        flow = PulledOutflow
    elif isinstance(source, ByteSource) and elements.octets and side.buffers:
        flow = PouredOutflow
    return flow(side, elements, first, writable, source, single=False)
