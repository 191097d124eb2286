"""The text format of components."""

from __future__ import annotations

import wasmtime

__all__ = ["assemble"]


def assemble(text: str) -> bytes:
    """Return the binary of a component. It is not validated: compiling does that."""
    return bytes(wasmtime.wat2wasm(text))
