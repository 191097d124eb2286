"""A host for WebAssembly components that routes labelled imports to pluggable backends."""

from __future__ import annotations

__version__ = "0.1.0"
