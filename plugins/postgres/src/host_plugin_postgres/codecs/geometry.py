"""Geometry: all of it made of points, whose coordinates keep every bit."""

from __future__ import annotations

import math
import struct
from typing import Any

from wasmplex.capabilities.postgres.values import HashableFloat, Point, Segment, parts_of, whole

from host_plugin_postgres.codecs.model import Codec, Unfit, Unreadable

__all__ = ["box", "circle", "line", "lseg", "path", "point", "polygon"]


def _points(raw: bytes, at: int = 0) -> list[Point]:
    ends = range(at, len(raw) - 15, 16)
    return [(parts_of(raw[one : one + 8]), parts_of(raw[one + 8 : one + 16])) for one in ends]


def _float(parts: HashableFloat) -> bytes:
    try:
        return whole(parts, 64)
    except ValueError as error:
        raise Unfit(str(error)) from None


def _pack(points: Any) -> bytes:
    return b"".join(_float(part) for point in points for part in point)


def point() -> Codec:
    """``point``."""
    return Codec("point", lambda raw: _points(raw)[0], {"point": lambda value: _pack([value])})


def lseg() -> Codec:
    """``lseg``."""
    return Codec("lseg", lambda raw: tuple(_points(raw)), {"lseg": _pack})


def box() -> Codec:
    """``box``: the server has the upper right corner first. It sorts what it is given."""

    def decode(raw: bytes) -> Segment:
        high, low = _points(raw)
        return low, high

    return Codec("box", decode, {"box": lambda value: _pack((value[1], value[0]))})


def circle() -> Codec:
    """``circle``."""

    def decode(raw: bytes) -> tuple[Point, HashableFloat]:
        return _points(raw)[0], parts_of(raw[16:])

    def encode(value: tuple[Point, HashableFloat]) -> bytes:
        radius = _float(value[1])
        if struct.unpack(">d", radius)[0] < 0:
            raise Unfit("the radius of a circle is negative")
        return _pack([value[0]]) + radius

    return Codec("circle", decode, {"circle": encode})


def polygon() -> Codec:
    """``polygon``."""

    def encode(value: list[Point]) -> bytes:
        if not value:
            raise Unfit("a polygon has at least one point")
        return struct.pack(">i", len(value)) + _pack(value)

    return Codec("polygon", lambda raw: _points(raw, 4), {"polygon": encode})


def path() -> Codec:
    """``path``: a closed one ends with the point that it begins with, an open one does not."""

    def decode(raw: bytes) -> list[Point]:
        points = _points(raw, 5)
        if raw[0]:
            return [*points, points[0]]
        if len(points) > 1 and points[0] == points[-1]:
            raise Unreadable("an open path that ends where it begins cannot be told from a closed one")
        return points

    def encode(value: list[Point]) -> bytes:
        if not value:
            raise Unfit("a path has at least one point")
        closed = len(value) > 1 and value[0] == value[-1]
        points = value[:-1] if closed else value
        return struct.pack(">bi", closed, len(points)) + _pack(points)

    return Codec("path", decode, {"path": encode})


# ---------------------------------------------------------------- lines


def line() -> Codec:
    """``line``: the server has the coefficients of ``Ax + By + C = 0``, the WIT two points.

    Points are chosen from which `_coefficients` computes what the server would have for the same line.
    """

    def decode(raw: bytes) -> Segment:
        start, end = _on(*struct.unpack(">ddd", raw))
        return _exactly(start), _exactly(end)

    def encode(value: Segment) -> bytes:
        numbers = struct.unpack(">dddd", _pack(value))
        if not all(map(math.isfinite, numbers)):
            raise Unfit("a line goes through points that are finite")
        if numbers[:2] == numbers[2:]:
            raise Unfit("a line needs two different points")
        return struct.pack(">ddd", *_coefficients(*numbers))

    return Codec("line", decode, {"line": encode})


def _exactly(point: tuple[float, float]) -> Point:
    return parts_of(struct.pack(">d", point[0])), parts_of(struct.pack(">d", point[1]))


def _coefficients(x1: float, y1: float, x2: float, y2: float) -> tuple[float, float, float]:
    """Return A, B and C, computed as PostgreSQL does in ``line_construct``."""
    if x1 == x2:
        return -1.0, 0.0, x1
    slope = (y2 - y1) / (x2 - x1)
    if slope == 0:
        return 0.0, -1.0, y1
    return slope, -1.0, (y1 - slope * x1) or 0.0


def _on(a: float, b: float, c: float) -> tuple[tuple[float, float], tuple[float, float]]:
    if not b:
        x = -c / a or 0.0
        return (x, 0.0), (x, 1.0)
    slope, height = -a / b or 0.0, -c / b or 0.0
    far = 1.0
    if slope and height:
        # Near, the sum may round the slope away; far out the height is lost, and is not needed.
        near = _coefficients(0.0, height, 1.0, height + slope)
        if near[0] != slope:
            far = math.ldexp(1.0, max(0, math.frexp(height)[1] - math.frexp(slope)[1] + 56))
    return (0.0, height), (far, height + slope * far)
