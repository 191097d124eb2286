"""WAVE: component-model values as text, ``{name: "x", size: some(3)}``, read and written by WIT type.

Values in Python are those of `wasmplex.values`. A map, for which WAVE has no notation yet, is written as a
list of pairs. Resources, streams and futures have no text.
"""

from __future__ import annotations

from wasmplex.wit.wave.reading import WaveError, parse
from wasmplex.wit.wave.writing import render

__all__ = ["WaveError", "parse", "render"]
